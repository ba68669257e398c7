"""The arena: what is in use is never given out, what is free is, and hardly more is held than was in use."""

import gc
import itertools
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minibert as mb
from minibert.engines.cpu import memory
from minibert.engines.cpu.memory import Arena
from tests.engines.test_threads import forks, of_child

LARGE = (100, 1000)


def address(array):
    return array.__array_interface__["data"][0]


def span(array):
    return address(array), address(array) + array.nbytes


def settled(arena):
    with arena._lock:
        arena._collect()
    return arena


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), LARGE, (2, 3, 20000), (1 << 13,), ((1 << 13) - 1,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
def test_what_comes_is_an_ordinary_array(shape, dtype):
    array = Arena().empty(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    if array.nbytes >= memory._SMALL:
        assert address(array) % 64 == 0
    array[...] = 1
    assert array.sum() == array.size


def test_a_free_buffer_is_used_again_and_a_used_one_is_not():
    arena = Arena()
    first = arena.empty(LARGE)
    where = address(first)
    second = arena.empty(LARGE)
    assert address(second) != where
    del first
    assert address(arena.empty(LARGE)) == where
    assert address(arena.empty((99, 1000))) == where  # of like size


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[5:7],
        lambda x: x[5:7].T[::3],
        lambda x: x.reshape(-1)[10:],
        lambda x: x.view(np.int32),
        lambda x: np.asarray(memoryview(x)),
        lambda x: np.frombuffer(x, np.uint8),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, axis=0),
        lambda x: iter(x),
    ],
)
def test_any_view_keeps_the_buffer(view):
    arena = Arena()
    array = arena.empty(LARGE)
    where = address(array)
    kept = view(array)
    del array
    gc.collect()
    assert address(arena.empty(LARGE)) != where
    del kept
    assert address(arena.empty(LARGE)) == where


def test_copies_and_pickles_are_independent():
    arena = Arena()
    array = arena.empty(LARGE)
    array[...] = np.arange(array.size).reshape(LARGE)
    expected = np.arange(array.size, dtype=np.float32).reshape(LARGE)
    others = [array.copy(), pickle.loads(pickle.dumps(array)), pickle.loads(pickle.dumps(array[3:], protocol=5))]
    del array
    arena.empty(LARGE)[...] = -1
    for other, wanted in zip(others, [expected, expected, expected[3:]], strict=True):
        np.testing.assert_array_equal(other, wanted)


steps = st.lists(
    st.one_of(st.tuples(st.just("take"), st.integers(1, 40)), st.tuples(st.just("drop"), st.integers(0, 40))),
    max_size=60,
)


@given(steps)
def test_nothing_overlaps_and_hardly_more_is_held_than_was_in_use(steps):
    arena, alive, peak = Arena(), [], 0
    for number, (step, n) in enumerate(steps):
        if step == "take":
            array = arena.empty((n * 7000,))
            array[...] = number
            alive.append((number, array))
            del array
        elif alive:
            alive.pop(n % len(alive))
        spans = sorted(span(a) for _, a in alive)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        assert all((a == value).all() for value, a in alive)
        used = sum(memory._rounded(a.nbytes) for _, a in alive if a.nbytes >= memory._SMALL)
        peak = max(peak, arena._in_use)
        waiting = sum(b.size for bs in settled(arena)._free.values() for b in bs)
        assert used <= arena._in_use <= memory._FITS * used
        assert arena._held == arena._in_use + waiting <= (1 + memory._SPARE) * arena._peak
        assert arena._peak == peak


def test_what_the_system_does_not_give_is_not_counted(monkeypatch):
    arena = Arena()
    arena.empty(LARGE)  # waits, and is given back before anyone is refused
    with pytest.raises(MemoryError):
        arena.empty((1 << 60,))
    assert (settled(arena)._in_use, arena._held) == (0, 0)
    arena.empty(LARGE)
    assert arena._held <= arena._peak < 1 << 20


def test_sizes_are_rounded_by_an_eighth_at_most():
    for size in range(memory._SMALL, memory._SMALL * 5, 1237):
        assert size <= memory._rounded(size) <= size * 1.125


def test_threads_that_ask_at_once():
    arena, wrong = Arena(), []

    def ask(me):
        rng = np.random.default_rng(me)
        mine = []
        for _ in range(300):
            array = arena.empty((int(rng.integers(8000, 12000)),))
            array[...] = me
            mine.append(array)
            if len(mine) > 5:
                wrong.extend(a for a in mine if (a != me).any())
                del mine[int(rng.integers(5))]

    askers = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not wrong
    del askers
    gc.collect()
    assert settled(arena)._in_use == 0


@forks
def test_a_fork_while_the_arena_is_locked():
    kept = memory.empty(LARGE)
    kept[...] = 5

    def child():
        mine = memory.empty(LARGE)
        mine[...] = 6
        return int((kept == 5).all() and (mine == 6).all())

    with memory._arena._lock:
        assert of_child(child) == 1


def test_a_result_that_is_kept_stays_as_it_is():
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    model = mb.BertModel(mb.BertConfig(vocab_size=500, **sizes), dtype="float32", engine="cpu", seed=3)
    rng = np.random.default_rng(0)
    out = model(rng.integers(0, 500, (8, 100)), output_hidden_states=True, output_attentions=True)
    kept = [out.last_hidden_state, out.pooler_output, *out.hidden_states, *out.attentions]
    before = [array.copy() for array in kept]
    for _ in range(20):
        model(rng.integers(0, 500, (8, 100)), output_hidden_states=True, output_attentions=True)
    for array, wanted in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, wanted)
