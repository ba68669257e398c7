"""minibert exercise: files, progress, a process of its own for what a student wrote."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from minibert import cli
from minibert.lab.exercises import EXERCISES, hints, running, solved, started
from minibert.lab.exercises.child import packed, unpacked
from minibert.lab.exercises.judging import Judged, Line, Outcome
from minibert.lab.exercises.progress import Progress
from tests.cli.process import minibert

BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A student's folder, which is the current one; with `run` in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(running.ROOT))  # a relative one would be looked for here
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    def call(*args):
        status = cli.main(["exercise", *map(str, args)])
        out, err = capsys.readouterr()
        if args[:1] != ("reveal",) and "--json" not in args:
            assert all(len(line) <= 80 or line.startswith("    ") for line in out.splitlines()), out
            assert all(
                len(line) <= 80 or line.startswith("hint: ") for line in err.split("your file prints:")[0].splitlines()
            ), err
        return status, out, err

    return call


def write(here, name, code):
    path = here / f"{name}.py"
    path.write_text(f"{started(BY_NAME[name])}\n\n{code}\n", encoding="utf-8")
    return path


def line_of(path, text):
    return next(i for i, line in enumerate(path.read_text().split("\n"), 1) if text in line)


# ---- a student's way through an exercise -----------------------------------------------------------------------------


def test_an_exercise_from_start_to_solved(run, here):
    status, out, err = run("start", "find_linear")
    assert (status, out) == (0, "find_linear.py\n")
    assert "minibert exercise check find_linear" in err
    path = here / "find_linear.py"
    assert path.read_text() == started(BY_NAME["find_linear"])
    status, out, err = run("check")
    assert status == 1
    assert "not yet: 2 of 3 gradients are right; the bug is still there" in out
    assert [line[0] for line in out.splitlines()[3:6]] == ["✓", "✓", "✗"]
    assert "dbias is 0." in out
    assert "3 that are left" in err
    assert run("hint")[1].startswith("hint 1 of 3: One bias serves every token")
    path.write_text(path.read_text().replace("dy.mean(axis=0)", "dy.sum(axis=0)"))
    status, out, err = run("check")
    assert status == 0
    assert out.splitlines()[-1] == "✓ solved: all 5 gradients are right"
    assert "next: minibert exercise start fill_tanh" in err
    entry = Progress(here)["find_linear"]
    assert (entry.status, entry.checks, entry.hints, entry.revealed) == ("solved", 2, 1, "")
    first = entry.solved
    assert run("check", "find_linear.py")[0] == 0
    assert Progress(here)["find_linear"].solved == first
    out = run("list")[1]
    assert "  ✓ find_linear           the linear layer (easy)" in out
    assert "1 of 60 solved, 0 in work" in out
    path.write_text("")
    assert run("check")[0] == 1
    assert Progress(here)["find_linear"].status == "solved"  # once and for all


def test_list_shows_every_exercise_and_what_is_in_work(run, here):
    for args in ((), ("list",)):
        status, out, err = run(*args)
        assert status == 0
        for exercise in EXERCISES:
            assert out.count(f"  ○ {exercise.name:21} {exercise.title}") == 1
        assert "0 of 60 solved, 0 in work" in out
        assert err == "minibert exercise start fill_tanh\n"
    assert not (here / "progress.json").exists()
    run("start", "fill_gelu")
    run("hint")
    run("hint", "find_tanh")
    run("reveal", "fill_softmax", "--yes")
    status, out, err = run("list")
    assert "  … fill_gelu             GELU, the exact form                            1 hint\n" in out
    assert "  … fill_softmax          softmax                                       revealed\n" in out
    assert "0 of 60 solved, 3 in work" in out
    assert err == "minibert exercise check fill_softmax\n"
    result = json.loads(run("list", "--json")[1])
    assert (result["total"], result["in work"], result["not started"], result["solved"]) == (60, 3, 57, 0)
    rows = {row["name"]: row for row in result["exercises"]}
    assert list(rows) == [exercise.name for exercise in EXERCISES]
    assert rows["fill_gelu"]["hints"] == 1
    assert rows["fill_gelu"]["status"] == "in work"
    assert rows["fill_gelu"]["level"] == "fill in"
    assert rows["find_tanh"]["started"] == ""


@pytest.mark.parametrize("name", ["fill_attention", "find_layer_norm_6", "derive_softmax", "train_bert"])
def test_hints_come_one_by_one_and_the_last_stays(run, here, name):
    known = hints(BY_NAME[name])
    for number in (*range(len(known)), len(known) - 1):
        status, out, err = run("hint", name)
        assert status == 0
        assert out.startswith(f"hint {number + 1} of {len(known)}: ")
        assert out.split() == f"hint {number + 1} of {len(known)}: {known[number]}".split()
        assert bool(err) == (number == len(known) - 1)
    assert Progress(here)[name].hints == len(known)


def test_the_solution_is_for_those_who_tried(run, here):
    run("start", "find_gelu_2")
    status, out, err = run("reveal")
    assert (status, out) == (2, "")
    assert "not checked yet" in err
    assert "reveal --yes" in err
    assert run("check")[0] == 1
    status, _, err = run("reveal")
    assert status == 2
    assert "is as it was started: try first" in err  # to look is not to try
    with (here / "find_gelu_2.py").open("a") as file:
        file.write("# a try\n")
    status, out, _ = run("reveal")
    assert status == 0
    assert "-    density = _INV_SQRT_2PI * namespace(x).exp(-x * x)" in out
    assert "+    density = _INV_SQRT_2PI * namespace(x).exp(-0.5 * x * x)" in out
    assert "The derivative of erf is exp(-x²), but here erf is taken of x/√2." in out
    assert Progress(here)["find_gelu_2"].revealed
    status, out, _ = run("reveal", "fill_linear", "--yes")
    assert status == 0
    assert "return dy @ weight, dweight, dbias" in out
    assert run("reveal", "fill_linear")[0] == 0  # seen is seen


def test_nothing_is_overwritten(run, here):
    path = write(here, "fill_tanh", "# mine")
    mine = path.read_text()
    status, _, err = run("start", "fill_tanh")
    assert status == 4
    assert "fill_tanh.py is there already" in err
    assert "keeps it as fill_tanh.bak.py" in err
    assert path.read_text() == mine
    assert run("start", "fill_tanh", "--again")[0] == 0
    assert path.read_text() == started(BY_NAME["fill_tanh"])
    assert (here / "fill_tanh.bak.py").read_text() == mine
    path.write_text("second")
    assert "fill_tanh.bak2.py" in run("start", "fill_tanh", "--again")[2]
    assert (here / "fill_tanh.bak.py").read_text() == mine
    assert (here / "fill_tanh.bak2.py").read_text() == "second"
    (here / "fill_gelu.py").mkdir()
    for args in (("start", "fill_gelu"), ("start", "fill_gelu", "--again"), ("check", "fill_gelu")):
        assert run(*args)[0] == 4
    (here / "fill_softmax.py").symlink_to(here / "nowhere")
    assert run("start", "fill_softmax")[0] == 4


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("check",), 2, "which exercise? None was begun in this folder"),
        (("hint",), 2, "which exercise?"),
        (("start", "../x"), 3, "no exercise is called '../x'"),
        (("start", "/etc/passwd"), 3, "no exercise is called"),
        (("check", "fill_tanh/../../x"), 3, "no exercise is called"),
        (("check", "fill-linear"), 3, "did you mean fill_linear"),
        (("hint", "softmax"), 3, "did you mean fill_softmax or derive_softmax?"),
        (("reveal", ""), 2, "which exercise?"),
        (("check", "fill_tanh"), 3, "minibert exercise start fill_tanh"),
        (("list", "--folder", "nowhere"), 3, "nowhere: no such folder"),
        (("start", "fill_tanh", "--folder", "nowhere"), 3, "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_is_told(run, here, args, status, words):
    got, out, err = run(*args)
    assert (got, out) == (status, "")
    assert words in err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("args", [("start",), ("start", "a", "b"), ("bogus",), ("list", "--again")])
def test_wrong_usage(args, here):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["exercise", *args])
    assert stopped.value.code == 2


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_is_a_positive_number(run, here, limit):
    write(here, "fill_tanh", "")
    status, _, err = run("check", "fill_tanh", "--limit", limit)
    assert status == 2
    assert "--limit: expected a positive number of seconds" in err


def test_a_damaged_progress_file_stops_everything_and_stays(run, here):
    (here / "progress.json").write_text('{"exercises": {"fill_tanh": 3}}')
    for args in (("list",), ("start", "fill_tanh"), ("check", "fill_tanh"), ("hint", "fill_tanh")):
        status, out, err = run(*args)
        assert (status, out) == (4, "")
        assert "not as minibert exercise writes it" in err
        assert "mend it, or move it away" in err
    assert (here / "progress.json").read_text() == '{"exercises": {"fill_tanh": 3}}'
    assert not (here / "fill_tanh.py").exists()


def test_a_folder_that_cannot_be_written_to_hides_no_result(run, here, monkeypatch):
    write(here, "find_tanh", "")

    def refused(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("minibert.lab.exercises.progress.write_atomic", refused)
    status, out, err = run("check", "find_tanh")
    assert status == 4
    assert "not yet: 0 of 1 gradient is right" in out
    assert "Permission denied: 'progress.json'" in err
    status, out, err = run("hint", "find_tanh")
    assert (status, out) == (4, "")
    monkeypatch.setattr("minibert.cli.exercise.write_atomic", refused)
    status, out, err = run("start", "fill_tanh")
    assert (status, out) == (4, "")
    assert "Permission denied: 'fill_tanh.py'" in err


def test_another_folder(run, here):
    (here / "term").mkdir()
    assert run("start", "fill_tanh", "--folder", "term")[1] == "term/fill_tanh.py\n"
    (here / "term" / "fill_tanh.py").write_text(solved(BY_NAME["fill_tanh"]))
    assert run("check", "--folder", "term")[0] == 0
    assert sorted(path.name for path in here.iterdir()) == ["term"]


# ---- the process -----------------------------------------------------------------------------------------------------


def ran(here, name, code, limit=20.0):
    return running.run(BY_NAME[name], write(here, name, code), limit)


def test_an_endless_loop_is_ended_and_told_with_its_line(here):
    code = "def tanh_backward(dy, cache):\n    while True:\n        dy = dy + 0  # round and round\n"
    began = time.monotonic()
    outcome = ran(here, "fill_tanh", code, limit=1).outcome
    assert time.monotonic() - began < 15
    lines = [line_of(here / "fill_tanh.py", text) for text in ("while True", "round and round")]
    assert outcome.trouble.split(":")[0] in [f"fill_tanh.py, line {line}" for line in lines]
    assert "still running after 1 seconds" in outcome.trouble
    assert not outcome.solved


def test_a_loop_that_ignores_signals_in_a_folder_of_any_name_is_ended_too(here):
    folder = here / "übung 1"
    folder.mkdir()
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    time.sleep(9)\n"
    outcome = ran(folder, "fill_tanh", code, limit=0.5).outcome
    assert f"fill_tanh.py, line {line_of(folder / 'fill_tanh.py', 'sleep(9)')}: still running" in outcome.trouble


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos._exit(3)", "the process ended, with status 3, before the check was done"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "the process was ended by SIGSEGV"),
        ("import sys\nsys.exit('bye')", "the program was ended here"),
        ("name = input('name? ')", "There is no keyboard behind a check: nothing can be read from it."),
        ("def f(:", "invalid syntax"),
    ],
)
def test_whatever_a_file_does_the_command_line_goes_on(here, code, words):
    outcome = ran(here, "fill_tanh", code).outcome
    assert words in outcome.trouble
    assert not outcome.solved


def test_what_a_file_prints_is_shown_up_to_a_point(run, here):
    body = 'print("\\x1b[2Jdy is", dy.shape)\n    for i in range(3_000):\n        print("x" * 80)\n'
    write(here, "fill_tanh", f"def tanh_backward(dy, cache):\n    {body}    return dy * (1 - cache.y**2)")
    status, out, err = run("check", "fill_tanh")
    assert status == 0
    assert "solved: 1 gradient is right" in out
    assert err.startswith("your file prints:\n  \ufffd[2Jdy is (9, 6)\n  xxx")
    more = re.search(r"\n  \(([\d,]+) more lines\)\n", err)
    assert (int(more[1].replace(",", "")) + 20) % 3001 == 0  # as many at each call
    assert len(err) < 3000


@pytest.mark.parametrize(
    ("code", "begins", "last"),
    [
        ("print('y\\n' * 1_000_000, end='')", "  y", "  (999,980 more lines)"),
        ("print('y\\n' * 21, end='')", "  y", "  (1 more line)"),
        ("print('\\n' * 19 + 'y')", "  ", "  y"),
        ("print('z' * 10_000_000)", "  " + "z" * 200 + "…", "  " + "z" * 200 + "…"),
        ("print('y')\nprint('z', end='')", "  y", "  z"),
    ],
)
def test_a_flood_is_counted_and_not_shown(run, here, code, begins, last):
    write(here, "fill_tanh", code)
    status, _, err = run("check", "fill_tanh")
    assert status == 1
    shown = err.partition("minibert exercise hint")[0].rstrip("\n").split("\n")
    assert shown[:2] == ["your file prints:", begins]
    assert shown[-1] == last
    assert len(shown) <= 22


def test_a_long_message_is_cut(run, here):
    path = write(here, "fill_tanh", "def tanh_backward(dy, cache):\n    raise ValueError('no ' * 9**6 + '\\n!' * 9**6)")
    status, out, _ = run("check", "fill_tanh")
    assert status == 1
    assert out.startswith(f"fill_tanh.py, line {line_of(path, 'raise Value')}: ValueError: no no no ")
    assert len(out.splitlines()) < 16


def test_threads_and_processes_that_a_file_leaves_behind_do_not_hold_it_up(here):
    code = (
        "import subprocess, sys, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n" + solved(BY_NAME["fill_tanh"])
    ).replace("from __future__ import annotations", "")
    began = time.monotonic()
    assert ran(here, "fill_tanh", code).outcome.solved
    assert time.monotonic() - began < 20


def test_the_folder_can_be_imported_from_and_hides_nothing_of_pythons(run, here):
    for name in ("linear", "tanh", "cross_entropy"):
        (here / f"fill_{name}.py").write_text(solved(BY_NAME[f"fill_{name}"]))
    (here / "random.py").write_text("raise SystemExit('not the random of Python')")
    (here / "numpy.py").write_text("raise SystemExit('not NumPy')")
    head = started(BY_NAME["train_head"])
    status, out, _ = run("start", "train_head")
    status, out, _ = run("check")
    assert status == 1
    assert out.count("nothing is written here yet") == 4
    imports = "".join(f"from fill_{name} import {name}_backward\n" for name in ("linear", "tanh", "cross_entropy"))
    rows = "def gather_rows_backward(dy, cache):\n    dx = np.zeros((cache.num_rows, dy.shape[1]))\n"
    rows += "    np.add.at(dx, cache.rows, dy)\n    return dx\n"
    (here / "train_head.py").write_text(f"{head}\n\nimport random\n{imports}\n\n{rows}")
    status, out, _ = run("check")
    assert status == 0, out
    assert "✓ linear_backward          dx, dweight, dbias\n" in out
    assert "✓ 46 of 46 tensors of a BERT of 2 layers are right" in out
    assert "✓ 10 AdamW steps: loss 5.3555 -> 3.5561, the reference's to the last digit" in out


def test_limits_are_shown_and_kept(run, here):
    (here / "derive_softmax.py").write_text(solved(BY_NAME["derive_softmax"]))
    status, out, _ = run("check", "derive_softmax")
    assert status == 0
    assert "✓ 2 statements, at most 4\n✓ memory for 2.0 arrays like the input, at most 12\n" in out
    code = "def softmax_backward(dprobs, cache):\n    return softmax_backward_in_steps(dprobs, cache)"
    write(here, "derive_softmax", code)
    status, out, _ = run("check", "derive_softmax")
    assert status == 1
    assert "ok\n\n✓ 1 statement, at most 4\n✗ softmax_backward" in out  # no row of the table
    assert "✗ softmax_backward uses softmax_backward_in_steps, which it is to replace" in out
    assert "not yet: the gradients are right, and something else is not" in out


def test_outcomes_go_from_process_to_process_as_they_are():
    line = Line("dx", (3, 4), 1e-9, 2e-9, "wrong", False)
    outcome = Outcome((Judged("f", 6, (line, line), ("a",), "b"),), ("c",), ("d",), "e")
    assert unpacked(json.loads(json.dumps(packed(outcome)))) == outcome


def test_ctrl_c_ends_the_check_and_what_it_started(here):
    path = write(here, "fill_tanh", "import pathlib, os, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
                 "while True:\n    time.sleep(1)")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", "exercise", "check", "fill_tanh", "--folder", path.parent],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here,
    )  # fmt: skip
    for _ in range(600):
        if (here / "pid").exists() and (here / "pid").read_text():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == (b"", b"")
    with pytest.raises(ProcessLookupError):
        os.kill(int((here / "pid").read_text()), 0)
    assert not (here / "progress.json").exists()


def test_a_closed_pipe_is_silent(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", "exercise", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() in (b"", b"minibert exercise start fill_tanh\n")
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_as_a_process_and_without_docstrings(tmp_path):
    environment = {"PYTHONOPTIMIZE": "2", "PYTHONPATH": str(running.ROOT)}
    status, out, _ = minibert("exercise", "start", "fill_layer_norm", "--folder", tmp_path, env=environment)
    assert (status, out) == (0, f"{tmp_path}/fill_layer_norm.py\n")
    assert (tmp_path / "fill_layer_norm.py").read_text() == started(BY_NAME["fill_layer_norm"])
    status, out, _ = minibert("exercise", "check", "--folder", tmp_path, env=environment)
    assert status == 1
    assert "nothing is written here yet" in out


def test_the_help_says_that_check_runs_the_file():
    status, out, _ = minibert("exercise", "--help")
    assert status == 0
    assert "check runs your file as a program, with your rights" in " ".join(out.split())


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal_only(run, here, monkeypatch, variables, coloured):
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    run("start", "fill_tanh")
    assert "\x1b" not in run("list")[1]
    monkeypatch.setattr("minibert.cli.exercise.sys.stdout.isatty", lambda: True)
    assert ("\x1b[33m…\x1b[0m fill_tanh" in run("list")[1]) == coloured
