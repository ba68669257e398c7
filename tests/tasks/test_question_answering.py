"""Answers: passages of the text, the best there are, by both decodings."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minibert as mb
from minibert.tasks.spans import Document, google, hf
from tests.tasks.tiny_models import task

PIPE = task("question-answering", "BertForQuestionAnswering", 6)
WORDS = ["Wolfgang's", "lives", "café,", "in\u00a0Berlin", "(1944)", "xyzzy", "你好", "New\tYork", "\n", "unaffable!"]
contexts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join).filter(str.strip)


@given(contexts, st.sampled_from(["hf", "google"]), st.booleans(), st.booleans())
def test_an_answer_is_its_part_of_the_context(context, decoding, impossible, align):
    options = {"decoding": decoding, "handle_impossible_answer": impossible, "align_to_words": align}
    answers = PIPE(question="who lives where?", context=context, top_k=6, **options)
    assert answers
    for answer in answers:
        assert set(answer) == {"score", "start", "end", "answer"}
        assert 0 <= answer["start"] <= answer["end"] <= len(context)
        assert answer["answer"] == context[answer["start"] : answer["end"]]
        assert answer["answer"] or impossible or decoding == "google"
    if decoding == "google":  # the other adds up more spans for more answers
        assert PIPE(question="who lives where?", context=context, **options) == answers[0]


@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 30), st.integers(0, 100))
def test_hf_finds_the_best_spans_there_are(size, longest, top_k, seed):
    logits = np.random.default_rng(seed).standard_normal((size + 2, 2))
    text = "abcdefg"[:size]
    tokens = PIPE.tokenizer(list(text), is_split_into_words=True, add_special_tokens=False).encodings[0]
    tokens = tokens._replace(starts=tokens.ids[:0], ends=tokens.ids[:0])
    tokens.starts.extend(range(size))
    tokens.ends.extend(range(1, size + 1))
    found = hf(Document(text, tokens, 1, [(0, size)], [logits]), top_k, longest, False, True)
    shares = np.exp(logits[:-1]) / np.exp(logits[:-1]).sum(axis=0)  # [CLS] and the text; the last place is [SEP]
    spans = {
        text[i : j + 1]: shares[1 + i, 0] * shares[1 + j, 1]
        for i, j in itertools.product(range(size), repeat=2)
        if i <= j < i + longest
    }
    best = sorted(spans, key=lambda span: -spans[span])[:top_k]
    assert [answer.text for answer in found] == best
    np.testing.assert_allclose([answer.score for answer in found], [spans[span] for span in best])


def document(context, logits):
    """One window without a question: logits (T + 1, 2), [CLS] first."""
    tokens = PIPE.tokenizer(context, add_special_tokens=False).encodings[0]
    return Document(context, tokens, 1, [(0, tokens.size)], [np.asarray(logits, float)])


def decoded(context, start, end, **options):
    """Google's best answer if the model is sure of these two tokens."""
    size = PIPE.tokenizer(context, add_special_tokens=False).encodings[0].size
    logits = np.zeros((size + 1, 2))
    logits[start + 1, 0] = logits[end + 1, 1] = 9.0
    given = {"n_best": 3, "longest": 30, "impossible": False, "threshold": 0.0, **options}
    return google(document(context, logits), PIPE.tokenizer, **given)[0]


def test_googles_answer_leaves_out_what_the_pieces_do_not_cover():
    assert decoded("Steve Smith's cat", 0, 1).text == "Steve Smith"
    assert decoded("Steve Smith's cat", 0, 3).text == "Steve Smith's"
    assert decoded("the (Café), you", 2, 2).text == "Café"


def test_googles_answer_is_whole_words_where_the_alignment_fails():
    assert decoded("the (cafe\u0301), you", 2, 2).text == "(cafe\u0301),"  # an accent of its own: lengths differ
    assert decoded("the xyzzy's cat", 1, 1).text == "xyzzy's"  # [UNK] is nowhere in the text


def test_no_answer_must_exceed_the_best_by_more_than_the_threshold():
    logits = np.zeros((4, 2))
    logits[0] = 2.0  # [CLS]: 4 in all
    logits[2] = 1.5  # "cat": 3
    options = {"n_best": 5, "longest": 30, "impossible": True}
    texts = {
        t: [a.text for a in google(document("the cat sat", logits), PIPE.tokenizer, threshold=t, **options)]
        for t in (0.9, 1.0)
    }
    assert texts[0.9][:2] == ["", "cat"]
    assert texts[1.0][:2] == ["cat", ""]


def test_where_no_span_is_possible_google_answers_nothing():
    logits = np.zeros((4, 2))
    logits[0] = 5.0
    found = google(document("the cat sat", logits), PIPE.tokenizer, 1, 30, False, 0.0)
    assert [tuple(answer) for answer in found] == [(0.0, 0, 0, "")]


def test_questions_and_contexts_by_name():
    q, c = "who lives in Berlin?", "Wolfgang lives in Berlin"
    one = PIPE(question=q, context=c)
    assert PIPE({"question": q, "context": c}) == one
    assert PIPE(question=[q], context=[c])[0]["answer"] == one["answer"]
    assert len(PIPE(question=[q, "where?"], context=c)) == 2
    assert len(PIPE(question=q, context=[c, c, c])) == 3
    assert len(PIPE(question=q, context=c, top_k=3)) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"question": "", "context": "a cat"}, r"text\.question: expected some words, got ''"),
        ({"question": "who?", "context": " \n"}, r"text\.context: expected some words"),
        ({"question": "who?"}, "got only the question"),
        ({"question": ["who?"], "context": ["a", "b"]}, "as many contexts as questions, got 1 and 2"),
        ({"question": ["who?", 3], "context": "a"}, r"texts\[1\]\.question: expected a string, got int"),
        ({"inputs": {"question": "who?"}}, r'expected \{"question": text, "context": text\}, got keys question'),
        ({"inputs": {}, "question": "who?"}, "got both"),
    ],
)
def test_bad_input_is_refused(given, words):
    with pytest.raises(mb.InputError, match=words):
        PIPE(**given)


def test_a_context_without_a_token_has_no_answer():
    for decoding in ("hf", "google"):
        assert PIPE(question="who?", context="\u200b", decoding=decoding)["answer"] == ""


def test_a_question_is_cut():
    long = "who " * 60
    assert PIPE(question=long, context="the cat", max_question_len=5) == PIPE(question="who " * 5, context="the cat")
