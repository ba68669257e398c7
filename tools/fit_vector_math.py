"""Fit the polynomials of minibert/engines/cpu/vector_math.py, in 60-digit arithmetic.

    python tools/fit_vector_math.py            # prints the constants as they stand there, the highest power first

Interpolated at Chebyshev nodes:
    exp(r) = 1 + r + r²/2 + r³·P(r),  |r| <= ln(2)/2           at those of degree 5 but 0, where the error is 0 anyway
    tanh(x) = x + x³·P(x²),  |x| <= 0.625
    Φ(-x) = exp(-x²/2)·(1 - v)·P(v),  v = a/(1 + a), a = 0.35 x, 0 <= x <= 14
Needs mpmath.
"""

from fit_erf import horner, interpolate
from mpmath import cos, erfc, exp, log, lu_solve, matrix, mp, mpf, pi, sqrt, tanh

HALF_LN2, SLOPE, FAR = log(mpf(2)) / 2, mpf("0.35"), mpf(14)
POINTS = 500


def exp_rest(r):
    return (exp(r) - 1 - r - r * r / 2) / r**3


def tanh_rest(z):
    x = sqrt(z)
    return (tanh(x) / x - 1) / z


def scaled_tail(v):
    x = v / (1 - v) / SLOPE
    return erfc(x / sqrt(mpf(2))) / 2 * exp(x * x / 2) / (1 - v)


def worst(error, lo, hi):
    """The largest |error| on a grid that leaves out 0."""
    points = [lo + (hi - lo) * k / POINTS for k in range(POINTS + 1)]
    return mp.nstr(max(abs(error(x)) for x in points if x), 2)


def show(name, coefficients, error):
    print(f"# {name}: relative error at most {error}")
    for coefficient in reversed(coefficients):
        print(f"np.float32({mp.nstr(coefficient, 17)})")


def main():
    nodes = [HALF_LN2 * cos(pi * k / 10) for k in (1, 3, 7, 9)]
    vandermonde = matrix([[node**j for j in range(4)] for node in nodes])
    p = list(lu_solve(vandermonde, matrix([exp_rest(node) for node in nodes])))
    error = worst(lambda r: (1 + r + r * r / 2 + r**3 * horner(p, r)) / exp(r) - 1, -HALF_LN2, HALF_LN2)
    show("exp", p, error)

    top = mpf("0.625")
    p = interpolate(tanh_rest, mpf(0), top**2, 4)
    show("tanh", p, worst(lambda x: (x + x**3 * horner(p, x * x)) / tanh(x) - 1, mpf(0), top))

    top = SLOPE * FAR / (1 + SLOPE * FAR)
    p = interpolate(scaled_tail, mpf(0), top, 8)
    show("normal distribution", p, worst(lambda v: horner(p, v) / scaled_tail(v) - 1, mpf(0), top))


if __name__ == "__main__":
    main()
