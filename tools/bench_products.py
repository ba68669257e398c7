"""How fast one thread multiplies x (rows, 768) with weights (3072, 768), by every way that the fast engine has.

    python tools/bench_products.py            # GFLOP/s, medians; the bounds MOST and LEAST_ROWS follow from it

The weights are 24 different ones in turn, as those of a model: none stays in a cache. A way that the engine would not
choose for so many rows is shown all the same; one that this processor has not is left out.
"""

import statistics
import time

import numpy as np

from minibert.engines.cpu import amx, packed, skinny, threads

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 56, 64, 96, 128, 256, 512)
INPUTS, OUTPUTS, WEIGHTS = 768, 3072, 24
MOST_SKINNY, MOST_PACKED = 64, 256


def blas(x, weight, bias, y):
    np.add(np.matmul(x, weight.T, out=y), bias, out=y)


def by_panels(x, weight, bias, y):
    packed.tasks(x, weight, bias, y, 1)[0]()


def by_tiles(x, weight, bias, y):
    amx.product(x, weight.T, y, bias)


def rate(way, rows, weights, bias, seconds=0.3):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, INPUTS), np.float32), np.empty((rows, OUTPUTS), np.float32)
    for weight in weights:  # compiles, and packs
        way(x, weight, bias, y)
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for weight in weights:
            way(x, weight, bias, y)
        found.append(time.perf_counter() - start)
    return 2e-9 * rows * INPUTS * OUTPUTS * len(weights) / statistics.median(found)


def main():
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((OUTPUTS, INPUTS), np.float32) for _ in range(WEIGHTS)]
    for weight in weights:
        weight.flags.writeable = False
    bias = np.zeros(OUTPUTS, np.float32)
    ways = {"BLAS": (blas, 10**9), "skinny": (skinny.multiply, MOST_SKINNY), "packed": (by_panels, MOST_PACKED)}
    if amx.available():
        ways["amx"] = by_tiles, 10**9
    print("rows  " + "".join(f"{name:>8}" for name in ways))
    with threads.held():
        for rows in ROWS:
            rates = [
                f"{rate(way, rows, weights, bias):8.0f}" if rows <= most else " " * 8 for way, most in ways.values()
            ]
            print(f"{rows:4}  " + "".join(rates), flush=True)


if __name__ == "__main__":
    main()
