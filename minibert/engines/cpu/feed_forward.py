"""The feed-forward network, whose inner activation is the largest tensor of a layer and is not kept: backward computes
it again from u, which it needs anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...ops.xp import Array
from . import memory, threads
from .activations import FUSED
from .linear import ROWS, affine, multiply, product, weight_gradients


class FeedForwardCache(NamedTuple):
    x: Array  # (N, H)
    u: Array  # (N, I)  x W₁ᵀ + b₁
    weight1: Array  # (I, H)
    weight2: Array  # (H, I)
    activation: str


def feed_forward(
    x: Array, weight1: Array, bias1: Array, weight2: Array, bias2: Array, activation: str
) -> tuple[Array, FeedForwardCache]:
    u = memory.empty((x.shape[0], weight1.shape[0]))
    y = memory.empty((x.shape[0], weight2.shape[0]))
    act = FUSED[activation]

    def rows(start: int, stop: int) -> None:
        inner, a = u[start:stop], memory.empty((stop - start, u.shape[1]))
        multiply(x[start:stop], weight1.T, inner)
        act.bias(inner, bias1, a)
        multiply(a, weight2.T, y[start:stop], bias2)

    if len(x) >= threads.count() * ROWS:
        threads.split(len(x), ROWS, rows)  # nothing to wait for between the two products
    else:
        a = memory.empty(u.shape)
        affine(x, weight1, bias1, u)
        threads.split(len(x), 16, lambda start, stop: act.of(u[start:stop], a[start:stop]))
        affine(a, weight2, bias2, y)
    return y, FeedForwardCache(x, u, weight1, weight2, activation)


def feed_forward_backward(
    dy: Array, cache: FeedForwardCache, totals: Sequence[Array] | None = None
) -> tuple[Array, Array, Array, Array, Array]:
    x, u, weight1, weight2, activation = cache
    act = FUSED[activation]
    du, a, dx = memory.empty(u.shape), memory.empty(u.shape), memory.empty(x.shape)
    shapes = weight1.shape, weight1.shape[:1], weight2.shape, weight2.shape[:1]
    dweight1, dbias1, dweight2, dbias2 = totals or [memory.empty(shape) for shape in shapes]

    def inner(start: int, stop: int) -> None:
        act.backward(a[start:stop], u[start:stop], du[start:stop])  # not in place, which would not be vectorised
        act.of(u[start:stop], a[start:stop])

    def rows(start: int, stop: int) -> None:
        multiply(dy[start:stop], weight2, a[start:stop])
        inner(start, stop)
        multiply(du[start:stop], weight1, dx[start:stop])

    tasks: list[threads.Task] = []
    if len(x) >= threads.count() * ROWS:
        threads.split(len(x), ROWS, rows)
    else:
        threads.run(product(dy, weight2, a))
        threads.split(len(x), 16, inner)
        tasks = [*product(du, weight1, dx)]
    add = totals is not None
    tasks += [*weight_gradients(dy, a, dweight2, dbias2, add), *weight_gradients(du, x, dweight1, dbias1, add)]
    threads.run(tasks)
    return dx, dweight1, dbias1, dweight2, dbias2
