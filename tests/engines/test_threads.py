"""The thread pool: errors, Ctrl-C, fork, many callers, and results that do not depend on how many threads there are."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import warnings
import weakref

import numpy as np
import pytest
import threadpoolctl

import minibert as mb
from minibert.engines.cpu import threads
from tests.tolerances import THREADS

DEADLINE = 60


@pytest.fixture(scope="module")
def model():
    """MiniLM's sizes but for the vocabulary."""
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return mb.BertModel(mb.BertConfig(vocab_size=500, **sizes), dtype="float32", engine="cpu", seed=3)


@pytest.fixture
def two_threads():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        if threads.count() < 2:
            pytest.skip("BLAS has one thread")
        yield


def ids(rows, length, seed=0):
    return np.random.default_rng(seed).integers(0, 500, (rows, length))


def states(model, *args):
    return model(ids(*args)).last_hidden_state


def assert_nearly_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=THREADS * abs(expected).max())


def in_two_threads(*tasks):
    """Run two tasks, one surely on a thread of the pool, the other on the caller's."""
    both = threading.Barrier(len(tasks), timeout=DEADLINE)

    def together(task):
        both.wait()
        task()

    threads.run([lambda task=task: together(task) for task in tasks])


def blas():
    return threads._blas._libraries[0].get_num_threads()


# ---- errors ---------------------------------------------------------------------------------------------------------


def failing_kernel_caller():
    raise LookupError("row 7")


def only_in(worker, action):
    """A task that acts on a thread of the pool, or else on the caller's."""
    here = threading.get_ident()

    def task():
        if (threading.get_ident() != here) == worker:
            action()

    return task


@pytest.mark.parametrize("worker", [True, False])
def test_an_error_comes_out_as_itself_and_the_pool_works_on(two_threads, worker):
    task = only_in(worker, failing_kernel_caller)
    with pytest.raises(LookupError, match="row 7") as caught:
        in_two_threads(task, task)
    assert "failing_kernel_caller" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert (blas(), threads.count()) == (2, 2)
    done = []
    in_two_threads(lambda: done.append(1), lambda: done.append(2))
    assert sorted(done) == [1, 2]


def test_after_an_error_the_others_stop_at_their_next_operator(two_threads):
    failed, reached = threading.Event(), []

    def fail():
        failed.set()
        raise LookupError

    def long():
        failed.wait(DEADLINE)
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            threads.count()  # as every operator does
        reached.append("the end")

    with pytest.raises(LookupError):
        in_two_threads(fail, long)
    assert not reached
    assert threads.count() == 2


def test_an_error_keeps_nothing_alive(two_threads):
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)

    def fail(what):
        raise LookupError

    gc.disable()
    try:
        with pytest.raises(LookupError):
            threads.run([lambda what=large: fail(what), lambda what=large: fail(what), lambda what=large: None])
        del large
        until = time.monotonic() + 5
        while gone() is not None and time.monotonic() < until:  # a worker may be about to forget it
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()


def test_without_threads_to_be_had_the_caller_does_it_all(two_threads, monkeypatch):
    def no_more(thread):
        raise RuntimeError("can't start new thread")

    pool, done = threads._Pool(), []
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threading.Thread, "start", no_more)
    threads.run([lambda i=i: done.append(i) for i in range(5)])
    assert done == list(range(5))
    assert not pool._calls


# ---- how many -------------------------------------------------------------------------------------------------------


def test_inside_there_is_one_thread_and_so_has_blas(two_threads):
    seen = []
    in_two_threads(*[lambda: seen.append((threads.count(), blas()))] * 2)
    assert seen == [(1, 1), (1, 1)]
    assert (threads.count(), blas()) == (2, 2)


def test_numpys_blas_counts_whatever_others_are_there():
    controllers = pytest.importorskip("scipy.linalg") and threadpoolctl.ThreadpoolController().lib_controllers
    own = threads._numpys_blas()
    others = [c for c in controllers if c.user_api == "blas" and c.filepath != own[0].filepath]
    if not others:
        pytest.skip("SciPy and NumPy have the same BLAS")
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        others[0].set_num_threads(2)
        assert threads._Blas().threads() == 1
        with threads._blas.held():
            assert others[0].get_num_threads() == 2


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("multiple", [1, 4])
def test_ranges_cover_everything_once(size, number, multiple):
    pieces = list(threads.ranges(size, number, multiple))
    assert [i for piece in pieces for i in range(piece.start, piece.stop)] == list(range(size))
    assert len(pieces) <= number
    assert all(piece.start % multiple == 0 and piece.stop > piece.start for piece in pieces)


def test_tasks_are_as_many_as_pay(two_threads):
    def cuts(size, least):
        found = []
        threads.split(size, least, lambda start, stop: found.append((start, stop)))
        return sorted(found)

    assert cuts(9, 5) == [(0, 9)]
    assert cuts(10, 5) == [(0, 5), (5, 10)]
    assert cuts(0, 5) == [(0, 0)]
    assert cuts(3, 0) == [(0, 1), (1, 3)]


# ---- the same numbers -----------------------------------------------------------------------------------------------


def test_how_many_threads_there_are_changes_next_to_nothing(model):
    found = {}
    for number in 1, 2, 3:
        with threadpoolctl.threadpool_limits(number, user_api="blas"):
            found[number] = states(model, 12, 128)
            for _ in range(3):
                np.testing.assert_array_equal(states(model, 12, 128), found[number])
    for number in 2, 3:
        assert_nearly_equal(found[number], found[1])


def test_which_thread_took_which_task_changes_nothing(model, two_threads, monkeypatch):
    expected = states(model, 12, 128)
    original = threads.run

    def reversed_run(tasks):
        original(reversed(list(tasks)))

    monkeypatch.setattr(threads, "run", reversed_run)
    monkeypatch.setattr("minibert.engines.cpu.run_tasks", reversed_run)
    np.testing.assert_array_equal(states(model, 12, 128), expected)


def test_many_callers_at_once_each_get_their_own(model, two_threads):
    shapes = [(1 + i % 3, 5 + 9 * i, i) for i in range(16)]
    expected = [states(model, *shape) for shape in shapes]
    found, start = [None] * 16, threading.Barrier(16)

    def call(i):
        start.wait(DEADLINE)
        for _ in range(2):
            found[i] = states(model, *shapes[i])

    callers = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(16)]
    for caller in callers:
        caller.start()
    until = time.monotonic() + DEADLINE
    for caller in callers:
        caller.join(max(0, until - time.monotonic()))
    assert not any(caller.is_alive() for caller in callers)
    for one, wanted in zip(found, expected, strict=True):
        assert_nearly_equal(one, wanted)
    assert blas() == 2


# ---- fork -----------------------------------------------------------------------------------------------------------

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def of_child(check):
    """What `check` returns in a fork of this process, an int below 200; within the deadline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns if there are threads
        child = os.fork()
    if not child:
        status = 255
        try:
            status = check()
        finally:
            os._exit(status)
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@forks
def test_a_child_of_fork_computes_the_same(model, two_threads):
    expected = states(model, 12, 128)
    # not bit for bit: a child that still lacks its second thread cuts the products elsewhere
    assert of_child(lambda: int(abs(states(model, 12, 128) - expected).max() <= THREADS * abs(expected).max())) == 1
    np.testing.assert_array_equal(states(model, 12, 128), expected)


@forks
def test_a_child_of_fork_has_threads_of_its_own(two_threads):
    in_two_threads(lambda: None, lambda: None)

    def child():
        in_two_threads(lambda: None, lambda: None)  # or waits for ever
        return 1

    assert of_child(child) == 1


@forks
def test_a_fork_while_another_thread_holds_blas(two_threads):
    """Holds, and does not multiply: a fork in the midst of a product can stop OpenBLAS for good, NumPy alone too."""
    inside, done = threading.Event(), threading.Event()

    def hold():
        with threads.held():
            inside.set()
            done.wait(DEADLINE)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(DEADLINE)
    try:
        assert of_child(lambda: 10 * threads.count() + threads._numpys_blas()[0].get_num_threads()) == 22
    finally:
        done.set()
        other.join()


def mean_state(seed):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    model = mb.BertModel(mb.BertConfig(vocab_size=500, **sizes), dtype="float32", engine="cpu", seed=3)
    return states(model, 12, 128, seed)


@forks
def test_workers_of_multiprocessing(two_threads):
    expected = [mean_state(seed) for seed in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map_async(mean_state, range(2)).get(DEADLINE)
    np.testing.assert_array_equal(found, expected)


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import os, signal, threading, time
    import numpy as np, threadpoolctl
    import minibert as mb
    from minibert.engines.cpu import threads

    limits = threadpoolctl.threadpool_limits(2, user_api="blas")
    sizes = dict(hidden_size=768, num_attention_heads=12, num_hidden_layers=12, intermediate_size=3072)
    model = mb.BertModel(mb.BertConfig(vocab_size=99, **sizes), dtype="float32", engine="cpu")
    small, large = np.ones((1, 8), int), np.ones((64, 128), int)
    expected = model(small).last_hidden_state
    sent = []

    def interrupt(after):
        time.sleep(after)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
"""


def interrupted(code):
    """stdout of a process that interrupts itself"""
    program = textwrap.dedent(INTERRUPTED) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
def test_ctrl_c_is_prompt_and_the_next_call_works():
    status, out, err = interrupted("""
        waited = []
        for after in 0.3, 0.5:
            threading.Thread(target=interrupt, args=(after,)).start()
            try:
                model(large)
            except KeyboardInterrupt:
                waited.append(time.perf_counter() - sent.pop())
            assert threads._blas._libraries[0].get_num_threads() == threads.count(), "BLAS is still held"
            assert np.array_equal(model(small).last_hidden_state, expected)
        print(*waited)
        threading.Thread(target=interrupt, args=(0.3,)).start()
        model(large)
    """)
    assert "KeyboardInterrupt" in err
    assert len(out.split()) == 2
    assert max(map(float, out.split())) < 1
    assert status == -2


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
def test_ctrl_c_comes_out_when_the_others_have_stopped(two_threads):
    stopped = []

    def last():
        time.sleep(0.2)  # the caller waits by now
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        stopped.append(blas())

    with pytest.raises(KeyboardInterrupt):
        in_two_threads(*[only_in(True, last)] * 2)
    assert stopped == [1]
    assert blas() == 2


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
def test_ctrl_c_at_any_moment():
    """Between any two lines of the pool's own code: small tasks, many signals, but never two at once."""
    status, out, err = interrupted("""
        stop = []

        def again():
            rng = np.random.default_rng(0)
            while not stop:
                time.sleep(rng.uniform(0.004, 0.01))
                os.kill(os.getpid(), signal.SIGINT)

        caught = 0
        signals = threading.Thread(target=again, daemon=True)

        def many():
            global caught
            until = time.monotonic() + 3
            while time.monotonic() < until:
                try:
                    while time.monotonic() < until:
                        threads.run([lambda: threads.count()] * 4)
                except KeyboardInterrupt:
                    caught += 1

        signals.start()
        while True:
            try:
                many()
                stop.append(True)
                time.sleep(0.1)
                break
            except KeyboardInterrupt:
                pass
        signals.join()
        together = threading.Barrier(2, timeout=30)
        threads.run([together.wait] * 2)  # there is a helper
        assert np.array_equal(model(small).last_hidden_state, expected)
        assert threads.count() == 2, threads.count()
        print(caught, threads._blas._libraries[0].get_num_threads())
    """)
    assert status == 0, err
    caught, number = map(int, out.split())
    assert caught > 20
    assert number == 2


def test_a_process_ends_while_the_pool_waits():
    code = """
        threads.run([lambda: None] * 4)
    """
    began = time.monotonic()
    status, _, err = interrupted(code)
    assert (status, err) == (0, "")
    assert time.monotonic() - began < DEADLINE
