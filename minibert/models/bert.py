"""BERT (Devlin et al. 2019, §3): embeddings, L layers of the Transformer encoder (Vaswani et al. 2017, §3.1), pooler.

Compositions only: every number comes from an operator of the `ops` that is passed in, or is a sum where branches meet.
Each function has its mirror right below it, which takes the caches in the opposite order and adds into the gradients.

    p, g, c     parameters, gradients and caches, seen from the module at hand (Scope); names are Hugging Face's
    x, h, y     hidden states (N, H) of a packed batch; dx is the gradient of x
    drop        gives (rate, key) for a dropout site; (0, 0) when dropout is off

BERT is post-LN: every sublayer is x -> LN(x + drop(sublayer(x))).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..ops.dropout import dropout_key
from ..ops.xp import Array
from .batch import Batch
from .config import BertConfig
from .parameters import Param, Scope


class Dropout(NamedTuple):
    """Hands out dropout's two arguments; without a seed the rate is 0 everywhere."""

    seed: int | None = None

    def __call__(self, rate: float, site: str) -> tuple[float, int]:
        return (0.0, 0) if self.seed is None else (rate, dropout_key(self.seed, site))


def bert(ops: Any, p: Scope, c: Scope, batch: Batch, config: BertConfig, drop: Dropout) -> Array:
    """Token, position and segment ids -> last hidden states (N, H), or (M, H) where only M tokens are asked for."""
    x = embeddings(ops, p.at("embeddings"), c.at("embeddings"), batch, config, drop)
    c["embeddings.hidden"] = x
    last = config.num_hidden_layers - 1 if batch.asked is not None else config.num_hidden_layers
    done = 0
    if c.forgets and drop.seed is None:
        x, done = _in_one_piece(ops, p, x, batch.cu_seqlens, config, last)
    for i in range(done, config.num_hidden_layers):
        name = f"encoder.layer.{i}"
        if i == last:
            x = layer_at(ops, p.at(name), c.at(name), x, batch, config, drop)
        else:
            x = layer(ops, p.at(name), c.at(name), x, batch.cu_seqlens, config, drop)
        c[f"{name}.hidden"] = x
    return x


def bert_backward(ops: Any, g: Scope, c: Scope, dx: Array, config: BertConfig) -> Array:
    """dx, the gradient of what `bert` returned -> that of the word vectors (N, H), looked up or given."""
    for i in reversed(range(config.num_hidden_layers)):
        name = f"encoder.layer.{i}"
        backward = layer_at_backward if f"{name}.asked" in c else layer_backward
        dx = backward(ops, g.at(name), c.at(name), dx)
    return embeddings_backward(ops, g.at("embeddings"), c.at("embeddings"), dx)


def embeddings(ops: Any, p: Scope, c: Scope, batch: Batch, config: BertConfig, drop: Dropout) -> Array:
    """x = drop(LN(word + segment + position))        Devlin et al. 2019, Figure 2"""
    if batch.inputs_embeds is None:
        words, c["word_embeddings"] = ops.embedding(p["word_embeddings.weight"], batch.input_ids)
    else:
        words, c["word_embeddings"] = batch.inputs_embeds, None
    segments, c["token_type_embeddings"] = ops.embedding(p["token_type_embeddings.weight"], batch.token_type_ids)
    positions, c["position_embeddings"] = ops.embedding(p["position_embeddings.weight"], batch.position_ids)
    x, c["LayerNorm"] = ops.layer_norm(words + segments + positions, *p("LayerNorm"), config.layer_norm_eps)
    x, c["dropout"] = ops.dropout(x, *drop(config.hidden_dropout_prob, f"{c.prefix}dropout"))
    return x


def embeddings_backward(ops: Any, g: Scope, c: Scope, dx: Array) -> Array:
    """A sum hands its gradient to all three addends, so every table gets the same rows.    -> d(word vectors) (N, H)"""
    dx = ops.dropout_backward(dx, c["dropout"])
    dx, *dparams = ops.layer_norm_backward(dx, c["LayerNorm"])
    g.add("LayerNorm", *dparams)
    for name in "position_embeddings", "token_type_embeddings", "word_embeddings":
        if c[name] is not None:
            ops.embedding_backward(dx, c[name], g[f"{name}.weight"])
    return dx


def layer(ops: Any, p: Scope, c: Scope, x: Array, cu_seqlens: Array, config: BertConfig, drop: Dropout) -> Array:
    """h = LN(x + drop(attention(x W_qkv) W_O))        y = LN(h + drop(FFN(h)))"""
    qkv, c["attention.self.qkv"] = ops.linear(x, *p("attention.self.qkv"))
    context, c["attention.self"] = ops.attention(
        qkv, cu_seqlens, config.num_attention_heads, config.is_decoder, *_attention_drop(c, config, drop)
    )
    return _after_attention(ops, p, c, context, x, config, drop)


def layer_backward(ops: Any, g: Scope, c: Scope, dy: Array) -> Array:
    """From the second sublayer to the first. dy (N, H) -> dx (N, H)"""
    dcontext, dx = _after_attention_backward(ops, g, c, dy)
    dqkv = ops.attention_backward(dcontext, c["attention.self"])
    dx_attention, *_ = ops.linear_backward(dqkv, c["attention.self.qkv"], g("attention.self.qkv"))
    return dx + dx_attention


def _in_one_piece(
    ops: Any, p: Scope, x: Array, cu_seqlens: Array, config: BertConfig, number: int
) -> tuple[Array, int]:
    """The first layers by an engine that has an operator for all of them, for inference -> y, how many layers."""
    if not hasattr(ops, "encoder_layers"):
        return x, 0
    linears = "attention.self.qkv", "attention.output.dense", "intermediate.dense", "output.dense"
    modules = *linears, "attention.output.LayerNorm", "output.LayerNorm"
    layers = [[tensor for module in modules for tensor in p(f"encoder.layer.{i}.{module}")] for i in range(number)]
    heads, causal = config.num_attention_heads, config.is_decoder
    y = ops.encoder_layers(x, cu_seqlens, heads, causal, layers, config.layer_norm_eps, config.activation)
    return (x, 0) if y is None else (y, number)


def layer_at(ops: Any, p: Scope, c: Scope, x: Array, batch: Batch, config: BertConfig, drop: Dropout) -> Array:
    """The layer at the asked tokens: their queries, the keys and values of all, and nothing else of the others.

    x (N, H) -> y (M, H)
    """
    hidden = x.shape[1]
    weight, bias = p("attention.self.qkv")
    kv, c["attention.self.key_value"] = ops.linear(x, weight[hidden:], bias[hidden:])
    x, c["asked"] = ops.gather_rows(x, batch.asked)
    q, c["attention.self.query"] = ops.linear(x, weight[:hidden], bias[:hidden])
    context, c["attention.self"] = ops.cross_attention(
        q, kv, batch.cu_asked, batch.cu_seqlens, config.num_attention_heads, *_attention_drop(c, config, drop)
    )
    return _after_attention(ops, p, c, context, x, config, drop)


def layer_at_backward(ops: Any, g: Scope, c: Scope, dy: Array) -> Array:
    """dy (M, H) -> dx (N, H): as a source of keys and values every token has a gradient, as a query only the asked."""
    dcontext, dx = _after_attention_backward(ops, g, c, dy)
    dq, dkv = ops.cross_attention_backward(dcontext, c["attention.self"])
    dx_query, *_ = ops.linear_backward(dq, c["attention.self.query"], g("attention.self.query"))
    dkey_value = [dqkv[dq.shape[1] :] for dqkv in g("attention.self.qkv")]
    dx_key_value, *_ = ops.linear_backward(dkv, c["attention.self.key_value"], dkey_value)
    return ops.gather_rows_backward(dx + dx_query, c["asked"]) + dx_key_value


def _attention_drop(c: Scope, config: BertConfig, drop: Dropout) -> tuple[float, int]:
    return drop(config.attention_probs_dropout_prob, f"{c.prefix}attention.self.dropout")


def _after_attention(
    ops: Any, p: Scope, c: Scope, context: Array, x: Array, config: BertConfig, drop: Dropout
) -> Array:
    """The rest of a layer, one token at a time."""
    eps, rate = config.layer_norm_eps, config.hidden_dropout_prob
    a, c["attention.output.dense"] = ops.linear(context, *p("attention.output.dense"))
    attention_drop = drop(rate, f"{c.prefix}attention.output.dropout")
    norm = p("attention.output.LayerNorm")
    h, c["attention.output.LayerNorm"] = ops.add_layer_norm(a, x, *norm, eps, *attention_drop)
    f, c["feed_forward"] = ops.feed_forward(h, *p("intermediate.dense"), *p("output.dense"), config.activation)
    output_drop = drop(rate, f"{c.prefix}output.dropout")
    y, c["output.LayerNorm"] = ops.add_layer_norm(f, h, *p("output.LayerNorm"), eps, *output_drop)
    return y


def _after_attention_backward(ops: Any, g: Scope, c: Scope, dy: Array) -> tuple[Array, Array]:
    """-> dcontext, and the part of dx that came past the attention"""
    df, dh, *dparams = ops.add_layer_norm_backward(dy, c["output.LayerNorm"])
    g.add("output.LayerNorm", *dparams)
    dlayers = *g("intermediate.dense"), *g("output.dense")
    dh_ffn, *_ = ops.feed_forward_backward(df, c["feed_forward"], dlayers)

    dh = dh + dh_ffn  # a fork forward is a sum backward
    da, dx, *dparams = ops.add_layer_norm_backward(dh, c["attention.output.LayerNorm"])
    g.add("attention.output.LayerNorm", *dparams)
    dcontext, *_ = ops.linear_backward(da, c["attention.output.dense"], g("attention.output.dense"))
    return dcontext, dx


def pooler(ops: Any, p: Scope, c: Scope, x: Array, batch: Batch) -> Array:
    """tanh(W x[first token] + b)    (N, H) -> (B', H);  the first token is [CLS]."""
    first, c["first"] = ops.gather_rows(x, batch.places(batch.first_tokens))
    pooled, c["dense"] = ops.linear(first, *p("dense"))
    pooled, c["activation"] = ops.tanh(pooled)
    return pooled


def pooler_backward(ops: Any, g: Scope, c: Scope, dpooled: Array) -> Array:
    """Only first tokens get a gradient. dpooled (B', H) -> dx (N, H)"""
    dpooled = ops.tanh_backward(dpooled, c["activation"])
    dfirst, *_ = ops.linear_backward(dpooled, c["dense"], g("dense"))
    return ops.gather_rows_backward(dfirst, c["first"])


def bert_spec(config: BertConfig, body: str, pooled: bool) -> list[Param]:
    """The tensors of the encoder, in the order of Hugging Face's state_dict."""
    hidden, intermediate = config.hidden_size, config.intermediate_size
    spec = [
        Param("embeddings.word_embeddings.weight", (config.vocab_size, hidden), "normal"),
        Param("embeddings.position_embeddings.weight", (config.max_position_embeddings, hidden), "normal"),
        Param("embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden), "normal"),
        *layer_norm_spec("embeddings.LayerNorm", hidden),
    ]
    for i in range(config.num_hidden_layers):
        name = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            spec += linear_spec(f"{name}.attention.self.{part}", hidden, hidden)
        spec += linear_spec(f"{name}.attention.output.dense", hidden, hidden)
        spec += layer_norm_spec(f"{name}.attention.output.LayerNorm", hidden)
        spec += linear_spec(f"{name}.intermediate.dense", intermediate, hidden)
        spec += linear_spec(f"{name}.output.dense", hidden, intermediate)
        spec += layer_norm_spec(f"{name}.output.LayerNorm", hidden)
    if pooled:
        spec += linear_spec("pooler.dense", hidden, hidden)
    prefix = f"{body}." if body else ""
    return [p._replace(name=prefix + p.name) for p in spec]


def linear_spec(name: str, out: int, inputs: int) -> list[Param]:
    """Weight (out, inputs) and bias (out,) of a linear layer."""
    return [Param(f"{name}.weight", (out, inputs), "normal"), Param(f"{name}.bias", (out,), "zeros")]


def layer_norm_spec(name: str, size: int) -> list[Param]:
    """Gain and bias (size,) of a layer normalisation, which files call weight and bias."""
    return [Param(f"{name}.weight", (size,), "ones"), Param(f"{name}.bias", (size,), "zeros")]
