"""Tags: where they stand, how windows meet, and how pieces become words and entities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minibert as mb
from minibert.models.labels import word_starts
from minibert.tasks.aggregation import STRATEGIES, Token, as_entities, as_entries, as_words, longest_of_overlapping
from minibert.tasks.batches import Row
from minibert.tasks.token_classification import label_tokens
from tests.tasks.tiny_models import TAGS, task

NAMES = dict(enumerate(TAGS))
TAGGER = task("token-classification", "BertForTokenClassification", 3, labels=TAGS, ignore_labels=[])
PIECES = [
    "Wolfgang",
    "running",
    "Café",
    "你好",
    "xyzzy",
    "1944",
    ",",
    "İstanbul",
    "[MASK]",
    "cafe\u0301s",
    "ﬁ",
    " ",
    "\n",
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join) | st.text(max_size=30)
settings = st.sampled_from(STRATEGIES)


@given(texts, settings, st.sampled_from([None, 3]))
def test_every_entry_is_the_characters_that_it_names(text, strategy, stride):
    tokenizer = TAGGER.tokenizer
    previous = 0
    for entry in TAGGER(text, aggregation_strategy=strategy, stride=stride):
        assert previous <= entry["start"] <= entry["end"] <= len(text)
        if strategy != "none":  # several pieces may stand for one character, a ligature
            previous = entry["end"]
        source = text[entry["start"] : entry["end"]]
        if strategy == "none":
            folded = "".join(tokenizer.words(source))
            assert entry["word"].removeprefix("##") in (folded, source) or entry["word"] in "fi##i"
        else:
            assert set("".join(tokenizer.words(source))) <= set("".join(tokenizer.words(text)))


@given(texts)
def test_every_token_has_a_label_and_every_word_one(text):
    encoding = TAGGER.tokenizer(text, add_special_tokens=False).encodings[0]
    tokens = TAGGER(text, stride=0)
    assert [entry["index"] for entry in tokens] == list(range(1, encoding.size + 1))
    words = TAGGER.words(text, aggregation_strategy="first", stride=0)
    assert len(words) == len(set(encoding.words))


def tagged(text, **options):
    return [(entry["entity"], entry["start"]) for entry in TAGGER(text, **options)]


def test_a_text_that_fits_has_one_window():
    text = "Wolfgang lives in Berlin, Steve Smith in New York."
    assert tagged(text, stride=5) == tagged(text)
    assert TAGGER(text, stride=5, merge="hf", aggregation_strategy="max") == TAGGER(text, aggregation_strategy="max")


def test_in_windows_a_token_is_labelled_where_it_has_most_context():
    text = "the cat sat on the mat " * 11  # 66 tokens in windows of 38
    rows = []
    ids = TAGGER.tokenizer(text, add_special_tokens=False).input_ids
    for start in (0, 28):
        rows.append(Row([2, *ids[start : start + 38], 3], bytes(40)))
    words = [range(38), range(28, 66)]
    (first, _), (second, _) = label_tokens(TAGGER.model, rows, words, 1000)
    expected = [NAMES[i] for i in first[:33] + second[5:]]
    assert [entity for entity, _ in tagged(text, stride=10)] == expected


def test_words_that_were_split_before_have_one_label_each():
    words = ["U.S.", "running", "", "Café"]
    found = TAGGER.words(words, is_split_into_words=True, aggregation_strategy="first")
    assert [(entry["start"], entry["end"]) for entry in found] == [(0, 4), (5, 12), (14, 18)]
    joined = TAGGER(words, is_split_into_words=True, delimiter="_", aggregation_strategy="none")
    assert joined[-1]["end"] == len("_".join(words))
    with pytest.raises(mb.InputError, match="expected a list of words"):
        TAGGER(["a text", 3], is_split_into_words=True)


def token(label, score, text="a", start=0, end=1, continues=False):
    scores = np.full(len(TAGS), (1 - score) / (len(TAGS) - 1))
    scores[label] = score
    return Token(text, start, end, 1, continues, label, scores)


def test_strategies_by_hand():
    word = [token(1, 0.5, "un", 0, 2), token(3, 0.9, "##aff", 2, 5, True), token(1, 0.6, "##able", 5, 9, True)]
    join = TAGGER.tokenizer.convert_tokens_to_string
    found = {s: as_words(word, NAMES, s, join)[0] for s in ("first", "max", "average")}
    assert {s: each["entity"] for s, each in found.items()} == {"first": "B-PER", "max": "B-LOC", "average": "B-PER"}
    assert found["average"]["score"] == pytest.approx((0.5 + 0.1 / 4 + 0.6) / 3)
    assert {each["word"] for each in found.values()} == {"unaffable"}


def test_neighbours_of_a_kind_are_one_entity_until_another_begins():
    labels = ["B-PER", "I-PER", "B-PER", "I-LOC", "I-LOC", "O", "O"]
    tokens = [token(TAGS.index(label), 0.5 + i / 100, "a", i, i + 1) for i, label in enumerate(labels)]
    entities = as_entities(as_entries(tokens, NAMES), " ".join)
    assert [(each["entity_group"], each["start"], each["end"]) for each in entities] == [
        ("PER", 0, 2),
        ("PER", 2, 3),
        ("LOC", 3, 5),
        ("O", 5, 7),
    ]
    assert entities[0]["score"] == pytest.approx(0.505)


def test_of_overlapping_entities_the_longer_then_the_likelier_stays():
    def entity(start, end, score):
        return {"start": start, "end": end, "score": score}

    found = longest_of_overlapping([entity(8, 9, 0.1), entity(0, 3, 0.5), entity(1, 6, 0.2), entity(1, 6, 0.3)])
    assert found == [entity(1, 6, 0.3), entity(8, 9, 0.1)]


def test_with_a_crf_every_word_has_its_tag_of_the_best_path():
    tagger = task("token-classification", "BertCrfForTokenClassification", 1, labels=TAGS)
    text = "Wolfgang lives in Berlin unaffable ."
    encoding = tagger.tokenizer(text)
    starts = word_starts([encoding.word_ids()])
    out = tagger.model([encoding.input_ids])
    path = tagger.model.decode(out.logits, starts)[0]
    expected = [NAMES[i] for i in path if i >= 0]
    words = tagger.words(text, aggregation_strategy="first")
    assert [word["entity"] for word in words] == expected
    alone = [NAMES[i] for i in out.logits[0].argmax(axis=1)[starts[0] == 1]]
    assert expected != alone  # or the field would not have been asked
    probs = tagger.model.marginals(out.logits, starts)[0]
    np.testing.assert_allclose(probs.sum(axis=1), starts[0], rtol=1e-12)
    np.testing.assert_allclose([word["score"] for word in words], probs[path >= 0, path[path >= 0]], rtol=1e-12)
    pieces = tagger(text, aggregation_strategy="none", ignore_labels=[])
    assert len(pieces) == len(encoding.input_ids) - 2
    assert [piece["entity"] for piece in pieces[:2]] == [expected[0]] * 2  # wolf ##gang
    assert tagger(["", text])[0] == []


def test_a_folder_with_a_crf_is_a_tagger(tmp_path):
    tagger = task("token-classification", "BertCrfForTokenClassification", 1, labels=TAGS)
    tagger.model.save_pretrained(tmp_path)
    tagger.tokenizer.save_pretrained(tmp_path)
    read = mb.pipeline(model=tmp_path, dtype="float64")
    assert isinstance(read.model, mb.BertCrfForTokenClassification)
    assert read.words("Steve Smith") == tagger.words("Steve Smith")
    assert type(mb.pipeline("ner", model=tmp_path).model) is mb.BertCrfForTokenClassification
