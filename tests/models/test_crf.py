"""Token classification with a conditional random field: what is in the chain, what comes out, where its weights go."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

import minibert as mb
from minibert.checkpoint import MissingWeights
from minibert.errors import InputError
from minibert.lab.check import TINY, check_model, scale_weights
from minibert.models.auto import load
from minibert.models.crf import SCORES, BertCrfForTokenClassification
from minibert.models.labels import word_starts
from minibert.tasks.convert import convert
from tests.models import tiny
from tests.opspecs import paths_of
from tests.stored import assert_same_weights, refused, write
from tests.tolerances import CLOSE, MAPPED

IDS = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 1, 0, 0]]
MASK = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
LABELS = np.array([[-100, 1, -100, 0, 3, -100], [-100, 2, 2, -100, -100, -100]])


def crf(**options):
    return tiny.head("BertCrfForTokenClassification", **options)


def paths_through(model, logits, rows):
    """{path: score} through those rows of logits."""
    return dict(paths_of(logits[rows], *(model.state_dict()[f"crf.{name}"] for name in SCORES)))


def test_the_loss_is_that_of_the_paths_through_the_labelled_tokens():
    model = crf()
    out = model(IDS, MASK, labels=LABELS)
    own = []
    for logits, labels in zip(out.logits, LABELS, strict=True):
        paths = paths_through(model, logits, labels != -100)
        total = math.log(math.fsum(math.exp(score) for score in paths.values()))
        own.append(total - paths[tuple(labels[labels != -100].tolist())])
    assert out.loss == pytest.approx(math.fsum(own) / 2, rel=1e-12)
    assert model.loss_and_grads(IDS, MASK, labels=LABELS)[0].loss == pytest.approx(out.loss, rel=1e-12)


def test_a_text_without_a_label_counts_for_nothing():
    model = crf()
    expected, grads = model.loss_and_grads(IDS[:1], MASK[:1], labels=LABELS[:1])
    labels = np.stack([LABELS[0], np.full(6, -100)])
    out, more = model.loss_and_grads(IDS, MASK, labels=labels)
    assert out.loss == pytest.approx(expected.loss, rel=1e-12)
    for name in grads:
        np.testing.assert_allclose(more[name], grads[name], rtol=0, atol=1e-13)
    assert model(IDS, MASK, labels=np.full((2, 6), -100)).loss == 0


@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("std", [0.02, 0.15])
def test_every_gradient_is_the_complex_step(std, dropout_seed):
    model = BertCrfForTokenClassification(dataclasses.replace(TINY, num_labels=5), dtype="float64")
    scale_weights(model, std)
    prepared = model.prepare(IDS, MASK, labels=LABELS)
    report = check_model(model, prepared, dropout_seed=dropout_seed)
    assert {f"crf.{name}" for name in SCORES} <= {row.name for row in report.rows}
    assert report.ok, f"\n{report}"
    assert report.closest.margin < CLOSE, f"\n{report}"


# ---- the best path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decode_gives_the_best_path_through_the_words(dtype):
    model = crf(dtype=dtype)
    out = model(IDS, MASK)
    tags = model.decode(out.logits, LABELS != -100)
    assert tags.shape == (2, 6)
    np.testing.assert_array_equal(tags == -100, LABELS == -100)
    for logits, row in zip(out.logits, tags, strict=True):
        paths = paths_through(model, logits, row != -100)
        assert tuple(row[row != -100].tolist()) == max(paths, key=paths.get)


def test_new_parameters_of_the_field_leave_every_tag_on_its_own():
    model = BertCrfForTokenClassification(mb.BertConfig(**tiny.SIZES, num_labels=4))
    logits = model(IDS, MASK).logits
    expected = np.where(np.array(MASK) == 1, logits.argmax(-1), -100)
    np.testing.assert_array_equal(model.decode(logits, MASK), expected)


def test_no_word_at_all_has_no_tag():
    model = crf()
    assert (model.decode(model(IDS).logits, np.zeros((2, 6))) == -100).all()


@pytest.mark.parametrize(
    ("logits", "starts", "message"),
    [
        (np.zeros((2, 6)), MASK, r"logits: expected shape \(batch, length, 4\), got \(2, 6\)"),
        (np.zeros((2, 6, 3)), MASK, r"logits: expected shape \(batch, length, 4\), got \(2, 6, 3\)"),
        (np.zeros((2, 6, 4)), MASK[:1], r"word_starts: expected shape \(2, 6\)"),
        (np.zeros((2, 6, 4)), LABELS, r"word_starts\[0, 0\] is -100, expected 0 or 1"),
    ],
)
def test_bad_arguments_of_decode_are_refused(logits, starts, message):
    with pytest.raises(InputError, match=message):
        crf().decode(logits, starts)


def test_words_start_where_the_tokenizer_says(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "em", "##bed", "##ding", "a", "b"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = mb.BertTokenizer.from_pretrained(tmp_path)
    encoding = tokenizer([["a", "embedding", "a"], ["b"]], is_split_into_words=True, padding=True, return_tensors="np")
    starts = word_starts([encoding.word_ids(i) for i in range(2)])
    np.testing.assert_array_equal(starts, [[0, 1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]])
    model = tiny.model("BertCrfForTokenClassification", num_labels=3)
    tags = model.decode(model(**encoding).logits, starts)
    assert [(row != -100).sum() for row in tags] == [3, 1]  # as many as there are words


def test_word_starts_of_rows_that_differ_in_length_are_refused():
    np.testing.assert_array_equal(word_starts([[None, 0, 0, 1, None, 0, None]]), [[0, 1, 0, 1, 0, 1, 0]])  # of a pair
    with pytest.raises(InputError, match="word_ids: expected rows of one length"):
        word_starts([[None, 0], [None, 0, 1]])


# ---- weights --------------------------------------------------------------------------------------------------------


def test_there_and_back(tmp_path):
    model = crf(dtype="float32")
    model.save_pretrained(tmp_path)
    for again in (BertCrfForTokenClassification.from_pretrained(tmp_path), load(tmp_path)):
        assert type(again) is BertCrfForTokenClassification
        assert_same_weights(again, model)
        np.testing.assert_array_equal(again(IDS, MASK, labels=LABELS).loss, model(IDS, MASK, labels=LABELS).loss)


@pytest.mark.parametrize("to", ["tf", "npz"])
def test_other_formats_have_the_field_too(tmp_path, to):
    model = crf(dtype="float32")
    model.save_pretrained(tmp_path / "model")
    done = convert(tmp_path / "model", tmp_path / "converted", to)
    assert done.architecture == "BertCrfForTokenClassification"
    assert_same_weights(load(tmp_path / "converted"), model)


def test_a_plain_checkpoint_leaves_the_field_new(tmp_path):
    plain = tiny.head("BertForTokenClassification", dtype="float32")
    plain.save_pretrained(tmp_path)
    with pytest.warns(MissingWeights, match=r"3 missing: crf.transitions, crf.start_.*, crf.end_.* must be trained"):
        model = BertCrfForTokenClassification.from_pretrained(tmp_path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, 0 if name.startswith("crf.") else plain.state_dict()[name])
    np.testing.assert_array_equal(model(IDS).logits, plain(IDS).logits)


def test_of_a_field_in_part_and_of_no_classifier_the_rest_is_refused(tmp_path):
    for name in "crf.transitions", "classifier.bias":
        folder = tmp_path / name
        arrays = {k: x for k, x in crf(dtype="float32").state_dict().items() if k != name}
        write(folder, crf(dtype="float32"), lambda a, arrays=arrays: [a.pop(k) for k in list(a) if k not in arrays])
        refused(folder, f"1 missing: {name}", cls=BertCrfForTokenClassification)


def test_from_an_encoder_the_whole_head_is_new_when_it_is_asked_for(tmp_path):
    tiny.model("BertForMaskedLM", dtype="float32").save_pretrained(tmp_path)
    with pytest.warns(MissingWeights, match="5 missing: classifier.weight"):
        model = BertCrfForTokenClassification.from_pretrained(tmp_path, num_labels=7)
    assert model.state_dict()["crf.transitions"].shape == (7, 7)


def test_a_plain_class_leaves_the_field_in_the_file(tmp_path):
    model = crf(dtype="float32")
    model.save_pretrained(tmp_path)
    plain = mb.BertForTokenClassification.from_pretrained(tmp_path)
    assert set(plain.load_report.unused) == {f"crf.{name}" for name in SCORES}
    np.testing.assert_allclose(plain(IDS).logits, model(IDS).logits, rtol=0, atol=MAPPED)


def test_transitions_decay_and_where_paths_begin_and_end_does_not():
    decayed = {p.name: p.decayed for p in BertCrfForTokenClassification.spec(TINY) if p.name.startswith("crf.")}
    assert decayed == {"crf.transitions": True, "crf.start_transitions": False, "crf.end_transitions": False}


def test_training_finds_what_no_tag_shows_by_itself():
    """Tag 1 follows every 0 and 0 every 1, and all tokens are the same: only transitions can tell."""
    model = BertCrfForTokenClassification(mb.BertConfig(**tiny.SIZES, num_labels=2), dtype="float64")
    names = [f"crf.{name}" for name in SCORES]
    ids, labels = np.full((2, 6), 3), np.array([[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]])
    losses = []
    for _ in range(60):
        out, grads = model.loss_and_grads(ids, labels=labels)
        losses.append(out.loss)
        for name in names:
            model.state_dict()[name][...] -= 1.0 * grads[name]
    assert losses[0] == pytest.approx(6 * math.log(2), rel=0.2)
    assert losses[-1] < math.log(2) + 0.1  # which of the two paths it is, nobody can know
    tags = model.decode(model(ids).logits, np.ones((2, 6)))
    assert all(a != b for row in tags for a, b in itertools.pairwise(row))
