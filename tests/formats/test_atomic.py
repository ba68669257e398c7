"""write_atomic leaves the old file or the new one, whichever of its steps fails."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import stat

import numpy as np
import pytest

from minibert.formats import atomic
from minibert.formats.atomic import write_atomic
from minibert.formats.safetensors import open_safetensors, save_safetensors

OLD, NEW = b"old" * 1000, b"new" * 2000


def test_an_error_names_the_file_that_was_asked_for(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")  # as the system says it, without a name

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomic(tmp_path / "a", NEW)
    assert caught.value.filename == str(tmp_path / "a")


class Faults:
    """Counts the calls to the file system, and fails the one numbered `at`, after doing half of it if it writes."""

    def __init__(self, monkeypatch, at: int, error: BaseException) -> None:
        self.calls, self.at, self.error = 0, at, error
        faults = self

        class File(io.FileIO):
            def write(self, data):
                if faults.due():
                    super().write(bytes(data)[: len(data) // 2])
                    raise faults.error
                return super().write(data)

            def flush(self):
                faults.check()
                super().flush()

        def opener(path, mode):
            self.check()
            return File(path, mode)

        monkeypatch.setattr(atomic, "open", opener, raising=False)
        for name in ("chmod", "stat", "fsync", "replace", "open"):
            monkeypatch.setattr(atomic.os, name, self.guard(getattr(os, name)))

    def due(self) -> bool:
        self.calls += 1
        return self.calls == self.at

    def check(self) -> None:
        if self.due():
            raise self.error

    def guard(self, call):
        def guarded(*args, **kwargs):
            self.check()
            return call(*args, **kwargs)

        return guarded


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "interrupt"]
)
@pytest.mark.parametrize("before", [OLD, None], ids=["replace", "create"])
def test_any_step_failing_leaves_one_whole_file(tmp_path, error, before):
    path = tmp_path / "weights"
    outcomes = []
    for at in itertools.count(1):
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, error)
            try:
                write_atomic(path, [NEW[:1500], memoryview(NEW[1500:])])
                failed = False
            except type(error):
                failed = True
        after = path.read_bytes() if path.exists() else None
        assert after in (before, NEW)
        assert set(os.listdir(tmp_path)) <= {"weights"}
        assert failed == (faults.calls >= at)
        if not failed:
            assert after == NEW
            break
        outcomes.append(after)
    assert len(outcomes) >= 8  # open, stat, write, write, flush, fsync, replace, the folder's open and fsync
    assert outcomes.count(NEW) == 2  # only when the folder could not be synced any more


def test_failing_chunks_leave_the_old_file(tmp_path):
    def chunks():
        yield NEW
        raise RuntimeError("the producer failed")

    path = tmp_path / "weights"
    path.write_bytes(OLD)
    with pytest.raises(RuntimeError, match="the producer failed"):
        write_atomic(path, chunks())
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["weights"]


def test_saving_weights_goes_through_it(tmp_path):
    path = tmp_path / "weights"
    save_safetensors(path, {"a": np.arange(3)})
    for at in itertools.count(1):
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, OSError(28, "No space left on device"))
            with contextlib.suppress(OSError):
                save_safetensors(path, {"a": np.arange(4)})
        assert os.listdir(tmp_path) == ["weights"]
        size = len(open_safetensors(path).read("a"))
        assert size in (3, 4)
        if faults.calls < at:
            break
    assert size == 4


def test_order_of_the_steps_that_survives_power_loss(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def record(*args, name=name, call=call):
            what = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
            steps.append((name, what))
            return call(*args)

        monkeypatch.setattr(atomic.os, name, record)
    write_atomic(tmp_path / "a", b"new")
    assert steps == [("fsync", "file"), ("replace", "file"), ("fsync", "folder")]


def test_permissions_stay_and_new_files_follow_the_umask(tmp_path):
    path = tmp_path / "a"
    mask = os.umask(0o022)
    try:
        write_atomic(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        path.chmod(0o600)
        write_atomic(path, b"2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "blob").write_bytes(OLD)
    (tmp_path / "a").symlink_to("blob")
    write_atomic(tmp_path / "a", NEW)
    assert (tmp_path / "blob").read_bytes() == OLD
    assert (tmp_path / "a").read_bytes() == NEW


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "absent" / "a", NEW)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, [b"one ", b"two"])
        assert os.read(descriptor, 100) == b"one two"
    finally:
        os.close(descriptor)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_folder_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        write_atomic(tmp_path, b"x")
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "no" / "file"))):
        write_atomic(tmp_path / "no" / "file", b"x")
