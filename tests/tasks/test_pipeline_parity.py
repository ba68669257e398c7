"""The tasks answer as Hugging Face's pipelines do, and Google's run_squad.py: tools/make_pipeline_fixtures.py."""

import json
from pathlib import Path

import pytest

from tests.tasks.tiny_models import task

FIXTURES = Path(__file__).parent / "fixtures"
# How our options say what the original does without being told.
ALWAYS = {"token-classification": {"truncation": True}}


def cases(name):
    content = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return [
        pytest.param(model, case, id=f"{model['class']}-{model['seed']}-{number}")
        for model in content["models"]
        for number, case in enumerate(model["cases"])
    ]


def made(name, model):
    return task(name, model["class"], model["seed"], **model["config"])


def called(pipe, name, case):
    options = {**ALWAYS.get(name, {}), **case["options"]}
    if "stride" in options:
        options["merge"] = "hf"
    named = isinstance(case["inputs"], dict) and "question" in case["inputs"]
    return pipe(**case["inputs"], **options) if named else pipe(case["inputs"], **options)


def same(ours, theirs, where=""):
    """Equal, numbers to 1e-5."""
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), where
        for key, value in theirs.items():
            same(ours[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-5), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(("model", "case"), cases("text-classification"))
def test_text_classification(model, case):
    same(called(made("text-classification", model), "text-classification", case), case["result"])


@pytest.mark.parametrize(("model", "case"), cases("token-classification"))
def test_token_classification(model, case):
    same(called(made("token-classification", model), "token-classification", case), case["result"])


@pytest.mark.parametrize(("model", "case"), cases("feature-extraction"))
def test_feature_extraction(model, case):
    same(called(made("feature-extraction", model), "feature-extraction", case), case["result"])


@pytest.mark.parametrize(("model", "case"), cases("fill-mask"))
def test_fill_mask(model, case):
    def plain(found):
        """Of several masks Hugging Face shows the special tokens in the sequence."""
        if isinstance(found, list):
            return [plain(each) for each in found]
        return {**found, "sequence": found["sequence"].removeprefix("[CLS]").removesuffix("[SEP]").strip()}

    same(called(made("fill-mask", model), "fill-mask", case), plain(case["result"]))


@pytest.mark.parametrize(("model", "case"), cases("question-answering"))
def test_question_answering(model, case):
    same(called(made("question-answering", model), "question-answering", case), case["result"])


@pytest.mark.parametrize(("model", "case"), cases("question-answering-google"))
def test_question_answering_as_googles_script(model, case):
    ours = called(made("question-answering", model), "question-answering", case)
    texts = [" ".join(answer["answer"].split()) for answer in ours]
    assert texts[0] == case["result"]["best"]
    by_text = dict(zip(texts, (answer["score"] for answer in ours), strict=True))
    same(by_text, dict(case["result"]["n_best"]))
