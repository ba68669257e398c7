"""Where a model lives: a folder, or `pkg:NAME/sub/dir` inside an installed Python package."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path, PurePosixPath

from .errors import InputError, NotFound

__all__ = ["locate"]


def locate(path: str | os.PathLike[str]) -> Path:
    """The folder or file that `path` names.

    `pkg:NAME/sub/dir` is `sub/dir` inside the installed package NAME. The package is found, never imported, so none
    of its code runs. Anything else is an ordinary path. Raises NotFound with every place that was looked at.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise InputError(f"model path: expected the name of a folder, got {path!r}")
    if not text.startswith("pkg:"):
        found = Path(os.path.expanduser(text))
        if not os.path.exists(found):  # Path.exists raises for a name that is too long
            raise NotFound(
                f"{text}: no such file or folder (looked at {found.absolute()})",
                "give a folder that holds config.json and model.safetensors, or pkg:NAME/sub/dir",
            )
        return found

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
