"""Writes the parity fixtures of tests/tasks: what Hugging Face's pipelines answer for tiny models, as JSON.

    python tools/make_pipeline_fixtures.py     # rewrites tests/tasks/fixtures, some seconds

Needs the extra `oracle` with transformers 4: version 5 has no pipeline for question answering any more, nor the port of
Google's run_squad.py that the fixture question-answering-google comes from. Models are computed in float64; their
weights are not stored, for they follow from the tensors' names, see tests/tasks/tiny_models.py.

A file holds the versions and models, each with its class, config, seed and cases: inputs, options, result.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.data.metrics.squad_metrics import compute_predictions_logits
from transformers.data.processors import squad

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.tasks.tiny_models import SIZES, TAGS, WORDS, config, weights  # noqa: E402

FOLDER = ROOT / "tests" / "tasks" / "fixtures"
LONG = (
    "Wolfgang lives in Berlin and works for Microsoft. Steve Smith lives in New York, and was very good. "
    "The cat sat on the mat. Is it unaffable? You and I run the cafe in the new Berlin of Wolfgang - 1944!"
)
TEXTS = ["Wolfgang lives in Berlin", "Café, cats! xyzzy 你好 (1944)", "running"]
CLASSIFIERS = {
    "single": {"labels": ["negative", "neutral", "positive"]},
    "multi": {"labels": ["a", "b", "c", "d"], "problem_type": "multi_label_classification"},
    "one": {"labels": ["score"]},
    "regression": {"labels": ["x", "y"], "problem_type": "regression"},
}
STRATEGIES = ("none", "simple", "first", "average", "max")

Cases = list[tuple[Any, dict[str, Any]]]  # (inputs, options of the call)


def tokenizer(folder: Path, slow: bool = False) -> Any:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    cls = GooglesTokenizer if slow else transformers.BertTokenizerFast
    return cls(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=SIZES["max_position_embeddings"])


class GooglesTokenizer(transformers.BertTokenizer):
    """With the joining of pieces that stands in run_squad.py itself."""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace(" ##", "").replace("##", "")


def make_model(cls: str, seed: int, **options: Any) -> Any:
    model = getattr(transformers, cls)(transformers.BertConfig(**config(**options))).double().eval()
    arrays = weights({name: p.shape for name, p in model.named_parameters()}, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(arrays[name]))
    return model


def entry(cls: str, seed: int, options: dict[str, Any], cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {"class": cls, "seed": seed, "config": options, "cases": cases}


def answered(task: str, tok: Any, cls: str, seed: int, options: dict[str, Any], cases: Cases) -> dict[str, Any]:
    pipe = transformers.pipeline(task, model=make_model(cls, seed, **options), tokenizer=tok, device="cpu")
    found = []
    for inputs, given in cases:
        named = isinstance(inputs, dict) and "question" in inputs
        result = pipe(**inputs, **given) if named else pipe(inputs, **given)
        found.append({"inputs": inputs, "options": given, "result": result})
    return entry(cls, seed, options, found)


def fill_mask(tok: Any) -> list[dict[str, Any]]:
    cases: Cases = [
        ("the [MASK] sat on the mat", {}),
        ("the [MASK] sat on the [MASK].", {"top_k": 3}),
        (["the [MASK]", "[MASK] lives in Berlin, [MASK] works"], {"top_k": 2}),
        ("the [MASK] sat", {"targets": ["cat", "dog", "good"]}),
    ]
    return [answered("fill-mask", tok, "BertForMaskedLM", seed, {}, cases) for seed in (1, 2)]


def text_classification(tok: Any) -> list[dict[str, Any]]:
    cases: Cases = [
        ("very good", {}),
        ("very good", {"top_k": 2}),
        ("", {"top_k": None}),
        (TEXTS, {}),
        (TEXTS, {"top_k": None}),
        ({"text": "the cat sat", "text_pair": "on the mat?"}, {"top_k": None}),
        ([{"text": "the cat", "text_pair": "a dog"}, {"text": "it is good"}], {}),
        *(("bad dogs", {"top_k": None, "function_to_apply": name}) for name in ("softmax", "sigmoid", "none")),
        (LONG, {"truncation": True, "top_k": None}),
    ]
    name = "BertForSequenceClassification"
    return [
        answered("text-classification", tok, name, i, options, cases) for i, options in enumerate(CLASSIFIERS.values())
    ]


def token_classification(tok: Any) -> list[dict[str, Any]]:
    cases: Cases = [("", {}), (TEXTS, {"ignore_labels": []}), (LONG, {})]
    for strategy in STRATEGIES:
        cases += [
            (TEXTS, {"aggregation_strategy": strategy}),
            ("Wolfgang Berlin Wolfgang unaffable running", {"aggregation_strategy": strategy, "ignore_labels": []}),
            ([["Wolfgang", "works", "in", "Berlin"]], {"aggregation_strategy": strategy, "is_split_into_words": True}),
        ]
    for strategy in STRATEGIES[1:]:
        cases += [(LONG, {"aggregation_strategy": strategy, "stride": stride}) for stride in (0, 7)]
    return [
        answered("token-classification", tok, "BertForTokenClassification", seed, {"labels": TAGS}, cases)
        for seed in (3, 4, 5)
    ]


def question_answering(tok: Any) -> list[dict[str, Any]]:
    short = {"question": "Where does Wolfgang live?", "context": "Wolfgang lives in Berlin and works for Microsoft."}
    long = {"question": "Who lives in New York?", "context": LONG}
    cases: Cases = [(short, {}), (long, {}), (long, {"doc_stride": 5})]
    for options in (
        {"top_k": 3},
        {"max_answer_len": 3},
        {"handle_impossible_answer": True, "top_k": 4},
        {"align_to_words": False, "top_k": 3},
        {"max_seq_len": 20, "doc_stride": 4, "top_k": 2},
    ):
        cases += [(short, options), (long, options)]
    both = {"question": [short["question"], long["question"]], "context": [short["context"], long["context"]]}
    cases += [(both, {}), ({**both, "context": LONG}, {"top_k": 2})]
    return [answered("question-answering", tok, "BertForQuestionAnswering", seed, {}, cases) for seed in (6, 7, 8)]


def feature_extraction(tok: Any) -> list[dict[str, Any]]:
    cases: Cases = [("the cat", {}), (["a", "Berlin cats"], {})]
    return [answered("feature-extraction", tok, "BertModel", 9, {}, cases)]


def google(tok: Any, folder: Path) -> list[dict[str, Any]]:
    """Google's own post-processing, as transformers has ported it; rows are not padded."""
    squad.squad_convert_example_to_features_init(tok)
    questions = ["Where does Wolfgang live?", "Who lives in New York?"]
    contexts = ["Wolfgang's\tcafé is in Berlin's New\nYork (the very good mat), xyzzy.", LONG]
    models = []
    for seed in (6, 7, 8):
        model, cases = make_model("BertForQuestionAnswering", seed), []
        for question, context in zip(questions, contexts, strict=True):
            for impossible, threshold, longest in ((False, 0.0, 30), (True, 0.0, 30), (True, -3.0, 4)):
                given = {"max_seq_len": 24, "doc_stride": 6, "max_question_len": 8, "n_best": 5}
                example = squad.SquadExample("q", question, context, None, None, None)
                features = squad.squad_convert_example_to_features(example, 24, 6, 8, "do_not_pad", False)
                results = []
                for number, feature in enumerate(features):
                    feature.unique_id, feature.example_index = number, 0
                    ids, types = (torch.tensor([x]) for x in (feature.input_ids, feature.token_type_ids))
                    with torch.no_grad():
                        out = model(input_ids=ids, token_type_ids=types)
                    logits = (out.start_logits[0].tolist(), out.end_logits[0].tolist())
                    results.append(squad.SquadResult(number, *logits))
                files = [str(folder / name) for name in ("predictions.json", "nbest.json", "null.json")]
                best = compute_predictions_logits(
                    [example], features, results, 5, longest, True, *files, False, impossible, threshold, tok
                )
                options = {"max_answer_len": longest, "handle_impossible_answer": impossible}
                options |= {**given, "null_score_diff_threshold": threshold, "decoding": "google", "top_k": 10}
                n_best = [[each["text"], each["probability"]] for each in json.loads(Path(files[1]).read_text())["q"]]
                inputs = {"question": question, "context": context}
                cases.append({"inputs": inputs, "options": options, "result": {"best": best["q"], "n_best": n_best}})
        models.append(entry("BertForQuestionAnswering", seed, {}, cases))
    return models


def rounded(value: Any) -> Any:
    """Seven digits after the point: the tests compare five."""
    if isinstance(value, dict):
        return {key: rounded(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(x) for x in value]
    return round(float(value), 7) if isinstance(value, float) or hasattr(value, "dtype") else value


def main() -> None:
    warnings.simplefilter("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as temporary:
        tok = tokenizer(Path(temporary))
        makers = (fill_mask, text_classification, token_classification, question_answering, feature_extraction)
        made = {maker.__name__.replace("_", "-"): maker(tok) for maker in makers}
        made["question-answering-google"] = google(tokenizer(Path(temporary), slow=True), Path(temporary))
    for name, models in made.items():
        path = FOLDER / f"{name}.json"
        content = json.dumps(rounded({"versions": versions, "models": models}), ensure_ascii=False, indent=None)
        path.write_text(content + "\n", encoding="utf-8")
        print(f"{path.stat().st_size:8,} {path.name}")


if __name__ == "__main__":
    main()
