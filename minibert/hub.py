"""Models of the Hugging Face hub: the name org/name becomes a folder on this machine.

All that is hard is left to the hub's own library, huggingface_hub: its cache, tokens (HF_TOKEN), offline mode
(HF_HUB_OFFLINE), other hubs (HF_ENDPOINT), retries and progress bars. This module opens no socket; it only chooses. Of
the many files of a model it asks for those that minibert reads: one configuration, one vocabulary with its settings,
the small files of sentence-transformers, and one set of weights in the order in which a folder is searched, so that no
pickle is fetched where there is a safetensors file. Names of files that a server makes up are never used.

When is the cache enough, so that nobody has to be asked? A small file that is not there may not exist or may not have
been fetched, and to guess wrong would change results without a word: without modules.json the vectors would be pooled
in another way. The library remembers which files the hub said do not exist, and so the rule is: each file asked for is
in the cache, or is remembered as absent. Of the weights any complete set will do, since all sets of one commit are the
same numbers. Whatever program filled the cache, minibert needs no connection where this holds, and asks once where not.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .errors import InputError, LoadError, NotFound
from .formats.files import quote
from .formats.jsonfile import read_json
from .formats.opening import FOLDER_ORDER

try:
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )
    from huggingface_hub.file_download import repo_folder_name
except ImportError as error:
    raise NotFound(
        f"models of the Hugging Face hub, in its cache or not, need the library huggingface_hub ({error})",
        "pip install 'minibert-numpy[hub]', then: minibert download NAME",
    ) from None

__all__ = ["PARTS", "Download", "download", "fetch"]

# What may be asked for: groups of files, of each of which the first that there is will do. They are the files that
# checkpoint, text/files.py and tasks/sentence_folder.py look for, in the same order.
_SMALL_FILES: dict[str, tuple[tuple[str, ...], ...]] = {
    "config": (("config.json", "bert_config.json"),),
    "tokenizer": (
        ("tokenizer.json", "vocab.txt"),
        ("tokenizer_config.json",),
        ("special_tokens_map.json",),
        ("added_tokens.json",),
    ),
    "sentence": (
        ("modules.json",),
        ("sentence_bert_config.json",),
        ("config_sentence_transformers.json",),
        ("1_Pooling/config.json",),
    ),
    "weights": (),  # see _weights
}
PARTS = tuple(_SMALL_FILES)

# A file's name that leads nowhere else and is short enough for any file system; not one of Windows' devices.
_PLAIN = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)\.)\w[\w.-]{0,199}", re.ASCII | re.IGNORECASE)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+@-]*", re.ASCII)
_LOGIN = "log in with `hf auth login` or set HF_TOKEN"

Get = Callable[[str], Path | None]


class Download(NamedTuple):
    """A model that is now on this machine.

    folder    where
    files     of those asked for the ones that there are, and their sizes in bytes
    fetched   those among them that were not in the cache before
    """

    folder: Path
    files: dict[str, int]
    fetched: list[str]


class _Incomplete(Exception):
    """The cache does not hold all that was asked for; says what it lacks."""


def fetch(name: str, revision: str | None = None, parts: Iterable[str] = PARTS) -> Path:
    """The folder of the model `name`: from the cache if that is complete, else fetched.

    revision: a branch, a tag or a commit; by default the branch main. A branch that is in the cache stays as it is
    until `download` asks for news. parts: those of PARTS that are needed. Errors as in `download`; NotFound also says
    what the cache lacks.
    """
    parts, revision = tuple(parts), _checked(revision)
    try:
        return _cached(name, revision, parts)
    except _Incomplete as gap:
        lacks = f"the hub's cache, {_storage(name)}, {gap}"
    try:
        return download(name, revision, parts).folder
    except NotFound as error:
        raise NotFound(f"{error.message}; {lacks}", error.hint) from error.__cause__


def download(name: str, revision: str | None = None, parts: Iterable[str] = PARTS) -> Download:
    """Asks the hub for the newest state of a revision, and fetches what the cache lacks of it.

    Everything is asked for by commit, so that two states of a branch are never mixed, and only when all is there does
    the branch's name come to stand for it. What is not the file that the hub's list states, by its digest, is deleted.

    Raises NotFound where the hub or the model cannot be reached, LoadError where a transfer came out wrong, InputError
    for an impossible revision, OSError where the cache cannot be written. No message holds a token or an address that
    was signed with one.
    """
    parts, revision = tuple(parts), _checked(revision)
    with _explaining(name, revision):
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        commit = str(info.sha)
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise ValueError("the answer names no commit")
        digests = {file.rfilename: _digest(file) for file in info.siblings or ()}
    fetched: list[str] = []

    def get(filename: str) -> Path | None:
        known = try_to_load_from_cache(name, filename, revision=commit)
        if known is not None:
            return Path(known) if isinstance(known, str) else None
        expected = digests.get(filename, "")
        was_there = expected and (_storage(name) / "blobs" / expected).exists()  # as a file of another commit
        with _explaining(name, revision):
            place = _ask(name, filename, commit)
        if place:
            _verify(place, expected)
            if not was_there:
                fetched.append(filename)
        return place

    places = _small_files(parts, get)
    if "weights" in parts:
        wanted = [filename for filename in _weights(digests, get) if filename in digests]
        if not wanted:
            raise NotFound(f"{_host()}: {name} has no weights that are read here ({', '.join(FOLDER_ORDER)})")
        places.update((filename, place) for filename in wanted if (place := get(filename)))
    if not places:
        raise NotFound(f"{_host()}: {name} has no files of the parts {', '.join(parts)}")
    filename, place = next(iter(places.items()))
    if revision != commit:
        with _explaining(name, revision):
            _ask(name, filename, revision)  # for the library to note what the revision stands for
    sizes = {filename: place.stat().st_size for filename, place in places.items()}
    return Download(place.parents[filename.count("/")], sizes, fetched)


def _cached(name: str, revision: str, parts: tuple[str, ...]) -> Path:
    """The folder of a revision in the cache, if it has all parts; nobody is asked."""
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=[]))
    except LocalEntryNotFoundError:
        raise _Incomplete(f"has no revision {revision}") from None

    def get(filename: str) -> Path | None:
        if (folder / filename).is_file():
            return folder / filename
        if try_to_load_from_cache(name, filename, revision=folder.name) is None:
            raise _Incomplete(f"does not have {filename} of revision {revision}, nor knows that there is none")
        return None

    _small_files(parts, get)
    if "weights" in parts:
        wanted = _weights([place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_file()], get)
        if not wanted:
            raise _Incomplete(f"has no weights of revision {revision}")
        for filename in wanted:
            get(filename)
    return folder


def _small_files(parts: tuple[str, ...], get: Get) -> dict[str, Path]:
    """Of each group of files the first that there is."""
    places = {}
    for alternatives in (group for part in parts for group in _SMALL_FILES[part]):
        for filename in alternatives:
            if place := get(filename):
                places[filename] = place
                break
    return places


def _weights(names: Iterable[str], get: Get) -> list[str]:
    """The files of the first complete set of weights among `names`, in the order in which a folder is searched."""
    names = list(names)
    for pattern in FOLDER_ORDER:
        found = [name for name in names if name == pattern or (_PLAIN.fullmatch(name) and fnmatchcase(name, pattern))]
        if len(found) != 1:  # of several TensorFlow checkpoints none is the model
            continue
        first = found[0]
        if first.endswith(".index.json"):
            return [first, *_shards(get(first))]
        if first.endswith(".index"):
            return [first, *_data_files(first.removesuffix(".index"), names)]
        return [first]
    return []


def _shards(index: Path | None) -> list[str]:
    """The files that an index of shards names; names of other kinds are left for its reader to refuse."""
    weight_map = read_json(index).get("weight_map") if index else None
    values = weight_map.values() if isinstance(weight_map, dict) else ()
    return sorted({value for value in values if isinstance(value, str) and _PLAIN.fullmatch(value)})


def _data_files(prefix: str, names: Iterable[str]) -> list[str]:
    """The files that hold the numbers of a TensorFlow checkpoint: prefix.data-00000-of-00002 and so on."""
    pattern = re.compile(re.escape(prefix) + r"\.data-\d{5}-of-(\d{5})", re.ASCII)
    counts = {match[1] for name in names if (match := pattern.fullmatch(name))} or {"00001"}
    return [f"{prefix}.data-{i:05}-of-{count}" for count in sorted(counts) for i in range(int(count))]


def _ask(name: str, filename: str, revision: str) -> Path | None:
    """The file, through the library's cache; None if the hub says that there is none, which the library remembers."""
    try:
        return Path(hf_hub_download(name, filename, revision=revision))
    except LocalEntryNotFoundError:  # one of the next kind by inheritance, but it means that nobody answered
        raise
    except EntryNotFoundError:
        return None


def _digest(listed: Any) -> str:
    """What the hub calls the content of a file: large ones by their SHA-256, the others as git does; "" if unknown."""
    digest = (listed.lfs.sha256 if listed.lfs else listed.blob_id) or ""  # not every copy of the hub tells
    if not re.fullmatch("|[0-9a-f]{40}|[0-9a-f]{64}", digest):
        raise ValueError("the answer has an impossible digest")
    return str(digest)


def _verify(place: Path, expected: str) -> None:
    """Deletes a file that is not what the hub's list says it is; the library compares only sizes."""
    if not expected:
        return
    git = hashlib.sha1(b"blob %d\0" % place.stat().st_size, usedforsecurity=False)
    digest = git if len(expected) == 40 else hashlib.sha256()
    with place.open("rb") as file:
        got = hashlib.file_digest(file, lambda: digest).hexdigest()
    if got != expected:
        if place.is_symlink():  # to the blob; one step only, for that may be a planted link itself
            with suppress(OSError):
                (place.parent / os.readlink(place)).unlink()
        place.unlink()
        raise LoadError(
            f"{place}: expected a file with the digest {expected}, as the hub says, got {got}; it was deleted",
            "fetch it again; if it happens again, something between here and the hub changes files",
        )


def _storage(name: str) -> Path:
    """Where the library keeps a model."""
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"))


def _checked(revision: str | None) -> str:
    if revision is None:
        return str(constants.DEFAULT_REVISION)
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise InputError(f"revision: expected a branch, a tag or a commit, got {quote(revision)}")
    return revision


def _host() -> str:
    """The hub's address without what may be secret in it."""
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]


@contextmanager
def _explaining(name: str, revision: str) -> Iterator[None]:
    """Turns what the library raises, its own errors and those of the libraries below it, into minibert's.

    Its texts are not passed on: they may hold signed addresses. Errors of the file system are left as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        cause: BaseException = error
        while isinstance(cause, LocalEntryNotFoundError) and cause.__cause__:
            cause = cause.__cause__
        if type(cause) is OSError:
            message = f"{_host()}: {name}: a file came with another size than the hub had announced, and was deleted"
            raise LoadError(message, f"try again: minibert download {name}{_option(revision)}") from error
        what, hint = _reason(cause, name, revision)
        again = name if isinstance(cause, RevisionNotFoundError) else f"{name}{_option(revision)}"
        raise NotFound(f"{_host()}: {what}", f"{hint}: minibert download {again}") from error


def _reason(error: BaseException, name: str, revision: str) -> tuple[str, str]:
    """What went wrong, and what to do before the command that fetches is given again."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "not asked, because HF_HUB_OFFLINE is set", "unset it, and with a connection"
    if isinstance(error, GatedRepoError):
        return f"{name} is gated, its authors have to grant access", f"ask for it on the model's page, {_LOGIN}, then"
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision}", "give a branch, a tag or a whole commit, or take the newest state"
    if status in (401, 404):
        return f"no model {name} ({status}), or a private one", f"check the name; if it is private, {_LOGIN}, then"
    if status == 403:
        return f"access to {name} is refused (403)", f"{_LOGIN}, as somebody who may read it, then"
    if status == 429:
        return "too many requests (429)", "wait some minutes, then"
    if status is not None:
        return f"failed to answer (HTTP {status})", "try again later"
    return (
        f"no answer, or not that of a hub ({type(error).__name__})",
        "check the connection, HTTPS_PROXY and HF_ENDPOINT, then",
    )


def _option(revision: str) -> str:
    return "" if revision == constants.DEFAULT_REVISION else f" --revision {revision}"
