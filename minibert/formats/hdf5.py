"""The program that lists the datasets of an HDF5 file, for `keras`, in a process of its own.

    python -I hdf5.py <entries of sys.path> < file.h5         # prints one JSON object

It imports nothing of this package. The answer {"datasets": [...], "metadata": {...}} has for each dataset a list of
name, dtype in this room's letters, whether it is big-endian, shape, offset, and bytes. Whatever goes wrong is an
answer, too: {"refused": ...} for a sound file that is not as Keras writes it, or else {"error": ...}.

What a dataset is, is asked before its shape, since asking a virtual dataset for its shape opens other files; no numbers
are read, no filter runs, and links are followed only if they are hard ones.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from typing import Any

CPU_SECONDS = 1.0  # of listing; BERT-large takes 0.1
MEMORY_LIMIT = 2**26  # bytes beyond what the process has when listing begins
OBJECT_LIMIT = 2**16  # groups and datasets; BERT-large has 1200
TEXT_LIMIT = 2**23  # characters of all names together, and bytes of an attribute
ERROR_LIMIT = 500  # characters


class Refused(Exception):
    """The file is HDF5, but not as Keras writes it."""


def main() -> None:
    """Answers for the file on standard input; ends the process itself, without libhdf5 cleaning up behind the file."""
    sys.path[:] = sys.argv[1:]
    with contextlib.suppress(ImportError):  # `answer` says so
        importlib.import_module("h5py")
    limit_this_process()
    sys.stdout.write(json.dumps(answer(io.FileIO(0, closefd=False))))
    sys.stdout.flush()
    os._exit(0)


def answer(file: io.RawIOBase) -> dict[str, Any]:
    """The listing of `file`, or why there is none."""
    try:
        return describe(importlib.import_module("h5py"), file)
    except Refused as refusal:
        return {"refused": str(refusal)[:ERROR_LIMIT]}
    except Exception as error:  # whatever h5py raises, in words that may quote the file
        text = f"not readable as HDF5: {type(error).__name__}: {error}"
        return {"error": text.encode("unicode_escape").decode()[:ERROR_LIMIT]}


def limit_this_process() -> None:
    """From here on so much processor time and memory, and no core dump; nothing where the system has no limits."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: the parent's clock has to do
        return
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF ends the process, also inside libhdf5
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:  # only Linux has it
        now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))


def describe(h5py: Any, file: io.RawIOBase) -> dict[str, Any]:
    """All datasets of `file` and its metadata. Raises Refused, or whatever h5py makes of a damaged file."""
    with h5py.File(file, "r") as opened:
        groups, datasets = _objects(h5py, opened.id)
        for name, group in groups.items():
            prefix = f"{name}/" if name else ""
            for kind, there in (("layer", groups), ("weight", datasets)):
                for listed in _texts(h5py, group, f"{kind}_names"):
                    if prefix + listed not in there:
                        raise Refused(f"{kind}_names of {name or '/'!r}: lists {listed!r}, which is not there")
        metadata = {key: texts[0] for key in ("keras_version", "backend") if (texts := _texts(h5py, opened.id, key))}
        return {"datasets": [_dataset(h5py, *item) for item in datasets.items()], "metadata": metadata}


def _objects(h5py: Any, root: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """All groups and all datasets by their path. An object with two names, perhaps inside itself, is refused."""
    groups: dict[str, Any] = {"": root}
    datasets: dict[str, Any] = {}
    characters = 0
    pending, addresses = [""], {h5py.h5o.get_info(root).addr}
    while pending:
        path = pending.pop()
        group = groups[path]
        for raw in group:
            name = f"{path}/{raw.decode()}" if path else raw.decode()
            characters += len(name)
            if len(groups) + len(datasets) >= OBJECT_LIMIT or characters > TEXT_LIMIT:
                raise Refused(f"more than {OBJECT_LIMIT} objects, or {TEXT_LIMIT} characters of names")
            if raw in (b"", b".", b"..") or b"/" in raw:
                raise Refused(f"{name!r}: a name with '/' or dots")
            link = group.links.get_info(raw)
            if link.type != h5py.h5l.TYPE_HARD:
                raise Refused(f"{name!r}: a link to elsewhere (soft or external), which is not followed")
            if link.u in addresses:  # where the object lies
                raise Refused(f"{name!r}: an object with two names")
            addresses.add(link.u)
            found = h5py.h5o.open(group, raw)
            if isinstance(found, h5py.h5g.GroupID):
                groups[name] = found
                pending.append(name)
            elif isinstance(found, h5py.h5d.DatasetID):
                datasets[name] = found
            else:
                raise Refused(f"{name!r}: expected a group or a dataset, got a {type(found).__name__}")
    return groups, datasets


def _dataset(h5py: Any, name: str, dataset: Any) -> list[Any]:
    """One dataset as the answer lists it."""
    plan = dataset.get_create_plist()
    layouts = {h5py.h5d.COMPACT: "compact", h5py.h5d.CHUNKED: "chunked", h5py.h5d.VIRTUAL: "virtual"}
    if plan.get_layout() != h5py.h5d.CONTIGUOUS:
        raise Refused(f"{name!r}: layout: expected contiguous, got {layouts.get(plan.get_layout(), 'an unknown one')}")
    if plan.get_external_count():
        raise Refused(f"{name!r}: its numbers are in another file, which is not opened")
    kind = dataset.get_type()
    known = {text: code for text, code in _types(h5py).items() if kind.equal(code)}
    if not known:
        raise Refused(f"{name!r}: dtype: expected integers or IEEE floats of 1 to 8 bytes, got another type")
    space = dataset.get_space()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise Refused(f"{name!r}: has no shape")
    (dtype,) = known
    shape = space.get_simple_extent_dims()
    return [name, dtype[:-2], dtype.endswith("BE"), shape, dataset.get_offset(), dataset.get_storage_size()]


def _types(h5py: Any) -> dict[str, Any]:
    """HDF5's own types by the letters of this room and the byte order."""
    codes = {}
    for order in ("LE", "BE"):
        for bits in (8, 16, 32, 64):
            codes[f"I{bits}{order}"] = getattr(h5py.h5t, f"STD_I{bits}{order}")
            codes[f"U{bits}{order}"] = getattr(h5py.h5t, f"STD_U{bits}{order}")
            if bits > 8:
                codes[f"F{bits}{order}"] = getattr(h5py.h5t, f"IEEE_F{bits}{order}")
    return codes


def _texts(h5py: Any, holder: Any, name: str) -> list[str]:
    """The texts of the attribute `name`, or of `name`0, `name`1, ..., into which Keras cuts long ones."""
    if h5py.h5a.exists(holder, name.encode()):
        return _attribute(h5py, holder, name)
    texts: list[str] = []
    i = 0
    while h5py.h5a.exists(holder, f"{name}{i}".encode()):
        texts += _attribute(h5py, holder, f"{name}{i}")
        i += 1
    return texts


def _attribute(h5py: Any, holder: Any, name: str) -> list[str]:
    attribute = h5py.h5a.open(holder, name.encode())
    space = attribute.get_space()
    if space.get_simple_extent_npoints() == 0:
        return []
    is_text = isinstance(attribute.get_type(), h5py.h5t.TypeStringID)
    if not is_text or attribute.get_storage_size() > TEXT_LIMIT or space.get_simple_extent_ndims() > 1:
        raise Refused(f"attribute {name}: expected at most {TEXT_LIMIT} bytes of texts")
    value = h5py.AttributeManager(h5py.Group(holder))[name]
    values = [value] if isinstance(value, str | bytes) else value.tolist()
    return [text if isinstance(text, str) else text.decode() for text in values]


if __name__ == "__main__":
    main()
