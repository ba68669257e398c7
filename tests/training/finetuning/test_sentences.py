"""Pairs of texts as batches: what is in them, what is not, and what a model learns from them."""

import doctest
import os
from pathlib import Path

import numpy as np
import pytest

import minibert as mb
from minibert.errors import InputError
from minibert.models.sentences import BertForSentencePairs, BertForSentenceRanking
from minibert.training import AdamW, Run, Settings, Trainer, metrics, schedule
from minibert.training.finetuning import PairBatches, Pairs, open_sentences, positives, scaled, sentences
from minibert.training.readers import TextExample, read_table
from tests.specimens import WORDS, tiny_folder

STSB = Path(os.environ.get("MINIBERT_DATA", Path(__file__).parents[4] / "shared" / "data")) / "stsb" / "dev.tsv"


def examples(count=20, seed=0):
    """Two texts of a few words each; the score is the share of the words that they have in common."""
    rng, words = np.random.default_rng(seed), [word for word in WORDS if word.isalpha()]
    made = []
    for _ in range(count):
        first, second = (set(rng.choice(words, 4, replace=False).tolist()) for _ in range(2))
        if rng.random() < 0.5:
            second = first - {sorted(first)[0]} | {str(rng.choice(words))}
        score = len(first & second) / 4
        made.append(TextExample(" ".join(sorted(first)), " ".join(sorted(second)), score))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def opened(folder):
    return open_sentences(folder, "cosine")


def test_a_batch_holds_both_texts_as_the_encoder_reads_them(opened):
    model, encoder = opened
    pairs = Pairs([TextExample("the cat", "a dog sat on it", 0.5), TextExample("", "unaffable", -1)], encoder)
    batch = PairBatches(pairs, 2).batch(0)
    order = np.argsort(-batch["labels"])
    ids = [[row[row > 0].tolist() for row in pair] for pair in batch["input_ids"][order]]
    assert ids == [[encoder.tokenizer(text)["input_ids"] for text in example[:2]] for example in pairs.examples]
    np.testing.assert_array_equal(batch["attention_mask"], batch["input_ids"] > 0)  # padding is 0 and no piece is
    assert model(**batch).cosines.shape == (2,)


def test_every_epoch_has_every_pair_once_in_an_order_of_its_own(opened):
    data = PairBatches(Pairs(examples(11), opened[1]), 4, seed=5)
    assert data.per_epoch == 3
    epochs = [[data.batch(epoch * 3 + i) for i in range(3)] for epoch in range(2)]
    assert [len(batch["labels"]) for batch in epochs[0]] == [4, 4, 3]
    labels = [np.concatenate([batch["labels"] for batch in epoch]) for epoch in epochs]
    assert not np.array_equal(*labels)
    np.testing.assert_array_equal(*map(np.sort, labels))


def test_a_batch_is_a_function_of_its_number(opened):
    pairs = Pairs(examples(11), opened[1])
    one, other = PairBatches(pairs, 4, seed=5), PairBatches(pairs, 4, seed=5)
    there = [one.batch(i) for i in range(6)]
    for i in reversed(range(6)):
        for name, array in other.batch(i).items():
            np.testing.assert_array_equal(array, there[i][name])


def test_the_fingerprint_is_of_texts_scores_and_settings(opened):
    def fingerprint(made, size=4, **options):
        return PairBatches(Pairs(made, opened[1]), size, **options).fingerprint

    base = examples()
    others = [
        fingerprint(base, 5),
        fingerprint(base, seed=1),
        fingerprint(base, ranked=True),
        fingerprint(base[:-1]),
        fingerprint([*base[:-1], base[-1]._replace(label=0.1)]),
        fingerprint([*base[:-1], base[-1]._replace(text_pair="mat")]),
    ]
    assert fingerprint(base) == fingerprint(base)
    assert len({fingerprint(base), *others}) == 7


# ---- ranked ---------------------------------------------------------------------------------------------------------


def test_no_ranked_batch_has_a_text_twice(opened):
    texts = ["the cat", "The Cat", "a dog", "a mat", "it sat", "i run", "you run", "it is", "you sat", "the mat"]
    made = [TextExample(a, b, None) for a in texts[:5] for b in texts[5:]]
    data = PairBatches(Pairs(made, opened[1]), 4, ranked=True)
    assert data.per_epoch == 25 // 4
    for i in range(3 * data.per_epoch):
        batch = data.batch(i)
        assert set(batch) == {"input_ids", "attention_mask"}
        rows = [tuple(row[row > 0].tolist()) for row in batch["input_ids"].reshape(-1, batch["input_ids"].shape[-1])]
        assert len(set(rows)) == len(rows)  # nor "the cat" and "The Cat", which this tokenizer does not tell apart
    assert data.batch(0)["input_ids"].shape[:2] == (4, 2)


def test_ranked_batches_are_full_where_all_texts_differ(opened):
    made = [TextExample(" ".join(["a"] * n), " ".join(["dog"] * n), None) for n in range(1, 12)]
    data = PairBatches(Pairs(made, opened[1]), 4, ranked=True)
    assert data.per_epoch == 2
    assert [len(data.batch(i)["input_ids"]) for i in range(6)] == [4] * 6
    assert PairBatches(Pairs(made, opened[1]), 100, ranked=True).batch(0)["input_ids"].shape[0] == 11


def test_positives_are_those_with_a_score():
    made = [TextExample(str(i), "b", float(i)) for i in range(6)]
    assert positives(made, 4) == [TextExample("4", "b", None), TextExample("5", "b", None)]


# ---- scores ---------------------------------------------------------------------------------------------------------


def test_scores_are_scaled():
    assert doctest.testmod(sentences).failed == 0
    made = [TextExample("a", "b", score) for score in (1, 3.0, 5)]
    assert [each.label for each in scaled(made, 5, 1)] == [0.0, 0.5, 1.0]
    assert [each.label for each in scaled(made, 5)] == [0.2, 0.6, 1.0]


@pytest.mark.skipif(not STSB.exists(), reason=f"{STSB} is not there")
def test_the_scores_of_the_sts_benchmark_are_numbers_from_0_to_1():
    made = read_table(STSB, 6, 7, 5, format="tsv", header=False, problem_type="regression").examples
    scores = [each.label for each in scaled(made, 5)]
    assert (len(scores), min(scores), max(scores)) == (1500, 0.0, 1.0)
    assert made[0][:2] == ("A man with a hard hat is dancing.", "A man wearing a hard hat is dancing.")


def test_evaluation_is_the_correlation_of_the_cosines(opened):
    model, encoder = opened
    pairs = Pairs(examples(), encoder)
    cosines = [encoder.similarity(*encoder.encode([a, b])[:, None])[0, 0] for a, b, _ in pairs.examples]
    expected = {name: getattr(metrics, name)(pairs.scores, cosines) for name in ("spearman", "pearson")}
    assert pairs.evaluate(model) == pytest.approx(expected, abs=1e-6)


# ---- from a folder and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "cls"), [("cosine", BertForSentencePairs), ("ranking", BertForSentenceRanking)])
def test_a_model_and_an_encoder_are_opened_together(folder, loss, cls):
    model, encoder = open_sentences(folder, loss, pooling="cls", max_length=7, dropout=0.2)
    assert type(model) is cls
    assert (model.pooling, encoder.pooling, encoder.max_length) == ("cls", ("cls",), 7)
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.2
    assert np.shares_memory(encoder.model.parameters.flat, model.parameters.flat)


def test_the_pooling_is_that_of_the_folder(folder, tmp_path):
    encoder = open_sentences(folder, pooling="cls")[1]
    encoder.save_pretrained(tmp_path)
    assert open_sentences(tmp_path)[0].pooling == "cls"
    encoder.pooling = ("cls", "max")
    encoder.save_settings(tmp_path)
    with pytest.raises(InputError, match=r"(?s)expected one of mean, cls, got 'cls\+max'.*choose another"):
        open_sentences(tmp_path)


@pytest.mark.parametrize("loss", ["cosine", "ranking"])
def test_a_run_learns_and_leaves_a_folder_of_sentence_transformers(folder, tmp_path, loss):
    model, encoder = open_sentences(folder, loss, dropout=0.0)
    made = examples(60)
    train = Pairs(made if loss == "cosine" else positives(made, 0.75), encoder)
    data, dev = PairBatches(train, 8, ranked=loss == "ranking"), Pairs(made, encoder)
    before = dev.evaluate(model)["spearman"]
    run = Run(tmp_path, {})
    settings, rate = Settings(eval_every=20), schedule(5e-3, 40, 0.1)
    others = encoder.save_settings
    trainer = Trainer(model, AdamW(model), rate, data, settings, dev.evaluate, "spearman", True, run, others)
    result = trainer.train()
    run.close()
    assert result.best > before + 0.1
    saved = mb.SentenceEncoder.from_pretrained(run.path_of(40))
    texts = [example.text for example in made]
    np.testing.assert_array_equal(saved.encode(texts), encoder.encode(texts))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e: Pairs([], e), "examples: expected at least one pair, got none"),
        (lambda e: Pairs([TextExample("a", None, 1.0)], e), r"examples\[0\]: expected two texts, got one"),
        (lambda e: Pairs([*examples(2), TextExample("a", "b", None)], e), r"examples\[2\]: expected a score, got None"),
        (lambda e: PairBatches(Pairs(examples(), e), 0), "batch_size: expected at least 1, got 0"),
        (lambda e: PairBatches(Pairs(examples(), e), 1, ranked=True), "batch_size: expected at least 2, got 1"),
        (lambda e: PairBatches(Pairs(examples(), e), 2, seed=-1), "seed: expected at least 0, got -1"),
        (lambda e: PairBatches(Pairs(examples(), e), 2).batch(-1), "batch: expected a number of at least 0, got -1"),
        (lambda e: PairBatches(Pairs(examples(1), e), 2, ranked=True), "at least two pairs to be ranked, got one"),
        (lambda e: PairBatches(Pairs([TextExample("a", "b", None)], e), 2), "expected a score each, got none"),
        (
            lambda e: PairBatches(Pairs([TextExample("a", b, None) for b in ("b", "dog")], e), 2, ranked=True),
            "expected pairs that share no text",
        ),
        (lambda e: scaled(examples(3), 0.0), "highest: expected a score above the lowest, 0.0, got 0.0"),
        (lambda e: scaled([TextExample("a", "b", 6.0)], 5), r"examples\[0\]: expected a score from 0.0 to 5, got 6.0"),
        (lambda e: open_sentences("nowhere", "triplet"), "loss: expected one of cosine, ranking, got 'triplet'"),
        (
            lambda e: Pairs([TextExample("a", "b", None)] * 2, e).evaluate(None),
            "expected pairs with scores, and a model of pairs",
        ),
    ],
)
def test_what_cannot_be_is_refused(opened, make, message):
    with pytest.raises(InputError, match=message):
        make(opened[1])
