"""BertConfig: the numbers that make a BERT, with the names of config.json."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .. import checkpoint
from ..errors import ConfigError

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""hidden_act -> operator. Two names are two functions: "gelu" is the erf form, "gelu_new" the tanh form."""

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# Largest values believed, far above any published BERT: a lying config is refused before anything is allocated.
_SIZES = {
    "vocab_size": 2**24,
    "hidden_size": 2**16,
    "num_hidden_layers": 1024,
    "num_attention_heads": 2**12,
    "intermediate_size": 2**18,
    "max_position_embeddings": 2**20,
    "type_vocab_size": 2**16,
}
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_FLAGS = ("tie_word_embeddings", "is_decoder", "add_cross_attention", "output_hidden_states", "output_attentions")


@dataclass
class BertConfig:
    """Configuration of a BERT model; the defaults are BERT-base, uncased.

    Fields are the keys of config.json. Impossible values raise ConfigError with the field's name. Keys that are not
    fields are kept in `extra` and written back, never interpreted.

    num_labels may be given instead of id2label; the two always agree afterwards.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True
    is_decoder: bool = False
    add_cross_attention: bool = False
    position_embedding_type: str = "absolute"
    pruned_heads: Mapping[str, Any] = field(default_factory=dict)
    problem_type: str | None = None
    num_labels: int | None = None
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    output_hidden_states: bool = False
    output_attentions: bool = False
    model_type: str = "bert"
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limit in _SIZES.items():
            value = getattr(self, name)
            if hasattr(value, "__index__") and not isinstance(value, bool):  # NumPy's integers, which JSON cannot write
                value = operator.index(value)
                setattr(self, name, value)
            if not _is_int(value) or not 1 <= value <= limit:
                raise ConfigError(f"config: {name} is {value!r}, expected an integer from 1 to {limit}")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"config: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        for name in (*_RATES, "classifier_dropout"):
            value = getattr(self, name)
            if name == "classifier_dropout" and value is None:
                continue
            if not _is_number(value) or not 0 <= value < 1:
                raise ConfigError(f"config: {name} is {value!r}, expected a rate in [0, 1)")
        for name in ("layer_norm_eps", "initializer_range"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value <= sys.float_info.max:
                raise ConfigError(f"config: {name} is {value!r}, expected a positive number")
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"config: {name} is {getattr(self, name)!r}, expected true or false")
        if self.pad_token_id is not None and not (_is_int(self.pad_token_id) and self.pad_token_id >= 0):
            raise ConfigError(f"config: pad_token_id is {self.pad_token_id!r}, expected an id or null")
        self._check_variants()
        self._settle_labels()

    def _check_variants(self) -> None:
        if self.model_type != "bert":
            raise ConfigError(
                f'config: model_type is {self.model_type!r}, expected "bert"',
                "other families look alike but compute something else; convert nothing, use their own implementation",
            )
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise ConfigError(f"config: hidden_act is {self.hidden_act!r}, expected one of {', '.join(ACTIVATIONS)}")
        if self.position_embedding_type != "absolute":
            raise ConfigError(
                f'config: position_embedding_type is {self.position_embedding_type!r}, only "absolute" is implemented'
            )
        if self.add_cross_attention:
            raise ConfigError("config: add_cross_attention is true, but cross-attention is not implemented")
        if self.pruned_heads:
            raise ConfigError(f"config: pruned_heads is {self.pruned_heads!r}, but pruning is not implemented")
        if self.problem_type is not None and self.problem_type not in PROBLEM_TYPES:
            raise ConfigError(
                f"config: problem_type is {self.problem_type!r}, expected null or one of {', '.join(PROBLEM_TYPES)}"
            )

    def _settle_labels(self) -> None:
        if self.num_labels is not None and not (_is_int(self.num_labels) and 1 <= self.num_labels <= 2**20):
            raise ConfigError(f"config: num_labels is {self.num_labels!r}, expected an integer from 1 to {2**20}")
        if self.id2label is not None:
            if not isinstance(self.id2label, Mapping):
                raise ConfigError(f"config: id2label is {self.id2label!r}, expected a map from ids to names")
            try:  # JSON keys are strings, and often sorted as such: "10" before "2"
                self.id2label = dict(sorted((int(k), str(v)) for k, v in self.id2label.items()))
            except (TypeError, ValueError):
                raise ConfigError(f"config: id2label has keys {list(self.id2label)!r}, expected integers") from None
            if sorted(self.id2label) != list(range(len(self.id2label))) or not self.id2label:
                raise ConfigError(f"config: id2label has keys {sorted(self.id2label)}, expected 0, 1, 2, ...")
        if self.label2id is not None and not isinstance(self.label2id, Mapping):
            raise ConfigError(f"config: label2id is {self.label2id!r}, expected a map from names to ids")
        if self.id2label is None or self.num_labels not in (None, len(self.id2label)):
            self.id2label = {i: f"LABEL_{i}" for i in range(2 if self.num_labels is None else self.num_labels)}
            self.label2id = None
        self.num_labels = len(self.id2label)
        if self.label2id is None:
            self.label2id = {name: i for i, name in self.id2label.items()}

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, revision: str | None = None, **overrides: Any
    ) -> BertConfig:
        """From the config.json of a model, with values of one's own on top."""
        return cls.from_dict(checkpoint.read_config(path, revision), **overrides)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> BertConfig:
        """From the contents of a config.json; unknown keys go to `extra`.

        overrides are fields of one's own, which win. An unknown one among them is a ConfigError.
        """
        names = {f.name for f in fields(cls)} - {"extra"}
        unknown = set(overrides) - names
        if unknown:
            hint = f"known: {', '.join(sorted(names))}"
            raise ConfigError(f"config: unknown option {', '.join(sorted(unknown))}", hint)
        known = {k: v for k, v in values.items() if k in names}
        if {"num_labels", "id2label"} & set(overrides):
            known = {k: v for k, v in known.items() if k not in ("num_labels", "id2label", "label2id")}  # go together
        if "model_type" not in values:  # Google's bert_config.json has none
            known["model_type"] = "bert"
        return cls(**{**known, **overrides}, extra={k: v for k, v in values.items() if k not in names})

    def to_dict(self) -> dict[str, Any]:
        """The contents of a config.json that Hugging Face and `from_dict` read back."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("extra", "num_labels")}
        values["id2label"] = {str(k): v for k, v in (self.id2label or {}).items()}
        return {**self.extra, **values}

    @property
    def activation(self) -> str:
        """Name of the operator that hidden_act means."""
        return ACTIVATIONS[self.hidden_act]

    @property
    def classifier_rate(self) -> float:
        """Dropout in front of a classifier: classifier_dropout, or hidden_dropout_prob where that is null."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
