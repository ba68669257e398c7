"""Configs: what is believed, what is refused by name, and that nothing in them is ever opened."""

import builtins
import json
import math
import time
import tracemalloc

import pytest

from minibert import BertConfig
from minibert.errors import ConfigError, LoadError
from minibert.formats.jsonfile import read_json
from minibert.models.config import ACTIVATIONS

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
LIMITS = {"vocab_size": 2**24, "max_position_embeddings": 2**20, "intermediate_size": 2**18, "type_vocab_size": 2**16}


def refused(message, **values):
    with pytest.raises(ConfigError, match=message):
        BertConfig.from_dict(values)


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "12", None, [12], math.nan, 10**9, 2**40])
def test_c02_a_size_is_a_positive_integer_of_believable_size(name, value):
    refused(rf"config: {name} is .*, expected an integer from 1 to \d+", **{name: value})


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_the_largest_believable_size_is_accepted(name, limit):
    assert getattr(BertConfig.from_dict({name: limit}), name) == limit
    refused(f"{name} is {limit + 1}", **{name: limit + 1})


def test_c01_an_absurd_config_is_refused_at_once_and_without_memory():
    tracemalloc.start()
    start = time.perf_counter()
    refused("vocab_size is 1099511627776", vocab_size=2**40, hidden_size=10**9, num_hidden_layers=10**6)
    elapsed = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed < 0.05
    assert peak < 2**20


def test_c02_heads_share_the_hidden_size():
    refused("hidden_size 768 is not a multiple of num_attention_heads 7", num_attention_heads=7)


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"])
@pytest.mark.parametrize("value", [1, 1.5, -0.1, math.nan, math.inf, "0.1", True])
def test_a_rate_is_below_1(name, value):
    refused(rf"{name} is .*, expected a rate in \[0, 1\)", **{name: value})


@pytest.mark.parametrize("name", ["layer_norm_eps", "initializer_range"])
@pytest.mark.parametrize("value", [0, -1e-12, math.nan, math.inf, 10**400, "1e-12", None, True])
def test_c04_eps_and_initializer_range_are_positive_numbers(name, value):
    refused(f"{name} is .*, expected a positive number", **{name: value})


@pytest.mark.parametrize("name", ["tie_word_embeddings", "is_decoder", "add_cross_attention"])
@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_true_or_false(name, value):
    refused(f"{name} is .*, expected true or false", **{name: value})


VARIANTS = {
    "model_type": "roberta",
    "hidden_act": "quick_gelu",
    "position_embedding_type": "relative_key",
    "add_cross_attention": True,
    "pruned_heads": {"0": [1, 2]},
    "problem_type": "ranking",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_not_implemented_is_refused_by_name(name):
    refused(f"config: {name} is ", **{name: VARIANTS[name]})


@pytest.mark.parametrize("model_type", ["roberta", "distilbert", "electra", "albert", None])
def test_other_families_are_refused_though_they_look_alike(model_type):
    refused('model_type is .*, expected "bert"', model_type=model_type)


@pytest.mark.parametrize("value", [None, "", "GELU", "linear", ["gelu"], 3])
def test_c03_an_unknown_activation_is_refused_and_the_known_ones_are_listed(value):
    refused("hidden_act is .*, expected one of gelu, ", hidden_act=value)


def test_c03_the_two_gelus_are_told_apart():
    assert BertConfig().activation == "gelu"
    assert BertConfig(hidden_act="gelu_new").activation == "gelu_new"
    assert {name for name, op in ACTIVATIONS.items() if op == "gelu"} == {"gelu", "gelu_python"}


@pytest.mark.parametrize("value", [-1, 1.0, True, "0"])
def test_a_pad_token_is_an_id_or_null(value):
    refused("pad_token_id is ", pad_token_id=value)


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_labels_are_counted_or_named_and_always_agree():
    assert BertConfig().id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert BertConfig(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    named = BertConfig.from_dict({"id2label": {"0": "O", "1": "PER"}})  # the keys of JSON are strings
    assert (named.id2label, named.num_labels, named.label2id) == ({0: "O", 1: "PER"}, 2, {"O": 0, "PER": 1})
    assert BertConfig(num_labels=3, id2label={0: "a"}).num_labels == 3


@pytest.mark.parametrize("id2label", [["a"], {}, {"x": "a"}, {"0": "a", "2": "b"}, {"1": "a"}, {None: "a"}, 2])
def test_names_of_labels_are_a_map_from_0_1_2(id2label):
    refused("id2label ", id2label=id2label)


@pytest.mark.parametrize("num_labels", [0, -1, 2.0, True, "2", 2**20 + 1])
def test_the_number_of_labels_is_a_positive_integer(num_labels):
    refused("num_labels is ", num_labels=num_labels)


def test_ids_of_labels_are_a_map():
    refused("label2id is 5, expected a map", label2id=5)


# ---- JSON -----------------------------------------------------------------------------------------------------------


def test_a_config_survives_json_with_its_unknown_keys():
    values = {
        "vocab_size": 100,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
        "id2label": {"0": "no", "1": "yes"},
        "transformers_version": "4.0.0",
        "pooler_fc_size": 768,
        "extra": {"nested": [1, None]},
    }
    config = BertConfig.from_dict(values)
    again = BertConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert config.layer_norm_eps == 1e-5
    assert {name: config.to_dict()[name] for name in values} == values


def test_the_config_of_the_original_release_is_accepted():
    """It names no model_type, and has keys that no known program reads."""
    google = {
        "attention_probs_dropout_prob": 0.1,
        "directionality": "bidi",
        "hidden_size": 768,
        "pooler_type": "first_token_transform",
    }
    config = BertConfig.from_dict(google)
    assert config.extra == {"directionality": "bidi", "pooler_type": "first_token_transform"}
    assert config.type_vocab_size == 2


def test_c05_nothing_that_a_config_names_is_ever_opened(monkeypatch):
    monkeypatch.setattr(builtins, "open", lambda *args, **_: pytest.fail(f"opened {args}"))
    hostile = {
        "vocab_file": ".env",
        "_name_or_path": "https://example.com/model",
        "auto_map": {"AutoModel": "evil.Model"},
        "_attn_implementation_internal": "../../kernels",
    }
    config = BertConfig.from_dict(hostile)
    assert config.extra == hostile
    assert config.to_dict().items() >= hostile.items()


FILES = {
    "duplicate keys": b'{"vocab_size": 1, "vocab_size": 2}',
    "NaN": b'{"layer_norm_eps": NaN}',
    "an infinite number": b'{"layer_norm_eps": 1e400}',
    "deep nesting": b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a list": b"[]",
    "half a file": b'{"vocab_size": 1',
    "too much": b'{"a": "' + b"x" * (17 * 2**20) + b'"}',
}


@pytest.mark.parametrize("what", FILES)
def test_c06_a_config_file_is_strict_json(tmp_path, what):
    path = tmp_path / "config.json"
    path.write_bytes(FILES[what])
    with pytest.raises(LoadError, match=r"config\.json"):
        read_json(path)


def test_labels_stand_in_the_order_of_their_ids():
    names = {str(i): f"L{i}" for i in range(12)}
    shuffled = dict(sorted(names.items()))  # "10" before "2", as JSON is often written
    assert list(BertConfig(id2label=shuffled).id2label.items()) == [(i, f"L{i}") for i in range(12)]
