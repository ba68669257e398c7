"""The folder of a run: whatever ends the program, at whatever moment, what comes out in the end has the same bits."""

import errno
import json
import os
import random
import resource
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibert import BertForPreTraining, InputError
from minibert.errors import LoadError
from minibert.training import Run, runs
from minibert.training.runs import read_metrics
from tests.training.test_loop import bits, stop_before, trainer

STEPS = 12


def run_in(folder, resume=False, steps=STEPS, settings=None, **options):
    return trainer(steps, run=Run(folder, settings or {"seed": 0}, resume), **{"save_every": 3, **options})


@pytest.fixture(scope="module")
def straight():
    run = trainer(STEPS)
    run.train()
    return bits(run)


@pytest.mark.parametrize("save_every", [1, 3, 5, 12])
@pytest.mark.parametrize("step", [0, 1, 2, 3, 7, 11])
def test_a_run_goes_on_from_wherever_it_was_left(tmp_path, straight, step, save_every):
    first = run_in(tmp_path, save_every=save_every)
    stop_before(first, step)
    first.run.close()
    second = run_in(tmp_path, resume=True, save_every=save_every)
    second.train()
    assert bits(second) == straight
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))  # each once


@pytest.mark.parametrize("step", [1, 4, 5])
def test_with_accumulated_batches_across_an_epoch(tmp_path, step):
    def run(folder, resume=False):
        run = run_in(folder, resume, accumulate=3, save_every=2)
        run.data.per_epoch = 5
        return run

    whole, first = run(tmp_path / "whole"), run(tmp_path / "parts")
    whole.train()
    stop_before(first, step)
    first.run.close()
    second = run(tmp_path / "parts", resume=True)
    second.train()
    assert bits(second) == bits(whole)


def test_a_run_that_is_over_stays_as_it_is(tmp_path, straight):
    first = run_in(tmp_path)
    first.train()
    first.run.close()
    again = run_in(tmp_path, resume=True)
    assert again.train().step == STEPS
    assert bits(again) == straight


def test_kill_9_at_fifty_moments(tmp_path, straight):
    """The program is a fork of this one, which the kernel ends after a random time, between any two instructions. The
    time is the processor's, so that a busy machine changes nothing. When it gets to the end, another begins."""
    folder, rng, kills, reached = tmp_path / "run", random.Random(0), 0, set()
    while kills < 50:
        there = (folder / "run.json").exists()
        moment = rng.uniform(0.0, 0.05)  # drawn here: in the child it would be the same each time
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGPROF, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_PROF, moment)
                run_in(folder, there, save_every=1).train()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        names = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
        reached.add(names[-1] if names else "")
        if names and names[-1] == f"step-{STEPS:08}":
            finished(folder, straight)
            shutil.rmtree(folder)
    finished(folder, straight)
    assert len(reached) > STEPS / 2


def finished(folder, straight):
    """What the run has in the end."""
    run = run_in(folder, (folder / "run.json").exists())
    run.train()
    run.run.close()
    assert bits(run) == straight


class Crash(BaseException):
    """The end of the program: nothing is cleaned up behind it."""


CALLS = ("open", "replace", "fsync", "mkdir", "unlink", "rmdir", "rename", "chmod", "close")


def failing_at(monkeypatch, k, crash):
    """Let the k-th file system call from now on raise OSError, or it and all after it, as if the program had ended."""
    count = [0]

    def wrapped(function):
        def call(*args, **options):
            count[0] += 1
            if count[0] == k or (crash and count[0] > k):
                raise Crash if crash else OSError(errno.EIO, "planted")
            return function(*args, **options)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))
    monkeypatch.setattr("builtins.open", wrapped(open))
    return count


@pytest.mark.parametrize("crash", [False, True], ids=["error", "crash"])
def test_failure_at_every_call_of_a_checkpoint(tmp_path, monkeypatch, crash):
    """What is there afterwards is the checkpoint before, or the new one, exactly."""
    before = run_in(tmp_path / "before", keep=1)
    stop_before(before, 3)  # it has saved step 3
    before.run.close()
    later = run_in(tmp_path / "later")
    stop_before(later, 6)
    states = {3: bits(before), 6: bits(later)}
    assert states[3] != states[6]

    found, k = [], 0
    while True:
        k += 1
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "before", tmp_path / "run")
        run = Run(tmp_path / "run", {"seed": 0}, resume=True)
        with monkeypatch.context() as patch:
            count = failing_at(patch, k, crash)
            state = {"step": 6, "best_step": None}
            try:
                run.save(later.model, later.optimiser, state, keep=1)
                failed = False
            except (OSError, Crash):
                failed = True
        run.close()
        back = run_in(tmp_path / "run", resume=True)
        step = back.run.load_newest(back.model, back.optimiser)["step"]
        back.run.close()
        assert bits(back) == states[step], k
        assert failed or step == 6
        assert not list((tmp_path / "run" / "checkpoints").glob(".*")), k
        found.append(step)
        if count[0] < k:
            break
    assert not crash or found == sorted(found)  # an error that does not matter, such as of chmod, fails no save
    assert set(found) == {3, 6}
    assert len(found) > 20


def test_a_full_disk_is_said_and_loses_nothing(tmp_path, straight):
    run = run_in(tmp_path)
    stop_before(run, 4)
    run.run.close()
    again = run_in(tmp_path, resume=True)
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            again.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    again.run.close()
    last = run_in(tmp_path, resume=True)
    last.train()
    assert bits(last) == straight


def test_system_calls_that_signals_interrupt_are_made_again(tmp_path, straight):
    """A timer that goes off all the time: calls return EINTR, as Python's handlers ask for no restart."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
    try:
        run = run_in(tmp_path, save_every=1)
        run.train()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) > STEPS
    assert bits(run) == straight
    run.run.close()
    resumed = run_in(tmp_path, resume=True, save_every=1)
    resumed.train()
    assert bits(resumed) == straight


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Run(tmp_path / "run", {})


DAMAGE = {
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "half a manifest": lambda path: (path / "manifest.json").write_text('{"format": 1, "sha'),
    "a newer format": lambda path: (path / "manifest.json").write_text('{"format": 2, "sha256": {}}'),
    "a changed byte": lambda path: flip(path / "optimiser.safetensors"),
    "a shortened file": lambda path: os.truncate(path / "model.safetensors", 5000),
    "a missing file": lambda path: (path / "state.json").unlink(),
    "a file elsewhere": lambda path: (path / "manifest.json").write_text(
        '{"format": 1, "sha256": {"../step-00000006/state.json": "0"}}'
    ),
}


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_the_reason(tmp_path, caplog, straight, damage):
    first = run_in(tmp_path)
    stop_before(first, 10)
    first.run.close()
    DAMAGE[damage](tmp_path / "checkpoints" / "step-00000009")
    second = run_in(tmp_path, resume=True)
    with caplog.at_level("INFO"):
        second.train()
    assert "step-00000009 is passed over: " in caplog.text
    assert "goes on from step 6 of 12" in caplog.text
    assert bits(second) == straight


def test_checkpoints_that_are_all_damaged_are_not_thrown_away(tmp_path):
    first = run_in(tmp_path)
    stop_before(first, 10)
    first.run.close()
    for path in first.run.checkpoints.glob("step-*"):
        flip(path / "state.json")
    metrics = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(LoadError, match="none of 2 checkpoints is complete"):
        run_in(tmp_path, resume=True).train()
    assert (tmp_path / "metrics.jsonl").read_bytes() == metrics


def test_a_damaged_checkpoint_takes_no_place(tmp_path, straight):
    """Of those kept: it is newer than what is written after it was passed over."""
    first = run_in(tmp_path)
    stop_before(first, 10)
    first.run.close()
    flip(tmp_path / "checkpoints" / "step-00000009" / "state.json")
    second = run_in(tmp_path, resume=True, save_every=1, keep=1)
    stop_before(second, 8)
    second.run.close()
    third = run_in(tmp_path, resume=True)
    third.train()
    assert bits(third) == straight


def test_two_that_begin_at_once(tmp_path, monkeypatch):
    """The second looks before the first has written, and gets the lock when the first has ended."""
    plain = runs._hold

    def hold(path):
        monkeypatch.setattr(runs, "_hold", plain)
        run_in(tmp_path, steps=1).run.close()
        return plain(path)

    monkeypatch.setattr(runs, "_hold", hold)
    with pytest.raises(InputError, match="a run is here already"):
        Run(tmp_path, {})
    Run(tmp_path, {"seed": 0}, resume=True).close()  # and has let go of it


def test_leftovers_of_a_crash_are_removed(tmp_path):
    run_in(tmp_path).run.close()
    (tmp_path / ".0123456789abcdef.tmp").write_text("half a file")
    (tmp_path / "checkpoints" / ".step-00000003.01234567").mkdir()
    run_in(tmp_path, resume=True).run.close()
    assert not list(tmp_path.rglob(".*.*"))


def test_a_run_is_begun_or_gone_on_with_but_not_by_mistake(tmp_path):
    with pytest.raises(InputError, match="no run to be resumed"):
        Run(tmp_path / "new", {}, resume=True)
    assert not (tmp_path / "new").exists()
    Run(tmp_path / "run", {}).close()
    with pytest.raises(InputError, match="a run is here already"):
        Run(tmp_path / "run", {})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: expected a folder for the run, got a file"):
        Run(tmp_path / "file", {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1, "data": "abc"}, "seed was 0 and is 1"),
        ({"seed": 0, "data": "abd"}, "data was 'abc' and is 'abd'"),
        ({"seed": 0}, "data was 'abc' and is None"),
        ({"seed": 0, "data": "abc", "lr": 1}, "lr was None and is 1"),
        ({"seed": 0, "data": "d" * 64}, "data was 'abc' and is 'd{17}…d{17}'"),
    ],
)
def test_a_run_goes_on_only_with_what_it_began_with(tmp_path, changed, said):
    Run(tmp_path, {"seed": 0, "data": "abc"}).close()
    with pytest.raises(InputError, match=f"not the same run: {said}"):
        Run(tmp_path, changed, resume=True)
    (tmp_path / "run.json").write_text(json.dumps({"format": 9, "settings": {}}))
    with pytest.raises(LoadError, match="expected format 1, got 9"):
        Run(tmp_path, {}, resume=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: setattr(run.data, "fingerprint", "others"), "data was .* and is 'others'"),
        (lambda run: setattr(run.settings, "accumulate", 3), "accumulate was 1 and is 3"),
        (lambda run: setattr(run.settings, "seed", 7), "seed was 0 and is 7"),
        (lambda run: setattr(run, "schedule", trainer(3).schedule), "steps was 12 and is 3"),
    ],
)
def test_the_loop_itself_goes_on_only_with_what_it_began_with(tmp_path, change, said):
    first = run_in(tmp_path)
    stop_before(first, 7)
    first.run.close()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    second = run_in(tmp_path, resume=True)
    change(second)
    with pytest.raises(InputError, match=f"not the same run: {said}"):
        second.train()
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_one_program_at_a_time(tmp_path):
    first = Run(tmp_path, {})
    with pytest.raises(InputError, match="another program is training here"):
        Run(tmp_path, {}, resume=True)
    first.close()
    Run(tmp_path, {}, resume=True).close()


def test_another_number_of_threads_is_said(tmp_path, caplog):
    first = run_in(tmp_path)
    first.train()
    first.run.close()
    again = run_in(tmp_path, resume=True)
    again.model.ops = SimpleNamespace(workers=lambda: 7)
    with caplog.at_level("INFO"):
        again.train()
    assert "it began on 1 threads and has 7: results are equal to rounding only" in caplog.text


def test_a_checkpoint_is_a_model(tmp_path):
    run = run_in(tmp_path, steps=2)
    run.train()
    model = BertForPreTraining.from_pretrained(tmp_path / "checkpoints" / "step-00000002")
    assert model.parameters.flat.tobytes() == run.model.parameters.flat.tobytes()


def test_metrics_with_a_broken_line_are_refused(tmp_path):
    path = Path(tmp_path / "metrics.jsonl")
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(LoadError, match="line 2 is no record of a step"):
        read_metrics(path)
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_metrics(path, torn=True) == [{"step": 1}]
