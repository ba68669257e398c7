"""`pipeline`: which task, which model, one text or many, and what is refused."""

import json

import numpy as np
import pytest

import minibert as mb
from minibert.tasks.pipeline import TASKS
from minibert.tasks.sentence_similarity import SentenceSimilarity
from minibert.tasks.text_classification import TextClassification
from tests.specimens import tiny_folder
from tests.tasks.tiny_models import SIZES, TAGS, WORDS, config, task

HEADS = {
    "fill-mask": "BertForMaskedLM",
    "text-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "feature-extraction": "BertModel",
}
QA = {"question": "Where does Wolfgang live?", "context": "Wolfgang lives in Berlin, the cat in New York."}
INPUTS = {
    "fill-mask": ["the [MASK] sat", "a [MASK]", "[MASK] lives in New York [MASK]"],
    "text-classification": ["very good", "", "  ", "the cat sat on the mat, you and I"],
    "token-classification": ["Wolfgang lives in Berlin", "", " \n", "running cats!", "xyzzy 你好"],
    "question-answering": [QA, {"question": "who?", "context": "the dog and the unaffable cat sat on the mat " * 9}],
    "feature-extraction": ["", "the cat", "Steve Smith works for Microsoft"],
}


def save(folder, cls, **options):
    """A folder with a model of that class and its tokenizer."""
    model = getattr(mb, cls)(mb.BertConfig(**config(**options)), seed=1)
    model.save_pretrained(folder)
    mb.BertTokenizer(WORDS, model_max_length=SIZES["max_position_embeddings"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {cls: save(root / cls, cls) for cls in (*HEADS.values(), "BertForMultipleChoice")}


def close(a, b):
    """Equal but for rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            close(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            close(x, y)
    else:
        assert a == (pytest.approx(b, abs=1e-9) if isinstance(a, float) else b)


@pytest.mark.parametrize("name", HEADS)
def test_a_list_gives_what_its_texts_give_alone_whatever_the_batches(name):
    pipe = task(name, HEADS[name], 5, batch_size=1)
    inputs = INPUTS[name]
    options = {"top_k": 2} if name == "text-classification" else {}
    alone = [pipe(each, **options) for each in inputs]
    for batch_size in (1, 32):
        close(pipe(inputs, batch_size=batch_size, **options), alone)
        close(list(pipe(iter(inputs), batch_size=batch_size, **options)), alone)


@pytest.mark.parametrize("name", HEADS)
def test_nothing_gives_nothing(name):
    pipe = task(name, HEADS[name], 5)
    assert pipe([]) == []
    assert list(pipe(iter([]))) == []


@pytest.mark.parametrize("name", HEADS)
def test_what_is_no_text_is_refused_with_its_place(name):
    pipe = task(name, HEADS[name], 5)
    for wrong in (None, 7, b"the cat", [INPUTS[name][0], 7], [None]):
        with pytest.raises(mb.InputError, match=r"text.*: expected "):
            pipe(wrong)
    with pytest.raises(mb.InputError, match=r"texts\[1\]: expected .* got int"):
        pipe([INPUTS[name][0], 7])


def test_an_iterator_is_read_as_far_as_is_asked():
    pipe = task("feature-extraction", "BertModel", 5, batch_size=1)
    taken = []
    results = pipe(text for i in range(100) if not taken.append(i) for text in ["the cat"])
    next(results)
    assert len(taken) == 8


def test_the_place_of_what_an_iterator_gives_wrong_is_counted_from_its_start():
    pipe = task("feature-extraction", "BertModel", 5, batch_size=1)
    with pytest.raises(mb.InputError, match=r"texts\[9\]: expected a string, got int"):
        list(pipe(iter(["the cat"] * 9 + [9])))


@pytest.mark.parametrize("name", HEADS)
def test_the_models_head_says_the_task(name, folders):
    pipe = mb.pipeline(model=folders[HEADS[name]])
    assert type(pipe) is TASKS[name]
    assert type(mb.pipeline(name, model=folders[HEADS[name]])) is type(pipe)
    assert type(mb.pipeline(name, model=pipe.model)) is type(pipe)  # its tokenizer is where the model was


def test_a_model_of_pre_training_fills_masks(tmp_path):
    pipe = mb.pipeline(model=tiny_folder(tmp_path), top_k=2)
    assert [len(pipe("the [MASK] sat")), len(pipe("the [MASK] sat", top_k=3))] == [2, 3]


def test_a_classifier_whose_config_names_no_class_may_be_any(folders, tmp_path):
    for cls in ("BertForTokenClassification", "BertForSequenceClassification"):
        folder = save(tmp_path / cls, cls)
        values = json.loads((folder / "config.json").read_text())
        del values["architectures"]
        (folder / "config.json").write_text(json.dumps(values))
    assert type(mb.pipeline(model=tmp_path / "BertForSequenceClassification")) is TextClassification
    assert mb.pipeline("ner", model=tmp_path / "BertForTokenClassification", ignore_labels=())("cats") != []


@pytest.mark.parametrize("name", ["ner", "sentiment-analysis"])
def test_aliases(name, folders):
    cls = {"ner": "BertForTokenClassification", "sentiment-analysis": "BertForSequenceClassification"}[name]
    assert isinstance(mb.pipeline(name, model=folders[cls]).model, getattr(mb, cls))


@pytest.mark.parametrize(
    ("name", "cls", "words"),
    [
        ("fill-mask", "BertForQuestionAnswering", "this is a BertForQuestionAnswering(.|\n)*minibert answer"),
        ("ner", "BertForSequenceClassification", "needs a BertForTokenClassification(.|\n)*minibert classify"),
        ("question-answering", "BertModel", "this is a BertModel(.|\n)*minibert embed"),
        ("text-classification", "BertForTokenClassification", "(.|\n)*minibert tag"),
        (None, "BertForMultipleChoice", "no task for a BertForMultipleChoice"),
    ],
)
def test_a_model_without_the_head_is_told_from_one_that_has_it(folders, name, cls, words):
    with pytest.raises(mb.InputError, match=words):
        mb.pipeline(name, model=folders[cls])
    loaded = getattr(mb, cls).from_pretrained(folders[cls])
    with pytest.raises(mb.InputError, match=words):
        mb.pipeline(name, model=loaded)


def test_what_makes_no_pipeline_is_refused(folders):
    with pytest.raises(mb.InputError, match=r"expected one of fill-mask, .*ner.* got 'translate'"):
        mb.pipeline("translate", model=folders["BertModel"])
    with pytest.raises(mb.InputError, match="expected a task, a model or both, got neither"):
        mb.pipeline()
    with pytest.raises(TypeError, match="unexpected option tok_k; expected batch_size, "):
        mb.pipeline("fill-mask", model=folders["BertForMaskedLM"], tok_k=3)
    with pytest.raises(mb.InputError, match="tokenizer: this model was not loaded"):
        mb.pipeline("feature-extraction", model=mb.BertModel(mb.BertConfig(**SIZES)))
    small = mb.BertModel(mb.BertConfig(**{**SIZES, "vocab_size": 10}))
    with pytest.raises(mb.InputError, match="tokenizer: expected at most"):
        mb.pipeline("feature-extraction", model=small, tokenizer=mb.BertTokenizer(WORDS))
    with pytest.raises(mb.NotFound):
        mb.pipeline("fill-mask", model="/nowhere/at/all")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("fill-mask", {"top_k": 0}, "top_k: expected an integer of at least 1, got 0"),
        ("fill-mask", {"beams": True}, "beams"),
        ("text-classification", {"function_to_apply": "max"}, "one of softmax, sigmoid, none"),
        ("text-classification", {"top_k": "all"}, "top_k"),
        ("token-classification", {"aggregation_strategy": "mean"}, "one of none, simple"),
        ("token-classification", {"ignore_labels": "O"}, "ignore_labels: expected a list"),
        ("token-classification", {"stride": -1}, "stride"),
        ("token-classification", {"stride": 38}, "stride: expected less than 38"),
        ("token-classification", {"stride": 3, "merge": "hf"}, "merge='hf': expected an aggregation_strategy"),
        ("question-answering", {"decoding": "bert"}, "one of hf, google"),
        ("question-answering", {"max_seq_len": 41}, "max_seq_len: expected at most 40"),
        ("question-answering", {"max_seq_len": 8}, "leave no room"),
        ("question-answering", {"doc_stride": 38}, "doc_stride: expected less than"),
        ("question-answering", {"doc_stride": 0, "decoding": "google"}, "doc_stride: expected at least 1"),
        ("feature-extraction", {"layers": 3}, "layers: expected -3 to 2"),
        ("feature-extraction", {"layers": []}, "at least one"),
        ("feature-extraction", {"combine": "max"}, "one of last, sum, mean, concat"),
        ("feature-extraction", {"return_tensors": "pt"}, "return_tensors"),
        ("feature-extraction", {"batch_size": 0}, "batch_size"),
    ],
)
def test_impossible_options_are_refused(name, options, words):
    pipe = task(name, HEADS[name], 5)
    with pytest.raises(mb.InputError, match=words):
        pipe(INPUTS[name][0], **options)


@pytest.mark.parametrize("name", ["fill-mask", "text-classification", "token-classification", "feature-extraction"])
def test_long_texts_are_refused_unless_they_are_to_be_cut(name):
    pipe = task(name, HEADS[name], 5)
    text = "the [MASK] sat. " + "the cat " * 40
    with pytest.raises(mb.InputTooLong, match="tokens, the model has 40 positions"):
        pipe(text)
    if name != "fill-mask":
        assert pipe(text, truncation=True)


def test_features_are_hidden_states_of_the_layers_that_are_named():
    pipe = task("feature-extraction", "BertModel", 9)
    hidden = pipe.model(**pipe.tokenizer("the cat", return_tensors="np"), output_hidden_states=True).hidden_states
    given = {"return_tensors": "np"}
    np.testing.assert_array_equal(pipe("the cat", **given), hidden[-1])
    np.testing.assert_array_equal(pipe("the cat", layers=0, **given), hidden[0])
    both = {"layers": [-2, -1], **given}
    np.testing.assert_array_equal(pipe("the cat", combine="sum", **both), hidden[1] + hidden[2])
    np.testing.assert_array_equal(pipe("the cat", combine="mean", **both), (hidden[1] + hidden[2]) / 2)
    np.testing.assert_array_equal(pipe("the cat", combine="concat", **both), np.concatenate(hidden[1:], axis=-1))
    np.testing.assert_array_equal(pipe("the cat", **both), hidden[-1])


def test_features_come_out_of_a_model_with_any_head():
    tagger = task("token-classification", "BertForTokenClassification", 3, labels=TAGS)
    pipe = mb.pipeline("feature-extraction", model=tagger.model, tokenizer=tagger.tokenizer, return_tensors="np")
    hidden = tagger.model(**pipe.tokenizer("the cat", return_tensors="np"), output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(pipe("the cat"), hidden[-1])


def test_similarities_are_cosines_of_the_sentence_encoder(folders):
    encoder = mb.SentenceEncoder.from_pretrained(folders["BertModel"])
    pipe = mb.pipeline("sentence-similarity", model=folders["BertModel"])
    texts = ["the cat", "a dog sat", "Berlin"]
    expected = encoder.similarity(encoder.encode(texts[:1]), encoder.encode(texts[1:]))[0].tolist()
    one = {"source_sentence": texts[0], "sentences": texts[1:]}
    assert pipe(one) == pytest.approx(expected, abs=1e-6)
    none, both = pipe([{**one, "sentences": []}, one])
    assert none == []
    assert both == pytest.approx(expected, abs=1e-6)
    assert type(mb.pipeline(model=encoder)) is SentenceSimilarity
    for wrong in ("the cat", {"source_sentence": "a"}, {**one, "sentences": "b"}, {**one, "source_sentence": 1}):
        with pytest.raises(mb.InputError, match="expected"):
            pipe(wrong)
    with pytest.raises(mb.InputError, match="sentence-similarity only"):
        mb.pipeline("fill-mask", model=encoder)
    with pytest.raises(mb.InputError, match="has its own"):
        mb.pipeline("sentence-similarity", model=encoder, tokenizer=encoder.tokenizer)
