"""Time is linear whatever the text, and memory for remembered words is bounded."""

from __future__ import annotations

import time

import pytest

from minibert.text import pipeline
from tests.text.reference import small


def seconds(text: str) -> float:
    began = time.perf_counter()
    small()(text)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: "a" * n, id="one word"),
        pytest.param(lambda n: "a" + "\u0301" * n, id="marks after one letter"),
        pytest.param(lambda n: "a" + "\u0345\u0301\u0334" * (n // 3), id="marks to be sorted"),
        pytest.param(lambda n: "的" * n, id="ideographs"),
        pytest.param(lambda n: "[MASK" * (n // 5), id="special tokens almost"),
        pytest.param(lambda n: ("a" * 100 + " ") * (n // 101), id="longest words"),
    ],
)
def test_linear_time(make):
    """K06. Quadratic time would give 4; the least of several measurements, for the machine may be busy."""
    size = 60_000
    ratio = min(min(seconds(make(2 * size)) for _ in range(2)) / max(seconds(make(size)), 1e-4) for _ in range(4))
    assert ratio < 2.5


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(pipeline, "_CACHED_CHUNKS", 50)
    cache = small()._pipeline._cache
    expected = small().encode("the 7 9")
    for number in range(200):
        small().encode(f"w{number} " + "x" * 65)
    assert len(cache) <= 50
    assert max(map(len, cache)) <= 64
    assert small().encode("the 7 9") == expected
