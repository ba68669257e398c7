"""Heads: what stands on top of the encoder. Same conventions as bert.py."""

from __future__ import annotations

from typing import Any

from ..ops.xp import Array
from .batch import Batch
from .bert import Dropout, layer_norm_spec, linear_spec, pooler, pooler_backward
from .config import BertConfig
from .parameters import Param, Scope

WORD_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def decoder_names(config: BertConfig) -> tuple[str, str]:
    """Weight and bias of the masked-LM decoder: the weight *is* the word embedding, unless the config unties them."""
    if config.tie_word_embeddings:
        return WORD_EMBEDDINGS, "cls.predictions.bias"
    return "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"


def masked_lm(ops: Any, p: Scope, c: Scope, x: Array, rows: Array, config: BertConfig) -> Array:
    """logits = LN(act(W x + b)) Eᵀ + b_out, on the asked rows only: with V words this head is a quarter of BERT-base.

    x (N, H), rows (M,) -> logits (M, V)
    """
    x, c["cls.predictions.rows"] = ops.gather_rows(x, rows)
    t, c["cls.predictions.transform.dense"] = ops.linear(x, *p("cls.predictions.transform.dense"))
    t, c["cls.predictions.transform"] = getattr(ops, config.activation)(t)
    t, c["cls.predictions.transform.LayerNorm"] = ops.layer_norm(
        t, *p("cls.predictions.transform.LayerNorm"), config.layer_norm_eps
    )
    weight, bias = decoder_names(config)
    logits, c["cls.predictions.decoder"] = ops.linear(t, p[weight], p[bias])
    return logits


def masked_lm_backward(ops: Any, g: Scope, c: Scope, dloss: float, loss: Any, config: BertConfig) -> Array:
    """From the cross-entropy of the logits, whose cache is `loss`.    -> dx (N, H)

    Common mistake: forgetting that the tied decoder gives the word embeddings a second gradient.
    """
    totals = [g[name] for name in decoder_names(config)]
    dt, *_ = ops.linear_cross_entropy_backward(dloss, loss, c["cls.predictions.decoder"], totals)
    dt, *dparams = ops.layer_norm_backward(dt, c["cls.predictions.transform.LayerNorm"])
    g.add("cls.predictions.transform.LayerNorm", *dparams)
    dt = getattr(ops, f"{config.activation}_backward")(dt, c["cls.predictions.transform"])
    dense = "cls.predictions.transform.dense"
    dx, *_ = ops.linear_backward(dt, c[dense], g(dense))
    return ops.gather_rows_backward(dx, c["cls.predictions.rows"])


def masked_lm_spec(config: BertConfig) -> list[Param]:
    """The tensors of the masked-LM head; a decoder tied to the word embeddings adds none but its bias."""
    hidden, vocab = config.hidden_size, config.vocab_size
    transform = linear_spec("cls.predictions.transform.dense", hidden, hidden)
    transform += layer_norm_spec("cls.predictions.transform.LayerNorm", hidden)
    if config.tie_word_embeddings:
        return [Param("cls.predictions.bias", (vocab,), "zeros"), *transform]
    return transform + linear_spec("cls.predictions.decoder", vocab, hidden)


def classifier(ops: Any, p: Scope, c: Scope, x: Array, name: str, drop: tuple[float, int]) -> Array:
    """logits = W drop(x) + b    x (M, H) -> (M, C); `name` is classifier, qa_outputs or cls.seq_relationship"""
    x, c[f"{name}.dropout"] = ops.dropout(x, *drop)
    logits, c[name] = ops.linear(x, *p(name))
    return logits


def classifier_backward(ops: Any, g: Scope, c: Scope, dlogits: Array, name: str) -> Array:
    """dlogits (M, C) -> dx (M, H)"""
    dx, *_ = ops.linear_backward(dlogits, c[name], g(name))
    return ops.dropout_backward(dx, c[f"{name}.dropout"])


def pooled_classifier(
    ops: Any, p: Scope, c: Scope, x: Array, batch: Batch, name: str, drop: tuple[float, int]
) -> Array:
    """A classifier over the pooled first token: one row a sequence.    x (N, H) -> (B', C)"""
    pooled = pooler(ops, p.at("bert.pooler"), c.at("bert.pooler"), x, batch)
    return classifier(ops, p, c, pooled, name, drop)


def pooled_classifier_backward(ops: Any, g: Scope, c: Scope, dlogits: Array, name: str) -> Array:
    """dlogits (B', C) -> dx (N, H)"""
    dpooled = classifier_backward(ops, g, c, dlogits, name)
    return pooler_backward(ops, g.at("bert.pooler"), c.at("bert.pooler"), dpooled)


def classifier_drop(config: BertConfig, drop: Dropout) -> tuple[float, int]:
    """(rate, key) of the dropout in front of a fine-tuning classifier."""
    return drop(config.classifier_rate, "classifier.dropout")


NO_DROP = (0.0, 0)
"""Next-sentence prediction and question answering have no dropout of their own."""
