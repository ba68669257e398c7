"""Damaged HDF5 files: odd numbers in the fields of its structures, and answers of the library that are odd."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from minibert.formats import hdf5, keras
from minibert.formats.opening import open_weights
from tests.formats.forked import Lister
from tests.formats.fuzzing import survives

STRUCTURES = [b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"BTHD", b"\x89HDF"]


def sound(**options: Any) -> bytes:
    """A small file such as Keras writes."""
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        file.attrs["keras_version"] = "2.21.0"
        file.attrs["layer_names"] = np.array([b"bert", b"mlm"])
        for layer, shape in (("bert", (2, 3)), ("mlm", (4,))):
            group = file.create_group(layer)
            group.attrs["weight_names"] = ["x/kernel:0", "x/bias:0"]
            group.create_dataset("x/kernel:0", data=np.ones(shape, "<f4"))
            group.create_dataset("x/bias:0", data=np.ones(3, ">f8"))
    return content.getvalue()


def damaged(rng: random.Random, content: bytes, places: list[int]) -> bytes:
    """A few fields near the beginning of a structure, or anywhere, changed to numbers that mean something."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        width = rng.choice([1, 2, 4, 8, 8])
        at = rng.choice(places) + rng.randrange(160) if rng.random() < 0.8 else rng.randrange(len(changed))
        at = min(at // width * width, len(changed) - width)
        value = rng.choice([
            0, 1, 2, 3, 8, 16, len(content), len(content) - 8, 2**15, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1,
            rng.choice(places), rng.randrange(len(content)) & ~7, changed[at] ^ 1 << rng.randrange(8),
        ])  # fmt: skip
        changed[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.03 else changed)


def odd_listing(rng: random.Random, size: int) -> bytes:
    """What the library might say of a damaged file."""
    numbers = [0, 1, 3, 24, 100, size - 24, size, -1, 2**31, 2**40, 2**62, 2**63, 2**64 - 1]
    lines = []
    for i in range(rng.randrange(1, 5)):
        shape = [rng.choice([1, 2, 3, 4]) for _ in range(rng.randrange(3))]
        dtype = rng.choice(["F32", "F64", "I8", "U16"])
        nbytes = int(np.prod(shape)) * int(dtype[1:]) // 8
        offset: Any = 100 + 100 * i
        if rng.random() < 0.2:
            shape = [rng.choice(numbers) for _ in range(rng.choice([1, 2, 33]))]
        if rng.random() < 0.1:
            nbytes = rng.choice(numbers)
        if rng.random() < 0.1:
            offset = rng.choice([None, *numbers])
        lines.append(
            [rng.choice(["a/b:0", "é\n", "x" * 3000]) + str(i), dtype, rng.random() < 0.2, shape, offset, nbytes]
        )
    return json.dumps({"datasets": lines, "metadata": {}}).encode()


def test_damaged_files_are_read_or_refused(tmp_path: Path, fuzz_cases: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library runs in a fork instead of a new process, and may take less time; the limits are the same."""
    monkeypatch.setattr(hdf5, "CPU_SECONDS", 0.2)
    rng, lister = random.Random(0), Lister()
    files = [sound(libver="earliest")] * 4 + [sound(libver="latest")]
    places = [[at for at in range(len(file)) if file.startswith(tuple(STRUCTURES), at)] for file in files]
    outcomes: Counter[str] = Counter()
    for i in range(fuzz_cases):
        which = rng.randrange(len(files))
        if i % 5 == 0:
            listing, content = odd_listing(rng, len(files[which])), files[which]
            monkeypatch.setattr(keras, "list_datasets", lambda path, file, listing=listing: listing)
        else:
            content = damaged(rng, files[which], places[which])
            monkeypatch.setattr(keras, "list_datasets", lister)
        if i % 100 == 0:
            lister.close()  # whatever its library remembers of so many damaged files
        kind = "damaged file" if i % 5 else "odd answer"
        outcomes[f"{kind} {survives(open_weights, tmp_path / 'a.h5', {'a.h5': content})}"] += 1
    lister.close()
    for kind, share in (("odd answer", 0.04), ("damaged file", 0.1)):
        assert outcomes[f"{kind} read"] > share * fuzz_cases
        assert outcomes[f"{kind} refused"] > share * fuzz_cases
