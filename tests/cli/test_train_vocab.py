"""minibert train-vocab: text files to vocab.txt."""

import json

import pytest

from minibert.text import BertTokenizer
from minibert.training import train_vocabulary
from tests.cli.process import minibert

LINES = ["the cat sat on the mat", "the other cat sat there", "Ein Öl, ein Öl"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def test_it_writes_what_python_learns(corpus, tmp_path):
    output = tmp_path / "vocab.txt"
    output.write_text("an older one")
    status, out, err = minibert("train-vocab", corpus, "--output", output, "--size", 36, "--unused", 2)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"36 pieces written to {output}"
    pieces = train_vocabulary(LINES, 36, unused=2)
    assert output.read_text(encoding="utf-8") == "".join(f"{piece}\n" for piece in pieces)
    tokenizer = BertTokenizer.from_pretrained(output)
    assert tokenizer.get_vocab() == {piece: number for number, piece in enumerate(pieces)}
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 3)


def test_the_report_counts_the_tokens_of_the_corpus(corpus, tmp_path):
    output = tmp_path / "vocab.txt"
    args = ("train-vocab", corpus, "--output", output, "--size", 34, "--method", "likelihood", "--json")
    status, out, err = minibert(*args)
    assert (status, err) == (0, "")
    report = json.loads(out)
    tokenizer = BertTokenizer.from_pretrained(output)
    tokens = [token for line in LINES for token in tokenizer(line, add_special_tokens=False)["input_ids"]]
    assert report["tokens_per_word"] == len(tokens) / report["words"]
    assert report["unknown"] == tokens.count(tokenizer.unk_token_id) == 2  # mat and the comma
    assert (report["size"], report["words"], report["different_words"]) == (34, 16, 10)
    assert (report["characters"], report["dropped_characters"]) == (11, 2)


def test_cased_vocabularies_keep_capitals_and_say_how_to_read_them(corpus, tmp_path):
    output = tmp_path / "vocab.txt"
    status, out, err = minibert("train-vocab", corpus, "--output", output, "--cased")
    assert status == 0
    assert "do_lower_case=False" in out
    assert "3 characters are too rare to be pieces: , E m" in out
    assert err.startswith("minibert: note: ")
    assert "pieces instead of 8192" in err
    tokens = BertTokenizer.from_pretrained(output, do_lower_case=False)("Öl", add_special_tokens=False)
    assert tokens.tokens(0) == ["Öl"]


def test_stdout_takes_the_vocabulary_alone(corpus):
    status, out, err = minibert("train-vocab", corpus, "--output", "-", "--size", 34)
    assert (status, err) == (0, "")
    assert out.splitlines() == train_vocabulary(LINES, 34)


def test_what_cannot_be_is_said_before_anything_is_read(corpus, tmp_path):
    (tmp_path / "empty.txt").touch()
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\n\xff\n")
    output = tmp_path / "vocab.txt"
    for args, expected, words in (
        ((corpus,), 2, "--output"),
        ((tmp_path / "none.txt", "--output", output), 3, "none.txt: no such file"),
        ((corpus, "--output", ""), 2, "--output: expected the name of a file"),
        ((corpus, "--output", corpus), 2, "is a file of the corpus"),
        ((corpus, "--output", tmp_path), 4, "expected the name of a file, got a folder"),
        ((corpus, "--output", tmp_path / "no" / "vocab.txt"), 3, "no such folder"),
        ((corpus, "--output", "-", "--json"), 2, "stdout cannot take both"),
        ((corpus, "--output", output, "--size", 10), 4, "size: expected at least"),
        ((corpus, "--output", output, "--method", "unigram"), 2, "invalid choice"),
        ((tmp_path / "empty.txt", "--output", output), 4, "the text has no words"),
        ((corpus, bad, "--output", output), 4, f"{bad}, line 2: byte 0xff at 0 is not UTF-8"),
    ):
        status, out, err = minibert("train-vocab", *args)
        assert (status, out) == (expected, ""), err
        assert words in err
        assert len(err.splitlines()) <= 2
    assert corpus.read_text(encoding="utf-8") == "\n".join(LINES)
    assert not output.exists()
