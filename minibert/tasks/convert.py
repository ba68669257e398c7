"""Converting a checkpoint of any format into another, with an account of what became of every tensor."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checkpoint.inference import architecture
from ..checkpoint.names import canonical, tensorflow_name
from ..checkpoint.opening import CLASSIFIER, DECODER_WEIGHT, WORDS, Pretrained, open_pretrained, same_numbers
from ..checkpoint.plan import BUFFERS, DECODER_BIAS, HEADS, LM_BIAS, TIED, match, some
from ..checkpoint.saving import TARGETS, notes_on_googles_code, save_weights
from ..errors import InputError, LoadError
from ..formats.atomic import write_atomic
from ..formats.files import open_regular
from ..formats.jsonfile import read_json
from ..locate import locate
from ..models.base import BertPreTrainedModel
from ..models.config import BertConfig
from ..models.crf import BertCrfForTokenClassification
from ..models.encoder import BertModel
from ..models.finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from ..models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from ..text.casing import advise

__all__ = ["Conversion", "Row", "convert"]

CLASSES: dict[str, type[BertPreTrainedModel]] = {
    cls.__name__: cls
    for cls in (
        BertModel,
        BertForPreTraining,
        BertForMaskedLM,
        BertForNextSentencePrediction,
        BertForSequenceClassification,
        BertForMultipleChoice,
        BertForTokenClassification,
        BertForQuestionAnswering,
        BertCrfForTokenClassification,
    )
}
REPORT = "report.json"
COMPANIONS = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    # Of a sentence-transformer. Without them SentenceEncoder would pool in another way, and say nothing.
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
COMPANION_LIMIT = 256 * 2**20  # bytes


class Row(NamedTuple):
    """One tensor: its name there and here, what was done to it, how it was stored, the SHA-256 of its numbers there."""

    source: str
    target: str
    operation: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass
class Conversion:
    """What a conversion did.

    All by names in the source: tied are second names of tensors that are written once; unused gives the reasons.
    missing are tensors that the architecture has and the source has not.
    """

    source: str
    format: str
    target: str
    to: str
    architecture: str
    files: list[str]
    tensors: list[Row]
    tied: dict[str, str]
    unused: dict[str, str]
    missing: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The contents of report.json."""
        return {**asdict(self), "tensors": [row._asdict() for row in self.tensors]}


def convert(
    source: str | os.PathLike[str], target: str | os.PathLike[str], to: str = "safetensors", strict: bool = True
) -> Conversion:
    """Read the model `source`, of any format, and write it into the new or empty folder `target`.

    source    as in `open_pretrained`
    to        "safetensors", "npz" or "tf" (see `saving`)
    strict    refuse a source with tensors that are no part of BERT; otherwise they are left out and reported

    Every tensor of BERT is written, heads included; the files of the tokenizer and of sentence-transformers come along,
    and report.json, the last file, says what became of each tensor. Dtypes stay, but bfloat16, which becomes float32
    exactly. Raises LoadError, NotFound or InputError before anything is written.
    """
    if to not in TARGETS:
        raise InputError(f"to: expected one of {', '.join(TARGETS)}, got {to!r}")
    if not os.fspath(target):
        raise InputError("target: expected the name of a new folder, got an empty one")
    folder = Path(target).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or an empty folder, so that nothing is overwritten")
    opened = open_pretrained(locate(source, parts=("config", "tokenizer", "sentence", "weights")))
    config, names, missing, notes = _settle(opened, strict)
    if to == "tf":
        notes += notes_on_googles_code(config, {opened.info(name).dtype for name in names})
    companions = _companions(opened.path, notes)
    cut = _padded(opened, config["vocab_size"])
    arrays = {name: opened.read(name)[: cut[name]] if name in cut else opened.read(name) for name in names}
    copies = {copy: first for copy, first in TIED.items() if copy in opened.sources and copy not in names}
    sources = opened.sources
    untied = [copy for copy, name in copies.items() if not same_numbers(opened.weights, sources[copy], sources[name])]
    files = save_weights(folder, config, arrays, to, companions)
    result = Conversion(
        source=str(opened.path),
        format=opened.weights.format,
        target=str(folder),
        to=to,
        architecture=config["architectures"][0],
        files=[*files, REPORT],
        tensors=[_row(opened, name, to, cut.get(name)) for name in names],
        tied={
            opened.sources[copy].stored: opened.sources[original].stored
            for copy, original in copies.items()
            if copy not in untied
        },
        unused={
            **opened.skipped,
            **{opened.sources[name].stored: "a buffer" for name in BUFFERS if name in opened.sources},
            **{opened.sources[name].stored: "differs from what it is tied to" for name in untied},
            **dict.fromkeys(opened.unknown, "no part of BERT"),
        },
        missing=missing,
        notes=notes,
    )
    write_atomic(folder / REPORT, (json.dumps(result.to_dict(), indent=1) + "\n").encode())
    return result


def _settle(opened: Pretrained, strict: bool) -> tuple[dict[str, Any], list[str], list[str], list[str]]:
    """-> the full config, the names to be written, those missing, notes. LoadError if config and weights disagree."""
    guess = architecture(opened.sources)
    if guess is None:
        raise LoadError(
            f"{opened.path}: no BERT: none of {len(opened.weights.tensors)} tensors is an encoder layer's",
            f"the first names: {some(list(opened.weights.tensors), 3)}",
        )
    if strict and opened.unknown:
        raise LoadError(
            f"{opened.path}: {len(opened.unknown)} tensors are no part of BERT: {some(opened.unknown)}",
            "convert --drop-unknown, or strict=False, leaves them out",
        )
    config = BertConfig.from_dict(opened.config)
    if CLASSIFIER in opened.sources and opened.info(CLASSIFIER).shape[:1] == (1,) and config.num_labels != 1:
        guess = "BertForMultipleChoice"  # a score a choice, whatever the number of labels
    named = (opened.config.get("architectures") or [None])[0]
    kind = CLASSES[named if named in CLASSES else guess]
    report, _ = match(opened, kind.spec(config), config.tie_word_embeddings)
    if report.misshapen:
        raise LoadError(f"{opened.path}: config.json contradicts the weights: {some(report.misshapen)}")
    lost = [name for name in report.missing if not (canonical(name) or name).startswith(HEADS)]
    if lost:
        raise LoadError(
            f"{opened.path}: {len(lost)} tensors of the encoder are missing: {some(lost, 3)}",
            "one shard of several is no model: give their folder, or their .index.json",
        )
    left_out = {*BUFFERS, *(TIED if config.tie_word_embeddings else ())}
    names = [name for name in opened.sources if name not in left_out]
    values = {**config.to_dict(), "architectures": [kind.__name__]}
    if any(opened.info(name).dtype == "BF16" for name in names):  # float32 from here on
        values = {key: value for key, value in values.items() if key not in ("dtype", "torch_dtype")}
    return values, names, report.missing, report.notes


def _padded(opened: Pretrained, words: int) -> dict[str, int]:
    """name -> how many of its rows are words, for tensors with a row a word, if the vocabulary is padded."""
    names = [name for name in (WORDS, LM_BIAS, DECODER_WEIGHT, DECODER_BIAS) if name in opened.sources]
    rows = {name: opened.info(name).shape[:1] for name in names}
    return {name: words for name in names if rows[name] == rows.get(WORDS) and rows[name] > (words,)}


def _row(opened: Pretrained, name: str, to: str, rows: int | None) -> Row:
    source, info = opened.sources[name], opened.weights.tensors[opened.sources[name].stored]
    target, written = (tensorflow_name(name) or (name, "same")) if to == "tf" else (name, "same")
    operation = written if source.operation == "same" else f"{source.operation}, {written}".removesuffix(", same")
    operation = operation.replace("transpose, transpose", "same").removesuffix(", same")
    if rows is not None:
        operation = f"{operation}, first {rows} rows".removeprefix("same, ")
    numbers = np.ascontiguousarray(opened.weights.read(source.stored))
    digest = hashlib.sha256(numbers.reshape(-1).view(np.uint8).data).hexdigest()
    return Row(source.stored, target, operation, info.dtype, info.shape, digest)


def _companions(path: Path, notes: list[str]) -> dict[str, bytes]:
    """The files that come along; where none says whether to lower-case, tokenizer_config.json gets the advice."""
    home = path if path.is_dir() else path.parent
    found = {}
    for name in COMPANIONS:
        if (home / name).is_file():
            with open_regular(home / name) as file:
                data = file.read(COMPANION_LIMIT + 1)
            if len(data) > COMPANION_LIMIT:
                raise LoadError(f"{home / name}: expected at most {COMPANION_LIMIT} bytes, got more")
            found[name] = data
    advice = advise(home)
    if advice is not None:
        lower_case, reason = advice
        settings = home / "tokenizer_config.json"
        values = read_json(settings) if settings.is_file() else {"tokenizer_class": "BertTokenizer"}
        found[settings.name] = (json.dumps({**values, "do_lower_case": lower_case}, indent=2) + "\n").encode()
        notes.append(f"tokenizer_config.json now says do_lower_case: {str(lower_case).lower()}, since {reason}")
    return found
