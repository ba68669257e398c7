"""Fit the polynomials of minibert/ops/erf.py, in 60-digit arithmetic.

    python tools/fit_erf.py            # prints the coefficient tables as they stand in ops/erf.py

Two pieces, both plain polynomials, interpolated at Chebyshev nodes (within a small factor of the best possible):
    |x| <= 1      erf(x) = x · P(x²)
    1 < |x| <= 6  erf(x) = sign(x) · (1 - exp(-x²) · Q(t)),   t = 1 / (1 + |x|/2)
Needs mpmath.
"""

from mpmath import chop, cos, erf, erfc, exp, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 60


def interpolate(f, lo, hi, degree):
    """Coefficients, lowest power first, of the polynomial through f at the Chebyshev nodes of [lo, hi]."""
    nodes = [(lo + hi) / 2 + (hi - lo) / 2 * cos(pi * (2 * k + 1) / (2 * degree + 2)) for k in range(degree + 1)]
    vandermonde = matrix([[node**j for j in range(degree + 1)] for node in nodes])
    return list(lu_solve(vandermonde, matrix([f(node) for node in nodes])))


def horner(coefficients, x):
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def small(z):
    return erf(sqrt(z)) / sqrt(z) if z else 2 / sqrt(pi)


def large(t):
    x = 2 / t - 2
    return exp(x * x) * erfc(x)


def main():
    for name, degrees in {"float64": (11, 14), "float32": (6, 7)}.items():
        p = interpolate(small, mpf(0), mpf(1), degrees[0])
        q = interpolate(large, mpf(1) / 4, mpf(2) / 3, degrees[1])
        xs = [mpf(k) / 200 for k in range(1, 201)]
        error_small = max(abs(x * horner(p, x * x) / erf(x) - 1) for x in xs)
        xs = [1 + mpf(k) / 100 for k in range(501)]
        error_large = max(abs(1 - exp(-x * x) * horner(q, 1 / (1 + x / 2)) - erf(x)) for x in xs)
        small_text, large_text = mp.nstr(error_small, 2), mp.nstr(error_large, 2)
        print(f"# {name}: relative error {small_text} for |x| <= 1, absolute {large_text} above")
        for label, coefficients in (("P", p), ("Q", q)):
            print(f"{label} = (" + ", ".join(mp.nstr(chop(c), 17) for c in coefficients) + ")")


if __name__ == "__main__":
    main()
