"""Windows cover every token, and each token has one that sees it best."""

from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks.windows import spans_of, widest


@st.composite
def windows(draw):
    room = draw(st.integers(1, 9))
    return draw(st.integers(0, 30)), room, draw(st.integers(1, room))


@given(windows())
def test_windows_cover_all_tokens_and_none_is_idle(sizes):
    size, room, step = sizes
    spans = spans_of(size, room, step)
    assert {i for start, stop in spans for i in range(start, stop)} == set(range(size))
    assert all(stop - start == min(room, size - start) for start, stop in spans)
    assert [start for start, _ in spans] == [step * i for i in range(len(spans))]
    assert all(stop < size for _, stop in spans[:-1])


@given(windows())
def test_the_widest_is_that_of_googles_rule(sizes):
    spans = spans_of(*sizes)

    def context(token, span):
        start, stop = span
        inside = start <= token < stop
        return min(token - start, stop - 1 - token) + 0.01 * (stop - start) if inside else -1

    best = [max(range(len(spans)), key=lambda i: context(token, spans[i])) for token in range(sizes[0])]
    assert widest(spans).tolist() == best
