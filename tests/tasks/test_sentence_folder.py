"""Folders of sentence-transformers: every setting that changes a vector is followed or refused."""

import json
import re
from types import MappingProxyType

import numpy as np
import pytest

import minibert as mb
from minibert.tasks.convert import convert
from minibert.tasks.embed import SentenceEncoder
from tests.specimens import tiny_folder

STANDARD = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
POOLING, LIMITS, PROMPTS = "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"


def saved(folder, modules=STANDARD, files=MappingProxyType({})):
    """A folder as sentence-transformers saves it, with these contents of the files."""
    entries = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in modules]
    (folder / "1_Pooling").mkdir()
    for name, content in {"modules.json": entries, POOLING: MEAN, **files}.items():
        (folder / name).write_text(json.dumps(content))
    return tiny_folder(folder)


def test_a_saved_folder_says_how_to_pool_normalise_and_cut(tmp_path):
    modes = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    limits = {"max_seq_length": 7, "do_lower_case": False}
    encoder = SentenceEncoder.from_pretrained(saved(tmp_path, files={POOLING: modes, LIMITS: limits}))
    assert (encoder.pooling, encoder.normalize, encoder.max_length) == (("cls", "mean"), True, 7)
    assert encoder.encode("a dog").shape == (32,)
    assert encoder.dimension == 32
    assert "pooling cls+mean, normalised, 7 tokens" in repr(encoder)


def test_a_bare_folder_means_mean_pooling(tmp_path):
    encoder = SentenceEncoder.from_pretrained(tiny_folder(tmp_path))
    assert (encoder.pooling, encoder.normalize, encoder.max_length) == (("mean",), False, 32)


@pytest.mark.parametrize("modules", [STANDARD[:1], STANDARD[:2], STANDARD[::2]])
def test_pooling_and_normalising_may_be_left_out(tmp_path, modules):
    encoder = SentenceEncoder.from_pretrained(saved(tmp_path, modules))
    assert encoder.normalize == (modules[-1][0] == "Normalize")


def test_the_encoder_may_have_a_folder_of_its_own(tmp_path):
    saved(tmp_path, (("Transformer", "0_Transformer"), *STANDARD[1:]))
    (tmp_path / "config.json").unlink()
    (tiny_folder(tmp_path / "0_Transformer") / LIMITS).write_text('{"max_seq_length": 9}')
    assert SentenceEncoder.from_pretrained(tmp_path).max_length == 9


def test_a_file_of_weights_stands_for_its_folder(tmp_path):
    modes = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True}
    folder = saved(tmp_path, files={POOLING: modes, LIMITS: {"max_seq_length": 7}})
    encoders = [SentenceEncoder.from_pretrained(path) for path in (folder, folder / "model.safetensors")]
    assert repr(encoders[0]) == repr(encoders[1])
    assert np.array_equal(*(encoder.encode("a dog") for encoder in encoders))


def test_so_does_the_prefix_of_a_tensorflow_checkpoint(tmp_path):
    folder = tiny_folder(tmp_path / "a")
    convert(folder, tmp_path / "b", "tf")
    old, new = (SentenceEncoder.from_pretrained(path) for path in (folder, tmp_path / "b" / "bert_model.ckpt"))
    assert np.array_equal(old.encode("a dog"), new.encode("a dog"))


def test_weights_beside_an_encoder_in_a_folder_of_its_own_are_refused(tmp_path):
    saved(tmp_path, (("Transformer", "0_Transformer"), *STANDARD[1:]))
    with pytest.raises(mb.LoadError, match="the encoder is in '0_Transformer'"):
        SentenceEncoder.from_pretrained(tmp_path / "model.safetensors")


def test_null_is_no_limit_of_its_own(tmp_path):
    encoder = SentenceEncoder.from_pretrained(saved(tmp_path, files={LIMITS: {"max_seq_length": None}}))
    assert encoder.max_length == 32


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ("mean", ("mean",)),
        (["mean_sqrt_len_tokens", "cls"], ("mean_sqrt_len", "cls")),
    ],
)
def test_pooling_as_newer_releases_write_it(tmp_path, modes, expected):
    config = {"embedding_dimension": 16, "pooling_mode": modes, "include_prompt": True}
    assert SentenceEncoder.from_pretrained(saved(tmp_path, files={POOLING: config})).pooling == expected


def test_texts_are_lower_cased_for_a_cased_tokenizer_where_the_folder_says_so(tmp_path):
    folder = saved(tmp_path, files={LIMITS: {"do_lower_case": True}})
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    encoder = SentenceEncoder.from_pretrained(folder)
    np.testing.assert_array_equal(encoder.encode("The CAT"), encoder.encode("the cat"))
    (folder / LIMITS).write_text('{"do_lower_case": false}')
    assert not np.array_equal(SentenceEncoder.from_pretrained(folder).encode("The CAT"), encoder.encode("the cat"))


@pytest.mark.parametrize(
    ("config", "prompt"),
    [
        ({}, ""),
        ({"prompts": {"query": "is it"}, "default_prompt_name": None}, ""),
        ({"prompts": {"query": ""}, "default_prompt_name": "query"}, ""),
        ({"prompts": {"query": "is it "}, "default_prompt_name": "query"}, "is it "),
    ],
)
def test_the_default_prompt_is_put_before_every_text(tmp_path, config, prompt):
    folder = saved(tmp_path, files={PROMPTS: config})
    vector = SentenceEncoder.from_pretrained(folder).encode("the cat")
    (folder / PROMPTS).unlink()
    np.testing.assert_array_equal(vector, SentenceEncoder.from_pretrained(folder).encode(f"{prompt}the cat"))


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ([*STANDARD, ("Dense", "2_Dense")], "Dense"),
        ([("Transformer", "..")], "sub-folder"),
        ([("Transformer", "/etc")], "sub-folder"),
        ([("Transformer", 3)], "sub-folder"),
        ([], "expected Transformer, then"),
        (STANDARD[1:], "got Pooling, Normalize"),
        (STANDARD[::-1], "got Normalize, Pooling, Transformer"),
        ([STANDARD[0], STANDARD[2], STANDARD[1]], "got Transformer, Normalize, Pooling"),
        ([*STANDARD, STANDARD[2]], "got Transformer, Pooling, Normalize, Normalize"),
        ([STANDARD[0], *STANDARD], "got Transformer, Transformer"),
    ],
)
def test_modules_that_cannot_be_honoured_are_refused(tmp_path, modules, words):
    with pytest.raises(mb.LoadError, match=rf"modules\.json.*{words}"):
        SentenceEncoder.from_pretrained(saved(tmp_path, modules))


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        (POOLING, {"pooling_mode_weightedmean_tokens": True}, "pooling_mode_weightedmean_tokens is not"),
        (POOLING, {"pooling_mode_mean_tokens": False}, "got none"),
        (POOLING, {"pooling_mode_mean_tokens": "false"}, "pooling_mode_mean_tokens: expected true or false"),
        (POOLING, {**MEAN, "pooling_mode_cls_token": 1}, "pooling_mode_cls_token: expected true or false, got 1"),
        (POOLING, {"pooling_mode": "lasttoken"}, "pooling_mode: 'lasttoken' is not"),
        (POOLING, {"pooling_mode": ["mean", 3]}, "pooling_mode: 3 is not"),
        (POOLING, {"pooling_mode": []}, "pooling_mode: [] is not"),
        (POOLING, {**MEAN, "word_embedding_dimension": 384}, "word_embedding_dimension: expected 16, the model's, got"),
        (POOLING, {"embedding_dimension": "16", "pooling_mode": "mean"}, "embedding_dimension: expected 16"),
        (LIMITS, {"max_seq_length": "12"}, "max_seq_length: expected an integer, got '12'"),
        (LIMITS, {"max_seq_length": [3]}, "max_seq_length: expected an integer, got [3]"),
        (LIMITS, {"max_seq_length": True}, "max_seq_length: expected an integer, got True"),
        (LIMITS, {"max_seq_length": 12.0}, "max_seq_length: expected an integer, got 12.0"),
        (LIMITS, {"max_seq_length": 33}, "max_seq_length: expected 3 to 32, the model's positions, got 33"),
        (LIMITS, {"max_seq_length": 2}, "max_seq_length: expected 3 to 32"),
        (LIMITS, {"do_lower_case": "yes"}, "do_lower_case: expected true or false"),
        (LIMITS, [7], "expected a JSON object"),
        (PROMPTS, {"default_prompt_name": 3}, "default_prompt_name: expected a string"),
        (PROMPTS, {"default_prompt_name": "query"}, "expected a name among prompts, got 'query'"),
        (PROMPTS, {"default_prompt_name": "query", "prompts": ["query"]}, "prompts: expected an object"),
        (PROMPTS, {"default_prompt_name": "query", "prompts": {"query": None}}, "query: expected a string"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(tmp_path, name, config, words):
    with pytest.raises(mb.LoadError, match=re.escape(name) + ".*" + re.escape(words)):
        SentenceEncoder.from_pretrained(saved(tmp_path, files={name: config}))


def test_a_prompt_that_is_not_to_be_pooled_is_refused(tmp_path):
    prompts = {"prompts": {"query": "is it "}, "default_prompt_name": "query"}
    folder = saved(tmp_path, files={POOLING: {**MEAN, "include_prompt": False}, PROMPTS: prompts})
    with pytest.raises(mb.LoadError, match="include_prompt"):
        SentenceEncoder.from_pretrained(folder)
    (folder / PROMPTS).unlink()
    assert SentenceEncoder.from_pretrained(folder).prompt == ""


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", '[{"type": "x"}]'])
def test_modules_json_of_another_shape_is_refused(tmp_path, text):
    folder = saved(tmp_path)
    (folder / "modules.json").write_text(text)
    with pytest.raises(mb.LoadError, match=r"modules\.json"):
        SentenceEncoder.from_pretrained(folder)


# ---- written --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", [("mean",), ("cls",), ("cls", "max", "mean", "mean_sqrt_len")])
def test_what_is_saved_reads_back(tmp_path, pooling, normalize):
    plain = SentenceEncoder.from_pretrained(tiny_folder(tmp_path / "plain"))
    settings = {"max_length": 9, "lower_case": True, "prompt": "it is "}
    encoder = SentenceEncoder(plain.model, plain.tokenizer, pooling, normalize, **settings)
    for _ in range(2):  # over what is there
        encoder.save_pretrained(tmp_path / "saved")
    again = SentenceEncoder.from_pretrained(tmp_path / "saved")
    assert (again.pooling, again.normalize) == (pooling, normalize)
    assert {name: getattr(again, name) for name in settings} == settings
    assert np.array_equal(again.encode(["A dog", "sat"]), encoder.encode(["A dog", "sat"]))


def test_the_files_are_those_of_sentence_transformers(tmp_path):
    encoder = SentenceEncoder.from_pretrained(tiny_folder(tmp_path))
    encoder.normalize = True
    encoder.save_settings(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [(entry["type"].rpartition(".")[2], entry["path"]) for entry in modules] == list(STANDARD)
    pooling = json.loads((tmp_path / POOLING).read_text())
    assert pooling["word_embedding_dimension"] == 16
    assert [name for name, on in pooling.items() if on is True] == ["pooling_mode_mean_tokens", "include_prompt"]
    assert json.loads((tmp_path / LIMITS).read_text()) == {"max_seq_length": 32, "do_lower_case": False}


def test_an_order_that_files_cannot_say_is_refused(tmp_path):
    plain = SentenceEncoder.from_pretrained(tiny_folder(tmp_path))
    with pytest.raises(mb.InputError, match=r"pooling: expected the order cls, mean, .* got \['mean', 'cls'\]"):
        SentenceEncoder(plain.model, plain.tokenizer, ("mean", "cls")).save_pretrained(tmp_path)
