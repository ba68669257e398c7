"""Fingerprints; files that are not there; and published files, where they are."""

import os
from collections import Counter
from pathlib import Path

import pytest

from minibert import InputError, LoadError, NotFound
from minibert.training.readers import fingerprint, read_conll, read_squad, read_table


def test_a_fingerprint_is_of_contents_order_and_options(file):
    a, b, same = file("a", "x" * 3_000_000), file("b", "y"), file("c", "x" * 3_000_000)
    first = fingerprint([a, b], {"seed": 1, "labels": ["p", "q"]})
    assert len(first) == 64
    assert first == fingerprint([same, b], {"labels": ("p", "q"), "seed": 1})
    others = [
        fingerprint([b, a], {"seed": 1, "labels": ["p", "q"]}),
        fingerprint([a, b], {"seed": 1, "labels": ["q", "p"]}),
        fingerprint([a], {"seed": 1, "labels": ["p", "q"]}),
        fingerprint([a, file("b", "z")], {"seed": 1, "labels": ["p", "q"]}),
        fingerprint([file("d", "x"), file("e", "yz")], {}),
        fingerprint([file("d", "xy"), file("e", "z")], {}),
        fingerprint([], {}),
    ]
    assert len({first, *others}) == 8


def test_what_has_no_fingerprint(tmp_path):
    with pytest.raises(NotFound):
        fingerprint([tmp_path / "none"], {})
    with pytest.raises(InputError, match="files: expected a list of paths, got one"):
        fingerprint("a.csv", {})
    for value in (object(), float("nan")):
        with pytest.raises(InputError, match="options: expected what JSON can hold"):
            fingerprint([], {"option": value})


def test_a_file_that_is_not_there(tmp_path):
    for read in (read_table, read_conll, read_squad):
        with pytest.raises(NotFound, match=r"none.csv: no such file"):
            read(tmp_path / "none.csv")
    with pytest.raises(LoadError, match="expected a file, got a folder"):
        read_conll(tmp_path)


@pytest.fixture
def data():
    folder = Path(os.environ.get("MINIBERT_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data: {folder} is not there, and MINIBERT_DATA is not set")
    return folder


def test_published_files_are_read_whole(data):
    train = read_table(data / "sst2" / "train.tsv", "sentence")
    dev = read_table(data / "sst2" / "dev.tsv", 2, label=1, labels=train.labels)
    assert (len(train.examples), len(dev.examples), train.labels) == (67349, 872, ("0", "1"))
    assert not any("\r" in example.text for example in train.examples)
    for name, count in (("train", 5749), ("dev", 1500), ("test", 1379)):
        pairs = read_table(data / "stsb" / f"{name}.tsv", 6, 7, 5, header=False, problem_type="regression").examples
        assert len(pairs) == count
        assert all(0 <= pair.label <= 5 and pair.text and pair.text_pair for pair in pairs)
    tags = read_conll(data / "wnut17" / "train.conll").labels
    assert len(tags) == 13
    for name, count in (("train", 3394), ("dev", 1009), ("test", 1287)):
        assert len(read_conll(data / "wnut17" / f"{name}.conll", labels=tags).examples) == count
    questions = read_squad(data / "squad" / "dev-v2.0-5articles.json")
    assert (len(questions.examples), questions.problems) == (1407, ())
    assert Counter(question.is_impossible == (not question.answers) for question in questions.examples) == {True: 1407}
