"""The command line as people meet it: a process with arguments, pipes and an exit status."""

import os
import subprocess
import sys
import warnings

import pytest

from minibert import cli
from minibert.cli import inspect
from tests.cli.process import minibert, quiet


def test_without_arguments_and_with_help_it_shows_the_verbs():
    for args in ((), ("--help",)):
        status, out, err = minibert(*args)
        assert (status, err) == (0, "")
        for verb in ("embed", "similarity", "fill-mask", "tokenize", "inspect", "convert", "diff", "gradcheck"):
            assert verb in out


def test_help_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = cli.build_parser()
    for name, verb in {"": parser, **parser.verbs}.items():
        for line in verb.format_help().splitlines():
            assert len(line) < 80, (name, line)


def test_help_imports_nothing_heavy():
    code = "import sys, minibert.cli as c; c.build_parser().format_help(); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("numpy", "regex", "rich", "safetensors"):
        assert f"'{module}'" not in out


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("embed", "--model", "FOLDER", "--batch-size", "0", "a"), 2, "positive integer"),
        (("embed", "--bogus"), 2, "unrecognized arguments"),
        (("bogus",), 2, "invalid choice"),
        (("similarity", "--model", "FOLDER", "one"), 2, "at least two texts"),
        (("embed", "--model", "FOLDER", "--file", "x", "a"), 2, "give one of the two"),
        (("gradcheck", "--std", "-1"), 2, "positive number"),
        (("gradcheck", "--std", "nan"), 2, "positive number"),
        (("gradcheck", "--seed", "-1"), 2, "--seed: expected 0 or a positive integer, got -1"),
        (("gradcheck", "--dropout-seed", "-1"), 2, "--dropout-seed: expected 0 or a positive integer"),
        (("gradcheck", "--layers", "two"), 2, "--layers: expected a positive integer, got two"),
        (("embed", "--model", "/nowhere/at/all", "a"), 3, "no such file or folder"),
        (("embed", "--model", "pkg:no_such_package/model", "a"), 3, "pip install no-such-package"),
        (("embed", "--model", "FOLDER", "--file", "/nowhere/at/all"), 3, "no such file"),
        (("fill-mask", "--model", "FOLDER", "no mask here"), 4, "[MASK]"),
        (("fill-mask", "--model", "FOLDER", "a [MASK]", "--targets", "unheardof"), 4, "not one word"),
        (("fill-mask", "--model", "FOLDER", "[MASK] " * 40), 4, "the model has 32 positions"),
        (("embed", "--model", "FOLDER", "--output", "/nowhere/at/all", "a"), 4, "/nowhere/at/all"),
        (("embed", "--model", "FOLDER", "--output", "FOLDER", "a"), 4, "Is a directory"),
    ],
)
def test_errors_are_one_line_and_a_hint_with_a_status(folder, args, status, words):
    args = [str(folder) if a == "FOLDER" else a for a in args]
    got, out, err = minibert(*args)
    assert got == status, err
    assert words in err
    assert err.startswith("minibert: error: ")
    assert len(err.strip().splitlines()) <= 2
    assert out == ""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [(KeyboardInterrupt, 130, ""), (MemoryError, 5, "out of memory"), (OSError("disk full"), 4, "disk full")],
)
def test_what_stops_a_verb_is_told_by_the_status(monkeypatch, capsys, error, status, words):
    def stopped(args):
        raise error

    monkeypatch.setattr(inspect, "run", stopped)
    assert cli.main(["inspect", "x"]) == status
    err = capsys.readouterr().err
    assert words in err
    assert bool(err) == bool(words)


def test_warnings_are_notes_and_the_process_gets_its_own_way_back(monkeypatch, capsys):
    monkeypatch.setattr(inspect, "run", lambda args: warnings.warn("look here"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = warnings.showwarning
        assert cli.main(["inspect", "x"]) == 0
        assert warnings.showwarning is before
    assert capsys.readouterr().err == "minibert: note: look here\n"


def test_debug_shows_the_traceback(folder):
    assert "Traceback" in minibert("fill-mask", "--debug", "--model", folder, "no mask")[2]
    assert "Traceback" in minibert("fill-mask", "--model", folder, "no mask", env={"MINIBERT_DEBUG": "1"})[2]


def test_bytes_that_are_not_utf8_are_an_error_with_the_line(folder):
    status, _, err = minibert("tokenize", "--model", folder, stdin=b"fine\nbad \xff\n")
    assert status == 4
    assert "stdin, line 2: byte 0xff at 4 is not UTF-8" in err


def test_a_closed_pipe_is_silent(folder, tmp_path):
    (tmp_path / "texts.txt").write_text("the cat sat\n" * 20000)
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", "tokenize", "--model", folder, "--file", tmp_path / "texts.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_odd_characters_pass_through(folder):
    for variables in ({}, {"PYTHONIOENCODING": "ascii"}):
        status, out, err = minibert("tokenize", "--model", folder, "cat \u202e😀 \u0301 \x1b[31m", env=variables)
        assert (status, err) == (0, "")
        assert "cat" in out
        assert "\x1b" not in out


def test_an_argument_that_is_not_utf8_is_an_error_like_any_other_text(folder):
    status, out, err = minibert("tokenize", "--model", folder, os.fsdecode(b"cat \xff"))
    assert (status, out) == (4, "")
    assert r"b'cat \xff' is not UTF-8" in err


def test_a_byte_order_mark_is_no_part_of_the_first_text(folder):
    marked = minibert("tokenize", "--model", folder, "--json", stdin=b"\xef\xbb\xbfthe cat\nthe cat\n")[1].splitlines()
    assert marked[0] == marked[1]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("verb", ["embed", "similarity", "tokenize"])
def test_closed_streams_are_no_crash(folder, verb, closed):
    command = f'exec "$0" -m minibert {verb} --model "$1" "the cat" "a dog" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, folder], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0
    assert quiet(done.stderr) == ""
    assert bool(done.stdout) == (closed != ">&-")


def test_texts_come_from_a_pipe_given_as_a_file(folder, tmp_path):
    command = 'printf "the cat\\na dog\\n" | "$0" -m minibert tokenize --model "$1" --json --file /dev/stdin'
    done = subprocess.run(["sh", "-c", command, sys.executable, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    for bad, words in (("", "no such file"), (tmp_path, "got a folder")):
        status, _, err = minibert("tokenize", "--model", folder, "--file", bad)
        assert status == 3
        assert words in err
