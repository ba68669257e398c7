"""Batches for pre-training: pure functions of their number, whose tokens are the corpus', and what is held out."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining
from minibert.errors import InputError, InputTooLong
from minibert.text import BertTokenizer
from minibert.training.corpus import Corpus
from minibert.training.pretraining import BLOCK, PretrainingData, _blocks
from tests.text.reference import small

TEXT = (Path(__file__).parent / "fixtures" / "text.txt").read_text("utf-8")
CLS, SEP, PAD = 2, 3, 0


def documents(count, seed=0, sentences=300):
    """Long documents of sentences that differ."""
    rng = random.Random(seed)
    words = TEXT.split()
    return [
        "".join(" ".join(rng.choices(words, k=rng.randint(2, 12))) + "\n" for _ in range(rng.randint(2, sentences)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text.txt").write_text("\n".join(documents(12)), encoding="utf-8")
    return Corpus.from_files([folder / "text.txt"], small(), folder / "cache")


def data_of(corpus, **options):
    return PretrainingData(corpus, small(), **{"batch_size": 8, "max_seq_length": 48, **options})


def instances(data, numbers):
    """The tokens of every instance before masking, special ones and padding left out, and its label."""
    for i in numbers:
        batch = data.batch(i)
        ids = np.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        follows = batch.get("next_sentence_label", np.full(len(ids), -1))
        for row, real, label in zip(ids, batch["attention_mask"], follows, strict=True):
            tokens = row[real == 1][1:].tolist()
            parts = [tuple(part) for is_sep, part in itertools.groupby(tokens, lambda x: x == SEP) if not is_sep]
            yield *parts, int(label)


@pytest.mark.parametrize("masking", ["token", "whole-word", "span"])
def test_batches_are_what_the_model_takes(corpus, masking):
    batch = data_of(corpus, masking=masking).batch(0)
    assert {name: array.shape for name, array in batch.items()} == {
        **dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "labels"), (8, 48)),
        "next_sentence_label": (8,),
    }
    config = BertConfig(
        vocab_size=len(small()), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=48,
    )  # fmt: skip
    loss = BertForPreTraining(config, seed=0)(**batch).loss
    assert loss == pytest.approx(np.log(len(small())) + np.log(2), rel=0.05)
    single = data_of(corpus, masking=masking, next_sentence=False).batch(0)
    loss = BertForMaskedLM(config, seed=0)(**single).loss
    assert loss == pytest.approx(np.log(len(small())), rel=0.05)
    assert not single["token_type_ids"].any()


def test_rows_are_cls_a_sep_b_sep(corpus):
    batch = data_of(corpus).batch(3)
    for ids, real, second, labels in zip(
        *(batch[name] for name in ("input_ids", "attention_mask", "token_type_ids", "labels")), strict=True
    ):
        size = real.sum()
        assert real[:size].all()
        first, last = np.flatnonzero((ids == SEP) & (labels == -100))
        assert (ids[0], last) == (CLS, size - 1)
        np.testing.assert_array_equal(second, (np.arange(48) > first) & (np.arange(48) <= last))
        assert (ids[size:] == PAD).all()
        assert (labels[[0, first, last]] == -100).all()
        assert (labels[size:] == -100).all()
        assert (labels != -100).any()


def test_instances_are_stretches_of_the_corpus(corpus):
    text = "," + ",".join(map(str, corpus.tokens.tolist())) + ","
    data = data_of(corpus)
    labels = []
    for a, b, label in instances(data, range(data.per_epoch)):
        for part in (a, b) if label else (a + b,):
            # Truncation may have taken tokens from between A and B.
            if label or f",{','.join(map(str, part))}," in text:
                assert f",{','.join(map(str, part))}," in text
            else:
                assert len(a) + len(b) == 45
        labels.append(label)
    assert 0.4 < np.mean(labels) < 0.7


def test_an_epoch_has_every_instance_once_in_an_order_over_the_whole_corpus(corpus):
    data = data_of(corpus, batch_size=4)
    plan = data._plan(0)
    assert data.per_epoch == len(plan) // 4
    assert len(np.unique(plan, axis=0)) == len(plan)
    drawn = data._drawn(random.Random("0 0"))
    np.testing.assert_array_equal(drawn[np.lexsort(drawn.T)], plan[np.lexsort(plan.T)])
    # Neighbours in the order are strangers in the corpus: a third of its length apart, on average.
    assert np.abs(np.diff(plan[:, 0].astype(int))).mean() == pytest.approx(len(corpus.tokens) / 3, rel=0.15)
    got = list(instances(data, range(data.per_epoch)))
    tokens = corpus.tokens
    for (a, b, label), row in zip(got, plan.tolist(), strict=False):
        assert (a, b, label) == (tuple(tokens[row[0] : row[1]]), tuple(tokens[row[2] : row[3]]), row[4])


def test_the_plan_of_an_epoch_takes_few_bytes(corpus):
    data = data_of(corpus)
    plan = data._plan(0)
    assert plan.dtype == np.min_scalar_type(len(corpus.tokens))  # 4 bytes up to 4 billion tokens
    assert plan.max() == len(corpus.tokens)  # the last one's end: not too small, either
    assert {array.dtype for array in data.batch(0).values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("next_sentence", [True, False])
def test_a_batch_depends_on_its_number_only(corpus, next_sentence):
    data = data_of(corpus, masking="span", next_sentence=next_sentence)
    numbers = list(range(2 * data.per_epoch + 3))
    forwards = [data.batch(i) for i in numbers]
    random.Random(1).shuffle(numbers)
    fresh = data_of(corpus, masking="span", next_sentence=next_sentence)
    for i in numbers[:20]:
        got = fresh.batch(i)
        assert got.keys() == forwards[i].keys()
        for name, array in got.items():
            np.testing.assert_array_equal(array, forwards[i][name])


def test_epochs_and_seeds_differ(corpus):
    data = data_of(corpus)
    one, two = (set(instances(data, range(e * data.per_epoch, (e + 1) * data.per_epoch))) for e in (0, 1))
    assert len(one & two) < 0.5 * len(one)
    assert data.batch(0)["input_ids"].tolist() != data_of(corpus, seed=1).batch(0)["input_ids"].tolist()


def test_order_and_masks_of_each_epoch_are_its_own(corpus, monkeypatch):
    """Even if the pairs were the same."""
    data = data_of(corpus)
    pairs = data._drawn(random.Random(0))
    monkeypatch.setattr(data, "_drawn", lambda rng: pairs)
    plans = [data._plan(epoch) for epoch in (1, 2)]  # that of epoch 0 is there already
    assert (plans[0] != plans[1]).any()
    monkeypatch.setattr(data, "_plan", lambda epoch: plans[0])
    assert (data.batch(0)["labels"] != data.batch(data.per_epoch)["labels"]).any()


def test_an_epoch_too_short_starts_again(corpus):
    data = data_of(corpus, batch_size=5000)
    assert data.per_epoch == 1
    plan = data._plan(0)
    got = list(instances(data, [0]))
    assert got[: 5000 - len(plan)] == got[len(plan) :]


def test_segments_of_masked_lm_alone_are_whole_sentences(corpus):
    data = data_of(corpus, next_sentence=False, short_seq_prob=0)
    tokens = sorted(data._plan(0)[:, :2].tolist())
    assert [start for start, _ in tokens[1:]] == [end for _, end in tokens[:-1]]
    assert (tokens[0][0], tokens[-1][1]) == (0, len(corpus.tokens))
    assert {start for start, _ in tokens} <= set(corpus.sentences.tolist())


# --- held out ---------------------------------------------------------------------------------------------------------


def test_what_is_held_out_is_never_trained_on(corpus):
    data = data_of(corpus, hold_out=0.3)
    assert data.held_out is not None
    sides = [
        {
            token
            for e in range(3)
            for row in side._plan(e).tolist()
            for at in (0, 2)
            for token in range(*row[at : at + 2])
        }
        for side in (data, data.held_out)
    ]
    assert not sides[0] & sides[1]
    assert len(sides[0]) > len(sides[1]) > 0.1 * len(corpus.tokens)
    assert data_of(corpus).held_out is None


def test_blocks_are_held_out_by_their_text_alone(tmp_path):
    """Whatever stands before and after."""
    texts = [text + "\n" for text in documents(30, seed=1, sentences=BLOCK)]
    held = []
    for number, order in enumerate((texts, texts[::-1], texts[5:])):
        path = tmp_path / f"{number}.txt"
        path.write_text("\n".join(order))
        corpus = Corpus.from_files([path], small(), tmp_path / "cache")
        blocks = data_of(corpus, hold_out=0.3).held_out._blocks
        held.append({corpus.tokens[a:b].tobytes() for a, b in corpus.sentences[blocks].tolist()})
    assert held[0] == held[1]
    assert held[2] <= held[0]
    assert 3 <= len(held[0]) <= 16  # binomial: 30 draws of 0.3


def test_held_out_batches_are_the_same_for_all_runs(corpus):
    one, two = (data_of(corpus, hold_out=0.3, seed=seed).held_out for seed in (0, 7))
    assert one.fingerprint == two.fingerprint
    for i in range(one.per_epoch):
        for other in (two.batch(i), one.batch(i + one.per_epoch)):
            for name, array in one.batch(i).items():
                np.testing.assert_array_equal(array, other[name])
    sizes = [len(one.batch(i)["input_ids"]) for i in range(one.per_epoch)]
    assert sum(sizes) == len(one._plan(0))
    assert set(sizes[:-1]) == {8}


def test_documents_are_cut_into_blocks(corpus):
    blocks = _blocks(corpus)
    sizes = np.diff(blocks, axis=1)
    assert 1 <= sizes.min() <= sizes.max() == BLOCK
    assert blocks[0, 0] == 0
    assert blocks[-1, 1] == len(corpus.sentences) - 1
    np.testing.assert_array_equal(blocks[1:, 0], blocks[:-1, 1])
    assert set(corpus.documents.tolist()) <= {0, *blocks[:, 1].tolist()}


# --- what is refused --------------------------------------------------------------------------------------------------


def test_fingerprints_know_all_options(corpus):
    changes = [
        {}, {"batch_size": 9}, {"max_seq_length": 40}, {"short_seq_prob": 0.2}, {"next_sentence": False},
        {"masking": "span"}, {"masked_lm_prob": 0.2}, {"max_predictions": 3}, {"hold_out": 0.3}, {"seed": 1},
    ]  # fmt: skip
    sources = [data_of(corpus, **change) for change in changes]
    assert len({source.fingerprint for source in [*sources, sources[-2].held_out]}) == len(changes) + 1
    assert sources[0].fingerprint == data_of(corpus).fingerprint


def test_at_least_a_block_is_held_out(corpus):
    few, none = data_of(corpus, hold_out=1e-9), data_of(corpus)
    assert len(few.held_out._blocks) == 1
    assert len(few._blocks) == len(none._blocks) - 1
    assert {*map(tuple, few.held_out._blocks)} <= {*map(tuple, data_of(corpus, hold_out=0.3).held_out._blocks)}


def test_of_a_single_block_nothing_can_be_held_out(tmp_path):
    (tmp_path / "one.txt").write_text("a b c\nd e f\ng h\n")
    with pytest.raises(InputError, match="hold_out: expected blocks of 128 sentences on both sides"):
        data_of(Corpus.from_files([tmp_path / "one.txt"], small(), tmp_path), hold_out=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"max_seq_length": 4}, "max_seq_length: expected at least 5, got 4"),
        ({"max_seq_length": 3, "next_sentence": False}, "max_seq_length: expected at least 4, got 3"),
        ({"short_seq_prob": 1.5}, "short_seq_prob: expected a number from 0 to 1, got 1.5"),
        ({"hold_out": 1}, "hold_out: expected a number from 0 to below 1, got 1"),
        ({"hold_out": 1 - 1e-9}, "on both sides, got none not held out"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"masking": "words"}, "masking: expected one of"),
    ],
)
def test_options_that_are_refused(corpus, options, message):
    with pytest.raises(InputError, match=message):
        data_of(corpus, **options)


def test_numbers_below_zero(corpus):
    with pytest.raises(InputError, match="batch: expected a number of at least 0, got -1"):
        data_of(corpus).batch(-1)


def test_sequences_longer_than_the_tokenizer_allows(corpus):
    tokenizer = BertTokenizer(small().get_vocab(), model_max_length=32)
    assert tokenizer.fingerprint == corpus.tokenizer  # the limit changes no ids
    with pytest.raises(InputTooLong, match="max_seq_length: expected at most 32, the tokenizer's model_max_length"):
        PretrainingData(corpus, tokenizer, batch_size=8, max_seq_length=48)


def test_a_corpus_of_another_tokenizer(corpus):
    tokenizer = BertTokenizer(small().get_vocab(), do_lower_case=False)
    with pytest.raises(InputError, match="expected one tokenised with this tokenizer"):
        PretrainingData(corpus, tokenizer, batch_size=8)


def test_documents_of_one_sentence_have_no_next(tmp_path):
    (tmp_path / "text.txt").write_text("the cat\n\nthe dog\n")
    corpus = Corpus.from_files([tmp_path / "text.txt"], small(), tmp_path / "cache")
    with pytest.raises(InputError, match="expected documents of two sentences and more, got 2 of one each"):
        data_of(corpus)
    assert data_of(corpus, next_sentence=False, batch_size=2).per_epoch == 1
