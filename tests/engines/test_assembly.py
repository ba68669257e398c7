"""The machine code of every kernel: vector instructions, no calls of the C library's functions, nothing in double.

A kernel that lost its vectors computes the same, ten times slower; no other test would see it. The table says what the
parameters are; a new kernel is found by itself, and fails when one of its parameters is not in the table.
"""

import importlib
import inspect
import math
import pkgutil
import platform
import re

import llvmlite.binding
import numba
import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from minibert.engines import cpu
from minibert.engines.cpu import amx
from minibert.engines.cpu.compile import FLAGS, kernel
from minibert.engines.cpu.dropout import mask
from minibert.engines.cpu.vector_math import exp32

F1, F2 = numba.float32[::1], numba.float32[:, ::1]
F3, F4 = numba.float32[:, :, ::1], numba.float32[:, :, :, ::1]
I1, INT, UINT, F, BOOL = numba.int64[::1], numba.int64, numba.uint32, numba.float32, numba.boolean
MASK = numba.typeof(mask(0.1, 7))

MASK_PARTS = {"key_low": UINT, "key_high": UINT, "threshold": UINT, "scale": F}

THREE = numba.types.UniTuple(INT, 3)

TYPES = {
    "amx": {"a": THREE, "b": THREE, "c": THREE, "shape": THREE, "bias": INT, "scratch": INT}
    | {"constants": INT, "counts": I1, "own": INT, "parts": INT},
    "activations": {"u": F2, "bias": F1, "out": F2, "dy": F2, "du": F2, "dbias": F1},
    "attention_kernels": MASK_PARTS
    | {"blas": INT, "counts": I1, "own": INT, "start": INT, "causal": BOOL, "factor": F, "mask": MASK}
    | {"qkv": F2, "cu_seqlens": I1, "before": I1, "scratch": F1, "context": F2, "peaks": F2, "inverses": F2}
    | {"dscratch": F1, "dcontext": F2, "dqkv": F2, "probs": F3},
    "dropout": MASK_PARTS | {"x": F1, "first": UINT, "y": F1},
    "embedding": {"x": F2, "rows": I1, "y": F2},
    "layer_norm": MASK_PARTS
    | {"x": F2, "bias": F1, "residual": F2, "gamma": F1, "beta": F1, "eps": F, "first": UINT}
    | {"y": F2, "xhat": F2, "rstd": F1, "dy": F2, "dresidual": F2, "dx": F2, "dgammas": F2, "dbetas": F2},
    "losses": {"logits": F2, "labels": I1, "ignore_index": INT, "peaks": F1, "totals": F1, "losses": F1, "first": INT}
    | {"factor": F, "dlogits": F2},
    "packed": {"weight": F2, "out": F4, "x": F2, "weights": F4, "bias": F1, "y": F2, "scratch": F1}
    | {"counts": I1, "own": INT},
    "skinny": {"x": F2, "weight": F2, "bias": F1, "y": F2},
    "optimiser": {"x": F1, "sums": numba.float64[::1], "p": F1, "g": F1, "m": F1, "v": F1, "constants": F1},
}
"""What a module's kernels are called with, by the parameter's name."""

DOUBLES = {
    "optimiser.square_sums": "the sums of blocks are doubles",
    "attention_kernels.forward_units": "the scale, once a call",
    "attention_kernels.backward_units": "the scale, once a call",
    "attention_kernels.all_probs": "the scale, once a call",
    "attention_kernels.probabilities": "the scale, once a call",
}
"""Kernels that compute in double on purpose, outside their loops over elements, and why: scalars, and no vectors."""

NO_ARITHMETIC = {"counters.changed", "packed.pack"}
"""Compiled for something else: a loop that waits, and a transposition, once for each weight."""

CALLS = {
    "losses.row_losses": {"logf"},  # one a row
}
"""Functions of the C library that a kernel may call, where it does so once a row."""

MOVES_ONLY = {"embedding.add_rows", "activations.FUSED.relu.of"}
"""Kernels without a product to fuse: vectors, but no multiplication among them is demanded."""

LIBRARY = re.compile(
    r"\$(_?_?(?:exp|exp2|expm1|log|log2|log1p|pow|erf|erfc|tanh|sinh|cosh|sin|cos|sqrt|floor|fmax|fmin)f?)\b"
)
PACKED = re.compile(r"\bv\w+(?:ps|d)\s.*%[yz]mm")
CALLED = re.compile(r"\$(_ZN(?!08NumbaEnv)\S+),")  # Numba functions; arrays among their parameters are in the name

ARITHMETIC = "add|sub|mul|div|fn?m(?:add|sub)[0-9]+"
SCALAR_DOUBLE = re.compile(rf"\bv(?:cvt(?:ss2sd|sd2ss)|(?:{ARITHMETIC})sd)\b")
PACKED_ARITHMETIC = re.compile(rf"\bv(?:{ARITHMETIC})ps\s.*%[yz]mm")
PACKED_DOUBLE = re.compile(rf"\bv(?:cvt(?:ps2pd|pd2ps)|(?:{ARITHMETIC})pd)\b")

features = llvmlite.binding.get_host_cpu_features() if platform.machine() in ("x86_64", "AMD64") else {}
needs_avx2 = pytest.mark.skipif(not features.get("avx2"), reason="reads the instructions of x86-64 with AVX2")


def kernels(found, path):
    """path -> Dispatcher, of everything with a disk cache below `found`; helpers have none."""
    if isinstance(found, Dispatcher):
        return {} if isinstance(found._cache, NullCache) else {path: found}
    if isinstance(found, dict):
        items = found.items()
    elif isinstance(found, tuple):
        items = zip(getattr(found, "_fields", range(len(found))), found, strict=True)
    else:
        return {}
    return {name: k for key, value in items for name, k in kernels(value, f"{path}.{key}").items()}


def all_kernels():
    found = {}
    for info in pkgutil.iter_modules(cpu.__path__):
        module = importlib.import_module(f"{cpu.__name__}.{info.name}")
        for name, k in kernels(dict(vars(module)), info.name).items():
            if k.py_func.__module__ == module.__name__ and name not in NO_ARITHMETIC:  # and not where it is imported
                found[name] = k
    return found


def signature(name, compiled):
    types = TYPES[name.split(".")[0]]
    return tuple(types[parameter] for parameter in inspect.signature(compiled.py_func).parameters)


def assembly(compiled, types):
    """The kernel's own code; without the wrapper for Python, which unpacks floats as doubles, and not from the disk
    cache, which has no text."""
    anew = numba.njit(**FLAGS, no_cpython_wrapper=True)(compiled.py_func)
    anew.compile(types)
    (text,) = anew.inspect_asm().values()
    return text


def complaints(text, doubles=False, calls=(), arithmetic=True):
    """What is wrong with the code."""
    found = []
    if not (PACKED_ARITHMETIC if arithmetic else PACKED).search(text):
        found.append("no vector instructions")
    if other := set(LIBRARY.findall(text)) - set(calls):
        found.append(f"calls {', '.join(sorted(other))}")
    if any("5ArrayI" not in called for called in CALLED.findall(text)):  # of numbers only: once an element, then
        found.append("a helper is not inlined")
    if match := PACKED_DOUBLE.search(text) or (not doubles and SCALAR_DOUBLE.search(text)):
        found.append(f"in double: {match[0]}")
    return found


def test_kernels_are_found_wherever_they_are():
    assert {"layer_norm.normalise", "activations.FUSED.gelu.of", "losses.row_losses"} <= set(all_kernels())


@needs_avx2
@pytest.mark.parametrize("name", all_kernels())
def test_vectors_no_library_no_doubles(name):
    if name.startswith("amx.") and not amx.available():
        pytest.skip("LLVM has no instructions for a matrix unit that this processor lacks, and ends the process")
    compiled = all_kernels()[name]
    text = assembly(compiled, signature(name, compiled))
    assert not complaints(text, name in DOUBLES, CALLS.get(name, ()), name not in MOVES_ONLY)


@kernel
def calls_exp(x, y):
    for i in range(x.size):
        y[i] = np.float32(2) * math.exp(x[i])


@kernel
def untyped_literal(x, y):
    for i in range(x.size):
        y[i] = x[i] * 0.3 + 0.7


@numba.njit(**FLAGS)  # and not `helper`, which is inlined whatever its size
def too_large(x):
    return exp32(exp32(exp32(exp32(exp32(exp32(x))))))


@kernel
def calls_a_helper(x, y):
    for i in range(x.size):
        y[i] = too_large(x[i])


@kernel
def running_maximum(x, y):
    largest = x[0]
    for i in range(x.size):
        largest = max(largest, x[i])
    y[0] = largest


@kernel
def in_order(x, y):
    for i in range(x.size):
        y[i] = np.float32(2) * x[i] + np.float32(1)


@needs_avx2
@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        (calls_exp, "calls exp"),
        (untyped_literal, "in double"),
        (calls_a_helper, "a helper"),
        (running_maximum, "no vector instructions"),
        (in_order, None),
    ],
)
def test_planted_kernels(planted, complaint):
    found = complaints(assembly(planted, (F1, F1)))
    assert any(c.startswith(complaint) for c in found) if complaint else not found
