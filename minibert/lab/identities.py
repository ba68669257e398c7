"""Symmetry identities: what holds exactly for the gradients of any BERT, whatever its weights and its input.

Each follows from a change of the weights that leaves the loss as it is, so the gradient has no component along it.
They cost one backward pass and no differencing, so they hold in float32, on a GPU and at any size. Dropout off.

    key bias            adds q·b to all scores of a row, softmax does not see it:            g_bK = 0
    common shift        what feeds a LayerNorm may be shifted in all features alike:         Σ_features g = 0
                        (b_O, W_O, b₂, W₂, positions, segments; and words where they are not tied to a decoder)
    query-key scale     W_q·s and W_k/s give the same scores:         <W_q, g> + <b_q, g> = <W_k, g> + <b_k, g>, a head
    value-output scale  W_v·s and W_O/s give the same context:        <W_v, g> + <b_v, g> = <W_O, g>, a head
    value bias          rows of probs sum to 1, so b_v acts through W_O as b_O does:         g_bV = W_Oᵀ g_bO
    logit shift         softmax of the vocabulary:                                           Σ g_decoder bias = 0
    decoder             β of the last LayerNorm reaches the loss through E only:             g_β = Eᵀ g_decoder bias
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..gradcheck import Report, Row, total_norm
from ..models.base import BertPreTrainedModel
from ..models.heads import decoder_names
from ..ops.xp import Array

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""Residue allowed, relative to the size of what cancels. tests/lab holds correct gradients to a fraction of it."""


def check_identities(model: BertPreTrainedModel, grads: dict[str, Array]) -> Report:
    """One row an identity and layer: `error` is the residue, to be 0 but for rounding."""
    total = total_norm(grads.values())
    relative = TOLERANCE[str(model.dtype)]
    rows = []
    for name, residue, size in _identities(model, grads):
        error = float(np.linalg.norm(residue))
        # parts far below the whole gradient carry the rounding of the whole
        allowed = relative * (size + 1e-2 * total)
        verdict = "not finite" if not np.isfinite(error + allowed) else "ok" if error <= allowed else "wrong"
        rows.append(Row(name, np.shape(residue), size, error, allowed, verdict))
    return Report(tuple(rows))


def _identities(model: BertPreTrainedModel, g: dict[str, Array]) -> Iterator[tuple[str, Array, float]]:
    """(name, residue, size of the terms that cancel)"""
    p, heads = model.parameters, model.config.num_attention_heads
    body = f"{model.body}." if model.body else ""
    decoder, bias = decoder_names(model.config)
    words = f"{body}embeddings.word_embeddings.weight"
    tied = decoder == words and bias in g
    shifted = [f"{body}embeddings.position_embeddings.weight", f"{body}embeddings.token_type_embeddings.weight"]
    for name in shifted + [words] * (not tied):
        yield f"{name}, shift", g[name].sum(axis=1), _norm(g[name])
    for i in range(model.config.num_hidden_layers):
        at = f"{body}encoder.layer.{i}."
        query, key, value = (f"{at}attention.self.{part}" for part in ("query", "key", "value"))
        out = f"{at}attention.output.dense"
        yield f"{key}.bias = 0", g[f"{key}.bias"], _norm(g[f"{query}.bias"])
        for dense in (out, f"{at}output.dense"):
            for part in ("weight", "bias"):
                yield f"{dense}.{part}, shift", g[f"{dense}.{part}"].sum(axis=0), _norm(g[f"{dense}.{part}"])
        q, k, v = (_scale(p, g, name, heads) for name in (query, key, value))
        o = (p[f"{out}.weight"] * g[f"{out}.weight"]).reshape(len(g[f"{out}.bias"]), heads, -1).sum(axis=(0, 2))
        yield f"{at}attention, query-key scale", q - k, _norm(p[f"{query}.weight"]) * _norm(g[f"{query}.weight"])
        yield f"{at}attention, value-output scale", v - o, _norm(p[f"{value}.weight"]) * _norm(g[f"{value}.weight"])
        through = g[f"{out}.bias"] @ p[f"{out}.weight"]
        yield f"{value}.bias = W_Oᵀ·g", g[f"{value}.bias"] - through, _norm(through)
    if bias in g:
        yield f"{bias}, shift", g[bias].sum(keepdims=True), _norm(g[bias])
        beta, through = g["cls.predictions.transform.LayerNorm.bias"], g[bias] @ p[decoder]
        yield "cls.predictions.transform.LayerNorm.bias = Eᵀ·g", beta - through, _norm(through)


def _scale(p: Mapping[str, Array], g: Mapping[str, Array], name: str, heads: int) -> Array:
    """<W, g_W> + <b, g_b> of each head: the gradient with respect to a common factor of the head's rows."""
    weight = (p[f"{name}.weight"] * g[f"{name}.weight"]).reshape(heads, -1).sum(axis=1)
    return weight + (p[f"{name}.bias"] * g[f"{name}.bias"]).reshape(heads, -1).sum(axis=1)


def _norm(x: Array) -> float:
    return float(np.linalg.norm(x))
