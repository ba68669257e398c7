"""How fast the cores multiply: the measured limit that `bench.py cpu` prints."""

import time

from bench_models import inference
from bench_rows import CORES, size_of


def products(row):
    """(M, K, N) of the model's own products y = x Wᵀ, and a large square."""
    _, h, intermediate, _ = size_of(row.model)
    rows = row.batch * row.length
    return [(2048, 2048, 2048), (rows, h, 3 * h), (rows, h, intermediate), (rows, intermediate, h)]


def gemm_rates(row, random, multiply, seconds=0.35):
    """GFLOP/s of each product, measured in turn."""
    cases = {(m, k, n): (random(m, k), random(n, k)) for m, k, n in products(row)}
    for x, w in cases.values():
        multiply(x, w)
    rates = {shape: [] for shape in cases}
    end = time.perf_counter() + seconds * len(cases)
    while time.perf_counter() < end or len(rates[next(iter(cases))]) < 3:
        for (m, k, n), (x, w) in cases.items():
            start = time.perf_counter()
            multiply(x, w)
            rates[m, k, n].append(2e-9 * m * k * n / (time.perf_counter() - start))
    return {"×".join(map(str, shape)): found for shape, found in rates.items()}


def gemm_numpy(row):
    import numpy as np

    rng = np.random.default_rng(0)
    return gemm_rates(row, lambda *shape: rng.standard_normal(shape, np.float32), lambda x, w: x @ w.T)


def gemm_torch(row):
    import torch

    torch.set_num_threads(CORES)
    return gemm_rates(row, torch.randn, inference(torch.nn.functional.linear))


GEMMS = {"NumPy GEMM": gemm_numpy, "torch GEMM": gemm_torch}
