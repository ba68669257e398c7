"""A hub on loopback, a model on it, and a cache that nobody else uses."""

import socket
import time

import pytest
from huggingface_hub import close_session, constants

from tests.hub.server import Hub, Model, serving
from tests.specimens import tiny_folder

NAME = "some-org/tiny-bert"


@pytest.fixture(scope="session")
def server():
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The model, on disk."""
    return tiny_folder(tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture(scope="session")
def files(folder):
    """The model's files, and what else one finds in a repository."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found | {
        "README.md": b"# tiny",
        "pytorch_model.bin": b"a pickle",
        "tf_model.h5": b"HDF5",
        "onnx/model.bin": b"ONNX",
    }


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def hub(server, files, cache, monkeypatch):
    """The hub with the model on it, and the library directed at it."""
    hub = server.hub = Hub(server.url)
    hub.models[NAME] = Model(files)
    # The library reads its environment once, when it is imported.
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(cache.with_name("agents")), raising=False)
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # bytes that are kept when a connection is cut
    return hub


@pytest.fixture
def environment(hub, cache):
    """The same for another process."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "*",
    }


@pytest.fixture
def no_socket(monkeypatch):
    """From now on whoever opens a socket, or asks for an address, fails."""

    def refuse(*_args, **_more):
        raise AssertionError("a socket was opened")

    def block():
        close_session()
        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return block
