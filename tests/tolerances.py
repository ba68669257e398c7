"""Every tolerance of the tests, by what is compared and in which dtype. Measured, then rounded up, with its reason.

Gradient tolerances are minibert.gradcheck.TOLERANCES, for users and tests alike.
"""

import numpy as np

# One operator against a naive loop: two orders of summation of at most a few hundred terms of size 1.
# Measured: 3e-15 and 2e-6.
OPERATOR = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-5}

# erf against math.erf, absolute: one unit in the last place of 1 for the sum, one for the fit and its evaluation.
# Measured: 2.3e-16 and 1.1e-7.
ERF = {np.dtype(np.float64): 3e-16, np.dtype(np.float32): 2e-7}

# Whole models against transformers, max |difference| of results of size 1 to 10; the project's promise.
FORWARD = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 5e-6}

# Gradients against autograd in float64: ‖Δ‖ <= RELATIVE·‖g‖ + FLOOR·‖G‖; the project's promise.
AUTOGRAD_RELATIVE, AUTOGRAD_FLOOR = 1e-11, 1e-13

# The same numbers by another route (packed or one by one, another batch order), float64: matrix products of another
# shape sum in another order. Measured: 4e-15.
SAME = 1e-12

# Layer normalisation of float32 rows with mean 1e6 and variance 1: the mean is itself rounded to a multiple of 0.0625,
# the spacing of float32 there, and all of a row is off by what that leaves. Measured over five seeds: 0.02 to 0.08;
# PyTorch's lies between 0.05 and 0.08.
LAYER_NORM_LARGE_MEAN = 0.125

# Whole models in float64, error of a gradient as a share of gradcheck's tolerance. Measured at weight scales 0.02 and
# 0.15: 3e-4 or less; over twenty seeds and up to scale 0.5: 3e-3 or less.
CLOSE, ALARM = 0.01, 0.1

# Symmetry identities, residue as a share of the tolerance. Measured up to scale 0.5, where scores are large and the
# zero gradient of a key bias is a difference of large numbers: 6e-3 and 0.2.
IDENTITY = {np.dtype(np.float64): 0.1, np.dtype(np.float32): 0.5}

# Published cosines are printed to four digits.
SENTENCE = 5e-5

# The engine's float32 functions against double precision, over some two million points each. Measured: 0.92 units;
# 1.35e-7, 4.1e-8, 7.7e-7; 1.9e-7, 2.9e-7; 1.34e-7. Relative errors of Φ grow with x²: the rounding of -x²/2.
VECTOR_MATH = {
    "exp, units in the last place": 1.5,
    "Φ, absolute": 2e-7,
    "φ, absolute": 1e-7,
    "Φ, relative above -5": 1e-6,
    "σ, relative": 3e-7,
    "σ', relative": 4e-7,
    "tanh, relative": 2e-7,
}

# The engine's activations in float32 against the reference in float64 on the same numbers, relative and absolute.
# Measured: 1.2e-6, a slope of tanh, 1 - y² near 1, times a cotangent of 15; all others below 5e-7.
ACTIVATION = 2e-6

# The engine's layer normalisation in float32 against the reference in float64, as a share of the terms' size.
# Measured over 500 draws: below 5e-7.
NORMALISED = 1e-6

# The CPU engine's attention in float32 against the reference in float64, as a share of the largest result times the
# largest score (or 1): a score of size s is itself rounded by s·6e-8, which is a relative error of its probability.
# Measured over 150 random batches at scales 0.1, 1 and 5: 6e-7.
ATTENTION = 2e-6

# Sentence vectors of length 1 in float32 from batches of other sizes, whose products BLAS adds up in another order.
# Measured: 3.1e-7 with the published model; 1.8e-7 here.
SENTENCE_BATCHES = 1e-6

# The CPU engine's results with one, two and three threads, as a share of the largest: products of other shapes sum in
# another order. Measured, after six layers of MiniLM's sizes and for single products: 0 on Intel with AMX; 3e-7 and
# 5e-7 on AMD.
THREADS = 1e-6

# An engine's operators against the reference in float64 on the same numbers, as a share of the largest result or of the
# largest argument squared. Measured over 500 draws an operator: 1.4e-16 and 5.4e-7.
ENGINE = {np.dtype(np.float64): 1e-14, np.dtype(np.float32): 2e-6}

# The same float32 weights in a mapped file or in memory: for few rows the first are packed once, and their products
# summed in another order. Measured on results of size 1: 5e-7.
MAPPED = 2e-6
