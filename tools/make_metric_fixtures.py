"""Writes tests/training/metrics/fixtures: what the libraries that define these scores answer, in easy cases and nasty.

    python tools/make_metric_fixtures.py --squad-v1 evaluate-v1.1.py --squad-v2 evaluate-v2.0.py

Needs scikit-learn, scipy and seqeval, and the two official evaluation scripts of SQuAD as files; none is part of the
project. One JSON file a module of metrics: a list of cases, each with what the functions are given and what they must
return. The files are reproducible byte by byte. nan is written as null.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import math
import random
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import seqeval.scheme
import sklearn
from scipy import stats
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as conlleval
from seqeval.metrics.v1 import precision_recall_fscore_support as by_scheme
from sklearn import metrics

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "training" / "metrics" / "fixtures"
AVERAGES = ("micro", "macro", "weighted")

Case = dict[str, Any]


def classification() -> list[Case]:
    rng = np.random.default_rng(0)
    pairs: list[tuple[Any, Any]] = [
        ([0, 1, 1, 1], [1, 1, 1, 0]),
        ([0, 0, 0], [0, 0, 0]),  # one class only, and not the positive one
        ([1, 1], [1, 1]),
        ([1, 1], [0, 0]),  # nothing right
        ([0, 0, 1], [0, 0, 0]),  # the positive class never predicted
        ([0, 0, 0], [0, 1, 0]),  # and never there
        ([0], [0]),
        ([5, -3, 5, 7], [5, 5, -3, 9]),  # ids with holes, some predicted only, some there only
        (["no", "yes", "é"], ["yes", "yes", "é"]),
        ([True, False, True], [True, True, True]),
    ]
    for classes in (2, 2, 3, 7):
        for n in (1, 2, 10, 57):
            labels = rng.integers(0, classes, n)
            right = rng.random(n) < rng.choice([0.0, 0.5, 0.95])
            pairs.append((labels.tolist(), np.where(right, labels, rng.integers(0, classes, n)).tolist()))
    cases = []
    for labels, predictions in pairs:
        case = {
            "labels": labels,
            "predictions": predictions,
            "accuracy": metrics.accuracy_score(labels, predictions),
            "matthews": metrics.matthews_corrcoef(labels, predictions),
            "scores": {average: sklearn_scores(labels, predictions, average=average) for average in AVERAGES},
        }
        classes = set(labels) | set(predictions)
        if len(classes) <= 2:
            case["binary"] = [
                [positive, sklearn_scores(labels, predictions, average="binary", pos_label=positive)]
                for positive in sorted(classes)
            ]
        cases.append(case)
    for n, C, share in ((1, 1, 1.0), (1, 3, 0.0), (4, 3, 0.3), (20, 6, 0.2), (50, 2, 0.9)):
        labels, predictions = (rng.random((2, n, C)) < share).astype(int)
        labels[:, 0] = 0  # a class that is never there
        cases.append(
            {
                "labels": labels.tolist(),
                "predictions": predictions.tolist(),
                "several": {average: sklearn_scores(labels, predictions, average=average) for average in AVERAGES},
            }
        )
    return cases


def sklearn_scores(labels: Any, predictions: Any, **options: Any) -> list[float]:
    return [float(x) for x in metrics.precision_recall_fscore_support(labels, predictions, **options)[:3]]


def correlation() -> list[Case]:
    rng = np.random.default_rng(1)
    pairs: list[tuple[Any, Any]] = [
        ([1, 2], [2, 1]),
        ([1, 2, 3], [4, 4, 4]),  # constant
        ([0.1] * 7, [1, 2, 3, 4, 5, 6, 7]),  # constant, and its mean is rounded
        ([0, 0], [0, 0]),
        ([1, 1, 2, 2, 3], [2, 1, 1, 3, 3]),  # ties
        ([1e200, 2e200, 4e200], [1, 3, 2]),  # squares overflow
        ([1e-200, 2e-200, 4e-200], [1, 3, 2]),  # and vanish
        ([1e8, 1e8 + 1, 1e8 + 3], [1, 2, 3]),
        ([1, 2, 3, 4], [-1, -2, -3, -4]),
        ([True, False, True], [0.5, 0.1, 0.4]),
    ]
    for n in (2, 3, 10, 60):
        x = rng.standard_normal(n)
        pairs.append((x.tolist(), rng.standard_normal(n).tolist()))
        pairs.append((x.tolist(), (x + 0.1 * rng.standard_normal(n)).tolist()))
        pairs.append((rng.integers(0, 5, n).tolist(), rng.integers(0, 5, n).tolist()))
    return [
        {
            "labels": x,
            "predictions": y,
            "pearson": float(stats.pearsonr(np.array(x, float), np.array(y, float)).statistic),
            "spearman": float(stats.spearmanr(x, y).statistic),
        }
        for x, y in pairs
    ]


def entities() -> list[Case]:
    rng = random.Random(2)
    pairs = [
        ([["O"]], [["O"]]),
        ([["O", "O"]], [["B-PER", "I-PER"]]),
        ([["B-PER", "I-PER"]], [["O", "O"]]),
        ([["B-PER", "I-PER", "I-PER"]], [["I-PER", "I-PER", "I-PER"]]),  # begins with I
        ([["B-PER", "O", "I-PER"]], [["B-PER", "O", "B-PER"]]),  # I after O
        ([["B-PER", "I-PER", "I-LOC"]], [["B-PER", "I-PER", "B-LOC"]]),  # type changes inside
        ([["B-PER", "B-PER", "I-PER"]], [["B-PER", "I-PER", "I-PER"]]),
        (
            [["B-PER", "I-PER"], ["I-PER", "O"]],
            [["B-PER", "I-PER"], ["B-PER", "O"]],
        ),  # an entity ends with its sentence
        ([["B-a-b", "I-a-b", "I-a"]], [["B-a-b", "I-a-b", "B-a"]]),  # types with a dash
        ([["B", "I", "O", "I"]], [["B", "I", "I", "I"]]),  # no types
        ([["B", "I-_"]], [["I", "I"]]),
        ([[], ["B-PER"]], [[], ["B-PER"]]),
        ([["B-PER", "I-LOC", "I-PER"]], [["B-PER", "I-PER", "I-PER"]]),
    ]
    for sentences, length, types in ((1, 30, 1), (5, 12, 2), (20, 10, 3), (10, 25, 4)):
        tags = ["O", *(f"{prefix}-{kind}" for kind in ("LOC", "PER", "ORG", "x-y")[:types] for prefix in "BI")]
        labels = [[rng.choice(tags) for _ in range(rng.randint(0, length))] for _ in range(sentences)]
        for noise in (0.0, 0.2, 1.0):
            pairs.append((labels, [[rng.choice(tags) if rng.random() < noise else t for t in row] for row in labels]))
    cases = []
    for labels, predictions in pairs:
        case: Case = {"labels": labels, "predictions": predictions}
        for name, scores, options in (
            ("conlleval", conlleval, {}),
            ("strict", by_scheme, {"scheme": seqeval.scheme.IOB2}),
        ):
            averages = {a: [float(x) for x in scores(labels, predictions, average=a, **options)] for a in AVERAGES}
            each = scores(labels, predictions, average=None, **options)
            case[name] = {"averages": averages, "types": [[float(x) for x in row] for row in zip(*each, strict=True)]}
        cases.append(case)
    return cases


def squad(v1: Any, v2: Any) -> list[Case]:
    rng = random.Random(3)
    words = ["the", "a", "an", "The", "cat", "cats", "U.S.", "US", "-", "…", "1,000", "1000", "über", "Über", "don't",
             "a-team", "\u00a0", "\t", "of", "“the”", "thé", "İ", "ﬁ", "()", "theory", "the.cat", ""]  # fmt: skip
    texts = [
        "",
        " ",
        "the",
        "The cat",
        "a a an",
        "a.b",
        "THE-END",
        *(" ".join(rng.choices(words, k=5)) for _ in range(30)),
    ]
    cases: list[Case] = [{"text": text, "normalized": v2.normalize_answer(text)} for text in texts]

    def text(most: int = 4) -> str:
        return " ".join(rng.choices(words, k=rng.randint(0, most)))

    for answered, unanswerable in ((1, 0), (0, 1), (5, 5), (40, 30), (30, 0), (0, 10)):
        for ties in (False, True):
            gold = {f"q{i}": [text() for _ in range(rng.randint(1, 3))] for i in range(answered)}
            gold |= {f"n{i}": [] for i in range(unanswerable)}
            predictions = {}
            for key, answers in gold.items():
                predictions[key] = rng.choice([*answers, text(), "", "the"])
            order = rng.sample(list(gold), len(gold))
            no_answer = {key: rng.choice([0.25, 0.5, 0.75]) if ties else rng.gauss(0, 3) for key in order}
            case: Case = {"gold": gold, "predictions": predictions, "no_answer": no_answer, "threshold": 0.5}
            case["plain"] = official_v2(v2, gold, predictions)
            case["thresholds"] = official_v2(v2, gold, predictions, no_answer, 0.5)
            if not unanswerable:
                case["v1"] = v1.evaluate(dataset(gold), predictions)
                some = dict(list(predictions.items())[::2])
                with contextlib.redirect_stderr(io.StringIO()):
                    case["v1_some"] = v1.evaluate(dataset(gold), some)
            cases.append(case)
    return cases


def dataset(gold: dict[str, list[str]]) -> list[Case]:
    questions = [{"id": key, "answers": [{"text": text} for text in texts]} for key, texts in gold.items()]
    return [{"paragraphs": [{"qas": questions}]}]


def official_v2(
    v2: Any, gold: Case, predictions: Case, no_answer: Case | None = None, threshold: float = 1.0
) -> dict[str, float]:
    """The script's own main, without its files."""
    na = no_answer or dict.fromkeys(predictions, 0.0)
    there = v2.make_qid_to_has_ans(dataset(gold))
    exact_raw, f1_raw = v2.get_raw_scores(dataset(gold), predictions)
    exact = v2.apply_no_ans_threshold(exact_raw, na, there, threshold)
    f1 = v2.apply_no_ans_threshold(f1_raw, na, there, threshold)
    result = v2.make_eval_dict(exact, f1)
    for prefix, wanted in (("HasAns", True), ("NoAns", False)):
        if keys := [key for key, has in there.items() if has == wanted]:
            v2.merge_eval(result, v2.make_eval_dict(exact, f1, qid_list=keys), prefix)
    if no_answer:
        v2.find_all_best_thresh(result, predictions, exact_raw, f1_raw, na, there)
    return dict(result)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_").replace(".", "_"), path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad-v1", type=Path, required=True, help="the official evaluate-v1.1.py")
    parser.add_argument("--squad-v2", type=Path, required=True, help="the official evaluate-v2.0.py")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of scores that are 0/0: what they are is the fixture
    FOLDER.mkdir(parents=True, exist_ok=True)

    for name, source, cases in (
        ("classification", f"scikit-learn {sklearn.__version__}", classification()),
        ("correlation", f"scipy {scipy.__version__}", correlation()),
        ("entities", f"seqeval {version('seqeval')}", entities()),
        ("squad", "the official evaluations 1.1 and 2.0", squad(load(args.squad_v1), load(args.squad_v2))),
    ):
        lines = ",\n".join(json.dumps(without_nan(case), ensure_ascii=False, allow_nan=False) for case in cases)
        path = FOLDER / f"{name}.json"
        path.write_text(f'{{"source": {json.dumps(source)}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
        print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
