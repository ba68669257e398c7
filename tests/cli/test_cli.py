"""The command line as people meet it: a process with arguments, pipes and an exit status."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.specimens import tiny_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))


def minibert(*args, stdin="", env=None, text=True):
    data = stdin if not text or isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run(
        [sys.executable, "-m", "minibert", *map(str, args)],
        input=data,
        capture_output=True,
        env={**os.environ, "MINIBERT_MODEL": "", **(env or {})},
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode() if text else done.stdout, done.stderr.decode()


def test_without_arguments_and_with_help_it_shows_the_verbs():
    for args in ((), ("--help",)):
        status, out, err = minibert(*args)
        assert (status, err) == (0, "")
        for verb in ("embed", "similarity", "fill-mask", "tokenize", "inspect", "gradcheck"):
            assert verb in out
        assert max(map(len, out.splitlines())) <= 92


def test_help_imports_nothing_heavy():
    code = "import sys, minibert.cli as c; c.build_parser().format_help(); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("numpy", "regex", "rich", "safetensors"):
        assert f"'{module}'" not in out


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


def test_similarity_prints_a_matrix_within_80_columns(folder):
    status, out, _ = minibert(
        "similarity", "--model", folder, "the cat " * 20, "a dog", "你好 the", env={"COLUMNS": "80"}
    )
    lines = out.splitlines()
    assert status == 0
    assert max(map(len, lines)) <= 80
    assert len(lines) == 4
    assert [float(line.split()[-3 + i]) for i, line in enumerate(lines[1:])] == [1.0, 1.0, 1.0]


def test_similarity_json(folder):
    status, out, _ = minibert("similarity", "--model", folder, "--json", "the cat", "a dog")
    result = json.loads(out)
    assert status == 0
    assert result["texts"] == ["the cat", "a dog"]
    assert result["similarity"][0][1] == result["similarity"][1][0]


def test_fill_mask_prints_guesses(folder):
    status, out, _ = minibert("fill-mask", "--model", folder, "--top-k", 3, "the [MASK] sat")
    assert status == 0
    assert len(out.strip().splitlines()) == 3
    status, out, _ = minibert("fill-mask", "--model", folder, "--json", "[MASK] [MASK]", "a [MASK]")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [len(row["masks"]) for row in rows] == [2, 1]
    assert len(rows[0]["masks"][0]) == 5
    status, out, _ = minibert("fill-mask", "--model", folder, "a [MASK]", "--targets", "cat", "dog")
    assert sorted(line.split()[1] for line in out.strip().splitlines()) == ["cat", "dog"]


def test_tokenize_shows_where_tokens_stand(folder):
    status, out, _ = minibert("tokenize", "--model", folder, "--json", "the cats", "--pair", "a dog")
    row = json.loads(out)
    assert status == 0
    assert row["tokens"] == ["[CLS]", "the", "cat", "##s", "[SEP]", "a", "dog", "[SEP]"]
    assert row["offsets"] == [[0, 0], [0, 3], [4, 7], [7, 8], [0, 0], [0, 1], [2, 5], [0, 0]]
    status, out, _ = minibert("tokenize", "--model", folder, "the cats")
    assert status == 0
    assert "##s" in out


def test_inspect_lists_tensors_without_reading_them(folder):
    status, out, _ = minibert("inspect", "--model", folder)
    assert status == 0
    assert "2 layers, hidden 16, 2 heads" in out
    assert "bert.embeddings.word_embeddings.weight" in out
    result = json.loads(minibert("inspect", "--model", folder, "--json")[1])
    assert result["numbers"] == sum(int(np.prod(t["shape"])) for t in result["tensors"])


def test_gradcheck_prints_a_row_a_tensor_and_passes(folder):
    status, out, _ = minibert("gradcheck", "--layers", 1)
    assert status == 0
    assert "‖g‖" in out
    assert out.count(" ok\n") == 30 + 12  # tensors and identities
    assert max(map(len, out.splitlines())) <= 80
    assert "0 wrong" in out
    status, out, _ = minibert("gradcheck", "--model", folder, "--json")
    result = json.loads(out)
    assert status == 0
    assert result["ok"]
    assert all(row["verdict"] == "ok" for row in result["tensors"] + result["identities"])
    assert minibert("gradcheck", "--layers", 1, "--dropout-seed", 3)[0] == 0


def test_gradcheck_fails_with_status_1_when_a_gradient_is_wrong():
    code = (
        "from minibert.lab import mutants; from minibert import engines, ops, cli\n"
        "engines.get = lambda name: mutants.plant(mutants.MUTANTS[3], ops)\n"
        "raise SystemExit(cli.main(['gradcheck', '--layers', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert " wrong\n" in done.stdout


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("embed", "a"), 2, "no model given"),
        (("embed", "--model", "FOLDER", "--batch-size", "0", "a"), 2, "positive integer"),
        (("embed", "--bogus"), 2, "unrecognized arguments"),
        (("bogus",), 2, "invalid choice"),
        (("similarity", "--model", "FOLDER", "one"), 2, "at least two texts"),
        (("embed", "--model", "FOLDER", "--file", "x", "a"), 2, "give one of the two"),
        (("gradcheck", "--std", "-1"), 2, "positive number"),
        (("embed", "--model", "/nowhere/at/all", "a"), 3, "no such file or folder"),
        (("embed", "--model", "pkg:no_such_package/model", "a"), 3, "pip install no-such-package"),
        (("embed", "--model", "FOLDER", "--file", "/nowhere/at/all"), 3, "no such file"),
        (("fill-mask", "--model", "FOLDER", "no mask here"), 4, "[MASK]"),
        (("fill-mask", "--model", "FOLDER", "a [MASK]", "--targets", "unheardof"), 4, "not one word"),
        (("fill-mask", "--model", "FOLDER", "[MASK] " * 40), 4, "the model has 32 positions"),
        (("embed", "--model", "FOLDER", "--output", "/nowhere/at/all", "a"), 4, "/nowhere/at/all"),
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
    for text in ("cat \u202e😀 \u0301", os.fsdecode(b"cat \xff")):  # the second is a lone surrogate to Python
        for variables in ({}, {"PYTHONIOENCODING": "ascii"}):
            status, out, err = minibert("tokenize", "--model", folder, text, env=variables)
            assert (status, err) == (0, "")
            assert "cat" in out
