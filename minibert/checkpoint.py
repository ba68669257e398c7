"""Published checkpoints and models: which tensor in a file is which tensor of a model.

One name for one tensor. Models use Hugging Face's; the other columns are for orientation.

    Hugging Face (out, in)                          Google TF (in, out)                        paper
    bert.embeddings.word_embeddings.weight          bert/embeddings/word_embeddings            E
    bert.embeddings.LayerNorm.{weight,bias}         bert/embeddings/LayerNorm/{gamma,beta}     γ, β
    bert.encoder.layer.i.attention.self.query.*     bert/encoder/layer_i/attention/self/...    W^Q
    bert.encoder.layer.i.attention.output.dense.*   .../attention/output/dense/{kernel,bias}   W^O
    bert.encoder.layer.i.intermediate.dense.*       .../intermediate/dense/{kernel,bias}       W₁, b₁
    bert.encoder.layer.i.output.dense.*             .../output/dense/{kernel,bias}             W₂, b₂
    cls.predictions.bias                            cls/predictions/output_bias
    cls.predictions.decoder.weight                  (the word embeddings)                      Eᵀ

Rules for files in the wild: LayerNorm.gamma/beta are old names of weight/bias; the prefix "bert." may be there or not;
position_ids and token_type_ids are buffers, not weights; a decoder that is tied may be stored a second time.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import LoadError, NotFound
from .formats.atomic import write_atomic
from .formats.jsonfile import read_json
from .formats.safetensors import nonfinite, save_safetensors
from .formats.shards import Checkpoint, open_checkpoint
from .locate import locate

if TYPE_CHECKING:
    from .models.parameters import Block, Param

CONFIG_FILES = ("config.json", "bert_config.json")
FLOATS = {"F16", "BF16", "F32", "F64"}
DECODER_WEIGHT, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
LM_BIAS, WORDS = "cls.predictions.bias", "bert.embeddings.word_embeddings.weight"
BUFFERS = {"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"}
HEADS = ("cls.", "classifier.", "qa_outputs.", "bert.pooler.")
"""Parts that other classes have; a class without them leaves them in the file."""


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
    unused: list[str] = field(default_factory=list)  # heads and buffers that this class has no use for
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.path}: {len(self.loaded)} tensors loaded"]
        for what in ("missing", "unexpected", "misshapen", "unused"):
            names = getattr(self, what)
            if names:
                parts.append(f"{len(names)} {what}: {_some(names)}")
        return "; ".join(parts + self.notes)


@dataclass
class Pretrained:
    """An opened checkpoint: nothing has been read yet but the config and the names."""

    directory: Path
    config: dict[str, Any]
    tensors: Checkpoint


@dataclass
class Plan:
    """Which tensor of the file goes where; made and checked before a model is allocated."""

    source: Pretrained
    report: LoadReport
    pairs: list[tuple[str, str]]  # (name in the model, name in the file)

    def read_into(self, block: Block) -> None:
        """Read every tensor of the plan into its place; half precision becomes the block's dtype exactly."""
        for name, stored in self.pairs:
            np.copyto(block[name], self.source.tensors.read(stored), casting="same_kind")
        with np.errstate(over="ignore", invalid="ignore"):
            square = np.dot(block.flat, block.flat)  # one fast pass; it may overflow, so look again by name
        if not np.isfinite(square):
            names = nonfinite({stored: block[name] for name, stored in self.pairs})
            if names:
                self.report.notes.append(f"not finite: {_some(names)}")
                warnings.warn(f"{self.source.directory}: NaN or infinite weights in {_some(names)}", stacklevel=4)


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """config.json, or Google's bert_config.json, of a folder, as it stands."""
    directory = locate(path)
    for name in CONFIG_FILES:
        if (directory / name).is_file():
            return read_json(directory / name)
    raise NotFound(
        f"{directory}: no config.json (looked for {', '.join(CONFIG_FILES)})",
        "a model folder holds config.json and model.safetensors",
    )


def open_pretrained(path: str | os.PathLike[str]) -> Pretrained:
    """Find the folder, read its config, open its weights. NotFound or LoadError say what was looked for."""
    directory = locate(path)
    if not directory.is_dir():
        raise NotFound(f"{path}: expected a folder with config.json and model.safetensors, got a file")
    return Pretrained(directory, read_config(directory), open_checkpoint(directory))


def canonical(name: str) -> str:
    """The name that Hugging Face's head classes use today for a tensor stored under an older or shorter one."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def plan(
    source: Pretrained, spec: Iterable[Param], tied: bool, strict: bool = True, optional: set[str] | None = None
) -> Plan:
    """Match the tensors of a file with those of a model. LoadError lists everything that does not fit, at once.

    strict      refuse missing and unexpected tensors; otherwise warn of them
    optional    names that may be missing even so, all of them together: a head that is to be trained
    Tensors of a wrong shape are always refused.
    """
    infos = source.tensors.tensors
    report = LoadReport(str(source.directory))
    stored: dict[str, str] = {}
    for name in infos:
        if canonical(name) in stored:
            raise LoadError(f"{source.directory}: {name} and {stored[canonical(name)]} are one tensor under two names")
        stored[canonical(name)] = name
    _settle_decoder(stored, tied, source, report)

    pairs: list[tuple[str, str]] = []
    for param in spec:
        if canonical(param.name) not in stored:
            report.missing.append(param.name)
            continue
        name = stored.pop(canonical(param.name))
        info = infos[name]
        if tuple(info.shape) != param.shape or info.dtype not in FLOATS:
            report.misshapen.append(f"{name} is {info.dtype} {list(info.shape)}, expected {list(param.shape)}")
        pairs.append((param.name, name))
        report.loaded.append(name)
    for known, name in stored.items():
        unused = known in BUFFERS or known.startswith(HEADS)
        (report.unused if unused else report.unexpected).append(name)

    forgiven = not strict or set(report.missing) == (optional or set())
    problems = [f"misshapen: {_some(report.misshapen)}"] if report.misshapen else []
    if strict and report.unexpected:
        problems.append(f"{len(report.unexpected)} unexpected: {_some(report.unexpected)}")
    if report.missing and not forgiven:
        problems.insert(0, f"{len(report.missing)} missing: {_some(report.missing)}")
    if problems:
        raise LoadError(
            f"{source.directory}: the weights do not fit the model; {'; '.join(problems)}",
            _remedy(report),
        )
    if report.missing:
        report.notes.append("what is missing has fresh weights and must be trained")
    if report.missing or report.unexpected:
        warnings.warn(str(report), MissingWeights, stacklevel=3)
    return Plan(source, report, pairs)


def _remedy(report: LoadReport) -> str:
    if report.misshapen:
        return "config.json, or a value given with it, contradicts the weights"
    if report.missing and all(canonical(name).startswith(HEADS) for name in report.missing):
        return (
            "the checkpoint has no such head; in Python, strict=False or num_labels=... gives it fresh weights to train"
        )
    return "strict=False starts missing tensors fresh and leaves unexpected ones out"


def _settle_decoder(stored: dict[str, str], tied: bool, source: Pretrained, report: LoadReport) -> None:
    """The masked-LM decoder may repeat the word embeddings, and its bias goes by two names.

    Tied, `bias` and `decoder.bias` are one tensor and models call it `bias`; untied, `decoder.bias` is the one that
    acts. A second copy of a tied tensor is left out, and a warning says so if it differs from the first.
    """
    name, other = (LM_BIAS, DECODER_BIAS) if tied else (DECODER_BIAS, LM_BIAS)
    if name not in stored and other in stored:
        stored[name] = stored.pop(other)
    copies = [(DECODER_WEIGHT, WORDS), (DECODER_BIAS, LM_BIAS)] if tied else []
    for copy, original in copies:
        if copy in stored and original in stored:
            spare = stored.pop(copy)
            report.unused.append(spare)
            if not _equal(source, spare, stored[original]):
                note = f"{spare} differs from {stored[original]} although tie_word_embeddings is true; it is not used"
                report.notes.append(note)
                warnings.warn(f"{source.directory}: {note}", stacklevel=4)


def _equal(source: Pretrained, a: str, b: str) -> bool:
    infos = source.tensors.tensors
    if tuple(infos[a].shape) != tuple(infos[b].shape):
        return False
    return bool(np.array_equal(source.tensors.read(a), source.tensors.read(b)))


def save_pretrained(directory: str | os.PathLike[str], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write config.json and model.safetensors into a folder, made if need be; each file is replaced whole or not."""
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise LoadError(f"{folder}: expected a folder to save into, got a file")
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / "model.safetensors", dict(arrays))
    write_atomic(folder / "config.json", (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())


def _some(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
