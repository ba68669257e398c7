"""SQuAD's JSON gives its questions, and every fault is told with its place."""

import json

import pytest

from minibert import LoadError
from minibert.training.readers import Answer, QuestionExample, read_squad


def squad(*questions, **paragraph):
    return {"data": [{"title": "T", "paragraphs": [{"context": "the 😀 cat sat", "qas": list(questions)} | paragraph]}]}


def question(key="q", answers=(), **more):
    return {"id": key, "question": "who?", "answers": list(answers)} | more


CAT = {"text": "cat", "answer_start": 6}


def test_questions(file):
    content = squad(question("a", [CAT, CAT]), question("b", [], is_impossible=True, plausible_answers=[CAT]))
    for mark in ("", "\ufeff"):
        data = read_squad(file("a.json", mark + json.dumps(content)))
        assert data.problems == ()
        assert data.examples == [
            QuestionExample("a", "who?", "the 😀 cat sat", (Answer("cat", 6), Answer("cat", 6)), False, "T"),
            QuestionExample("b", "who?", "the 😀 cat sat", (), True, "T"),
        ]
    del content["data"][0]["title"], content["data"][0]["paragraphs"][0]["qas"][1]["answers"]
    assert read_squad(file("a.json", json.dumps(content))).examples[1].title == ""


def test_answers_elsewhere_are_an_error_or_a_list_of_problems(file):
    wrong = [CAT | {"answer_start": 5}, CAT, CAT | {"answer_start": -7}, {"text": "", "answer_start": 0}]
    path = file("a.json", json.dumps(squad(question("a", wrong), question("b", [CAT], is_impossible=True))))
    with pytest.raises(LoadError) as error:
        read_squad(path)
    assert str(error.value) == (
        f"{path}: data[0].paragraphs[0].qas[0] ('a').answers[0]: expected 'cat' at answer_start 5 of the context, "
        "got ' ca'\n  hint: strict=False reads on, and lists such faults"
    )
    data = read_squad(path, strict=False)
    assert [answer.start for answer in data.examples[0].answers] == [None, 6, None, None]
    assert [answer.text for answer in data.examples[0].answers] == ["cat", "cat", "cat", ""]
    assert data.examples[1].answers == ()
    assert len(data.problems) == 4
    assert "qas[1] ('b'): expected no answers, as it is_impossible, got 1" in data.problems[3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.json: not valid JSON"),
        ('{"data": [\n{"title" 1}]}', "a.json: not valid JSON: .*line 2"),
        ("[]", "a.json: expected a JSON object"),
        ({"data": []}, "a.json: expected questions, got none"),
        ({"version": "1"}, "a.json: data: expected a list, got no such key; there are 'version'"),
        ({"data": [5]}, r"a.json: data\[0\]: expected an object, got 5"),
        ({"data": [{}]}, r"a.json: data\[0\]: paragraphs: expected a list, got no such key; there are none"),
        (squad(context=5), r"data\[0\].paragraphs\[0\]: context: expected a text, got 5"),
        (squad(question(), question()), r"qas\[1\]: expected an id of its own, got 'q' once more"),
        (squad(question(5)), r"qas\[0\]: id: expected a text, got 5"),
        (squad(question(question=None)), r"qas\[0\] \('q'\): question: expected a text, got None"),
        (squad(question(is_impossible="no")), r"qas\[0\] \('q'\): is_impossible: expected true or false, got 'no'"),
        (squad(question(answers=[{"text": "cat"}])), r"answers\[0\]: answer_start: expected an integer, got no such"),
        (squad(question(answers=[CAT | {"answer_start": True}])), "answer_start: expected an integer, got True"),
    ],
)
def test_faults_of_questions_are_told_with_their_place(file, content, message):
    path = file("a.json", content if isinstance(content, str) else json.dumps(content))
    for strict in (True, False):
        with pytest.raises(LoadError, match=message):
            read_squad(path, strict=strict)
