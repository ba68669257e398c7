"""Mistakes that are a factor: a number, an array, the upstream gradient, or 0."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from .evidence import Evidence, listed, multiple, norm, number, spread_over

Array = Any


def not_linear(ev: Evidence) -> str:
    """Backward is linear in dy, whatever f is: the gradient for -2·dy is -2 times that for dy."""
    if ev.scaled is None or norm(ev.scaled + 2 * ev.g) <= 1e-9 * (norm(ev.g) + norm(ev.scaled)):
        return ""
    if ev.fits(ev.scaled, ev.g):
        times = ev.dy.shape == ev.g.shape and ev.fits(ev.g * ev.dy, ev.t)
        proof = " Multiplied by dy it is the truth." if times else ""
        return (
            "It does not depend on the upstream gradient: backward(-2·dy) is backward(dy). The chain rule's factor dy "
            f"is forgotten.{proof}"
        )
    for times, like in ((4, "dy were multiplied in twice"), (2, "|dy| were taken")):
        if ev.fits(ev.scaled, times * ev.g):
            return (
                "It is not linear in the upstream gradient: backward(-2·dy) should be -2 times backward(dy), it is "
                f"{times} times, as if {like}."
            )
    return (
        "It is not linear in the upstream gradient: backward(-2·dy) should be -2 times backward(dy). Has a term no "
        "factor dy, or dy twice?"
    )


def zero(ev: Evidence) -> str:
    if ev.g.any():
        return ""
    return f"It is 0 everywhere, the truth is not (its norm is {number(norm(ev.t))}): is it ever written to?"


def factor(ev: Evidence) -> str:
    """g = c·t."""
    said = _constant(ev, ev.g, ev.t)
    return said and f"It is {said}"


def factor_of_a_part(ev: Evidence) -> str:
    """g = c·t in the rows or columns that are wrong, as one of several blocks of a matrix (q, k and v) may be."""
    for axis in range(ev.g.ndim):
        bad = ev.slices(axis)
        if 0 < len(bad) < ev.g.shape[axis] and (axis == 0 or ev.g.ndim > 1):
            said = _constant(ev, np.take(ev.g, bad, axis), np.take(ev.t, bad, axis))
            if said:
                where = [ev.row(k) for k in bad] if axis == 0 else bad
                return f"In {ev.noun(axis, len(bad))} {listed(where)}, where it is wrong, it is {said}"
    return ""


def _constant(ev: Evidence, g: Array, t: Array) -> str:
    """What the factor is, and which numbers at hand it equals; why it is there, no number can tell."""
    c = multiple(g, t)
    if not c or t.size < 2 or not ev.fits(g, c * t):
        return ""
    if math.isclose(c, -1, rel_tol=1e-6):
        also = "".join(f" It is the gradient of {name}, too." for name, a in ev.others.items() if ev.fits(ev.g, a))
        return f"the truth with the wrong sign, everywhere: a minus is missing, or one too many.{also}"
    times = number(c) if abs(c - 1) > 1e-4 else f"{c:.12g}"
    said = f"{times} times the truth, everywhere{', and its sign is wrong' if c < 0 else ''}"
    up = max(abs(c), 1 / abs(c))
    if not up < 1e15:
        return f"{said}: one constant factor."
    close = max(1e-9, ev.cell / float(np.abs(t).max()))  # of differences not all digits are right
    equal = [words for value, words in _numbers(ev, abs(c) < 1) if math.isclose(up, value, rel_tol=close)]
    if 1 < round(up) < 10**6 and math.isclose(up, round(up), rel_tol=close):
        many, few = str(round(up)), f"1/{round(up)}"
        said += (
            f": a factor {many} too many, or {few} missing"
            if abs(c) > 1
            else f": a factor {many} missing, or {few} too many"
        )
        return f"{said}. {equal[0]}." if equal else f"{said}."
    near = Fraction(up).limit_denominator(99)
    if not equal and near < 99 and math.isclose(up, near, rel_tol=close):
        equal = [f"{number(abs(c))} = {near if abs(c) > 1 else 1 / near}"]
    return f"{said}; {equal[0]}." if equal else f"{said}: one constant factor."


def _numbers(ev: Evidence, inverse: bool) -> Iterator[tuple[float, str]]:
    """(value, greater than 1; what it is) of numbers at hand that could be a factor, or the inverse of one."""
    arrays = {**ev.arrays, ev.result: ev.y}
    lengths: dict[int, str] = {}
    for name, a in arrays.items():
        for axis, n in enumerate(a.shape):
            lengths.setdefault(n, f"{n} is the length of axis {axis} of {name}")
    sizes = dict(lengths)
    for name, a in arrays.items():
        sizes.setdefault(a.size, f"{a.size} is the number of entries of {name}")
    found = [(float(n), str(n), meaning) for n, meaning in sizes.items()]
    found += [(value, f"{name}", "") for name, value in ev.options.items() if value > 0]
    found += [(1 - value, f"(1-{name})", "") for name, value in ev.options.items() if 0 < value < 1]
    found += [
        (n / k, f"({n}/{name})", lengths[n])
        for name, k in ev.options.items()
        for n in lengths
        if isinstance(k, int) and n > k > 1 and n % k == 0
    ]
    y = "y is the result" if ev.result == "y" else ""
    found += [(norm(a), f"|{name}|" if a.size == 1 else f"‖{name}‖", y * (name == "y")) for name, a in arrays.items()]
    if ev.y.size == 1 and abs(float(ev.y.sum())) < 700:
        found.append((math.exp(float(ev.y.sum())), f"exp({ev.result})", y))
    forms = [(value, symbol, meaning) for value, symbol, meaning in found]
    forms += [(math.sqrt(value), f"√{symbol}", meaning) for value, symbol, meaning in found]
    forms += [(value * value, f"{symbol}²", meaning) for value, symbol, meaning in found]
    pairs = [(n, m) for n in sizes for m in sizes if min(n, m) > 1 and n != m and (n < m) == inverse]
    forms += [(n / m, f"{n}/{m}", f"{sizes[n]}, {sizes[m]}") for n, m in pairs]
    for value, symbol, meaning in forms:
        if not 0 < value < math.inf or value == 1:
            continue
        up = value if value > 1 else 1 / value
        shown = number(1 / up if inverse else up)
        equal = f"{shown} = {symbol if (value < 1) == inverse else f'1/{symbol}'}"
        yield up, meaning if symbol.isdigit() else f"{equal}{meaning and ', and ' + meaning}"


def array_factor(ev: Evidence) -> str:
    """g∘a = t, or g = t∘a, for an array a that is at hand, its square, its exp, or what it and 1 make."""
    if not ev.whole:
        return ""
    for name, array in {**ev.arrays, ev.result: ev.y}.items():
        known = " (y is the result)" if name == "y" and ev.result == "y" else ""
        for a in spread_over(array, ev.x):
            if norm(a - a.mean()) <= 1e-12 * norm(a):
                continue
            forms = (
                (name, a),
                (f"(1 - {name})", 1 - a),
                (f"(1 + {name})", 1 + a),
                (f"{name}²", a * a),
                (f"exp({name})", np.exp(a)),
            )
            for words, b in forms:
                if ev.fits(ev.g * b, ev.t):
                    return (
                        f"Multiplied by {words} it is the truth: this factor is missing, or 1/{words} too many{known}."
                    )
                if ev.fits(ev.t * b, ev.g):
                    return f"It is the truth times {words}: this factor is too many, or 1/{words} is missing{known}."
    return ""


def factor_of_rows(ev: Evidence) -> str:
    """g is c·t in every row, with a factor of its own each: as of a sum or a norm over the row."""
    for axis in reversed(range(ev.g.ndim if ev.whole and ev.g.ndim > 1 else 0)):
        g, t = (np.moveaxis(a, axis, -1) for a in (ev.g, ev.t))
        size = (t * t).sum(axis=-1, keepdims=True)
        c = (g * t).sum(axis=-1, keepdims=True) / np.where(size == 0, 1, size)
        if g.shape[-1] > 2 and (np.abs(c - 1) > 1e-6).all() and ev.fits(g, c * t):
            shown = listed([number(float(k)) for k in c.reshape(-1)], 3)
            return f"Along axis {axis} it is the truth times one number, for each {ev.line(axis)} another: {shown}."
    return ""


def single_precision(ev: Evidence) -> str:
    """g has 24 bits."""
    with np.errstate(over="ignore", under="ignore"):
        single = ev.g.astype(np.float32)
    if not np.array_equal(ev.g, single) or norm(ev.e) > 1e-5 * norm(ev.t):
        return ""
    return "Its numbers are float32 numbers: something on the way computes in single precision."
