"""What the names and shapes of weights tell of a model where no configuration lies beside them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import LoadError
from .names import Source, rearranged

__all__ = ["architecture", "infer_config", "looks_like_roberta"]

WORDS = "bert.embeddings.word_embeddings.weight"
POSITIONS = "bert.embeddings.position_embeddings.weight"
TYPES = "bert.embeddings.token_type_embeddings.weight"
INTERMEDIATE = "bert.encoder.layer.0.intermediate.dense.weight"
QUERY = "bert.encoder.layer.0.attention.self.query.weight"
HEADS = {128: 2, 256: 4, 312: 12, 384: 12, 512: 8, 768: 12, 1024: 16}
"""Hidden size -> heads of the published BERTs, with 64 dimensions a head but for TinyBERT (312) and MiniLM (384)."""


def architecture(names: Iterable[str]) -> str | None:
    """The class whose tensors these canonical names are; None without an encoder.

    `classifier` belongs to three classes; the one for sequences is named.
    """
    names = set(names)
    if not any(name.startswith("bert.encoder.layer.") for name in names):
        return None
    if "qa_outputs.weight" in names:
        return "BertForQuestionAnswering"
    if {"classifier.weight", "crf.transitions"} <= names:
        return "BertCrfForTokenClassification"
    if "classifier.weight" in names:
        return "BertForSequenceClassification"
    masked, next_sentence = "cls.predictions.transform.dense.weight" in names, "cls.seq_relationship.weight" in names
    if masked:
        return "BertForPreTraining" if next_sentence else "BertForMaskedLM"
    return "BertForNextSentencePrediction" if next_sentence else "BertModel"


def looks_like_roberta(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether weights, by canonical name, have RoBERTa's shapes: one token type, 2^k + 2 positions.

    An encoder saved by itself has the very names of BERT's, but its positions count from 2.
    """
    positions, types = ((*shapes.get(name, ()), 0)[0] for name in (POSITIONS, TYPES))
    return types == 1 and positions > 2 and (positions - 2).bit_count() == 1


def infer_config(
    shapes: Mapping[str, tuple[int, ...]], sources: Mapping[str, Source], given: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[str]]:
    """-> (the contents of a config.json, notes on what had to be assumed).

    shapes are those in the file, by canonical name. The number of heads shows only where kernels are split by heads;
    else it is `given`, or that of the published BERTs of that size, with a warning. LoadError if a size cannot be told.
    """
    own = {name: rearranged(sources[name].operation, shape) for name, shape in shapes.items()}
    for name in (WORDS, POSITIONS, TYPES, INTERMEDIATE):
        if len(own.get(name, ())) != 2:
            raise LoadError(
                f"{where}: no config.json, and the weights do not tell the sizes: "
                f"{name} is {'not there' if name not in own else f'of shape {list(own[name])}'}",
                "put the model's config.json, or Google's bert_config.json, beside the weights",
            )
    vocab, hidden = own[WORDS]
    layers = {int(found[1]) for name in own if (found := re.match(r"bert\.encoder\.layer\.(\d+)\.", name))}
    notes = ["no config.json: sizes are those of the weights, everything else is BERT's default"]
    if "num_attention_heads" in given:
        heads = given["num_attention_heads"]
    elif len(shapes.get(QUERY, ())) == 3:
        heads = shapes[QUERY][1]
    elif hidden in HEADS:
        heads = HEADS[hidden]
        notes.append(
            f"num_attention_heads does not show in the weights: {heads} heads of {hidden // heads}, as in published "
            f"BERTs of hidden size {hidden}"
        )
        warnings.warn(f"{where}: no config.json; {notes[-1]}", stacklevel=4)
    else:
        raise LoadError(
            f"{where}: no config.json, and the number of heads cannot be told from weights of hidden size {hidden}",
            "put a config.json beside the weights, or in Python give num_attention_heads=...",
        )
    config: dict[str, Any] = {
        "model_type": "bert",
        "architectures": [architecture(own)],
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": max(layers) + 1,
        "num_attention_heads": heads,
        "intermediate_size": own[INTERMEDIATE][0],
        "max_position_embeddings": own[POSITIONS][0],
        "type_vocab_size": own[TYPES][0],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    if "classifier.weight" in own:
        config["num_labels"] = own["classifier.weight"][0]
    return config, notes
