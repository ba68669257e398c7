"""What can go wrong between here and the hub. The numbers are those of the project's list of download faults.

Much of this is the library's own doing; here it is seen through minibert's door: the right files or an error of one
line, nothing but whole files under their names, nothing outside the cache, and no token in any text.
"""

import errno
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from huggingface_hub import close_session, constants, file_download

import minibert as mb
from minibert.errors import LoadError, NotFound
from minibert.hub import download, fetch
from minibert.locate import locate
from tests.cli.process import minibert
from tests.hub.conftest import NAME
from tests.hub.server import Model, git_sha1, serving, sha256

TOKEN = "hf_" + "secret" * 5
FETCHED = ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
STATUSES = [401, 403, 404, 429, 500, 504]


def blobs(cache):
    """The contents of the cache, by their names in it; links to them left out."""
    return {
        p.name: p.read_bytes() for p in cache.rglob("*") if p.is_file() and not p.is_symlink() and "blobs" in p.parts
    }


def nothing_but_whole_files(cache, files):
    """Every file in the cache is one of the hub's."""
    return set(blobs(cache).values()) <= set(files.values())


def got(files):
    """The model was fetched, whole."""
    folder = fetch(NAME)
    return all((folder / name).read_bytes() == files[name] for name in FETCHED)


def everything(error):
    """All that a program could print of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


def on_large(answer):
    """A fault of the place where large files are."""
    return lambda request: request.command == "GET" and "/large/" in request.path and answer(request)


# --- D01, D02: redirects --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["another host", "another port", "a user in the address", "another scheme"])
def test_d01_a_token_goes_to_the_hub_and_nowhere_else(hub, files, monkeypatch, where):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    port = urlsplit(hub.url).port
    with serving() as elsewhere:
        elsewhere.hub.models = hub.models
        hub.large_at = {
            "another host": f"http://localhost:{port}/large/",
            "another port": f"{elsewhere.url}/large/",
            "a user in the address": f"http://user:password@localhost:{port}/large/",
            "another scheme": f"https://127.0.0.1:{port}/large/",
        }[where]
        if where == "another scheme":  # nobody speaks TLS there
            with pytest.raises(NotFound, match="no answer"):
                fetch(NAME)
        else:
            assert got(files)
        large = [headers for _, path, headers in hub.asked + elsewhere.hub.asked if "/large/" in path]
        own = [headers for _, path, headers in hub.asked if NAME in path]
    assert len(large) == (where != "another scheme")
    assert not any(TOKEN in str(headers) for headers in large)
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in own)


def test_d01_a_model_that_has_moved_is_followed(hub, files):
    """Within the hub the token stays; so does the name that was asked for."""
    hub.models["new-org/tiny"] = hub.models.pop(NAME)
    moved = lambda r: NAME in r.path and r.send(b"", {"Location": r.path.replace(NAME, "new-org/tiny")}, 307)  # noqa: E731
    hub.faults.append(moved)
    assert got(files)


@pytest.mark.parametrize("what", ["api", "small", "large"])
@pytest.mark.parametrize(
    "location", ["itself", "one another", None, "file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "//", "\x00"]
)
def test_d02_a_redirect_that_leads_nowhere_is_an_error(hub, files, cache, what, location):
    part = {"api": "/api/", "small": "/resolve/", "large": "/large/"}[what]

    def redirect(request):
        if part not in request.path:
            return False
        if location is None:
            return request.send(b"", status=302)
        away = {"itself": request.path, "one another": f"{request.path}?{len(hub.asked)}"}.get(location, location)
        return request.send(b"", {"Location": away}, 302)

    hub.faults.append(redirect)
    with pytest.raises((NotFound, LoadError)) as caught:
        fetch(NAME)
    assert f"minibert download {NAME}" in caught.value.hint
    assert nothing_but_whole_files(cache, files)
    assert len(hub.asked) < 60
    hub.faults.clear()
    assert got(files)


# --- D03, D04: transfers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges are served", "ranges are ignored"])
def test_d03_a_connection_cut_at_every_tenth_is_taken_up_again(hub, files, ranges):
    weights = files["model.safetensors"]

    def cut(request):
        if not ranges:
            del request.headers["Range"]
            tenths = len([path for path in hub.paths("GET") if "/large/" in path])
            return request.cut(weights, len(weights) * tenths // 10)
        return request.cut(weights, len(weights) // 10 + 1)

    hub.faults.append(on_large(cut))
    assert got(files)
    asked = [headers.get("range") for _, path, headers in hub.asked if "/large/" in path]
    assert len(asked) >= 10
    assert asked[0] is None
    if ranges:
        assert asked[1:] == sorted(set(asked[1:]), key=lambda text: int(text[6:-1]))  # bytes=FIRST-


def test_d03_a_connection_that_is_always_cut_is_an_error(hub, files, cache):
    hub.faults.append(on_large(lambda request: request.cut(files["model.safetensors"], 0)))
    with pytest.raises(NotFound, match="no answer, or not that of a hub"):
        fetch(NAME)
    assert nothing_but_whole_files(cache, files)


def resumed(answer):
    """The first transfer is cut in the middle; the next ones are answered with `answer`."""

    def fault(request):
        weights = request.server.hub.content(request.path.rpartition("/")[2])
        if not request.headers.get("Range"):
            return request.cut(weights, len(weights) // 2)
        return answer(request, weights)

    return on_large(fault)


@pytest.mark.parametrize(
    "answer",
    [
        lambda request, weights: request.send(b"", {"Content-Range": f"bytes */{len(weights)}"}, 416),
        lambda request, weights: request.send(
            weights[: len(weights) - len(weights) // 2],
            {"Content-Range": f"bytes 0-{len(weights) - len(weights) // 2 - 1}/{len(weights)}"},
            206,
        ),
        lambda request, weights: request.send(b"?" * (len(weights) - len(weights) // 2), status=206),
    ],
    ids=["416", "another range than asked for", "the rest of another file"],
)
def test_d03_what_cannot_be_taken_up_again_is_never_a_mixed_file(hub, files, cache, answer):
    hub.faults.append(resumed(answer))
    with pytest.raises((LoadError, NotFound)):
        fetch(NAME)
    assert nothing_but_whole_files(cache, files)
    hub.faults.clear()
    assert got(files)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_d03_d04_content_that_changes_under_its_name_is_deleted(hub, files, cache, monkeypatch, name, links):
    """As long as announced, but other bytes: only the digest tells, SHA-256 of large files, git's SHA-1 of others."""
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_args: links)
    other = files[name][:-1] + b"?"
    hub.faults.append(
        lambda request: (
            request.command == "GET"
            and (request.path.endswith(f"/{name}") or ("/large/" in request.path and name in FETCHED[1]))
            and request.send(other)
        )
    )
    with pytest.raises(
        LoadError, match=rf"{name}: expected a file with the digest \w+, as the hub says, got \w+; it was"
    ):
        fetch(NAME)
    assert nothing_but_whole_files(cache, files)
    assert not any(path.name == name for path in cache.rglob("*") if ".no_exist" not in path.parts)
    hub.faults.clear()
    assert got(files)


@pytest.mark.parametrize("size", ["shorter", "longer"])
@pytest.mark.parametrize("said", ["the truth", "the size announced"])
def test_d04_a_body_of_another_size_than_announced_is_an_error(hub, files, cache, size, said):
    weights = files["model.safetensors"]
    body = weights[:-9] if size == "shorter" else weights + b"and more"
    length = len(body) if said == "the truth" else len(weights)
    if (size, said) == ("longer", "the size announced"):
        body = weights[:-1] + b"??"  # whatever comes after the end is no part of it

    def answer(request):
        request.close_connection = True
        del request.headers["Range"]
        return request.send(body, said_length=length)

    hub.faults.append(on_large(answer))
    with pytest.raises((LoadError, NotFound)) as caught:
        fetch(NAME)
    if said == "the truth":
        assert isinstance(caught.value, LoadError)
        assert "a file came with another size than the hub had announced" in caught.value.message
    assert nothing_but_whole_files(cache, files)
    hub.faults.clear()
    assert got(files)


def test_d04_a_body_may_be_compressed_or_in_chunks(hub, files):
    def answer(request):
        if request.command == "HEAD" or "/resolve/" not in request.path:
            return False
        content = files[request.path.rpartition("/")[2]]
        if request.path.endswith("vocab.txt"):
            return request.send(gzip.compress(content), {"Content-Encoding": "gzip"})
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for part in (content[:7], content[7:]):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        request.wfile.write(b"0\r\n\r\n")
        return True

    hub.faults.append(answer)
    assert got(files)


@pytest.mark.parametrize("what", ["/api/", "/resolve/", "/large/"])
def test_d04_a_page_with_status_200_is_an_error(hub, files, cache, what):
    page = b"<!doctype html><title>Welcome to our hotel</title>"
    hub.faults.append(lambda request: what in request.path and request.send(page, {"Content-Type": "text/html"}))
    with pytest.raises((LoadError, NotFound)):
        fetch(NAME)
    assert nothing_but_whole_files(cache, files)


@pytest.mark.parametrize(
    "answer",
    [
        *({}, [], {"sha": None}, {"sha": "../../../x"}, {"sha": "0" * 40, "siblings": 5}),
        *({"sha": "0" * 40, "siblings": [{}]}, {"sha": "0" * 40, "siblings": [{"rfilename": []}]}, {"id": {"a": 1}}),
        {"sha": "0" * 40, "siblings": [{"rfilename": "vocab.txt", "blobId": "../../\0"}]},
    ],
    ids=str,
)
def test_d04_an_answer_that_is_not_that_of_a_hub_is_an_error(hub, answer):
    body = json.dumps({"id": NAME, **answer} if isinstance(answer, dict) else answer).encode()
    hub.faults.append(lambda request: "/api/" in request.path and request.send(body))
    with pytest.raises(NotFound, match="no answer, or not that of a hub"):
        fetch(NAME)


# --- D05, D06, D07: the cache ---------------------------------------------------------------------------------------


def test_d05_two_processes_that_fetch_at_once_get_one_good_model(hub, environment, files, cache):
    command = [sys.executable, "-m", "minibert", "download", NAME]
    env = {**os.environ, **environment}
    both = [subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert nothing_but_whole_files(cache, files)
    assert got(files)


def test_d05_a_piece_that_a_crash_left_is_ignored(hub, files, cache):
    place = cache / "models--some-org--tiny-bert" / "blobs"
    place.mkdir(parents=True)
    for content in files.values():
        for name in (git_sha1(content), sha256(content)):
            (place / f"{name}.incomplete").write_bytes(content[:5])
    assert got(files)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_d05_a_file_system_that_cannot_lock_will_do(hub, files, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_args):
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert got(files)


EVIL = [
    "../../x.index",
    "/x.index",
    "x\0.index",
    "x" * 300 + ".index",
    "CON.index",
    "MODEL.safetensors",
    "a/../../b.index",
]


def test_d06_names_that_the_server_makes_up_are_not_used(hub, files, cache, tmp_path):
    hub.models[NAME] = Model(dict.fromkeys(EVIL, b"evil") | {name: files[name] for name in FETCHED})
    folder = fetch(NAME)
    assert sorted(p.name for p in folder.rglob("*")) == FETCHED
    hub.models[NAME] = Model(dict.fromkeys(EVIL, b"evil"))
    with pytest.raises((NotFound, LoadError)):
        download(NAME)
    assert {p.name for p in tmp_path.iterdir()} == {"cache"}
    assert b"evil" not in blobs(cache).values()


@pytest.mark.parametrize("shard", ["../../x.bin", "/etc/passwd", "a\0.bin", "x" * 300 + ".bin", 5, None, ["a"]])
def test_d06_nor_names_in_an_index_of_shards(hub, cache, tmp_path, shard):
    index = json.dumps({"weight_map": {"a": shard}}).encode()
    hub.models[NAME] = Model({"model.safetensors.index.json": index, str(shard): b"evil"})
    fetch(NAME)
    assert {p.name for p in tmp_path.iterdir()} == {"cache"}
    assert b"evil" not in blobs(cache).values()


def test_d07_nothing_is_written_through_a_planted_link(hub, files, cache, tmp_path):
    """Whoever can write into the cache can replace the model; but nothing else."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    storage = cache / "models--some-org--tiny-bert"
    (storage / "blobs").mkdir(parents=True)
    for content in files.values():
        for name in (git_sha1(content), sha256(content)):
            if not (storage / "blobs" / name).is_symlink():
                (storage / "blobs" / name).symlink_to(precious)
    with pytest.raises(LoadError, match="it was deleted"):
        fetch(NAME)
    assert precious.read_bytes() == b"precious"
    for link in (storage / "blobs").iterdir():
        link.unlink()
    assert got(files)
    assert precious.read_bytes() == b"precious"


def test_d07_a_cache_without_links_holds_copies(hub, files, cache, monkeypatch, no_socket):
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_args: False)
    assert got(files)
    assert not [path for path in cache.rglob("*") if path.is_symlink()]
    no_socket()
    assert got(files)


def test_d07_a_cache_that_may_only_be_read_is_only_read(hub, files, cache, no_socket):
    folder = fetch(NAME)
    before = {path: path.lstat().st_mtime_ns for path in cache.rglob("*")}
    for path in cache.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    no_socket()
    try:
        assert got(files)
        assert mb.SentenceEncoder.from_pretrained(NAME).dimension == 16
    finally:
        for path in cache.rglob("*"):
            path.chmod(0o755)
    assert {path: path.lstat().st_mtime_ns for path in cache.rglob("*")} == before
    assert folder.is_dir()


def test_d07_a_cache_that_cannot_be_written_is_an_error_of_the_file_system(hub, environment, tmp_path):
    (tmp_path / "a file").touch()
    status, out, err = minibert("download", NAME, env={**environment, "HF_HUB_CACHE": str(tmp_path / "a file")})
    assert (status, out) == (4, "")
    assert f"minibert: error: [Errno {errno.ENOTDIR}]" in err.splitlines()[-1]


# --- D08: nobody answers --------------------------------------------------------------------------------------------


@contextmanager
def unreachable(monkeypatch, how, hub):
    """The hub cannot be asked, in one way or another."""
    close_session()
    if isinstance(how, int):
        hub.faults.append(lambda request: bool(request.fail(how)) or True)
    elif how == "HF_HUB_OFFLINE":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(socket, "socket", None)
    elif how == "no such address":

        def refuse(*_args, **_more):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", refuse)
    else:  # a proxy or a firewall that does not speak TLS, an expired certificate: all fail in the same handshake
        monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("http:", "https:"))
    yield
    hub.faults.clear()


REASONS = {
    401: (f"no model {NAME} (401), or a private one", "hf auth login"),
    403: (f"access to {NAME} is refused (403)", "hf auth login"),
    404: (f"no model {NAME} (404), or a private one", "check the name"),
    429: ("too many requests (429)", "wait some minutes"),
    500: ("failed to answer (HTTP 500)", "try again later"),
    504: ("failed to answer (HTTP 504)", "try again later"),
    "HF_HUB_OFFLINE": ("not asked, because HF_HUB_OFFLINE is set", "unset it"),
    "no such address": ("no answer, or not that of a hub (ConnectError)", "check the connection"),
    "no TLS": ("no answer, or not that of a hub (ConnectError)", "check the connection"),
}


@pytest.mark.parametrize("how", REASONS)
def test_d08_without_an_answer_people_read_where_was_looked_and_what_to_do(hub, cache, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    message, hint = REASONS[how]
    with unreachable(monkeypatch, how, hub), pytest.raises(NotFound) as caught:
        locate(NAME, "v1")
    text = caught.value.message
    assert text == (
        f"{NAME}: no such file or folder (looked at {tmp_path / NAME}); {hub.url.removeprefix('http://')}: {message}; "
        f"the hub's cache, {cache / 'models--some-org--tiny-bert'}, has no revision v1"
    )
    assert caught.value.hint.startswith(hint) or hint in caught.value.hint
    assert caught.value.hint.endswith(f"minibert download {NAME} --revision v1")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("how", REASONS)
def test_d08_without_an_answer_the_cache_is_used_if_it_is_complete(hub, files, monkeypatch, how):
    fetch(NAME, parts=("config", "weights"))
    with unreachable(monkeypatch, how, hub):
        assert fetch(NAME, parts=("weights", "config")).is_dir()
        with pytest.raises(
            NotFound, match=r"does not have tokenizer.json of revision main, nor knows that there is none"
        ):
            fetch(NAME, parts=("tokenizer",))
        with pytest.raises(NotFound):  # who asks for news wants an answer
            download(NAME, parts=("config", "weights"))


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("where", ["/resolve/", "/large/"])
def test_d08_failures_in_the_middle_are_told_alike(hub, files, cache, where, status):
    hub.faults.append(lambda request: where in request.path and (request.fail(status) or True))
    with pytest.raises(NotFound) as caught:
        fetch(NAME)
    assert REASONS[status][0] in caught.value.message
    assert nothing_but_whole_files(cache, files)
    hub.faults.clear()
    assert got(files)


def test_d08_a_hub_that_says_nothing_is_not_waited_for(hub, monkeypatch):
    silence = threading.Event()
    hub.faults.append(lambda request: silence.wait(20))
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    with pytest.raises(NotFound, match=r"no answer, or not that of a hub \(ReadTimeout\)"):
        fetch(NAME)
    assert not silence.is_set()
    silence.set()


def test_d08_a_gated_model_says_where_to_ask(hub):
    hub.faults.append(lambda request: "/resolve/" in request.path and (request.fail(403, "GatedRepo") or True))
    with pytest.raises(
        NotFound, match=rf"{NAME} is gated, its authors have to grant access(.|\n)*model's page"
    ) as caught:
        fetch(NAME)
    assert "`hf auth login` or set HF_TOKEN" in caught.value.hint


NO_SOCKETS = """
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        os.write(2, b"a socket was opened"); os._exit(99)
sys.addaudithook(watch)
from minibert.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("offline", ["1", "0"])
def test_d08_no_process_opens_a_socket_for_what_is_cached_or_when_offline(hub, environment, offline):
    fetch(NAME)

    def run(*args):
        env = {**os.environ, **environment, "HF_HUB_OFFLINE": offline}
        done = subprocess.run([sys.executable, "-c", NO_SOCKETS, *args], env=env, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("similarity", "--model", NAME, "the cat", "a dog")
    assert (status, err) == (0, "")
    assert "1.0000" in out
    status, _, err = run("download", NAME)
    assert (status, "HF_HUB_OFFLINE is set" in err) == ((3, True) if offline == "1" else (99, False))


# --- D09, D10: tokens, disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/api/", "/resolve/", "/large/"])
@pytest.mark.parametrize("status", STATUSES)
def test_d09_no_text_holds_the_token(hub, monkeypatch, capfd, caplog, status, where):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.faults.append(lambda request: where in request.path and (request.fail(status) or True))
    with pytest.raises(NotFound) as caught:
        fetch(NAME)
    assert any(TOKEN in str(headers) for _, _, headers in hub.asked)
    assert TOKEN not in everything(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_d09_neither_in_an_address_nor_in_what_the_server_says(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("http://", f"http://user:{TOKEN}@"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = {"X-Error-Message": f"your token is {TOKEN}"}
    hub.faults.append(lambda request: request.fail(403, headers=said) or True)
    with pytest.raises(NotFound, match="access to") as caught:
        fetch(NAME)
    assert TOKEN not in str(caught.value) + repr(caught.value)


def test_d09_nor_in_the_traceback_that_debugging_shows(hub, environment):
    hub.faults.append(lambda request: "/large/" in request.path and request.send(b"", {"Location": "ftp://x/"}, 302))
    status, out, err = minibert("download", NAME, "--debug", env={**environment, "HF_TOKEN": TOKEN})
    assert (status, out) == (1, "")
    assert "Traceback" in err
    assert TOKEN not in err


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))
from minibert.cli import main
sys.exit(main())
"""


def test_d10_a_disk_that_is_full_leaves_no_piece_under_a_final_name(hub, environment, files, cache):
    pytest.importorskip("resource")
    assert len(files["model.safetensors"]) > 16_000
    env = {**os.environ, **environment}
    command = [sys.executable, "-B", "-c", FULL_DISK, "download", NAME]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"minibert: error: [Errno {errno.EFBIG}]" in done.stderr.splitlines()[-1]
    assert nothing_but_whole_files(cache, files)
    assert not list(cache.rglob("*.incomplete"))
    assert got(files)


def test_d10_a_disk_that_fills_up_is_told_as_the_file_system_says_it(hub, files, cache, monkeypatch):
    def refuse(*_args, **_more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cache))

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", refuse)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fetch(NAME)
    assert not blobs(cache)
    assert got(files)
