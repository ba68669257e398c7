"""Where a model lives: a folder, an installed Python package, the Hugging Face hub. One comes along."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from .errors import InputError, NotFound

__all__ = ["embedded", "is_embedded", "is_hub_name", "locate"]

# The hub's own rule for org/name, or a name alone.
_HUB_NAME = re.compile(r"([a-z0-9_][\w.-]*/)?[a-z0-9_]([\w.-]{0,94}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_HUB_NEVER = re.compile(r"--|\.\.|[.-]/|\.git$")
# A file's name that was mistyped is no business of the hub's.
_FILE_NAME = re.compile(r"\.(safetensors|bin|pth?|ckpt|index|meta|h5|hdf5|msgpack|np[yz]|json|txt|data-\d+-of-\d+)$")


def locate(
    path: str | os.PathLike[str],
    revision: str | None = None,
    parts: Iterable[str] = ("config", "tokenizer", "weights"),
) -> Path:
    """The folder or file that `path` names.

    - What is there under this name is taken before all else; so is the prefix of a TensorFlow checkpoint, of which only
      prefix.index and its like are there.
    - `pkg:NAME/sub/dir` is `sub/dir` inside the installed package NAME. The package is found, never imported, so none
      of its code runs.
    - A string of the form org/name, or a name alone, is a model of the Hugging Face hub: its cache is used if it is
      complete, else the hub is asked. revision is a branch, a tag or a commit there; parts: see `minibert.hub.PARTS`.

    Raises NotFound with every place that was looked at, and InputError for a revision of anything but a hub's model.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise InputError(f"model path: expected the name of a folder, got {path!r}")
    place = _in_package(text) if text.startswith("pkg:") else _on_disk(text)
    if place is None and isinstance(path, str) and is_hub_name(path):
        return _on_hub(path, revision, parts)
    if place is None:
        raise NotFound(
            f"{text}: no such file or folder (looked at {Path(os.path.expanduser(text)).absolute()})",
            "give a folder that holds config.json and model.safetensors, pkg:NAME/sub/dir, or org/name on the hub",
        )
    if revision is not None:
        raise InputError(f"{text}: only a model of the hub has revisions; this one is {place}, got {revision!r}")
    return place


def embedded() -> Path:
    """The folder of the model that comes with minibert: its card is the README.md there.

    Raises NotFound where somebody left it out.
    """
    places = _embedded_places()
    for place in places:
        if place.is_dir():
            return place
    raise NotFound(
        f"the model that comes with minibert is not there (looked at {', '.join(map(str, places))})", "name another one"
    )


def is_embedded(path: str | os.PathLike[str]) -> bool:
    """Is this the model that comes with minibert?"""
    return Path(path) in _embedded_places()


def is_hub_name(text: str) -> bool:
    """Could this be a model of the hub, and nothing else? Paths and names of weight files could not."""
    return bool(_HUB_NAME.fullmatch(text)) and not _HUB_NEVER.search(text) and not _FILE_NAME.search(text)


def _embedded_places() -> list[Path]:
    package = Path(__file__).parent
    return [parent / "weights" / "mini" for parent in (package, package.parent)]  # installed, or in a clone


def _on_disk(text: str) -> Path | None:
    place = os.path.expanduser(text)  # os.path.exists, because Path.exists raises for a name that is too long
    return Path(place) if os.path.exists(place) or os.path.isfile(f"{place}.index") else None


def _on_hub(name: str, revision: str | None, parts: Iterable[str]) -> Path:
    try:
        from . import hub  # which raises NotFound without the hub's library

        return hub.fetch(name, revision, parts)
    except NotFound as error:
        looked = f"{name}: no such file or folder (looked at {Path(name).absolute()})"
        raise NotFound(f"{looked}; {error.message}", error.hint) from error.__cause__


def _in_package(text: str) -> Path:
    name, _, inside = text.removeprefix("pkg:").partition("/")
    parts = PurePosixPath(inside).parts
    if not name.isidentifier() or ".." in parts or inside.startswith("/"):
        raise NotFound(f"{text}: expected pkg:NAME/sub/dir with a plain package name and a path inside it")
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # __main__, and modules that were made by hand
        spec = None
    if spec is None:
        raise NotFound(
            f"{text}: no Python package named {name!r} is installed here", f"pip install {name.replace('_', '-')}"
        )
    if not spec.submodule_search_locations:
        raise NotFound(f"{text}: {name} is a module of one file and has no folders to look in")
    places = [Path(place).joinpath(*parts) for place in spec.submodule_search_locations]
    for place in places:
        if os.path.exists(place):
            return place
    raise NotFound(f"{text}: not inside the package (looked at {', '.join(map(str, places))})")
