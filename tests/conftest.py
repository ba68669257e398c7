"""Hypothesis profiles: CI draws the same examples every time; `HYPOTHESIS_PROFILE=deep` draws many more."""

import os

# The tests' matrices are tiny; BLAS threads would only wait for one another, ten times longer on a busy machine. Read
# when numpy is first imported, so it stands before everything else.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# No deadline: a first call may compile or load. Function-scoped fixtures here are constants.
common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("dev", max_examples=25, **common)
settings.register_profile("ci", max_examples=25, derandomize=True, **common)
settings.register_profile("deep", max_examples=500, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
