"""Gradient checking: is a hand-written backward pass the derivative of its forward pass, and if not, what is wrong?

    from minibert import gradcheck, ops
    print(gradcheck.check(ops.layer_norm, ops.layer_norm_backward, [x, gamma, beta, 1e-12]))

Your own functions may be of any of these forms; which one shows in what f returns and f_backward takes:

    y, cache = f(*args)    grads = f_backward(dy, cache)
    y        = f(*args)    grads = f_backward(dy, *args)
    y        = layer.forward(*args)    grads = layer.backward(dy)    of an object that keeps what it needs

The idea. For a random cotangent w and a random direction v, <w, J v> computed by differentiating f must equal
<Jᵀ w, v> computed by the backward pass. Three ways to get J v:

    complex step            Im f(x + ihv)/h, h = 1e-30             no subtraction: exact to rounding, ~1e-16
    Richardson, order 4, 6  differences at h, h/2 (and h/4)        ~1e-12, for code that is not analytic
    central difference      (f(x + hv) - f(x - hv))/2h             ~1e-10, the textbook

print(curve(f, x, v)) draws the error of each against its step. Complex step needs analytic code: no conjugate, no cast
to real, comparisons of the real part (Squire & Trapp 1998; Martins, Sturdza & Alonso 2003). np.abs, np.var, np.std and
np.linalg.norm are not; a function that drops part of the imaginary part has a wrong derivative by this method. So four
more evaluations see whether differences contradict it (analytic.py). If they do, they decide: "wrong", or, where they
confirm the gradient, "not analytic".

Directions are N(0, I), not normalised: then an error e of a gradient changes <g, v> by about ‖e‖, whatever the
dimension. A unit direction would shrink that by the square root of the dimension. Cotangents are random too: under a
plain sum the true gradient of softmax or layer normalisation is 0, and nothing can be seen.

What is allowed. check measures the rounding noise of the two numbers it compares (noise.py; Moré & Wild 2011) and
allows a fixed multiple of it (references.py), so that right code passes at any scale and nothing is typed in.
check_gradients, for whole models, allows relative·‖g‖ + floor·‖G‖ (TOLERANCES), with G all gradients together. The
floor is needed: the gradient of a key bias is exactly 0 in theory; a ratio to its own norm compares noise with noise.

What a row says: "ok", or

    wrong               with an explanation below the table: which entries, both numbers, and the likely mistake
    shape, dtype        the gradient does not fit its argument
    not finite          NaN or inf: where, of f, backward or the reference, stands behind the colon or below
    unsure              f or backward is so rough that the reference decides nothing
    not analytic        as above; method="richardson" is the way out
    impure              an argument, dy or the cache was written to, or two calls share a cache
    not deterministic   forward differs when called again; not repeatable: backward does
    kink                a pass, by "complex" and "all": two slopes, as of relu at 0, and the gradient lies between
    noise floor         a pass: the gradient is no larger than the rounding of its terms

method="all" compares every reference there is: complex step, Richardson, the adjoint identity with fresh pairs (v, w),
the Jacobian entry by entry where it is tiny, and against=(g, g_backward), a second implementation.

Where to read: checks.py, gradients.py (the calls), pairs.py (the forms), references.py (what is compared, what is
allowed), derivatives.py and steps.py (differences), analytic.py, noise.py, purity.py, kinks.py; explain.py with
factors.py, places.py and terms.py (mistakes and the form of the error each leaves); second_order.py (Hessians,
Taylor's remainders), curve.py.
"""

from .checks import check
from .curve import Curve, Line, curve
from .derivatives import STEP, NotAnalytic, central, complex_step, derivative, richardson
from .gradients import check_gradients
from .kinks import Kink, find_kink
from .noise import noise
from .report import TOLERANCES, Reference, Report, Row, Tolerance, judge, total_norm
from .second_order import Taylor, hessian_vector, taylor
from .steps import Difference, best_difference, one_sided

__all__ = [
    "STEP",
    "TOLERANCES",
    "Curve",
    "Difference",
    "Kink",
    "Line",
    "NotAnalytic",
    "Reference",
    "Report",
    "Row",
    "Taylor",
    "Tolerance",
    "best_difference",
    "central",
    "check",
    "check_gradients",
    "complex_step",
    "curve",
    "derivative",
    "find_kink",
    "hessian_vector",
    "judge",
    "noise",
    "one_sided",
    "richardson",
    "taylor",
    "total_norm",
]
