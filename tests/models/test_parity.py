"""The same numbers as transformers, fixture by fixture: results, hidden states, attentions, losses, every gradient."""

import math

import numpy as np
import pytest

from minibert.models.pretraining import BertForMaskedLM
from tests import tolerances
from tests.models import cases

CLASSES = {
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
}
PAD = "BertForSequenceClassification-pad_token"
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module", params=cases.STEMS)
def case(request):
    return cases.load(request.param)


def real_places(mask, result):
    """Where a result is about real tokens: (B, T), and for attention weights both of the two tokens."""
    mask = mask.reshape(-1, mask.shape[-1]).astype(bool)
    if result.ndim == 5:  # attentions (L, B, A, T, T)
        return np.broadcast_to((mask[:, :, None] & mask[:, None, :])[:, None], result.shape)
    if result.ndim == 4:  # hidden states (L+1, B, T, H)
        return np.broadcast_to(mask[..., None], result.shape)
    if result.shape[:2] == mask.shape:
        return np.broadcast_to(mask.reshape(mask.shape + (1,) * (result.ndim - 2)), result.shape)
    return np.ones(result.shape, bool)


def assert_within(ours, theirs, allowed, what):
    error = float(np.abs(ours - theirs).max(initial=0.0))
    assert error <= allowed, f"{what}: max|Δ| = {error:.2e}, allowed {allowed:.0e}"


def test_there_are_fixtures_of_every_class():
    assert {stem.partition("-")[0] for stem in cases.STEMS} == CLASSES


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_those_of_transformers_and_zero_at_masked_places(case, dtype):
    out = case.model(dtype)(**case.inputs, **case.labels, output_hidden_states=True, output_attentions=True)
    assert set(out) == set(case.outputs)
    for name, theirs in case.outputs.items():
        ours = np.stack(out[name]) if isinstance(out[name], tuple) else out[name]
        assert ours.dtype == dtype
        assert ours.shape == theirs.shape
        real = real_places(case.inputs["attention_mask"], theirs)
        assert_within(ours[real], theirs[real], tolerances.FORWARD[np.dtype(dtype)], name)
        assert not ours[~real].any()


@pytest.mark.parametrize("stem", [stem for stem in cases.STEMS if stem != PAD])  # that one has a test of its own
def test_every_gradient_is_that_of_autograd(stem):
    case = cases.load(stem)
    grads = case.gradients(case.model())
    theirs = {name: g for name, g in case.grads.items() if name not in case.meta["without_gradient"]}
    total = math.sqrt(sum((g * g).sum() for g in theirs.values()))
    for name, ours in grads.items():
        # a tensor without part in the loss, as the word embeddings under inputs_embeds, has gradient 0
        g = theirs.pop(name, np.zeros_like(ours))
        error = np.linalg.norm(ours - g)
        allowed = tolerances.AUTOGRAD_RELATIVE * np.linalg.norm(g) + tolerances.AUTOGRAD_FLOOR * total
        assert error <= allowed, f"{name}: ‖Δ‖ = {error:.2e}, allowed {allowed:.1e}"
    assert not theirs, f"gradients that only transformers has: {', '.join(theirs)}"


def test_names_are_those_of_transformers(case):
    """In the same order. A tied decoder is not repeated, and untied, the bias that nothing uses is not kept."""
    left_out = set(case.meta["state_dict"]) - set(case.meta["parameters"])
    if not case.meta["config"].get("tie_word_embeddings", True):
        left_out.add("cls.predictions.bias")
    else:
        assert left_out <= {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert list(case.model().state_dict()) == [name for name in case.meta["state_dict"] if name not in left_out]


def test_only_the_pad_row_differs_from_pytorch_when_the_pad_token_is_attended():
    """PyTorch leaves the lookup of padding_idx out of the gradient, by convention; ours is the derivative."""
    case = cases.load(PAD)
    model = case.model()
    grads = case.gradients(model)
    grads = dict(grads)
    ours, theirs = grads.pop(WORDS), case.grads[WORDS]
    total = math.sqrt(sum((g * g).sum() for g in case.grads.values()))
    for name, g in [*grads.items(), ("other rows", ours[1:])]:
        expected = theirs[1:] if name == "other rows" else case.grads[name]
        allowed = tolerances.AUTOGRAD_RELATIVE * np.linalg.norm(expected) + tolerances.AUTOGRAD_FLOOR * total
        assert np.linalg.norm(g - expected) <= allowed, name
    assert not theirs[0].any()

    # the row's share is the sum of the gradients of the vectors that were looked up there
    ids = case.inputs["input_ids"]
    given = {**case.inputs, "inputs_embeds": case.weights[WORDS][ids], "input_ids": None}
    _, with_vectors = model.loss_and_grads(**given, **case.labels)
    attended = (ids == 0) & (case.inputs["attention_mask"] == 1)
    share = with_vectors["inputs_embeds"][attended].sum(axis=0)
    np.testing.assert_allclose(ours[0], share, rtol=0, atol=tolerances.SAME)
    assert np.linalg.norm(share) > 1e-3


def test_masked_lm_logits_at_some_places_are_those_of_all_places():
    case = cases.load("BertForMaskedLM-tied")
    model = case.model()
    where = (case.labels["labels"] != -100).astype(int)
    everywhere = model(**case.inputs).logits
    some = BertForMaskedLM.logits_at(model, where, **case.inputs)
    np.testing.assert_allclose(some, everywhere[where == 1], rtol=0, atol=tolerances.SAME)


@pytest.mark.parametrize("stem", [stem for stem in cases.STEMS if not stem.startswith("BertModel")])
def test_the_loss_of_training_is_the_loss_of_the_call(stem):
    case = cases.load(stem)
    trained, _ = case.model().loss_and_grads(**case.inputs, **case.labels)
    assert_within(trained.loss, case.outputs["loss"], tolerances.FORWARD[np.dtype("float64")], "loss")
