"""Parameters: how many there are, how they start, and where they lie."""

import math

import numpy as np
import pytest

import minibert as mb
from minibert.errors import LoadError
from minibert.models.parameters import Block, initialise
from tests.models import tiny

# Numbers of parameters from the shapes of the published releases: (layers, width) -> encoder with pooler, and with the
# two heads of pre-training. Width/64 heads, an inner layer of four times the width, 30522 words.
MINIATURES = {
    (2, 128): (4_385_920, 4_433_468),
    (2, 256): (9_591_040, 9_688_380),
    (2, 512): (22_458_880, 22_754_108),
    (2, 768): (38_603_520, 39_227_708),
    (4, 128): (4_782_464, 4_830_012),
    (4, 256): (11_170_560, 11_267_900),
    (4, 512): (28_763_648, 29_058_876),
    (4, 768): (52_779_264, 53_403_452),
    (6, 128): (5_179_008, 5_226_556),
    (6, 256): (12_750_080, 12_847_420),
    (6, 512): (35_068_416, 35_363_644),
    (6, 768): (66_955_008, 67_579_196),
    (8, 128): (5_575_552, 5_623_100),
    (8, 256): (14_329_600, 14_426_940),
    (8, 512): (41_373_184, 41_668_412),
    (8, 768): (81_130_752, 81_754_940),
    (10, 128): (5_972_096, 6_019_644),
    (10, 256): (15_909_120, 16_006_460),
    (10, 512): (47_677_952, 47_973_180),
    (10, 768): (95_306_496, 95_930_684),
    (12, 128): (6_368_640, 6_416_188),
    (12, 256): (17_488_640, 17_585_980),
    (12, 512): (53_982_720, 54_277_948),
    (12, 768): (109_482_240, 110_106_428),
}
# (layers, width, words)
PUBLISHED = {
    "base uncased": (12, 768, 30522, 109_482_240, 110_106_428),
    "base cased": (12, 768, 28996, 108_310_272, 108_932_934),
    "base Chinese": (12, 768, 21128, 102_267_648, 102_882_442),
    "base multilingual cased": (12, 768, 119547, 177_853_440, 178_566_653),
    "base multilingual uncased": (12, 768, 105879, 167_356_416, 168_055_961),
    "large uncased": (24, 1024, 30522, 335_141_888, 336_226_108),
    "large cased": (24, 1024, 28996, 333_579_264, 334_661_958),
}


def count(cls, layers, width, words=30522):
    """From the shapes alone: nothing is allocated."""
    config = mb.BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    return sum(math.prod(p.shape) for p in cls.spec(config))


@pytest.mark.parametrize(("layers", "width"), MINIATURES)
def test_the_24_small_models_have_the_published_numbers_of_parameters(layers, width):
    counts = count(mb.BertModel, layers, width), count(mb.BertForPreTraining, layers, width)
    assert counts == MINIATURES[layers, width]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_large_models_have_the_published_numbers_of_parameters(name):
    layers, width, words, encoder, pretraining = PUBLISHED[name]
    assert count(mb.BertModel, layers, width, words) == encoder
    assert count(mb.BertForPreTraining, layers, width, words) == pretraining


def test_a_masked_lm_has_no_pooler():
    assert count(mb.BertForMaskedLM, 12, 768) == 109_514_298


def test_a_model_has_as_many_numbers_as_its_shapes_say():
    assert mb.BertModel(mb.BertConfig(**SMALLEST)).num_parameters() == MINIATURES[2, 128][0]
    assert mb.BertForPreTraining(mb.BertConfig(**SMALLEST)).num_parameters() == MINIATURES[2, 128][1]


SMALLEST = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}


# ---- fresh weights --------------------------------------------------------------------------------------------------


def test_fresh_matrices_are_normal_and_cut_off_at_two_standard_deviations():
    model = mb.BertModel(mb.BertConfig(**SMALLEST, initializer_range=0.05), dtype="float64")
    for name, array in model.state_dict().items():
        if array.ndim == 2:
            assert np.abs(array).max() <= 0.1, name
            assert abs(array.mean()) < 5 * 0.05 / math.sqrt(array.size), name
            # a normal distribution cut off at ±2 has 0.8796 of its standard deviation
            assert abs(array.std() / (0.8796 * 0.05) - 1) < 5 / math.sqrt(array.size), name


def test_fresh_biases_are_0_and_gains_1():
    for name, array in mb.BertForPreTraining(mb.BertConfig(**tiny.SIZES)).state_dict().items():
        if array.ndim == 1:
            assert (array == name.endswith("LayerNorm.weight")).all(), name


def test_a_seed_gives_the_same_weights_in_every_dtype_and_class():
    config = mb.BertConfig(**tiny.SIZES)
    first, again = (mb.BertModel(config, seed=3).parameters.flat for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, mb.BertModel(config, seed=4).parameters.flat)
    exact = mb.BertModel(config, seed=3, dtype="float64").parameters.flat
    np.testing.assert_array_equal(first, exact.astype(np.float32))
    words = mb.BertForTokenClassification(config, seed=3).state_dict()["bert.embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(words.reshape(-1), first[: words.size])


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_every_tensor_is_a_view_of_one_array_and_they_fill_it():
    model = tiny.model("BertForPreTraining")
    flat = model.parameters.flat
    assert all(np.shares_memory(array, flat) for array in model.state_dict().values())
    for array in model.state_dict().values():
        array[...] = 7
    assert (flat == 7).all()


def test_query_key_and_value_are_thirds_of_one_view():
    p = tiny.model("BertModel").parameters
    for kind in ("weight", "bias"):
        joined = p[f"encoder.layer.1.attention.self.qkv.{kind}"]
        assert joined.shape[0] == 3 * 8
        for i, name in enumerate(("query", "key", "value")):
            third = p[f"encoder.layer.1.attention.self.{name}.{kind}"]
            np.testing.assert_array_equal(joined[8 * i : 8 * (i + 1)], third)
            assert np.shares_memory(joined, third)
    assert not any("qkv" in name for name in p)


def test_decayed_tensors_lie_in_front():
    block = tiny.model("BertForMaskedLM").parameters
    decayed = sum(math.prod(p.shape) for p in block.spec if p.decayed)
    for p in block.spec:
        assert np.shares_memory(block[p.name], block.flat[:decayed]) == p.decayed, p.name
        assert p.decayed == (p.name.endswith("weight") and "LayerNorm" not in p.name), p.name


def test_writing_into_the_state_dict_changes_the_model():
    model = tiny.model("BertModel")
    before = model([[1, 2]]).pooler_output
    model.state_dict()["pooler.dense.weight"][...] = 0
    model.state_dict()["pooler.dense.bias"][...] = 0
    assert before.any()
    assert not model([[1, 2]]).pooler_output.any()


def test_blocks_of_gradients_and_copies_have_the_same_names_and_their_own_memory():
    block = tiny.model("BertModel").parameters
    like, copied = block.like(), block.astype(np.float32)
    assert list(like) == list(copied) == list(block)
    assert not like.flat.any()
    assert copied.flat.dtype == np.float32
    assert not np.shares_memory(like.flat, block.flat)


def test_only_the_named_tensors_are_started_afresh():
    block = Block(mb.BertModel.spec(mb.BertConfig(**tiny.SIZES)), np.float64)
    initialise(block, 0.02, np.random.default_rng(0), only={"pooler.dense.weight"})
    assert [name for name, array in block.items() if array.any()] == ["pooler.dense.weight"]


# ---- load_state_dict ------------------------------------------------------------------------------------------------


def test_a_state_dict_goes_from_model_to_model():
    first, second = tiny.model("BertForMaskedLM"), mb.BertForMaskedLM(mb.BertConfig(**tiny.SIZES), dtype="float64")
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.parameters.flat, second.parameters.flat)
    assert not np.shares_memory(first.parameters.flat, second.parameters.flat)


def test_a_state_dict_that_does_not_fit_changes_nothing_and_is_told_everything():
    model = tiny.model("BertModel")
    before = model.parameters.flat.copy()
    arrays = {name: np.ones_like(array) for name, array in model.state_dict().items()}
    del arrays["pooler.dense.bias"], arrays["embeddings.LayerNorm.weight"]
    arrays |= {
        "classifier.weight": np.ones(3),
        "encoder.layer.0.attention.self.qkv.weight": np.ones((24, 8)),  # a view of this library, not a tensor
        "pooler.dense.weight": np.ones((8, 9)),
        "embeddings.LayerNorm.bias": np.ones(8, complex),
        "encoder.layer.0.output.dense.bias": [[1], [1, 2]],
        "encoder.layer.1.output.dense.bias": ["1"] * 8,
    }
    with pytest.raises(LoadError) as caught:
        model.load_state_dict(arrays)
    for text in (
        "missing: embeddings.LayerNorm.weight, pooler.dense.bias",
        "unexpected: classifier.weight, encoder.layer.0.attention.self.qkv.weight",
        "pooler.dense.weight has shape (8, 9) of float64, expected (8, 8) of numbers",
        "embeddings.LayerNorm.bias has shape (8,) of complex128",
        "encoder.layer.0.output.dense.bias has rows of different lengths",
        "encoder.layer.1.output.dense.bias has shape (8,) of <U1",
    ):
        assert text in str(caught.value)
    np.testing.assert_array_equal(model.parameters.flat, before)
