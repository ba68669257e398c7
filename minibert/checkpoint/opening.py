"""Opening a published model: its configuration, and which of its tensors is which. No number is read yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LoadError, NotFound
from ..formats.jsonfile import read_json
from ..formats.opening import open_weights
from ..formats.weights import Array, TensorInfo, Weights
from ..locate import locate
from .inference import infer_config, looks_like_roberta
from .names import OPERATIONS, Source, canonical, is_optimiser_state, rearranged, translate

__all__ = ["CONFIG_FILES", "Pretrained", "open_pretrained", "read_config", "recognise"]

CONFIG_FILES = ("config.json", "bert_config.json")
DECODER_WEIGHT, WORDS = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"
CLASSIFIER = "classifier.weight"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass
class Pretrained:
    """An opened checkpoint.

    path      what was opened: a folder, a file or a TensorFlow prefix
    config    the contents of config.json or bert_config.json; told from the shapes where there is neither
    weights   the file or files, under their own names
    sources   Hugging Face's name -> where that tensor comes from; any head that is there is among them
    skipped   name in the file -> why it is no part of the model: optimiser state, the object graph, a second copy
    unknown   names in the file that are nothing of BERT
    notes     what people should know, a sentence each
    """

    path: Path
    config: dict[str, Any]
    weights: Weights
    sources: dict[str, Source]
    skipped: dict[str, str]
    unknown: list[str]
    notes: list[str]

    def leave_out(self, names: Iterable[str], why: str) -> None:
        """Tensors by Hugging Face's name, as if the file had none of them; `skipped` says why."""
        for name in names:
            if source := self.sources.pop(canonical(name) or name, None):
                self.skipped[source.stored] = why

    def info(self, name: str) -> TensorInfo:
        """Dtype and shape of a tensor by Hugging Face's name and in Hugging Face's layout."""
        source = self.sources[name]
        info = self.weights.tensors[source.stored]
        return info._replace(shape=rearranged(source.operation, info.shape))

    def read(self, name: str) -> Array:
        """The tensor by Hugging Face's name and in Hugging Face's layout; a view where it can be, transposed or not."""
        source = self.sources[name]
        return OPERATIONS[source.operation](self.weights.read(source.stored))


def read_config(path: str | os.PathLike[str], revision: str | None = None) -> dict[str, Any]:
    """config.json, or Google's bert_config.json, of a folder or beside a file, as it stands."""
    place = locate(path, revision, parts=("config",))
    folder = place if place.is_dir() else place.parent
    for name in CONFIG_FILES:
        if (folder / name).is_file():
            return read_json(folder / name)
    raise NotFound(
        f"{folder}: no config.json (looked for {', '.join(CONFIG_FILES)})",
        "a model folder holds its configuration beside its weights",
    )


def open_pretrained(
    path: str | os.PathLike[str], revision: str | None = None, given: Mapping[str, Any] | None = None
) -> Pretrained:
    """Finds the model, opens its weights, recognises its tensors and reads its configuration.

    path       a folder with weights of any format, a weight file, a TensorFlow prefix, pkg:NAME/sub/dir, or a name
               on the hub
    revision   of the hub: a branch, tag or commit
    given      configuration values that the caller has of his own, for what shapes cannot tell

    NotFound or LoadError say what was looked for, and where.
    """
    place = locate(path, revision, parts=("config", "weights"))
    weights = open_weights(place)
    sources, skipped, unknown = recognise(weights)
    notes = list(weights.notes)
    wrappers = sorted({source.wrapper for source in sources.values()} - {""})
    if wrappers:
        notes.append(f"names begin with {', '.join(wrappers)}, which is left out")
    shapes = {name: weights.tensors[source.stored].shape for name, source in sources.items()}
    try:
        config = read_config(place)
        stated = {*config, *(given or {})}
        rows = rearranged(sources[CLASSIFIER].operation, shapes[CLASSIFIER])[:1] if CLASSIFIER in sources else ()
        silent = not {"num_labels", "id2label"} & set(config)  # Google's says nothing of labels
        if rows not in ((), (2,)) and silent and config.get("architectures") != ["BertForMultipleChoice"]:
            config["num_labels"] = rows[0]
            notes.append(f"num_labels is {rows[0]}, the rows of the classifier; the configuration says nothing of it")
    except NotFound:
        stated = {*(given or {})}
        config, told = infer_config(shapes, sources, given or {}, str(place))
        notes += told
        if (
            DECODER_WEIGHT in sources
            and WORDS in sources
            and not same_numbers(weights, sources[DECODER_WEIGHT], sources[WORDS])
        ):
            config["tie_word_embeddings"] = False
            notes.append("the masked-LM decoder differs from the word embeddings: it is not tied to them")
    if "model_type" not in stated and looks_like_roberta(shapes):
        raise LoadError(
            f"{place}: no BERT, by the shapes: one token type and 2^k + 2 positions are RoBERTa's, which counts "
            "positions from 2",
            'if it is a BERT all the same, its config.json should say "model_type": "bert"',
        )
    act = (given or {}).get("hidden_act") or config.get("hidden_act", "gelu")
    if weights.format.startswith("TensorFlow") and act == "gelu":
        notes.append(
            'hidden_act "gelu" is taken for the exact, erf form, as Hugging Face does; Google\'s own code computed '
            "that until February 2019 and the tanh form since: hidden_act=gelu_new gives the latter"
        )
    return Pretrained(place, config, weights, sources, skipped, unknown, notes)


def recognise(weights: Weights) -> tuple[dict[str, Source], dict[str, str], list[str]]:
    """-> sources, skipped and unknown (see Pretrained). LoadError if two different tensors claim one name."""
    sources: dict[str, Source] = {}
    skipped: dict[str, str] = {}
    unknown: list[str] = []
    for stored, info in weights.tensors.items():
        if stored in weights.slots or is_optimiser_state(stored):
            skipped[stored] = "the object graph" if stored == OBJECT_GRAPH else "optimiser state"
            continue
        found = translate(stored, len(info.shape))
        if found is None:
            unknown.append(stored)
            continue
        name, source = found
        if name not in sources:
            sources[name] = source
        elif same_numbers(weights, sources[name], source):
            skipped[stored] = f"repeats {sources[name].stored}"
        else:
            raise LoadError(
                f"{weights.paths[0]}: {stored} and {sources[name].stored} are one tensor under two names, but differ",
                "if the file holds two models, save the one you want by itself",
            )
    return sources, skipped, unknown


def same_numbers(weights: Weights, a: Source, b: Source) -> bool:
    """Whether two tensors of a file are equal, once each is rearranged."""
    first, second = (weights.ties.get(source.stored, source.stored) for source in (a, b))
    if first == second and a.operation == b.operation:
        return True
    shapes = [rearranged(source.operation, weights.tensors[source.stored].shape) for source in (a, b)]
    if shapes[0] != shapes[1]:
        return False
    arrays = [OPERATIONS[source.operation](weights.read(source.stored)) for source in (a, b)]
    return bool(np.array_equal(arrays[0], arrays[1], equal_nan=True))
