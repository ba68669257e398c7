"""What may be given to a model, and what is refused, in which words."""

import numpy as np
import pytest

import minibert as mb
from minibert.errors import InputError, InputTooLong
from tests.models import tiny

IDS = [[1, 2, 3, 4], [5, 6, 7, 8]]


pytestmark = pytest.mark.usefixtures("nothing_is_computed_for_bad_input")

# ---- refused --------------------------------------------------------------------------------------------------------

BAD_INPUTS = {
    "negative id": ({"input_ids": [[-1]]}, r"input_ids\[0, 0\] is -1, .* expected 0 to 18"),
    "id beyond the vocabulary": ({"input_ids": [[1, 19]]}, r"input_ids\[0, 1\] is 19, .* expected 0 to 18"),
    "id of 2^31": ({"input_ids": [[2**31]]}, r"input_ids\[0, 0\] is 2147483648"),
    "id of 2^63, unsigned": ({"input_ids": np.full((1, 1), 2**63, np.uint64)}, r"is 9223372036854775808"),
    "id of 2^70": ({"input_ids": [[2**70]]}, "input_ids: expected integers, got object"),
    "float ids": ({"input_ids": [[1.0]]}, "input_ids: expected integers, got float64"),
    "NaN ids": ({"input_ids": [[np.nan]]}, "input_ids: expected integers, got float64"),
    "boolean ids": ({"input_ids": [[True]]}, "input_ids: expected integers, got bool"),
    "a text": ({"input_ids": "a text"}, "input_ids: expected integers, got <U6"),
    "words": ({"input_ids": [["a"]]}, "input_ids: expected integers, got <U1"),
    "None among the ids": ({"input_ids": [[None]]}, "input_ids: expected integers, got object"),
    "ragged ids": ({"input_ids": [[1], [1, 2]]}, "input_ids: expected rows of one length, got different ones"),
    "no ids": ({}, "expected one of input_ids and inputs_embeds, got neither"),
    "one sequence": ({"input_ids": [1, 2]}, r"input_ids: expected shape \(batch, length\), got \(2,\)"),
    "three axes": ({"input_ids": [[[1]]]}, r"input_ids: expected shape \(batch, length\), got \(1, 1, 1\)"),
    "a number": ({"input_ids": 1}, r"input_ids: expected shape \(batch, length\), got \(\)"),
    "both": ({"input_ids": IDS, "inputs_embeds": np.zeros((2, 4, 8))}, "got both"),
    "vectors of another width": (
        {"inputs_embeds": np.zeros((2, 4, 9))},
        r"inputs_embeds: expected \(batch, length, 8\), got \(2, 4, 9\)",
    ),
    "complex vectors": ({"inputs_embeds": np.zeros((2, 4, 8), complex)}, "inputs_embeds: expected real numbers, got c"),
    "ragged vectors": ({"inputs_embeds": [[[1.0]], [1.0]]}, "inputs_embeds: expected rows of one length"),
    "segment 2": ({"input_ids": IDS, "token_type_ids": [[0, 0, 0, 2]] * 2}, r"token_type_ids\[0, 3\] is 2, .* 0 to 1"),
    "segments of another shape": (
        {"input_ids": IDS, "token_type_ids": [[0, 0]]},
        r"token_type_ids: expected shape \(2, 4\) as the input, got \(1, 2\)",
    ),
    "position beyond the table": (
        {"input_ids": IDS, "position_ids": [[0, 1, 2, 16]] * 2},
        r"position_ids\[0, 3\] is 16, .* 0 to 15",
    ),
    "negative position": ({"input_ids": IDS, "position_ids": [[-1, 0, 1, 2]] * 2}, r"position_ids\[0, 0\] is -1"),
    "mask of 2": (
        {"input_ids": IDS, "attention_mask": [[1, 1, 1, 2]] * 2},
        r"attention_mask\[0, 3\] is 2, expected 0 or 1",
    ),
    "mask of a half": ({"input_ids": IDS, "attention_mask": np.full((2, 4), 0.5)}, r"is 0.5, expected 0 or 1"),
    "additive mask": ({"input_ids": IDS, "attention_mask": [[0, 0, 0, -np.inf]] * 2}, "is -inf, expected 0 or 1"),
    "NaN mask": ({"input_ids": IDS, "attention_mask": np.full((2, 4), np.nan)}, "is nan, expected 0 or 1"),
    "mask of texts": (
        {"input_ids": IDS, "attention_mask": [["1"] * 4] * 2},
        "attention_mask: expected 0 and 1, got <U1",
    ),
    "mask of another shape": (
        {"input_ids": IDS, "attention_mask": [[1, 1]] * 2},
        r"attention_mask: expected shape \(2, 4\)",
    ),
    "mask of four axes": ({"input_ids": IDS, "attention_mask": np.ones((2, 1, 4, 4))}, r"got \(2, 1, 4, 4\)"),
    "ragged mask": ({"input_ids": IDS, "attention_mask": [[1], [1, 1]]}, "attention_mask: expected rows of one length"),
}


@pytest.mark.parametrize("what", BAD_INPUTS)
def test_bad_inputs_are_refused_by_name(what):
    given, message = BAD_INPUTS[what]
    with pytest.raises(InputError, match=message):
        tiny.model("BertModel")(**given)


def test_too_long_an_input_is_refused_with_both_lengths():
    model = tiny.model("BertModel", max_position_embeddings=512)
    with pytest.raises(InputTooLong, match=r"513 tokens, the model has 512 positions(.|\n)*max_length=512"):
        model(np.ones((1, 513), int))


def test_bert_model_refuses_loss_and_grads_for_it_has_no_loss():
    with pytest.raises(InputError, match="expected a class with a head"):
        tiny.model("BertModel").loss_and_grads(IDS)


BAD_COTANGENTS = {
    "none": ({}, "cotangents: expected last_hidden_state or pooler_output, got nothing"),
    "unknown": ({"logits": 1}, "expected last_hidden_state or pooler_output, got logits"),
    "shape": (
        {"pooler_output": np.zeros((2, 9))},
        r"cotangent of pooler_output: expected shape \(2, 8\), got \(2, 9\)",
    ),
    "complex": ({"pooler_output": np.zeros((2, 8), complex)}, "expected real numbers, got complex128"),
    "ragged": ({"pooler_output": [[1], [1, 2]]}, "expected rows of one length"),
}


@pytest.mark.parametrize("what", BAD_COTANGENTS)
def test_bad_cotangents_are_refused(what):
    cotangents, message = BAD_COTANGENTS[what]
    with pytest.raises(InputError, match=message):
        tiny.model("BertModel").vjp(cotangents, input_ids=IDS)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (np.ones((2, 3)), r"where: expected shape \(2, 4\)"),
        (np.full((2, 4), 0.5), "is 0.5, expected 0 or 1"),
        (np.ones((2, 4)), "asks for logits at a place that attention_mask takes out"),
    ],
)
def test_logits_at_refuses_places_that_are_not_there(where, message):
    with pytest.raises(InputError, match=message):
        tiny.model("BertForMaskedLM").logits_at(where, IDS, [[1, 1, 1, 0]] * 2)


@pytest.mark.parametrize("shape", [(2, 4), (2, 0, 4), (1, 2, 3, 4)])
def test_multiple_choice_refuses_what_has_no_choices(shape):
    with pytest.raises(InputError, match=r"input_ids: expected shape \(batch, choices, length\)"):
        tiny.model("BertForMultipleChoice")(np.ones(shape, int))


@pytest.mark.parametrize("dtype", [None, "float16", int, "nonsense", ">f8", {"a": 1}])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="dtype: expected float32 or float64, got"):
        mb.BertModel(mb.BertConfig(**tiny.SIZES), dtype=dtype)


def test_unknown_engines_are_refused_and_the_known_ones_named():
    with pytest.raises(InputError, match="engine: expected one of auto, reference, cpu, gpu, got 'abacus'"):
        mb.BertModel(mb.BertConfig(**tiny.SIZES), engine="abacus")


# ---- accepted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_arrays_and_lists_of_any_integers_are_accepted(as_list, dtype):
    model = tiny.model("BertModel")
    given = [np.array(x).astype(dtype) for x in (IDS, [[1, 1, 1, 0]] * 2, [[0, 1, 1, 0]] * 2, [[3, 4, 5, 6]] * 2)]
    expected = model(*given)
    got = model(*(x.tolist() if as_list else x for x in given))
    np.testing.assert_array_equal(got.last_hidden_state, expected.last_hidden_state)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_masks_of_any_dtype_are_accepted(dtype):
    model, mask = tiny.model("BertModel"), np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    np.testing.assert_array_equal(model(IDS, mask.astype(dtype)).pooler_output, model(IDS, mask).pooler_output)


def test_one_row_of_positions_and_segments_serves_all():
    model = tiny.model("BertModel")
    each = model(IDS, None, [[0, 0, 1, 1]] * 2, [[2, 3, 4, 5]] * 2)
    one = model(IDS, None, [0, 0, 1, 1], [[2, 3, 4, 5]])
    np.testing.assert_array_equal(one.last_hidden_state, each.last_hidden_state)


def test_vectors_of_the_words_are_the_words():
    model = tiny.model("BertModel")
    vectors = model.state_dict()["embeddings.word_embeddings.weight"][np.array(IDS)]
    np.testing.assert_array_equal(model(inputs_embeds=vectors).pooler_output, model(IDS).pooler_output)


def test_longer_than_the_table_is_fine_with_positions_of_its_own():
    out = tiny.model("BertModel")(np.ones((1, 20), int), position_ids=np.arange(20)[None] % 16)
    assert out.last_hidden_state.shape == (1, 20, 8)
