"""Padding, neighbours and order never matter: what a batch computes is what each of its rows computes alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.ops import IGNORE_INDEX
from tests import tolerances
from tests.models import tiny

seeds = st.integers(0, 2**32 - 1)
lengths = st.lists(st.sampled_from([1, 2, 3, 7, 8, 9]), min_size=1, max_size=4)
heads = st.sampled_from(list(tiny.HEADS))
ROWWISE = [key for key, (cls, _) in tiny.HEADS.items() if cls != "BertForMultipleChoice"]


def ragged_mask(lengths, width=None):
    width = width or max(lengths)
    return (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)


def assert_same(some, others, allowed=tolerances.SAME):
    """Two mappings of arrays, or of tuples of arrays; allowed=0 asks for the same bits."""
    assert some.keys() == others.keys()
    for name in some:
        np.testing.assert_allclose(some[name], others[name], rtol=0, atol=allowed, err_msg=name)


def cotangents(model, rng, shape):
    hidden = model.config.hidden_size
    return {
        "last_hidden_state": rng.standard_normal((*shape, hidden)),
        "pooler_output": rng.standard_normal((shape[0], hidden)),
    }


@given(lengths, seeds, st.booleans(), st.booleans())
def test_sequences_that_nobody_pads_have_the_states_of_the_padded_ones(lengths, seed, causal, only_first):
    rng = np.random.default_rng(seed)
    model = tiny.model("BertModel", is_decoder=causal)
    mask = ragged_mask(lengths)
    ids = tiny.inputs(model, rng, *mask.shape)["input_ids"]
    states, cu_seqlens = model.packed_hidden_states(ids[mask == 1], lengths, only_first=only_first)
    padded = model(input_ids=ids, attention_mask=mask).last_hidden_state
    first = states[cu_seqlens[:-1]]
    np.testing.assert_allclose(first, padded[:, 0], rtol=0, atol=tolerances.SAME)
    if only_first and not causal:
        assert states.shape == padded[:, 0].shape
    else:
        np.testing.assert_array_equal(np.diff(cu_seqlens), lengths)
        np.testing.assert_allclose(states, padded[mask == 1], rtol=0, atol=tolerances.SAME)


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([1, 2, 19], [3], r"ids\[2\] is 19"),
        ([1, -1, 2], [3], r"ids\[1\] is -1"),
        ([1, 2, 3], [3, 0], r"lengths\[1\] is 0"),
        ([1] * 17, [17], r"lengths\[0\] is 17, outside the positions"),
        ([1, 2, 3], [1, 1], r"ids: expected shape \(2,\), the sum of the lengths, got \(3,\)"),
        ([[1, 2, 3]], [3], r"ids: expected shape \(3,\)"),
    ],
)
def test_sequences_that_nobody_pads_are_checked_all_the_same(ids, lengths, message):
    with pytest.raises(InputError, match=message):
        tiny.model("BertModel").packed_hidden_states(ids, lengths)


@given(lengths, seeds, st.booleans())
def test_a_batch_is_its_rows_one_by_one_and_its_gradient_their_sum(lengths, seed, causal):
    rng = np.random.default_rng(seed)
    model = tiny.model("BertModel", is_decoder=causal)
    mask = ragged_mask(lengths)
    inputs = tiny.inputs(model, rng, *mask.shape, mask)
    dout = cotangents(model, rng, mask.shape)
    out, grads = model.vjp(dout, **inputs)
    total = {name: np.zeros_like(g) for name, g in grads.items()}
    for b, length in enumerate(lengths):
        alone = {name: x[b : b + 1, :length] for name, x in inputs.items()}
        dout_alone = {
            "last_hidden_state": dout["last_hidden_state"][b : b + 1, :length],
            "pooler_output": dout["pooler_output"][b : b + 1],
        }
        one, grads_of_one = model.vjp(dout_alone, **alone)
        np.testing.assert_allclose(
            out.last_hidden_state[b, :length], one.last_hidden_state[0], rtol=0, atol=tolerances.SAME
        )
        np.testing.assert_allclose(out.pooler_output[b], one.pooler_output[0], rtol=0, atol=tolerances.SAME)
        assert not out.last_hidden_state[b, length:].any()
        for name, g in grads_of_one.items():
            total[name] += g
    scale = max(1.0, *(np.abs(g).max() for g in total.values()))
    assert_same(grads, total, tolerances.SAME * scale)


@pytest.mark.parametrize("key", [key for key in ROWWISE if key != "BertForPreTraining"])
def test_the_mean_loss_of_a_batch_is_the_weighted_mean_over_its_rows(key):
    """Pre-training adds two means with different weights, so its rows do not add up that way."""
    rng = np.random.default_rng(0)
    lengths = [5, 9, 1, 8]
    model, mask = tiny.head(key), ragged_mask(lengths)
    inputs = tiny.inputs(model, rng, *mask.shape, mask)
    labels = tiny.labels(model, rng, mask)
    out, grads = model.loss_and_grads(**inputs, **labels)
    loss, total, count = 0.0, {name: np.zeros_like(g) for name, g in grads.items()}, 0
    for b, length in enumerate(lengths):
        alone = {name: x[b : b + 1, :length] for name, x in inputs.items()}
        of_one = {name: x[b : b + 1, :length] if x.shape == mask.shape else x[b : b + 1] for name, x in labels.items()}
        whole = key == "BertCrfForTokenClassification"  # a path counts once, however long it is
        several = next(iter(labels.values())).shape == mask.shape and not whole
        weight = (labels["labels"][b] != IGNORE_INDEX).sum() if several else 1
        one, grads_of_one = model.loss_and_grads(**alone, **of_one)
        loss, count = loss + weight * one.loss, count + weight
        for name, g in grads_of_one.items():
            total[name] += weight * g
    np.testing.assert_allclose(out.loss, loss / count, rtol=0, atol=tolerances.SAME)
    assert_same(grads, {name: g / count for name, g in total.items()})


@given(heads, seeds)
def test_the_order_of_a_batch_does_not_matter(key, seed):
    rng = np.random.default_rng(seed)
    model = tiny.head(key)
    inputs = tiny.inputs(model, rng, 4, 7, ragged_mask([7, 3, 1, 5]) if key != "BertForMultipleChoice" else None)
    labels = tiny.labels(model, rng, inputs["attention_mask"])
    order = rng.permutation(4)
    out, grads = model(**inputs), model.loss_and_grads(**inputs, **labels)[1]
    inputs, labels = ({name: x[order] for name, x in both.items()} for both in (inputs, labels))
    assert_same(model(**inputs), {name: x[order] for name, x in out.items()})
    assert_same(model.loss_and_grads(**inputs, **labels)[1], grads)


@given(heads, seeds)
def test_what_else_is_in_the_batch_does_not_matter(key, seed):
    rng = np.random.default_rng(seed)
    model = tiny.head(key)
    some, others = tiny.inputs(model, rng, 3, 5), tiny.inputs(model, rng, 3, 5)
    changed = {name: np.concatenate([x[:1], others[name][1:]]) for name, x in some.items()}
    one, other = model(**some), model(**changed)
    assert_same({k: x[0] for k, x in one.items()}, {k: x[0] for k, x in other.items()})


@given(st.sampled_from(ROWWISE), seeds, st.integers(1, 6), st.sampled_from(["left", "right", "in between"]))
def test_padding_changes_no_bit_wherever_it_is(key, seed, amount, side):
    """With the positions kept, that is; what stands at masked places (ids, segments, positions) is never read."""
    rng = np.random.default_rng(seed)
    model = tiny.head(key)
    inputs = {**tiny.inputs(model, rng, 3, 5), "position_ids": np.tile(np.arange(5), (3, 1))}
    labels = tiny.labels(model, rng, inputs["attention_mask"])
    places = {"left": 0, "right": 5, "in between": 2}[side]
    padded = dict(inputs)
    for name, high in (("input_ids", 19), ("token_type_ids", 2), ("position_ids", 16), ("attention_mask", 1)):
        padding = rng.integers(0, high, (3, amount))
        padded[name] = np.concatenate([inputs[name][:, :places], padding, inputs[name][:, places:]], axis=1)
    moved = dict(labels)
    for name, x in labels.items():
        if x.shape == (3, 5):
            padding = rng.integers(0, 2, (3, amount))  # labels of padding do not count
            moved[name] = np.concatenate([x[:, :places], padding, x[:, places:]], axis=1)
        elif name.endswith("_positions"):
            moved[name] = x + amount * (x >= places)
    real = padded["attention_mask"] == 1
    for x in model(**padded).values():
        assert x.shape[:2] != real.shape or not x[~real].any()
    out, grads = model.loss_and_grads(**inputs, **labels, dropout_seed=3)
    out_padded, grads_padded = model.loss_and_grads(**padded, **moved, dropout_seed=3)
    assert out.loss == out_padded.loss
    assert_same(grads, grads_padded, allowed=0)


@given(seeds)
def test_a_hole_in_the_mask_is_a_token_left_out_with_the_positions_kept(seed):
    rng = np.random.default_rng(seed)
    model = tiny.model("BertModel")
    mask = np.ones((1, 9), np.int64)
    mask[0, rng.choice(np.arange(1, 9), 3, replace=False)] = 0
    inputs = tiny.inputs(model, rng, 1, 9, mask)
    kept = np.flatnonzero(mask[0])
    with_hole = model(**inputs)
    without = model(inputs["input_ids"][:, kept], None, inputs["token_type_ids"][:, kept], kept[None])
    np.testing.assert_array_equal(with_hole.last_hidden_state[:, kept], without.last_hidden_state)
    np.testing.assert_array_equal(with_hole.pooler_output, without.pooler_output)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("key", ROWWISE)
def test_no_junk_in_padded_vectors_comes_through(key, junk):
    rng = np.random.default_rng(0)
    model, mask = tiny.head(key, dtype="float32"), ragged_mask([5, 2])
    labels = tiny.labels(model, rng, mask)
    clean = rng.standard_normal((2, 5, 8)) * mask[..., None]
    dirty = np.where(mask[..., None] == 1, clean, junk)
    out, grads = model.loss_and_grads(inputs_embeds=clean, attention_mask=mask, **labels)
    out_dirty, grads_dirty = model.loss_and_grads(inputs_embeds=dirty, attention_mask=mask, **labels)
    assert_same(out_dirty, out, allowed=0)
    assert_same(grads_dirty, grads, allowed=0)
    assert not grads["inputs_embeds"][mask == 0].any()


@pytest.mark.parametrize("key", ROWWISE)
def test_a_row_without_a_token_gives_zeros_and_no_gradient(key):
    rng = np.random.default_rng(0)
    model, mask = tiny.head(key), ragged_mask([4, 0, 6])
    inputs = tiny.inputs(model, rng, 3, 6, mask)
    labels = tiny.labels(model, rng, mask)
    rest = [0, 2]
    out = model(**inputs)
    assert not any(x[1].any() for x in out.values())
    grads = model.loss_and_grads(**inputs, **labels)[1]
    fewer = {name: x[rest] for name, x in inputs.items()}
    assert_same(model(**fewer), {name: x[rest] for name, x in out.items()}, allowed=0)
    assert_same(model.loss_and_grads(**fewer, **{k: x[rest] for k, x in labels.items()})[1], grads, allowed=0)


def test_a_choice_without_a_token_cannot_compete():
    model = tiny.head("BertForMultipleChoice")
    mask = np.ones((2, 2, 3), int)
    mask[1, 0] = 0
    with pytest.raises(ValueError, match="attention_mask: a choice has no token"):
        model(np.ones((2, 2, 3), int), mask)


@pytest.mark.parametrize(
    ("key", "shape"),
    [*((key, shape) for key in ROWWISE for shape in [(0, 4), (2, 0), (0, 0)]), ("BertForMultipleChoice", (0, 2, 4))],
)
def test_an_empty_batch_has_empty_results_a_loss_of_0_and_no_gradient(key, shape):
    model = tiny.head(key)
    rng = np.random.default_rng(0)
    inputs = {"input_ids": np.zeros(shape, int)}
    labels = (
        {name: np.zeros(shape[0], int) for name in model.label_names}
        if key == "BertForQuestionAnswering"
        else tiny.labels(model, rng, np.zeros(shape, int))
    )
    out = model(**inputs, **labels, output_hidden_states=True, output_attentions=True)
    assert out.loss == 0
    assert out.hidden_states[-1].shape == (*shape[:1], shape[-1], 8)
    assert out.attentions[0].shape == (*shape[:1], 2, shape[-1], shape[-1])
    trained, grads = model.loss_and_grads(**inputs, **labels)
    assert trained.loss == 0
    assert not any(g.any() for g in grads.values())


@pytest.mark.parametrize("key", [k for k in tiny.HEADS if k not in ("several labels", "regression")])
def test_labels_that_ask_for_nothing_give_a_loss_of_0_and_no_gradient(key):
    """PyTorch's mean of nothing is NaN, which would spoil the weights at the first such batch."""
    rng = np.random.default_rng(0)
    model = tiny.head(key)
    inputs = tiny.inputs(model, rng)
    labels = {k: np.full_like(x, -100) for k, x in tiny.labels(model, rng, inputs["attention_mask"]).items()}
    out, grads = model.loss_and_grads(**inputs, **labels)
    assert out.loss == 0
    assert not any(g.any() for g in grads.values())


@pytest.mark.parametrize("key", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
@pytest.mark.parametrize("mask", [np.zeros((2, 3)), np.array([[0, 0, 0], [1, 1, 0]])])
def test_rows_without_a_token_are_zeros_in_the_plain_call_too(key, mask):
    model = tiny.model(key)
    out = model(np.ones((2, 3), int), attention_mask=mask)
    first = next(iter(out.values()))
    assert first.shape[0] == 2
    assert (np.asarray(first)[0] == 0).all()
    assert model(np.zeros((0, 3), int)).to_tuple()[0].shape[0] == 0


def test_groups_cover_the_batch_in_order_and_share_it_out():
    model = tiny.model("BertModel")
    mask = np.tri(7, 7, dtype=int)[::-1]
    batch = model.prepare(np.ones((7, 7), int), attention_mask=mask).batch._replace(asked=np.arange(0, 28, 3))
    for number in (1, 2, 3, 7, 20):
        groups = batch.groups(number)
        assert len(groups) <= number
        assert (np.concatenate([group.rows for group in groups]) == batch.rows).all()
        assert sum(len(group.sequences) for group in groups) == 7
        assert all(group.cu_seqlens[0] == 0 and group.cu_seqlens[-1] == len(group.rows) for group in groups)
        starts = np.cumsum([0, *(len(group.rows) for group in groups)])
        asked = [group.asked + start for group, start in zip(groups, starts, strict=False)]
        assert (np.concatenate(asked) == batch.asked).all()
    halves = [len(group.rows) for group in batch.groups(2)]
    assert max(halves) <= 28 / 2 + 7 / 2
