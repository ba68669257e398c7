"""A model as a function: the call, the loss and its gradients, shared by all classes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import engines
from ..errors import InputError
from ..ops.xp import Array, host
from .batch import Batch, pack, unpack
from .bert import Dropout, bert, bert_backward
from .output import ModelOutput
from .parameters import Block, Keep, Scope
from .stored import StoredModel

if TYPE_CHECKING:
    from ..lab.trace import Trace

Labels = dict[str, Array]
Logits = dict[str, Array]


class Prepared(NamedTuple):
    """Checked inputs, ready to be run as often as one likes."""

    batch: Batch
    labels: Labels


class BertPreTrainedModel(StoredModel):
    """A BERT encoder with a head. Subclasses say what the head has (`head_spec`) and what it does:

    _check_labels                 the user's labels -> packed labels
    _logits, _logits_backward     hidden states (N, H) -> packed logits, and back
    _loss, _loss_backward         logits and labels -> scalar, and back; cross-entropy unless they say otherwise
    _head_backward                the two steps back at once, for those that need not hold the gradient of the logits
    _present                      packed logits -> what the user sees, (B, ...) arrays
    """

    label_names: ClassVar[tuple[str, ...]] = ("labels",)

    # ---- what subclasses define -------------------------------------------------------------------------------------

    def _check_labels(self, batch: Batch, labels: dict[str, Any]) -> Labels:
        """User's labels -> packed labels; raises InputError."""
        raise NotImplementedError

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        raise NotImplementedError

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        raise NotImplementedError

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        loss, c["loss"] = self.ops.cross_entropy(logits["logits"], labels["labels"])
        return loss

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        return {"logits": self.ops.cross_entropy_backward(dloss, c["loss"])}

    def _head_backward(self, g: Scope, c: Scope, dloss: float) -> Array:
        return self._logits_backward(g, c, self._loss_backward(c, dloss))

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        raise NotImplementedError

    def _wanted_rows(self, labels: Labels) -> Array | None:
        """Tokens whose logits the loss needs; None for all."""
        return None

    def _asked(self, batch: Batch, rows: Array | None) -> Array | None:
        """Tokens whose last hidden states the head reads, if its logits are wanted at `rows`; None for all."""
        return rows

    def _ask(self, batch: Batch, rows: Array | None) -> Batch:
        """The batch, marked with what the last layer has to compute. Causal attention always computes all of it."""
        return batch if self.config.is_decoder else batch._replace(asked=self._asked(batch, rows))

    def _pack(self, **inputs: Any) -> Batch:
        batch = pack(self.config, self.dtype, **inputs)
        if batch.inputs_embeds is None:
            return batch
        return batch._replace(inputs_embeds=engines.onto(self.engine, batch.inputs_embeds))

    # ---- the call ---------------------------------------------------------------------------------------------------

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool = True,
        to_host: bool = True,
        **labels: Any,
    ) -> Any:
        """Run the model; arguments and results as in Hugging Face's class of the same name.

        input_ids, attention_mask, token_type_ids, position_ids (B, T); inputs_embeds (B, T, H) instead of ids.
        Arrays or nested lists. -> ModelOutput; with return_dict=False the tuple of its values.

        Padding is never computed: at masked places every result is 0, where Hugging Face returns the states of padding
        tokens that nobody reads. hidden_states is a tuple of L + 1 arrays (B, T, H), attentions one of L arrays
        (B, A, T, T), probabilities before dropout; None leaves it to the config whether they are returned.
        Results are NumPy's arrays; with to_host=False those of a card stay there, and nobody waits for them.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        batch, checked = self.prepare(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **labels)
        keep = [".hidden"] * bool(output_hidden_states) + ["attention.self"] * bool(output_attentions)
        c = Scope(Keep(*keep))
        p = Scope(self.readable)
        if not keep:
            batch = self._ask(batch, None)
        x = self._encode(p, c, batch, Dropout()) if keep else self._infer(p, batch)
        logits = self._logits(p, c, x, batch, Dropout())
        loss = self._loss(c, logits, checked, batch) if checked else None
        out = ModelOutput(
            loss=loss if loss is None or not to_host else host(loss),
            **self._shown(logits, batch, to_host),
            hidden_states=self._hidden_states(c, batch, to_host) if output_hidden_states else None,
            attentions=self._attentions(c, batch, to_host) if output_attentions else None,
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
        to_host: bool = True,
        **labels: Any,
    ) -> tuple[ModelOutput, Mapping[str, Array]]:
        """Forward and backward through everything.

        -> out with .loss and the logits that the loss needed, and {name: gradient}, names and shapes those of
        `state_dict`, plus "inputs_embeds" (B, T, H) when those were given.

        Dropout is on only with a seed; the same seed gives the same masks. The masked-LM head computes its logits on
        the labelled rows alone, in row-major order: out.logits is then (number of labels, V). Gradients are of the
        mathematical function: unlike PyTorch's, the row of the padding token gets its share if that token is attended.
        They lie where the parameters do, on a card or not; to_host=False leaves `out` there, too.
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
        seen = self._shown(logits, batch, to_host) if rows is None else _brought(logits, to_host)
        out = ModelOutput(loss=host(loss) if to_host else loss, **seen)
        return out, self._present_grads(grads, dwords, batch)

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
            inputs = "input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds"
            raise TypeError(
                f"{type(self).__name__}: unexpected argument {', '.join(sorted(unknown))}; "
                f"expected {', '.join([inputs, *self.label_names])}"
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

    def trace(self, text: Any, text_pair: str | None = None, **options: Any) -> Trace:
        """Every tensor of forward and backward under one name: the microscope, `minibert.lab.trace`.

        text        a string, or the model's inputs by name: {"input_ids": ..., ...}
        tokenizer   for a string; by default the one where the model was loaded from
        target      what to take the loss of. Masked LM: a word for each [MASK]. Classifiers: a class, by name or
                    number. Question answering: (start, end). Pairs: scores. Encoders: {"last_hidden_state":
                    cotangents}. By default the model's own answer, of pairs the score 1, and for encoders random
                    cotangents, in which nothing cancels; a masked LM is asked for every word of a text without a mask
        labels      instead of a target, as in the call; {name: array} where a model has several
        dropout_seed     as in `loss_and_grads`, which computes the last layer only where the loss needs it, so that its
                    masks there are others: here every token goes through every layer
        """
        from ..lab.targets import trace

        return trace(self, text, text_pair, **options)

    # ---- functions of explicit parameters: what gradient checks differentiate ---------------------------------------

    def loss_at(
        self, parameters: Mapping[str, Array], prepared: Prepared, caches: Any, dropout_seed: int | None = None
    ) -> tuple[Array, Logits]:
        """Loss at any parameters, complex ones too, and prepared inputs; files every cache under its dotted name.

        parameters: a Block, or any mapping with the names of `state_dict`.
        """
        block = parameters if isinstance(parameters, Block) else Block.of(self.parameters.spec, parameters)
        p, c = Scope(block), Scope(caches)
        drop = Dropout(checked_seed(dropout_seed))
        rows = self._wanted_rows(prepared.labels)
        batch = self._ask(prepared.batch, rows)
        x = self._encode(p, c, batch, drop)
        logits = self._logits(p, c, x, batch, drop, rows)
        return self._loss(c, logits, prepared.labels, batch), logits

    def grads_at(self, prepared: Prepared, caches: Any, dloss: float = 1.0) -> tuple[Block, Array]:
        """Gradients of dloss · loss from the caches of `loss_at`: a block like the parameters, and d(word vectors)."""
        c = Scope(caches)
        states = c.at(self.body)["embeddings.hidden"]  # complex if parameters or inputs are
        grads = self.parameters.like(
            np.result_type(self.parameters.flat.dtype, states.dtype, 1j if np.iscomplexobj(dloss) else 1.0)
        )
        g = Scope(grads)
        dx = self._head_backward(g, c, dloss)
        return grads, bert_backward(self.ops, g.at(self.body), c.at(self.body), dx, self.config)

    def _encode(self, p: Scope, c: Scope, batch: Batch, drop: Dropout) -> Array:
        return bert(self.ops, p.at(self.body), c.at(self.body), batch, self.config, drop)

    def _infer(self, p: Scope, batch: Batch) -> Array:
        """Last hidden states when nothing else is kept: groups of whole sequences, on the engine's threads.

        Groups need no word with each other, and the activations of one stay in a core's cache.
        """
        groups = batch.groups(engines.parts(self.ops, len(batch.rows)))
        states: list[Any] = [None] * len(groups)

        def run(i: int) -> None:
            states[i] = self._encode(p, Scope(Keep()), groups[i], Dropout())

        engines.side_by_side(self.ops, [functools.partial(run, i) for i in range(len(groups))])
        return states[0] if len(states) == 1 else np.concatenate(states)

    def _shown(self, logits: Logits, batch: Batch, to_host: bool = True) -> dict[str, Array]:
        return self._present(_brought(logits, to_host), batch)

    def _present_grads(self, grads: Block, dwords: Array, batch: Batch) -> Mapping[str, Array]:
        if batch.inputs_embeds is None:
            return grads
        return {**grads, "inputs_embeds": unpack(dwords, batch.rows, batch.shape)}

    def _hidden_states(self, c: Scope, batch: Batch, to_host: bool) -> tuple[Array, ...]:
        names = ["embeddings", *(f"encoder.layer.{i}" for i in range(self.config.num_hidden_layers))]
        states = _brought({name: c.at(self.body)[f"{name}.hidden"] for name in names}, to_host)
        return tuple(unpack(states[name], batch.rows, batch.shape) for name in names)

    def _attentions(self, c: Scope, batch: Batch, to_host: bool) -> tuple[Array, ...]:
        """Packed probabilities -> (B, A, T, T) with zeros where either token is masked."""
        engine = "reference" if to_host else self.engine
        length = batch.shape[1]
        result = []
        for i in range(self.config.num_hidden_layers):
            none = np.zeros((batch.shape[0], self.config.num_attention_heads, length, length), dtype=self.dtype)
            full = engines.onto(engine, none)
            probs = self.ops.attention_probs(c.at(self.body)[f"encoder.layer.{i}.attention.self"])
            for b, start, end, one in zip(batch.sequences, batch.cu_seqlens, batch.cu_seqlens[1:], probs, strict=False):
                places = engines.onto(engine, batch.rows[start:end] % length)
                full[int(b)][:, places[:, None], places] = host(one) if to_host else one
            result.append(full)
        return tuple(result)


def _brought(results: dict[str, Array], to_host: bool) -> dict[str, Array]:
    return {name: host(x) for name, x in results.items()} if to_host else results


def checked_seed(seed: Any) -> int | None:
    """NumPy's integers as Python's, so that equal seeds give equal masks."""
    try:
        return None if seed is None else operator.index(seed)
    except TypeError:
        raise InputError(f"dropout_seed: expected an integer or None, got {seed!r}") from None
