"""The encoder without a head: BertModel, and BertEncoder, which lacks even the pooler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops.xp import Array, host, namespace
from .base import BertPreTrainedModel, Labels, Logits, Prepared
from .batch import Batch, integers, numbers, unpack
from .bert import Dropout, pooler, pooler_backward
from .output import ModelOutput
from .parameters import Scope


class BertEncoder(BertPreTrainedModel):
    """The encoder alone: .last_hidden_state (B, T, H). What sentence vectors are pooled from.

    There is no loss here; `vjp` gives the gradients of whatever is computed from the results.
    """

    body = ""
    pooled = False
    label_names = ()

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        return {"last_hidden_state": x}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        return dlogits["last_hidden_state"]

    def _present(self, logits: Logits, batch: Batch) -> dict[str, Array]:
        places = self.places(batch)
        return {name: unpack(x, places[name][1], places[name][0]) for name, x in logits.items()}

    def places(self, batch: Batch) -> dict[str, tuple[tuple[int, ...], Array]]:
        """For each result the axes before the last, and which of their places the packed rows belong to."""
        return {"last_hidden_state": (batch.shape, batch.rows)}

    def packed_hidden_states(self, ids: Any, lengths: Any, only_first: bool = False) -> tuple[Array, Array]:
        """Last hidden states of sequences of any lengths, which nothing pads: for whoever pools them at once.

        ids (N,), of all sequences one after another; lengths (B,), none of them 0 -> states (N, H) and cu_seqlens
        (B+1,), where each sequence begins and ends in them. only_first asks for the first token of each sequence
        alone: (B, H), unless attention is causal, which computes all.
        """
        lengths = integers("lengths", lengths, 1, self.config.max_position_embeddings + 1, "the positions")
        ids = integers("ids", ids, 0, self.config.vocab_size, "the vocabulary")
        cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
        if ids.shape != (cu_seqlens[-1],):
            raise InputError(f"ids: expected shape ({cu_seqlens[-1]},), the sum of the lengths, got {ids.shape}")
        number, longest = len(lengths), int(lengths.max(initial=0))
        positions = np.arange(len(ids)) - np.repeat(cu_seqlens[:-1], lengths)
        batch = Batch(
            input_ids=ids,
            inputs_embeds=None,
            token_type_ids=np.zeros_like(ids),
            position_ids=positions,
            cu_seqlens=cu_seqlens,
            rows=np.repeat(np.arange(number) * longest, lengths) + positions,
            sequences=np.arange(number),
            shape=(number, longest),
        )
        batch = self._ask(batch, batch.first_tokens if only_first else None)
        return host(self._infer(Scope(self.readable), batch)), batch.cu_asked

    def _loss(self, c: Scope, logits: Logits, labels: Labels, batch: Batch) -> Array:
        """Σ cotangent·result: the scalar whose gradient is the vector-Jacobian product."""
        c["cotangents"] = cotangents = {
            name: namespace(logits[name]).asarray(v, np.result_type(v.dtype, logits[name].dtype))
            for name, v in labels.items()
        }
        return sum((cotangents[name] * logits[name]).sum() for name in labels)

    def _loss_backward(self, c: Scope, dloss: float) -> Logits:
        return {name: cotangent * dloss for name, cotangent in c["cotangents"].items()}

    def vjp(
        self, cotangents: dict[str, Any], *, dropout_seed: int | None = None, **inputs: Any
    ) -> tuple[ModelOutput, Mapping[str, Array]]:
        """Vector-Jacobian product: results, and the gradients of Σ cotangent·result over the results.

        cotangents {"last_hidden_state": (B, T, H)} and, of BertModel, "pooler_output": (B, H), either or both; inputs
        as in the call.
        -> results, {name: gradient} with "inputs_embeds" when those were given.
        """
        batch = self.prepare(**inputs).batch
        prepared = Prepared(batch, self.pack_cotangents(cotangents, batch))
        caches: dict[str, Any] = {}
        _, results = self.loss_at(self.parameters, prepared, caches, dropout_seed)
        grads, dwords = self.grads_at(prepared, caches)
        return ModelOutput(**self._shown(results, batch)), self._present_grads(grads, dwords, batch)

    def pack_cotangents(self, cotangents: dict[str, Any], batch: Batch) -> Labels:
        """Cotangents of the padded results -> of the packed ones; zeros for a result that has none."""
        places = self.places(batch)
        if not cotangents or set(cotangents) - set(places):
            raise InputError(f"cotangents: expected {' or '.join(places)}, got {', '.join(cotangents) or 'nothing'}")
        packed: Labels = {}
        for name, (axes, rows) in places.items():
            shape = (*axes, self.config.hidden_size)
            full = numbers(f"cotangent of {name}", cotangents.get(name, np.zeros(shape))).astype(self.dtype)
            if full.shape != shape:
                raise InputError(f"cotangent of {name}: expected shape {shape}, got {full.shape}")
            packed[name] = full.reshape(-1, shape[-1])[rows]
        return packed


class BertModel(BertEncoder):
    """The encoder and its pooler: .last_hidden_state (B, T, H) and .pooler_output (B, H).

    The pooler reads the first real token of each row; Hugging Face reads place 0 even where that is padding.
    """

    pooled = True

    def _logits(self, p: Scope, c: Scope, x: Array, batch: Batch, drop: Dropout, rows: Array | None = None) -> Logits:
        pooled = pooler(self.ops, p.at("pooler"), c.at("pooler"), x, batch)
        return {"last_hidden_state": x, "pooler_output": pooled}

    def _logits_backward(self, g: Scope, c: Scope, dlogits: Logits) -> Array:
        dpooled = pooler_backward(self.ops, g.at("pooler"), c.at("pooler"), dlogits["pooler_output"])
        return dlogits["last_hidden_state"] + dpooled

    def places(self, batch: Batch) -> dict[str, tuple[tuple[int, ...], Array]]:
        return {**super().places(batch), "pooler_output": (batch.shape[:1], batch.sequences)}
