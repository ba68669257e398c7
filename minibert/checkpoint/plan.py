"""From an opened checkpoint into a model: what goes where, what does not fit, and then the numbers themselves."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LoadError
from ..formats.weights import DTYPES, Array
from .names import canonical
from .opening import DECODER_WEIGHT, WORDS, Pretrained, same_numbers

if TYPE_CHECKING:
    from ..models.parameters import Block, Param

__all__ = ["LoadReport", "MissingWeights", "Plan", "match", "plan", "some"]

FLOATS = {"F16", "BF16", "F32", "F64"}
DECODER_BIAS, LM_BIAS = "cls.predictions.decoder.bias", "cls.predictions.bias"
TIED = {DECODER_WEIGHT: WORDS, DECODER_BIAS: LM_BIAS}
"""Second names, where the masked-LM decoder is tied to the word embeddings."""
BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")
HEADS = ("cls.", "classifier.", "crf.", "qa_outputs.", "bert.pooler.")
"""Parts that other classes have; a class without them leaves them in the file."""
PADDED = (8, 64, 128)  # NVIDIA's code rounds the vocabulary up to multiples of these, for the matrix units

TILE = 64  # rows and columns at a time of a transposed copy: both sides of it stay in the processor's cache


class MissingWeights(UserWarning):
    """Part of the model got fresh weights because the checkpoint has none for it."""


@dataclass
class LoadReport:
    """What became of every tensor, by the names in the file (missing ones: in the model)."""

    path: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # heads, buffers, optimiser state: no use to this class
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.path}: {len(self.loaded)} tensors loaded"]
        for what in ("missing", "unexpected", "misshapen", "unused"):
            names = getattr(self, what)
            if names:
                parts.append(f"{len(names)} {what}: {some(names)}")
        return "; ".join(parts + self.notes)


@dataclass
class Plan:
    """Which tensor of the file goes where; made and checked before a model is allocated."""

    source: Pretrained
    report: LoadReport
    pairs: list[tuple[str, str]]  # (name in the model, canonical name)
    spec: list[Param]

    def lies_ready(self, dtype: np.dtype[Any]) -> bool:
        """Whether every tensor of the model is in the file in this dtype, this shape and this order."""
        shapes = {param.name: param.shape for param in self.spec}
        return len(self.pairs) == len(self.spec) and all(
            self.source.sources[name].operation == "same"
            and self.source.info(name).shape == shapes[own]
            and DTYPES[self.source.info(name).dtype] == dtype
            for own, name in self.pairs
        )

    def windows(self) -> dict[str, Array]:
        """{name in the model: array}, where the file lies if that can be; for a plan that `lies_ready`."""
        return self._read_each(lambda own, name: self.source.read(name))

    def read_into(self, block: Block) -> None:
        """Read every tensor of the plan into its place; half precision becomes the block's dtype exactly."""

        def read(own: str, name: str) -> Array:
            array = self.source.read(name)
            place: Array = block[own]
            copy(array[: len(place)] if array.shape != place.shape else array, place)
            return place

        self._read_each(read)

    def _read_each(self, read: Callable[[str, str], Array]) -> dict[str, Array]:
        """{name in the model: what `read` gives}; a warning names the tensors that are not finite.

        Several threads share the tensors: checksums, page faults, copies and sums all run outside Python's lock.
        """

        def task(pair: tuple[str, str]) -> tuple[str, Array, bool]:
            array = read(*pair)
            return pair[0], array, _is_finite(array)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            results = list(pool.map(task, self.pairs))
        names = [
            self.source.sources[pair[1]].stored
            for pair, result in zip(self.pairs, results, strict=True)
            if not result[2]
        ]
        if names:
            self.report.notes.append(f"not finite: {some(names)}")
            warnings.warn(f"{self.source.path}: NaN or infinite weights in {some(names)}", stacklevel=5)
        return {own: array for own, array, _ in results}


def _is_finite(array: Array) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # one fast pass; finite numbers may overflow in it, so look again
    return bool(np.isfinite(total) or np.isfinite(array).all())


def copy(source: Array, target: Array) -> None:
    """target[...] = source. A transposed matrix goes in tiles: line by line, every element would be a cache miss."""
    if source.ndim < 2 or source.flags.c_contiguous:
        np.copyto(target, source, casting="same_kind")
        return
    for i in range(0, len(target), TILE):
        for j in range(0, target.shape[1], TILE):
            tile = (slice(i, i + TILE), slice(j, j + TILE))
            np.copyto(target[tile], source[tile], casting="same_kind")


def plan(
    source: Pretrained, spec: list[Param], tied: bool, strict: bool = True, optional: Iterable[set[str]] = ()
) -> Plan:
    """Match the tensors of a file with those of a model. LoadError lists everything that does not fit, at once.

    strict      refuse missing and unexpected tensors; otherwise warn of them
    optional    names that may be missing even so, all of a set together: a head that is to be trained
    Tensors of a wrong shape are always refused.
    """
    report, pairs = match(source, spec, tied)
    forgiven = not strict or set(report.missing) in [set(), *optional]
    problems = [f"misshapen: {some(report.misshapen)}"] if report.misshapen else []
    if strict and report.unexpected:
        problems.append(f"{len(report.unexpected)} unexpected: {some(report.unexpected)}")
    if report.missing and not forgiven:
        problems.insert(0, f"{len(report.missing)} missing: {some(report.missing)}")
    if not report.loaded:
        problems.insert(0, "not one tensor of it is there")
    if problems:
        raise LoadError(f"{source.path}: the weights do not fit the model; {'; '.join(problems)}", _remedy(report))
    if report.missing:
        report.notes.append("what is missing has fresh weights and must be trained")
    if report.missing or report.unexpected:
        warnings.warn(str(report), MissingWeights, stacklevel=3)
    return Plan(source, report, pairs, spec)


def match(source: Pretrained, spec: Iterable[Param], tied: bool) -> tuple[LoadReport, list[tuple[str, str]]]:
    """-> what becomes of every tensor, and the pairs of a Plan; whether that will do is for others to say."""
    report = LoadReport(str(source.path), unused=list(source.skipped), unexpected=list(source.unknown))
    report.notes += source.notes
    names = _settle_decoder(source, tied, report)

    pairs: list[tuple[str, str]] = []
    for param in spec:
        name = canonical(param.name) or param.name
        if name not in names:
            report.missing.append(param.name)
            continue
        names.remove(name)
        _check_shape(source, name, param, report)
        pairs.append((param.name, name))
        report.loaded.append(source.sources[name].stored)
    for name in names:
        unused = name in BUFFERS or name.startswith(HEADS)
        (report.unused if unused else report.unexpected).append(source.sources[name].stored)
    return report, pairs


def _check_shape(source: Pretrained, name: str, param: Param, report: LoadReport) -> None:
    info, stored = source.info(name), source.sources[name].stored
    if info.shape == param.shape and info.dtype in FLOATS:
        return
    rows, words = (info.shape or (0,))[0], param.shape[0]
    padded = name in (WORDS, DECODER_WEIGHT, DECODER_BIAS, LM_BIAS) and info.shape[1:] == param.shape[1:]
    if padded and rows > words and info.dtype in FLOATS and any(rows == -(-words // n) * n for n in PADDED):
        report.notes.append(f"{stored} has {rows} rows for a vocabulary of {words}; the padding is left out")
        return
    problem = f"{stored} is {info.dtype} {list(info.shape)}, expected {list(param.shape)}"
    if info.shape != param.shape and info.shape == param.shape[::-1]:
        problem += ", its transpose"
    report.misshapen.append(problem)


def _remedy(report: LoadReport) -> str:
    if report.misshapen:
        return "config.json, or a value given with it, contradicts the weights"
    if not report.loaded:
        return f"no tensor goes by a name of BERT's; the first are {some(report.unexpected + report.unused, 3)}"
    if report.missing and all((canonical(name) or name).startswith(HEADS) for name in report.missing):
        return (
            "the checkpoint has no such head; in Python, strict=False or num_labels=... gives it fresh weights to train"
        )
    return "strict=False starts missing tensors fresh and leaves unexpected ones out"


def _settle_decoder(source: Pretrained, tied: bool, report: LoadReport) -> list[str]:
    """The names in `source.sources` that count, once the masked-LM decoder is settled; renames its bias there.

    It may repeat the word embeddings, and its bias goes by two names. Tied, `bias` and `decoder.bias` are one tensor
    and models call it `bias`; untied, `decoder.bias` is the one that acts. A second copy of a tied tensor is left out,
    and a warning says so if it differs from the first.
    """
    sources = source.sources
    name, other = (LM_BIAS, DECODER_BIAS) if tied else (DECODER_BIAS, LM_BIAS)
    if name not in sources and other in sources:
        sources[name] = sources.pop(other)
    names = list(sources)
    for repeated, original in TIED.items():
        if tied and repeated in sources and original in sources:
            names.remove(repeated)
            spare, kept = sources[repeated], sources[original]
            report.unused.append(spare.stored)
            if not same_numbers(source.weights, spare, kept):
                note = f"{spare.stored} differs from {kept.stored} although tie_word_embeddings is true; it is not used"
                report.notes.append(note)
                warnings.warn(f"{source.path}: {note}", stacklevel=4)
    return names


def some(names: list[str], limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
