"""Bad input must be noticed before anything is computed."""

import pytest

from minibert.models import base


@pytest.fixture
def nothing_is_computed_for_bad_input(request, monkeypatch):
    """In tests that refuse something, running the encoder is a failure."""
    if "refus" in request.node.name:
        monkeypatch.setattr(base, "bert", lambda *_: pytest.fail("computed before it was checked"))
