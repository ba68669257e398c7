"""Counters: whoever takes, and however fast, every piece is taken once; and nobody leaves before all is done."""

import threading
import time

import numpy as np
import pytest
import threadpoolctl

from minibert.engines.cpu import counters, threads
from minibert.engines.cpu.compile import kernel


@kernel
def take_all(counts, own, size, order, taken):
    """taken[piece] counts how often; order[i] is the i-th piece of this thread. -> how many"""
    number = 0
    piece = counters.take(counts, own, size)
    while piece >= 0:
        taken[piece] += 1
        order[number] = piece
        number += 1
        counters.finish(counts, 1)
        piece = counters.take(counts, own, size)
    counters.wait(counts, size)
    return number


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("number", [1, 2, 3, 8])
def test_every_piece_is_taken_once(size, number):
    counts, taken = counters.counters(number), np.zeros(size, np.int64)
    orders, made = np.zeros((number, size), np.int64), [0] * number

    def work(own):
        made[own] = take_all(counts, own, size, orders[own], taken)

    workers = [threading.Thread(target=work, args=(own,)) for own in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (taken == 1).all()
    assert sum(made) == size


def test_one_who_is_alone_begins_with_his_own_part_and_does_it_all():
    taken, order = np.zeros(10, np.int64), np.zeros(10, np.int64)
    assert take_all(counters.counters(3), 1, 10, order, taken) == 10
    assert order.tolist() == [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


def test_nobody_leaves_before_all_is_done():
    counts, left = counters.counters(2), []
    assert counts.size == 3 * counters.LINE
    counts[2 * counters.LINE] = 5  # the other thread has taken its part, and is at it

    def work():
        take_all(counts, 0, 10, np.zeros(10, np.int64), np.zeros(10, np.int64))
        left.append(time.perf_counter())

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.05)
    assert not left
    counts[0] += 5
    worker.join(10)
    assert left


def test_those_who_come_late_hold_nobody_up():
    late, done = threading.Event(), []

    def tardy():
        late.wait(10)
        done.append("late")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        start = time.perf_counter()
        threads.share([lambda: done.append("here"), tardy])
        assert time.perf_counter() - start < 5
    assert done == ["here"]
    late.set()


def test_an_exception_in_a_share_is_raised_and_holds_nothing():
    def fails():
        raise KeyError("planted")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyError, match="planted"):
            threads.share([fails, lambda: None])
        taken = []
        threads.run([lambda: taken.append(1), lambda: taken.append(2)])  # the pool is as good as before
        assert sorted(taken) == [1, 2]
        assert not threads._blas.is_held()
