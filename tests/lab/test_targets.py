"""From a text and what is wanted of it to a loss."""

import numpy as np
import pytest

import minibert as mb
from minibert.errors import InputError
from minibert.lab.check import TINY
from minibert.models.auto import load
from minibert.models.encoder import BertEncoder
from tests.specimens import tiny_folder

TEXT = "the cat [MASK] on the [MASK]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def masked(folder):
    return mb.BertForMaskedLM.from_pretrained(folder)


def test_the_tokenizer_is_the_one_where_the_model_was(masked, folder):
    trace = masked.trace(TEXT)
    assert trace.tokens == ["[CLS]", "the", "cat", "[MASK]", "on", "the", "[MASK]", "[SEP]"]
    assert masked.trace(TEXT, tokenizer=mb.BertTokenizer.from_pretrained(folder)).loss == trace.loss
    with pytest.raises(InputError, match="was not loaded from anywhere, so it has no tokenizer"):
        mb.BertForMaskedLM(TINY).trace(TEXT)


def test_a_masked_lm_is_asked_for_its_own_words(masked):
    logits = masked(**mb.BertTokenizer.from_pretrained(masked.name_or_path)(TEXT, return_tensors="np")).logits[0]
    best = masked.trace(TEXT)
    assert best.prepared.labels["labels"].tolist() == [
        -100 if i not in (3, 6) else int(row.argmax()) for i, row in enumerate(logits)
    ]
    assert best.loss < masked.trace(TEXT, target=["dog", "mat"]).loss


def test_a_target_is_a_word_for_each_mask(masked):
    trace = masked.trace(TEXT, target=["sat", "mat"])
    assert trace.aim == "−log p(sat, mat) averaged"
    assert masked.trace("a [MASK]", target="dog").aim == "−log p(dog)"
    assert trace.check("loss", "cls.predictions.decoder", whole=True)


def test_a_target_may_be_a_piece(masked):
    assert masked.trace("un [MASK]", target="##aff").aim == "−log p(##aff)"
    with pytest.raises(InputError, match="target: expected a word, got 3"):
        masked.trace("un [MASK]", target=3)
    with pytest.raises(InputError, match="without input_ids nobody knows"):
        masked.trace({"inputs_embeds": np.zeros((1, 2, 16))})


def test_without_a_mask_every_word_is_asked_for(masked):
    trace = masked.trace("the cat sat")
    ids = mb.BertTokenizer.from_pretrained(masked.name_or_path)("the cat sat")["input_ids"]
    assert trace.prepared.labels["labels"].tolist() == [-100, *ids[1:-1], -100]
    assert trace.aim == "cross-entropy of every word itself"


@pytest.mark.parametrize(
    ("text", "target", "trouble"),
    [
        (TEXT, "sat", "expected a word for each of 2 masks, got 1"),
        (TEXT, ["sat", "unaffable"], "'unaffable' is not one word of the vocabulary, but un, ##aff, ##able"),
        ("the cat", "sat", r"there is no \[MASK\] in the text"),
    ],
)
def test_targets_that_make_no_sense_are_refused(masked, text, target, trouble):
    with pytest.raises(InputError, match=trouble):
        masked.trace(text, target=target)


def test_inputs_may_be_given_as_ids(masked):
    ids = {"input_ids": [[2, 5, 7, 3]]}
    assert masked.trace(ids).tokens is None
    assert masked.trace(ids).aim == "cross-entropy of every token itself"
    assert masked.trace(ids, labels=[[-100, 6, -100, -100]]).aim == "the loss of the given labels"
    for bad, trouble in (
        ({"text": [[1]]}, "expected a text or a mapping of inputs, got list"),
        ({"text": ids, "text_pair": "x"}, "text_pair: goes with a text"),
        ({"text": ids, "target": "sat"}, "words need a tokenizer"),
        ({"text": ids, "target": "sat", "labels": [[1]]}, "expected target or labels, got both"),
    ):
        with pytest.raises(InputError, match=trouble):
            masked.trace(**bad)


def test_pre_training_has_two_labels(folder):
    trace = mb.BertForPreTraining.from_pretrained(folder).trace("the [MASK]", "a dog", target="cat")
    assert trace.aim == "−log p(cat), plus the loss of its own next-sentence answer"
    assert trace.check(whole=True)
    given = {"labels": [[-100, -100, 6, -100]], "next_sentence_label": [1]}
    model = mb.BertForPreTraining.from_pretrained(folder)
    assert model.trace("the [MASK]", labels=given).loss == pytest.approx(
        float(model.astype("float64").loss_and_grads(**trace_inputs(model, "the [MASK]"), **given)[0].loss)
    )


def trace_inputs(model, text):
    return mb.BertTokenizer.from_pretrained(model.name_or_path)(text, return_tensors="np")


@pytest.mark.parametrize("cls", [mb.BertModel, BertEncoder])
def test_encoders_get_random_cotangents_or_those_given(folder, cls):
    model = cls.from_pretrained(folder)
    trace = model.trace("the cat sat")
    assert trace.aim.startswith("Σ c·x over last_hidden_state")
    assert trace.loss == model.trace("the cat sat").loss
    ones = {"last_hidden_state": np.ones((1, 5, 16))}
    states = model.astype("float64")(**trace_inputs(model, "the cat sat")).last_hidden_state
    assert model.trace("the cat sat", target=ones).loss == pytest.approx(states.sum(), abs=1e-5)
    with pytest.raises(InputError, match=r"target: expected \{last_hidden_state"):
        model.trace("the cat sat", target="cat")


CLASSES = {
    "id2label": {0: "bad", 1: "good", 2: "so so"},
    "label2id": {"bad": 0, "good": 1, "so so": 2},
    "num_labels": 3,
}


@pytest.mark.parametrize(
    ("cls", "target", "aim"),
    [
        (mb.BertForSequenceClassification, None, "cross-entropy of its own answer"),
        (mb.BertForSequenceClassification, "good", "cross-entropy of good"),
        (mb.BertForSequenceClassification, 2, "cross-entropy of 2"),
        (mb.BertForTokenClassification, None, "cross-entropy of its own answer, averaged over the tokens"),
        (mb.BertForTokenClassification, "so so", "cross-entropy of so so, averaged over the tokens"),
        (mb.BertForNextSentencePrediction, None, "cross-entropy of its own answer"),
        (mb.BertForNextSentencePrediction, 1, "cross-entropy of 1"),
        (mb.BertForQuestionAnswering, None, "cross-entropy of its own answer"),
        (mb.BertForQuestionAnswering, (1, 2), "cross-entropy of the answer 1 to 2"),
    ],
)
def test_classifiers_are_asked_for_a_class(folder, cls, target, aim):
    config = mb.BertConfig.from_pretrained(folder)
    model = cls(mb.BertConfig.from_dict({**config.to_dict(), **CLASSES}))
    trace = model.trace("the cat", tokenizer=mb.BertTokenizer.from_pretrained(folder), target=target)
    assert trace.aim == aim
    assert trace.check("*output.LayerNorm*", whole=True)
    if target is None:  # the likeliest answer is likelier than any
        assert trace.loss < np.log(8)


def test_a_crf_is_asked_for_a_path(folder):
    config = mb.BertConfig.from_pretrained(folder)
    model = mb.BertCrfForTokenClassification(mb.BertConfig.from_dict({**config.to_dict(), **CLASSES}))
    tokenizer = mb.BertTokenizer.from_pretrained(folder)
    best = model.trace("the cat", tokenizer=tokenizer)
    other = model.trace("the cat", tokenizer=tokenizer, target="so so")
    assert best.aim == "−log p of its own answer as a path through all tokens"
    assert other.aim == "−log p of so so as a path through all tokens"
    assert best.check("crf.*", "classifier*", whole=True)
    assert best.loss <= other.loss
    assert best.loss < len(best.tokens) * np.log(3)


def test_pairs_are_asked_for_a_score_and_rankings_for_nothing():
    ids = np.arange(12).reshape(2, 2, 3)
    pairs = mb.BertForSentencePairs(TINY, seed=1)
    for target, aim in (None, "1.0"), (0.2, "0.2"), ([0.2, 0.9], "[0.2, 0.9]"):
        trace = pairs.trace({"input_ids": ids}, target=target)
        assert trace.aim == f"squared distance of the cosine from {aim}"
        assert trace.check("pooling", "cosine*", whole=True)
    ranking = mb.BertForSentenceRanking(TINY, seed=1)
    trace = ranking.trace({"input_ids": ids})
    assert trace.aim == "cross-entropy of each pair's second text among all"
    assert trace.check("pooling", "cosines*", whole=True)
    with pytest.raises(InputError, match="target: none in ranking"):
        ranking.trace({"input_ids": ids}, target=1)


@pytest.mark.parametrize(
    ("problem", "target", "aim"),
    [
        ("regression", None, "squared distance from 0"),
        ("regression", [0.5, 1, 2], "squared distance from [0.5, 1, 2]"),
        ("multi_label_classification", None, "binary cross-entropy of its own answer"),
        ("multi_label_classification", [1, 0, 1], "binary cross-entropy of [1, 0, 1]"),
    ],
)
def test_other_problems_have_other_losses(folder, problem, target, aim):
    config = mb.BertConfig.from_pretrained(folder)
    model = mb.BertForSequenceClassification(
        mb.BertConfig.from_dict({**config.to_dict(), **CLASSES, "problem_type": problem})
    )
    trace = model.trace("the cat", tokenizer=mb.BertTokenizer.from_pretrained(folder), target=target)
    assert trace.aim == aim
    assert trace.check(whole=True)


def test_an_unknown_class_is_refused(folder):
    with pytest.warns(UserWarning, match="fresh weights"):
        model = mb.BertForSequenceClassification.from_pretrained(folder, num_labels=2, strict=False)
    with pytest.raises(InputError, match="target: expected a number or one of LABEL_0, LABEL_1, got 'nice'"):
        model.trace("the cat", target="nice")
    question = mb.BertForQuestionAnswering(mb.BertConfig.from_pretrained(folder))
    with pytest.raises(InputError, match=r"target: expected \(start, end\), got 3"):
        question.trace("the cat", tokenizer=mb.BertTokenizer.from_pretrained(folder), target=3)


# ---- which class a checkpoint is of ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls",
    [
        mb.BertForPreTraining,
        mb.BertForMaskedLM,
        mb.BertForNextSentencePrediction,
        mb.BertModel,
        BertEncoder,
        mb.BertForSequenceClassification,
        mb.BertForTokenClassification,
        mb.BertForMultipleChoice,
        mb.BertForQuestionAnswering,
    ],
)
def test_a_checkpoint_tells_its_class(tmp_path, cls):
    cls(TINY, seed=3).save_pretrained(tmp_path)
    model = load(tmp_path, dtype="float64")
    assert type(model) is cls
    assert model.dtype == np.float64
    assert model.name_or_path == tmp_path
