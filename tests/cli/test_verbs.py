"""minibert similarity, fill-mask, tokenize, inspect, convert and diff: what they show."""

import hashlib
import json

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import save_pretrained
from minibert.cli.similarity import _fit, _width
from minibert.formats.safetensors import save_safetensors
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
    status, out, _ = minibert("inspect", folder)
    assert status == 0
    assert "2 layers, hidden 16, 2 heads" in out
    assert "bert.embeddings.word_embeddings.weight" in out
    result = json.loads(minibert("inspect", folder, "--json")[1])
    assert result["parameters"] == sum(int(np.prod(t["shape"])) for t in result["tensors"])


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
        model = [folder] if verb == "inspect" else ["--model", folder]
        status, out, err = minibert(verb, *model, *texts, env={"COLUMNS": "40"})
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
    assert f"{weights.size:,} parameters, {weights.size * 4 / 1e6:.1f} MB" in minibert("inspect", folder)[1]
    assert json.loads(minibert("inspect", folder, "--json")[1])["bytes"] == weights.size * 4


def test_inspect_of_a_single_file_gives_its_digest_and_a_guess(folder):
    path = folder / "model.safetensors"
    result = json.loads(minibert("inspect", path, "--json")[1])
    assert (result["format"], result["model"]) == ("safetensors", "BertForPreTraining")
    (file,) = result["files"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file == {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}
    assert digest[:16] in minibert("inspect", path)[1]


def test_inspect_of_what_is_no_bert(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"transformer.wte.weight": np.zeros((3, 2), np.float32)})
    status, out, _ = minibert("inspect", tmp_path / "x.safetensors")
    assert status == 0
    assert "model: no BERT that is known here" in out
    assert "1 tensors, 6 parameters" in out


def test_messages_do_not_steer_the_terminal(folder, tmp_path):
    model = mb.BertModel.from_pretrained(folder)
    arrays = {**model.state_dict(), "evil\x1b[2J\n\x07\u202e": np.ones(1, np.float32)}
    save_pretrained(tmp_path / "a", model.config.to_dict(), arrays)
    status, _, err = minibert("convert", tmp_path / "a", tmp_path / "b")
    assert status == 4
    assert "evil\ufffd[2J\ufffd\ufffd\ufffd" in err.splitlines()[0]
    assert all(line.isprintable() for line in err.splitlines())


@pytest.mark.parametrize("verb", [("similarity", "a dog"), ("fill-mask", "a [MASK]"), ("tokenize", "a dog")])
def test_a_model_may_be_a_file_or_a_prefix(folder, tmp_path, verb):
    name, text = verb
    minibert("convert", folder, tmp_path / "b", "--to", "tf")
    outputs = [
        minibert(name, "--model", model, text, text)
        for model in (folder, folder / "model.safetensors", tmp_path / "b/bert_model.ckpt", tmp_path / "b")
    ]
    assert [output[:2] for output in outputs] == [outputs[0][:2]] * 4
    assert outputs[0][0] == 0


def test_inspect_shows_weights_beside_a_broken_config(folder, tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    status, out, _ = minibert("inspect", tmp_path)
    assert status == 0
    assert "config.json: not valid JSON" in out
    assert "bert.pooler.dense.weight" in out


def test_convert_and_diff(folder, tmp_path):
    status, out, err = minibert("convert", folder, tmp_path / "npz", "--to", "npz")
    assert (status, err) == (0, "")
    assert "  bert.encoder.layer.*.attention.self.query.weight  (×2)\n" in out
    assert "46 tensors written to" in out
    status, out, _ = minibert("convert", tmp_path / "npz", tmp_path / "tf", "--to", "tf")
    assert "    → bert/encoder/layer_*/attention/self/query/kernel  (transpose, ×2)\n" in out
    report = json.loads(minibert("convert", tmp_path / "tf", tmp_path / "back", "--json")[1])
    assert len(report["tensors"]) == 46
    assert minibert("diff", folder, tmp_path / "back")[:2] == (0, "46 of 46 tensors are equal, 0 are not\n")
    assert minibert("convert", folder, tmp_path / "npz")[0] == 4  # not empty


def test_diff_shows_the_largest_difference_first(folder, tmp_path):
    arrays = dict(mb.BertForPreTraining.from_pretrained(folder).state_dict())
    small, large = "cls.predictions.bias", "bert.pooler.dense.bias"
    arrays[small], arrays[large] = arrays[small] + 0.25, arrays[large] + 2
    del arrays["cls.seq_relationship.bias"]
    save_pretrained(tmp_path / "other", {**mb.BertConfig.from_pretrained(folder).to_dict()}, arrays)
    status, out, _ = minibert("diff", folder, tmp_path / "other")
    assert status == 1
    lines = out.splitlines()
    assert lines[0].split() == ["—", "cls.seq_relationship.bias", "(only", "in", f"{folder})"]
    assert lines[1:] == [f"2.000e+00  {large}", f"2.500e-01  {small}", "43 of 46 tensors are equal, 3 are not"]
    result = json.loads(minibert("diff", folder, tmp_path / "other", "--json")[1])
    assert (result["tensors"], result["different"]) == (46, 3)
