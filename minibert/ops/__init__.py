"""The mathematics of BERT, once: one chapter a file, every forward above its backward.

    y, cache = layer_norm(x, gamma, beta, eps)
    dx, dgamma, dbeta = layer_norm_backward(dy, cache)

Operators are pure functions over NumPy or CuPy arrays of any float dtype, which they keep. Backward takes the gradient
of the output and the cache, nothing else, and returns the gradients of the differentiable arguments in their order;
targets of losses are constants. The cache is a named tuple that holds all that backward needs; it is private to the
engine that made it. One backward, `linear_cross_entropy_backward`, is two in a row, and takes the caches of both.

Letters: N tokens in the packed batch, B sequences, T length, L layers, H hidden, A heads, D = H/A, I intermediate, V
vocabulary, C classes; γ, β gain and bias of layer normalisation. The gradient of `v` is `dv`, shaped like `v`. [n = m]
and δₙₘ are 1 where n = m, else 0.

A chapter that is named like its operator is hidden behind it: `minibert.ops.dropout` is the function. What else is in
the chapter comes by `from minibert.ops.dropout import dropout_keep`. `minibert explain dropout` prints it.

Each chapter has the same parts: Definition, Derivation (in indices, then in matrices), In code (the lines arrived at),
By hand (numbers small enough for paper; they are doctests, and an entry of the gradient is confirmed by the complex
step), Often got wrong (how the mistake shows, and what sees it).

Reading order:

    linear        the first backward pass: broadcast and sum, reuse and +=
    xp            how a derivative is checked: the complex step
    embedding     gather, and its transpose, scatter-add; learned positions
    activations   relu, silu, tanh: a derivative a number
    erf           a function that NumPy lacks, from two polynomials
    gelu          x·Φ(x), in its two forms
    feed_forward  two linear layers and an activation: the chain rule
    softmax       shares of 1, and what a common shift does to them
    attention     the one operator that mixes tokens
    dropout       a mask that is a function
    layer_norm    three terms, two of them projections
    losses        p - onehot, and the mean it is divided by
    crf           whole sequences of tags: forward-backward is backpropagation
    weighted      cross-entropy with class weights and label smoothing
    pooling       one vector a text; a length is no constant
    similarity    cosines of pairs, and ranking within a batch
    optimiser     AdamW, two steps worked out
"""

from .activations import relu, relu_backward, silu, silu_backward, tanh, tanh_backward
from .attention import (
    attention,
    attention_backward,
    attention_probs,
    cross_attention,
    cross_attention_backward,
)
from .crf import crf, crf_backward, crf_decode, crf_log_partition, crf_marginals
from .dropout import dropout, dropout_backward, dropout_key
from .embedding import (
    embedding,
    embedding_backward,
    gather_rows,
    gather_rows_backward,
    scatter_rows,
    scatter_rows_backward,
)
from .erf import erf
from .feed_forward import feed_forward, feed_forward_backward
from .gelu import gelu, gelu_backward, gelu_new, gelu_new_backward
from .layer_norm import add_layer_norm, add_layer_norm_backward, layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .losses import (
    IGNORE_INDEX,
    binary_cross_entropy,
    binary_cross_entropy_backward,
    cross_entropy,
    cross_entropy_backward,
    linear_cross_entropy_backward,
    mean_squared_error,
    mean_squared_error_backward,
    span_cross_entropy,
    span_cross_entropy_backward,
)
from .optimiser import adamw, global_norm, lamb, sgd
from .pooling import mean_pool, mean_pool_backward, unit, unit_backward
from .similarity import cosine, cosine_backward, cosine_matrix, cosine_matrix_backward
from .softmax import softmax, softmax_backward
from .weighted import weighted_cross_entropy, weighted_cross_entropy_backward

__all__ = [
    "IGNORE_INDEX",
    "adamw",
    "add_layer_norm",
    "add_layer_norm_backward",
    "attention",
    "attention_backward",
    "attention_probs",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "cosine",
    "cosine_backward",
    "cosine_matrix",
    "cosine_matrix_backward",
    "crf",
    "crf_backward",
    "crf_decode",
    "crf_log_partition",
    "crf_marginals",
    "cross_attention",
    "cross_attention_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "dropout_key",
    "embedding",
    "embedding_backward",
    "erf",
    "feed_forward",
    "feed_forward_backward",
    "gather_rows",
    "gather_rows_backward",
    "gelu",
    "gelu_backward",
    "gelu_new",
    "gelu_new_backward",
    "global_norm",
    "lamb",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "linear_cross_entropy_backward",
    "mean_pool",
    "mean_pool_backward",
    "mean_squared_error",
    "mean_squared_error_backward",
    "relu",
    "relu_backward",
    "scatter_rows",
    "scatter_rows_backward",
    "sgd",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "span_cross_entropy",
    "span_cross_entropy_backward",
    "tanh",
    "tanh_backward",
    "unit",
    "unit_backward",
    "weighted_cross_entropy",
    "weighted_cross_entropy_backward",
]
