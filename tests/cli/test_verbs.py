"""minibert similarity, fill-mask, tokenize and inspect: what they show."""

import json

import numpy as np
import pytest

import minibert as mb
from minibert.cli.similarity import _fit, _width
from tests.cli.process import minibert
from tests.specimens import tiny_folder


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
    status, out, _ = minibert("fill-mask", "--model", folder, "a [MASK]", "--targets", "cat,dog")
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


def test_similarity_shows_the_cosines(folder):
    texts = ["the cat", "a dog sat", "is it you ?"]
    encoder = mb.SentenceEncoder.from_pretrained(folder)
    vectors = encoder.encode(texts)
    expected = encoder.similarity(vectors, vectors)
    found = json.loads(minibert("similarity", "--model", folder, "--json", *texts)[1])["similarity"]
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)  # six digits are written
    lines = minibert("similarity", "--model", folder, *texts)[1].splitlines()
    shown = [[float(x) for x in line.split()[-3:]] for line in lines[1:]]
    np.testing.assert_allclose(shown, expected, atol=6e-5, rtol=0)


@pytest.mark.parametrize("text", ["cat " * 50_000, "你好" * 10, "a\u0301" * 50, "cat\n\tdog " * 5])
def test_labels_are_cut_to_their_width(text):
    label = _fit(text, 20)
    assert 19 <= _width(label) <= 20
    assert label.endswith("…")
    assert " ".join(text.split()).startswith(label[:-1])
    assert _fit(label, 20) == label


def test_every_verb_works_on_a_narrow_terminal(folder):
    for verb, *texts in (
        ("similarity", "the cat sat on the mat", "a dog", "你好 the"),
        ("similarity", *["the cat sat on the mat"] * 9),
        ("embed", "the cat sat on the mat"),
        ("fill-mask", "the [MASK] sat on the mat"),
        ("tokenize", "the cat sat on the mat"),
        ("inspect",),
        ("embed", "--help"),
    ):
        status, out, err = minibert(verb, "--model", folder, *texts, env={"COLUMNS": "40"})
        assert (status, err) == (0, "")
        if len(texts) == 3:
            assert max(map(_width, out.splitlines())) <= 40
        if len(texts) == 9:  # no room: as wide as it must be
            assert out.count("  the cat sat…  ") == 9


def test_tokenize_shows_the_characters_of_either_text(folder):
    out = minibert("tokenize", "--model", folder, "the Cats", "--pair", "a Dog")[1]
    rows = {line.split()[1]: line.split()[2:] for line in out.splitlines() if line}
    assert rows["cat"] == ["4:7", "Cat"]
    assert rows["##s"] == ["7:8", "s"]
    assert rows["a"] == ["0:1", "a"]
    assert rows["dog"] == ["2:5", "Dog"]


def test_inspect_says_how_large_the_model_is(tmp_path):
    folder = tiny_folder(tmp_path, intermediate_size=8192)
    weights = mb.BertForPreTraining.from_pretrained(folder).parameters.flat
    assert f"{weights.size:,} numbers, {weights.size * 4 / 1e6:.1f} MB" in minibert("inspect", "--model", folder)[1]
    assert json.loads(minibert("inspect", "--model", folder, "--json")[1])["bytes"] == weights.size * 4
