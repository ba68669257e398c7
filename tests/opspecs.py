"""One row an operator: how to draw arguments, and the plainest possible statement of what it computes.

Three tests walk this table: values against the plain statement, gradients by complex step, engines against the
reference. An operator without a row fails a test.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minibert import ops


class OpSpec(NamedTuple):
    name: str
    draw: Callable[[Any], tuple]  # hypothesis' draw -> arguments; float64 arrays are differentiated
    naive: Callable[..., np.ndarray]  # the same arguments -> y, by loops and `math`
    smooth: bool = True  # has complex-step gradients everywhere that is drawn

    def __repr__(self) -> str:
        return self.name


sizes = st.sampled_from([1, 2, 3, 7, 8, 9, 16, 17])
scales = st.sampled_from([1e-3, 0.02, 1.0, 5.0])


def rng_of(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def matrix(draw, *shape):
    """Normal numbers at a drawn scale, with a mean away from 0.

    The shape salts the seed, so that two arrays with seed 0 are not the same numbers: a cotangent parallel to x̂ would
    make layer normalisation's true dx vanish.
    """
    rng = np.random.default_rng([draw(st.integers(0, 2**32 - 1)), *shape])
    scale = draw(scales)
    return scale * (rng.standard_normal(shape) + 0.5 * rng.standard_normal())


def cu_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


# ---- arguments ------------------------------------------------------------------------------------------------------


def draw_linear(draw):
    n, i, o = draw(sizes), draw(sizes), draw(sizes)
    return matrix(draw, n, i), matrix(draw, o, i), matrix(draw, o)


def draw_embedding(draw):
    v, h, n = draw(sizes), draw(sizes), draw(sizes)
    return matrix(draw, v, h), rng_of(draw).integers(0, v, n)  # ids repeat


def draw_scatter(draw):
    x, rows = matrix(draw, draw(sizes), draw(sizes)), None
    n = draw(sizes)
    rows = rng_of(draw).integers(0, n, len(x))
    return x, rows, n


def draw_layer_norm(draw):
    # With one or two features x̂ is 0 or ±1 whatever x is: the true dx is (nearly) 0, the difference of large terms. No
    # relative check can be made of it; such rows have a test of their own.
    n, h = draw(sizes), draw(sizes.filter(lambda s: s > 3))
    gamma = 1 + matrix(draw, h)
    return matrix(draw, n, h), gamma, matrix(draw, h), draw(st.sampled_from([1e-12, 1e-5]))


def draw_add_layer_norm(draw):
    x, gamma, beta, eps = draw_layer_norm(draw)
    rate = draw(st.sampled_from([0.0, 0.3]))
    return x, matrix(draw, *x.shape), gamma, beta, eps, rate, draw(st.integers(0, 2**64 - 1))


def draw_feed_forward(draw):
    n, h, i = draw(sizes), draw(sizes), draw(sizes)
    weights = matrix(draw, i, h), matrix(draw, i), matrix(draw, h, i), matrix(draw, h)
    return matrix(draw, n, h), *weights, draw(st.sampled_from(["gelu", "gelu_new", "silu", "tanh"]))


def draw_any(draw):
    return (matrix(draw, draw(sizes), draw(sizes)),)


def draw_activation(draw):
    """Never a single number: far out on the left GELU's gradient is 1e-13, the difference of terms of size 1."""
    return (matrix(draw, draw(sizes), draw(sizes.filter(lambda s: s > 3))),)


def draw_attention(draw):
    heads, size = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 5, 8]))
    lengths = draw(st.lists(st.sampled_from([0, 1, 2, 3, 9]), min_size=1, max_size=4))
    qkv = matrix(draw, sum(lengths), 3 * heads * size)
    rate = draw(st.sampled_from([0.0, 0.3]))
    return qkv, cu_of(lengths), heads, draw(st.booleans()), rate, draw(st.integers(0, 2**64 - 1))


def draw_cross_attention(draw):
    heads, size = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 5, 8]))
    pairs = draw(st.lists(st.sampled_from([(0, 0), (0, 3), (1, 1), (1, 9), (2, 3), (9, 9)]), min_size=1, max_size=4))
    asked, lengths = zip(*pairs, strict=True)
    q, kv = matrix(draw, sum(asked), heads * size), matrix(draw, sum(lengths), 2 * heads * size)
    rate = draw(st.sampled_from([0.0, 0.3]))
    return q, kv, cu_of(asked), cu_of(lengths), heads, rate, draw(st.integers(0, 2**64 - 1))


def draw_dropout(draw):
    return (*draw_any(draw), draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])), draw(st.integers(0, 2**64 - 1)))


def draw_cross_entropy(draw):
    logits = matrix(draw, draw(sizes), draw(sizes))
    rng = rng_of(draw)
    labels = rng.integers(0, logits.shape[1], len(logits))
    return logits, np.where(rng.random(len(logits)) < 0.3, ops.IGNORE_INDEX, labels)


def draw_weighted(draw):
    logits, labels = draw_cross_entropy(draw)
    weights = draw(st.none() | st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), **dict.fromkeys(
        ("min_size", "max_size"), logits.shape[1])))  # fmt: skip
    return logits, labels, weights, draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))


def draw_span(draw):
    lengths = np.array(draw(st.lists(st.sampled_from([1, 2, 9]), min_size=1, max_size=4)))
    rng = rng_of(draw)
    labels = np.where(rng.random(len(lengths)) < 0.3, ops.IGNORE_INDEX, rng.integers(0, lengths))
    return matrix(draw, lengths.sum()), labels, cu_of(lengths)


def draw_crf(draw):
    """Few tags and tokens: the plain statement lists every path."""
    tags = draw(st.sampled_from([1, 2, 3, 4]))
    lengths = draw(st.lists(st.sampled_from([0, 1, 2, 4]), min_size=1, max_size=4))
    scores = matrix(draw, sum(lengths), tags), matrix(draw, tags, tags), matrix(draw, tags), matrix(draw, tags)
    return *scores, rng_of(draw).integers(0, tags, sum(lengths)), cu_of(lengths)


def draw_binary(draw):
    logits = matrix(draw, draw(sizes), draw(sizes))
    return logits, rng_of(draw).integers(0, 2, logits.shape)


def draw_mean_pool(draw):
    lengths = draw(st.lists(st.sampled_from([0, 1, 2, 9]), min_size=1, max_size=4))
    return matrix(draw, sum(lengths), draw(sizes)), cu_of(lengths)


def draw_unit(draw):
    """Of one or two features the true dx is (nearly) 0, the difference of large terms: as in draw_layer_norm."""
    return (matrix(draw, draw(sizes), draw(sizes.filter(lambda s: s > 3))),)


def draw_cosine(draw):
    """The second of another shape first: with the same seed both would be parallel, and the true gradients 0."""
    n, h = draw(sizes), draw(sizes.filter(lambda s: s > 3))
    return matrix(draw, n, h), matrix(draw, n, h + 1)[:, 1:]


def draw_cosine_matrix(draw):
    n, m, h = draw(sizes), draw(sizes), draw(sizes.filter(lambda s: s > 3))
    return matrix(draw, n, h), matrix(draw, m, h + 1)[:, 1:], draw(st.sampled_from([1.0, 20.0]))


# ---- plain statements -----------------------------------------------------------------------------------------------


def each(f):
    return lambda x, *_: np.array([f(float(v)) for v in x.reshape(-1)]).reshape(x.shape)


def naive_linear(x, weight, bias):
    return np.array([[math.fsum(a * b for a, b in zip(row, w, strict=True)) + c
                      for w, c in zip(weight, bias, strict=True)] for row in x])  # fmt: skip


def naive_embedding(table, ids):
    return np.array([table[i] for i in ids])


def naive_scatter(x, rows, num_rows):
    y = np.zeros((num_rows, x.shape[1]))
    for row, to in zip(x, rows, strict=True):
        y[to] = y[to] + row
    return y


def naive_layer_norm(x, gamma, beta, eps):
    y = np.empty_like(x)
    for row, out in zip(x, y, strict=True):
        mean = math.fsum(row) / len(row)
        variance = math.fsum((v - mean) ** 2 for v in row) / len(row)
        out[:] = [g * (v - mean) / math.sqrt(variance + eps) + b for v, g, b in zip(row, gamma, beta, strict=True)]
    return y


def naive_softmax(scores):
    y = np.empty_like(scores)
    for row, out in zip(scores, y, strict=True):
        e = [math.exp(v - max(row)) for v in row]
        out[:] = np.array(e) / math.fsum(e)
    return y


def naive_attention(qkv, cu_seqlens, num_heads, causal, rate, key):
    """One query, one head, one key at a time; the only vector left is v."""
    n, width = qkv.shape
    size = width // 3 // num_heads
    q, k, v = qkv.reshape(n, 3, num_heads, size).transpose(1, 2, 0, 3)
    context = np.zeros((n, num_heads, size))
    element = 0
    for start, end in itertools.pairwise(cu_seqlens):
        keep = ops.dropout(np.ones(num_heads * (end - start) ** 2), rate, key, element)[0].reshape(num_heads, -1)
        element += keep.size
        for head in range(num_heads):
            for i in range(start, end):
                seen = range(start, i + 1 if causal else end)
                scores = [float(q[head, i] @ k[head, j]) / math.sqrt(size) for j in seen]
                e = [math.exp(s - max(scores)) for s in scores]
                for j, weight in zip(seen, e, strict=True):
                    mask = keep[head, (i - start) * (end - start) + (j - start)]
                    context[i, head] += weight / math.fsum(e) * mask * v[head, j]
    return context.reshape(n, num_heads * size)


def naive_cross_attention(q, kv, cu_queries, cu_seqlens, num_heads, rate, key):
    """One query, one head at a time, by NumPy's vectors."""
    context, size, element = np.zeros_like(q), q.shape[1] // num_heads, 0
    for (a, b), (start, end) in zip(itertools.pairwise(cu_queries), itertools.pairwise(cu_seqlens), strict=True):
        shape = num_heads, b - a, end - start
        keep = ops.dropout(np.ones(math.prod(shape)), rate, key, element)[0].reshape(shape)
        element += keep.size
        for head in range(num_heads):
            columns = slice(head * size, (head + 1) * size)
            k, v = kv[start:end, columns], kv[start:end, q.shape[1] :][:, columns]
            for i in range(a, b):
                e = np.exp((scores := k @ q[i, columns] / math.sqrt(size)) - scores.max())
                context[i, columns] = (e / e.sum() * keep[head, i - a]) @ v
    return context


def naive_dropout(x, rate, key, offset=0):
    """The published hash, in Python's integers."""

    def mix(h):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ h >> shift) * factor & 0xFFFFFFFF
        return h ^ h >> 16

    def kept(i):
        h = mix(i & 0xFFFFFFFF ^ key & 0xFFFFFFFF)
        h = mix((h + (key >> 32) & 0xFFFFFFFF) ^ (i >> 32) * 0x9E3779B9 & 0xFFFFFFFF)
        return h >> 8 >= round(rate * 2**24)

    y = [v / (1 - rate) if kept(offset + i) else 0.0 for i, v in enumerate(x.reshape(-1))]
    return np.array(y).reshape(x.shape)


def naive_cross_entropy(logits, labels):
    losses = [-math.log(p[c]) for p, c in zip(naive_softmax(logits), labels, strict=True) if c != ops.IGNORE_INDEX]
    return np.array(math.fsum(losses) / max(len(losses), 1))


def naive_weighted(logits, labels, class_weights, label_smoothing):
    weights = class_weights or [1.0] * logits.shape[1]
    terms, total = [], 0.0
    for row, label in zip(logits, labels, strict=True):
        if label != ops.IGNORE_INDEX:
            total += weights[label]
            lse = math.log(math.fsum(math.exp(v - max(row)) for v in row)) + max(row)
            for j, (v, weight) in enumerate(zip(row, weights, strict=True)):
                share = (1 - label_smoothing) * (j == label) + label_smoothing / len(row)
                terms.append(weight * share * (lse - v))
    return np.array(math.fsum(terms) / total if total else 0.0)


def naive_span(logits, labels, cu):
    rows = [(logits[None, s:e], c) for s, e, c in zip(cu, cu[1:], labels, strict=False) if c != ops.IGNORE_INDEX]
    return np.array(math.fsum(naive_cross_entropy(x, [c]) for x, c in rows) / max(len(rows), 1))


def paths_of(emissions, transitions, start, end):
    """Every path through one sequence, with its score."""
    for path in itertools.product(range(len(start)), repeat=len(emissions)):
        terms = [start[path[0]], end[path[-1]], *(row[tag] for row, tag in zip(emissions, path, strict=True))]
        yield path, math.fsum(terms + [transitions[pair] for pair in itertools.pairwise(path)])


def naive_crf(emissions, transitions, start, end, labels, cu):
    losses = []
    for a, b in itertools.pairwise(cu):
        if b > a:
            scores = dict(paths_of(emissions[a:b], transitions, start, end))
            largest = max(scores.values())
            total = math.fsum(math.exp(score - largest) for score in scores.values())
            losses.append(math.log(total) + largest - scores[tuple(labels[a:b].tolist())])
    return np.array(math.fsum(losses) / max(len(losses), 1))


def naive_binary(logits, targets):
    losses = [math.log1p(math.exp(-v if z else v)) for v, z in zip(logits.flat, targets.flat, strict=True)]
    return np.array(math.fsum(losses) / len(losses))


def naive_mean_pool(x, cu):
    y = np.zeros((len(cu) - 1, x.shape[1]))
    for row, (a, b) in zip(y, itertools.pairwise(cu), strict=True):
        row[:] = [math.fsum(column) / (b - a) if b > a else 0.0 for column in x[a:b].T]
    return y


def naive_cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def cdf(v):
    return 0.5 * math.erfc(-v * math.sqrt(0.5))


ACTIVATIONS = {
    "gelu": lambda v: v * cdf(v),
    "gelu_new": lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "tanh": math.tanh,
}


def naive_feed_forward(x, weight1, bias1, weight2, bias2, activation):
    inner = each(ACTIVATIONS[activation])(naive_linear(x, weight1, bias1))
    return naive_linear(inner, weight2, bias2)


OPERATORS = (
    OpSpec("linear", draw_linear, naive_linear),
    OpSpec("embedding", draw_embedding, naive_embedding),
    OpSpec("gather_rows", draw_embedding, naive_embedding),
    OpSpec("scatter_rows", draw_scatter, naive_scatter),
    OpSpec("layer_norm", draw_layer_norm, naive_layer_norm),
    OpSpec("add_layer_norm", draw_add_layer_norm,
           lambda x, r, g, b, eps, rate, key: naive_layer_norm(naive_dropout(x, rate, key) + r, g, b, eps)),
    OpSpec("gelu", draw_activation, each(ACTIVATIONS["gelu"])),
    OpSpec("gelu_new", draw_activation, each(ACTIVATIONS["gelu_new"])),
    OpSpec("relu", draw_activation, each(lambda v: max(v, 0.0)), smooth=False),
    OpSpec("silu", draw_activation, each(ACTIVATIONS["silu"])),
    OpSpec("tanh", draw_activation, each(ACTIVATIONS["tanh"])),
    OpSpec("feed_forward", draw_feed_forward, naive_feed_forward),
    OpSpec("softmax", draw_any, naive_softmax),
    OpSpec("attention", draw_attention, naive_attention),
    OpSpec("cross_attention", draw_cross_attention, naive_cross_attention),
    OpSpec("dropout", draw_dropout, naive_dropout),
    OpSpec("cross_entropy", draw_cross_entropy, naive_cross_entropy),
    OpSpec("weighted_cross_entropy", draw_weighted, naive_weighted),
    OpSpec("span_cross_entropy", draw_span, naive_span),
    OpSpec("crf", draw_crf, naive_crf),
    OpSpec("binary_cross_entropy", draw_binary, naive_binary),
    OpSpec("mean_pool", draw_mean_pool, naive_mean_pool),
    OpSpec("unit", draw_unit, lambda x: np.array([row / math.hypot(*row) for row in x])),
    OpSpec("cosine", draw_cosine, lambda a, b: np.array([naive_cosine(*pair) for pair in zip(a, b, strict=True)])),
    OpSpec("cosine_matrix", draw_cosine_matrix,
           lambda a, b, scale: np.array([[scale * naive_cosine(x, y) for y in b] for x in a])),
    OpSpec("mean_squared_error", draw_binary, lambda x, z: np.mean((x - z) ** 2)),
)  # fmt: skip
