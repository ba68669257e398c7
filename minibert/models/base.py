"""What the eight model classes share: parameters by name, the call, the gradients, loading and saving."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from .. import checkpoint, engines
from ..errors import InputError, LoadError
from ..ops.xp import Array
from .batch import Batch, as_array, integers, pack, unpack
from .bert import Dropout, bert, bert_backward, bert_spec
from .config import BertConfig
from .output import ModelOutput
from .parameters import Block, Keep, Param, Scope, initialise

Labels = dict[str, Array]
Logits = dict[str, Array]


class Prepared(NamedTuple):
    """Checked inputs, ready to be run as often as one likes."""

    batch: Batch
    labels: Labels


class BertPreTrainedModel:
    """A BERT encoder with a head. Subclasses say what the head has (`head_spec`) and what it does:

        _logits, _logits_backward     hidden states (N, H) -> packed logits, and back
        _loss, _loss_backward         logits and labels -> scalar, and back
        _present                      packed logits -> what the user sees, (B, ...) arrays

    Parameters
    ----------
    config    a BertConfig
    seed      of the fresh weights: normal with standard deviation initializer_range, truncated at two of them; biases
              0, gains 1
    dtype     "float32" or "float64"; everything is computed in it
    engine    who computes the operators: "auto" or "reference"
    """

    body: ClassVar[str] = "bert"  # the encoder's place among the names
    pooled: ClassVar[bool] = True  # is there a pooler?
    label_names: ClassVar[tuple[str, ...]] = ("labels",)

    def __init__(
        self, config: BertConfig | None = None, *, seed: int = 0, dtype: Any = "float32", engine: str = "auto"
    ) -> None:
        self.config = BertConfig() if config is None else config
        self.ops = engines.get(engine)
        self.dtype = _float_dtype(dtype)
        self.parameters = Block(self.spec(self.config), self.dtype)
        self.load_report: checkpoint.LoadReport | None = None
        initialise(self.parameters, self.config.initializer_range, np.random.default_rng(seed))

    # ---- what subclasses define -------------------------------------------------------------------------------------

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        return []

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        """User's labels -> packed labels; raises InputError."""
        raise NotImplementedError

    def _logits(
        self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None
    ) -> Logits:
        raise NotImplementedError

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        raise NotImplementedError

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        raise NotImplementedError

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        raise NotImplementedError

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        raise NotImplementedError

    def _wanted_rows(self, labels: Labels) -> Array | None:
        """Tokens whose logits the loss needs; None for all."""
        return None

    def _pack(self, **inputs: Any) -> Batch:
        return pack(self.config, self.dtype, **inputs)

    # ---- the call ---------------------------------------------------------------------------------------------------

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = True,
        **labels: Any,
    ) -> Any:
        """Run the model; arguments and results as in Hugging Face's class of the same name.

        input_ids, attention_mask, token_type_ids, position_ids (B, T); inputs_embeds (B, T, H) instead of ids.
        Arrays or nested lists. -> ModelOutput; with return_dict=False the tuple of its values.

        Padding is never computed: at masked places every result is 0, where Hugging Face returns the states of padding
        tokens that nobody reads. hidden_states is a tuple of L + 1 arrays (B, T, H), attentions one of L arrays
        (B, A, T, T), probabilities before dropout.
        """
        batch, checked = self.prepare(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **labels
        )
        keep = [".hidden"] * output_hidden_states + ["attention.self"] * output_attentions
        c = Scope(Keep(*keep))
        p = Scope(self.parameters)
        x = self._encode(p, c, batch, Dropout())
        logits = self._logits(p, c, x, batch, Dropout())
        loss = self._loss(c, logits, checked, batch) if checked else None
        out = ModelOutput(
            loss=loss,
            **self._present(logits, batch),
            hidden_states=self._hidden_states(c, batch) if output_hidden_states else None,
            attentions=self._attentions(c, batch) if output_attentions else None,
        )
        return out if return_dict else out.to_tuple()

    def loss_and_grads(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        dropout_seed: int | None = None,
        **labels: Any,
    ) -> tuple[ModelOutput, dict[str, Array]]:
        """Forward and backward through everything.

        -> out with .loss and the logits that the loss needed, and {name: gradient}, names and shapes those of
        `state_dict`, plus "inputs_embeds" (B, T, H) when those were given.

        Dropout is on only with a seed; the same seed gives the same masks. The masked-LM head computes its logits on
        the labelled rows alone, in row-major order: out.logits is then (number of labels, V). Gradients are of the
        mathematical function: unlike PyTorch's, the row of the padding token gets its share if that token is attended.
        """
        prepared = self.prepare(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **labels)
        batch, checked = prepared
        if not checked:
            expected = " and ".join(self.label_names) or "a class with a head"
            raise InputError(f"loss_and_grads: expected {expected}; without labels, no loss")
        caches: dict[str, Any] = {}
        loss, logits = self.loss_at(self.parameters, prepared, caches, dropout_seed)
        grads, dwords = self.grads_at(prepared, caches)
        rows = self._wanted_rows(checked)
        seen = self._present(logits, batch) if rows is None else logits
        return ModelOutput(loss=loss, **seen), self._present_grads(grads, dwords, batch)

    def prepare(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        **labels: Any,
    ) -> Prepared:
        """Check and pack inputs and labels. Raises InputError naming the argument, before anything is computed."""
        unknown = set(labels) - set(self.label_names)
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: unexpected argument {', '.join(sorted(unknown))}; "
                f"labels are given as {', '.join(self.label_names) or 'nothing'}"
            )
        batch = self._pack(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )
        given = {k: v for k, v in labels.items() if v is not None}
        complete = bool(given) and len(given) == len(self.label_names)  # one kind of two: no loss, as in the original
        return Prepared(batch, self._check_labels(batch, given) if complete else {})

    # ---- functions of explicit parameters: what gradient checks differentiate ---------------------------------------

    def loss_at(
        self, parameters: Mapping[str, Array], prepared: Prepared, caches: Any, dropout_seed: int | None = None
    ) -> tuple[Array, Logits]:
        """Loss at any parameters (complex ones too) and prepared inputs; files every cache under its dotted name."""
        p, c = Scope(parameters), Scope(caches)
        drop = Dropout(_seed(dropout_seed))
        x = self._encode(p, c, prepared.batch, drop)
        logits = self._logits(p, c, x, prepared.batch, drop, self._wanted_rows(prepared.labels))
        return self._loss(c, logits, prepared.labels, prepared.batch), logits

    def grads_at(self, prepared: Prepared, caches: Any, dloss: float = 1.0) -> tuple[Block, Array]:
        """Gradients of dloss · loss from the caches of `loss_at`: a block like the parameters, and d(word vectors)."""
        return self._backward(Scope(caches), self._loss_backward(Scope(caches), dloss))

    def _encode(self, p: Scope, c: Scope, batch: Batch, drop: Dropout) -> Array:
        return bert(self.ops, p.at(self.body), c.at(self.body), batch, self.config, drop)

    def _backward(self, c: Scope, dlogits: Logits) -> tuple[Block, Array]:
        grads = self.parameters.like()
        g = Scope(grads)
        dx = self._logits_backward(g, c, dlogits)
        return grads, bert_backward(self.ops, g.at(self.body), c.at(self.body), dx, self.config)

    def _present_grads(self, grads: Block, dwords: Array, batch: Batch) -> dict[str, Array]:
        result: dict[str, Array] = dict(grads)
        if batch.inputs_embeds is not None:
            result["inputs_embeds"] = unpack(dwords, batch.rows, batch.shape)
        return result

    def _hidden_states(self, c: Scope, batch: Batch) -> tuple[Array, ...]:
        names = ["embeddings", *(f"encoder.layer.{i}" for i in range(self.config.num_hidden_layers))]
        return tuple(unpack(c.at(self.body)[f"{name}.hidden"], batch.rows, batch.shape) for name in names)

    def _attentions(self, c: Scope, batch: Batch) -> tuple[Array, ...]:
        """Packed probabilities -> (B, A, T, T) with zeros where either token is masked."""
        length = batch.shape[1]
        result = []
        for i in range(self.config.num_hidden_layers):
            full = np.zeros((batch.shape[0], self.config.num_attention_heads, length, length), dtype=self.dtype)
            probs = self.ops.attention_probs(c.at(self.body)[f"encoder.layer.{i}.attention.self"])
            for b, start, end, one in zip(
                batch.sequences, batch.cu_seqlens, batch.cu_seqlens[1:], probs, strict=False
            ):
                places = batch.rows[start:end] % length
                full[b][:, places[:, None], places] = one
            result.append(full)
        return tuple(result)

    # ---- parameters -------------------------------------------------------------------------------------------------

    @classmethod
    def spec(cls, config: BertConfig) -> list[Param]:
        """Every tensor of the model, named and ordered as in Hugging Face's class; a tied decoder is not repeated."""
        return bert_spec(config, cls.body, cls.pooled) + cls.head_spec(config)

    def num_parameters(self) -> int:
        """Numbers to be learned; tied tensors count once."""
        return int(self.parameters.flat.size)

    def state_dict(self) -> dict[str, Array]:
        """{name: array}; the arrays are views of the model's own parameters, so writing into them changes the model."""
        return dict(self.parameters)

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Copy arrays in. LoadError lists every missing, unexpected and misshapen name; then nothing was changed."""
        missing = [p.name for p in self.parameters.spec if p.name not in arrays]
        known = set(self.parameters)
        unexpected = [name for name in arrays if name not in known]
        misshapen = [
            f"{p.name} {problem}"
            for p in self.parameters.spec
            if p.name in arrays and (problem := _misfit(arrays[p.name], p.shape))
        ]
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
            if names
        ]
        if problems:
            raise LoadError("state_dict does not fit the model; " + "; ".join(problems))
        for name, own in self.parameters.items():
            own[...] = arrays[name]

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        dtype: Any = "float32",
        engine: str = "auto",
        strict: bool = True,
        seed: int = 0,
        **overrides: Any,
    ) -> Self:
        """A published checkpoint: a folder with config.json and model.safetensors, or pkg:NAME/sub/dir.

        overrides are config values (num_labels=3, hidden_dropout_prob=0.2). Everything that is missing, unexpected or
        misshapen is reported at once, as a LoadError before anything is allocated. With strict=False missing tensors
        get fresh weights (from `seed`) and unexpected ones are left out; both are said in a warning. Giving num_labels
        or id2label asks for a new classifier in the same way, if the checkpoint has none.
        The report stays on the model as `load_report`.
        """
        engines.get(engine)
        dtype = _float_dtype(dtype)
        source = checkpoint.open_pretrained(path)
        config = BertConfig.from_dict(checkpoint.merge_config(source.config, overrides))
        fresh_head = {p.name for p in cls.head_spec(config)} if {"num_labels", "id2label"} & set(overrides) else set()
        plan = checkpoint.plan(source, cls.spec(config), config.tie_word_embeddings, strict, optional=fresh_head)
        model = cls.__new__(cls)
        model.config, model.ops, model.dtype = config, engines.get(engine), dtype
        model.parameters = Block(cls.spec(config), dtype)
        model.load_report = plan.report
        plan.read_into(model.parameters)
        if plan.report.missing:
            rng = np.random.default_rng(seed)
            initialise(model.parameters, config.initializer_range, rng, only=set(plan.report.missing))
        return model

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors so that `transformers` and `from_pretrained` load them back."""
        config = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": str(self.dtype)}
        checkpoint.save_pretrained(directory, config, self.parameters)

    def __repr__(self) -> str:
        c = self.config
        return (
            f"{type(self).__name__}({c.num_hidden_layers} layers, hidden {c.hidden_size}, "
            f"{c.num_attention_heads} heads, vocabulary {c.vocab_size}; {self.num_parameters():,} parameters, "
            f"{self.dtype})"
        )


def sequence_labels(name: str, values: Any, batch: Batch, classes: int) -> Array:
    """(B,) class labels -> those of the sequences that have a token."""
    labels = integers(name, values, 0, classes, f"the {classes} classes", ignore=-100)
    if labels.shape != (batch.shape[0],):
        raise InputError(f"{name}: expected shape ({batch.shape[0]},), one label a sequence, got {labels.shape}")
    return labels[batch.sequences]


def token_labels(name: str, values: Any, batch: Batch, classes: int) -> Array:
    """(B, T) labels -> (N,), those of the real tokens. What stands at masked places is never looked at."""
    labels = as_array(name, values)
    if labels.shape != batch.shape:
        raise InputError(f"{name}: expected shape {batch.shape} as the input, got {labels.shape}")
    real = unpack(np.ones(len(batch.rows), bool), batch.rows, batch.shape)
    labels = integers(name, labels, 0, classes, f"the {classes} classes", ignore=-100, where=real)
    return labels.reshape(-1)[batch.rows]


def _seed(seed: Any) -> int | None:
    """NumPy's integers as Python's, so that equal seeds give equal masks."""
    try:
        return None if seed is None else operator.index(seed)
    except TypeError:
        raise InputError(f"dropout_seed: expected an integer or None, got {seed!r}") from None


def _misfit(values: Any, shape: tuple[int, ...]) -> str:
    """What keeps values from being copied into an array of that shape; empty if nothing."""
    try:
        array = np.asarray(values)
    except ValueError:
        return f"has rows of different lengths, expected shape {shape}"
    fits = array.shape == shape and array.dtype.kind in "iuf"
    return "" if fits else f"has shape {array.shape} of {array.dtype}, expected {shape} of numbers"


def _float_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        result = np.dtype("V" if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        raise InputError(f"dtype: expected float32 or float64, got {dtype!r}") from None
    if result not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: expected float32 or float64, got {dtype!r}", "half precision files load into float32")
    return result
