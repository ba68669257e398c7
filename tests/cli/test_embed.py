"""minibert embed: what is written, where, and when."""

import io
import json
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.cli.process import minibert


def test_embed_gives_one_json_line_a_text_in_order(folder):
    status, out, err = minibert("embed", "--model", folder, "the cat", "", "a dog sat on the mat")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [row["text"] for row in rows] == ["the cat", "", "a dog sat on the mat"]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert {len(row["embedding"]) for row in rows} == {16}


def test_embed_reads_arguments_file_and_stdin_alike(folder, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"the cat\r\na dog\n")
    direct = minibert("embed", "--model", folder, "the cat", "a dog")
    assert minibert("embed", "--model", folder, "--file", tmp_path / "texts.txt") == direct
    assert minibert("embed", "--model", folder, stdin="the cat\na dog") == direct
    assert minibert("embed", "--model", folder, "-", stdin="the cat\na dog\n") == direct
    assert minibert("embed", "the cat", "a dog", env={"MINIBERT_MODEL": str(folder)}) == direct


def test_embed_npy_to_stdout_and_to_a_file_is_the_same_array_as_json(folder, tmp_path):
    status, out, _ = minibert("embed", "--model", folder, "--format", "npy", "the cat", "a dog", text=False, stdin=b"")
    assert status == 0
    array = np.load(io.BytesIO(out), allow_pickle=False)
    assert array.shape == (2, 16)
    assert array.dtype == np.float32
    path = tmp_path / "v.npy"
    assert minibert("embed", "--model", folder, "--format", "npy", "--output", path, "the cat", "a dog")[0] == 0
    np.testing.assert_array_equal(np.load(path), array)
    lines = minibert("embed", "--model", folder, "the cat", "a dog")[1].splitlines()
    np.testing.assert_array_equal(np.float32([json.loads(line)["embedding"] for line in lines]), array)


def test_embed_says_how_many_texts_were_cut(folder):
    status, out, err = minibert("embed", "--model", folder, "cat " * 100, "a dog")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert "1 of 2 texts were longer than 32 tokens" in err


def test_embed_of_no_lines_is_no_lines(folder):
    assert minibert("embed", "--model", folder, stdin="") == (0, "", "")


def test_embed_numbers_the_texts_beyond_the_first_that_are_read_together(folder):
    lines = [f"{'a ' * (i % 5)}cat" for i in range(20)]
    status, out, _ = minibert("embed", "--model", folder, "--batch-size", 1, stdin="\n".join(lines))
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [row["index"] for row in rows] == list(range(20))
    assert [row["text"] for row in rows] == lines


def test_embed_answers_before_stdin_ends(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", "embed", "--model", folder, "--batch-size", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    with process:
        for _ in range(2):
            process.stdin.write(b"the cat\n" * 8)
            process.stdin.flush()
            assert [json.loads(process.stdout.readline())["text"] for _ in range(8)] == ["the cat"] * 8
    watchdog.cancel()
    assert process.returncode == 0


def test_embed_to_a_file_is_all_or_nothing(folder, tmp_path):
    output = tmp_path / "v.jsonl"
    output.write_text("the old file")
    command = ("embed", "--model", folder, "--batch-size", 1, "--output", output)
    status, out, err = minibert(*command, stdin=b"the cat\n" * 20 + b"bad \xff\n")
    assert (status, out) == (4, "")
    assert "line 21" in err
    assert output.read_text() == "the old file"
    assert os.listdir(tmp_path) == ["v.jsonl"]
    assert minibert(*command, stdin="the cat\n" * 20) == (0, "", "")
    assert output.read_text() == minibert("embed", "--model", folder, "--batch-size", 1, stdin="the cat\n" * 20)[1]
    assert os.listdir(tmp_path) == ["v.jsonl"]


@pytest.mark.skipif(os.name != "posix", reason="named pipes and links of POSIX")
def test_embed_writes_through_a_link_and_into_a_pipe(folder, tmp_path):
    expected = minibert("embed", "--model", folder, "the cat")[1]
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert minibert("embed", "--model", folder, "--output", tmp_path / "link", "the cat")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == expected
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert minibert("embed", "--model", folder, "--output", pipe, "the cat")[0] == 0
    assert os.read(reader, 1 << 16).decode() == expected
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_output_to_a_dash_is_stdout_and_to_nothing_an_error(folder):
    assert minibert("embed", "--model", folder, "a dog", "--output", "-") == minibert(
        "embed", "--model", folder, "a dog"
    )
    status, out, err = minibert("embed", "--model", folder, "a dog", "--output", "")
    assert (status, out) == (2, "")
    assert "expected the name of a file" in err
