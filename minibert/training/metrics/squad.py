"""Scores of answers, as the official evaluations of SQuAD 1.1 (Rajpurkar et al. 2016) and 2.0 (2018) compute them.

Gold answers are {id: texts}, any of which is right; predictions {id: text}. Scores are percentages, under the official
names. In 2.0 a question without gold answers has none, and the right prediction is the empty text.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from ...errors import InputError

__all__ = ["evaluate_v1", "evaluate_v2", "exact_match", "normalize_answer", "overlap_f1"]

Gold = Mapping[str, Sequence[str]]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)  # of ASCII only, as there


def normalize_answer(text: str) -> str:
    """Lower case; no punctuation, no articles, single spaces. In this order: "a-the" is a word, not two articles.

    >>> normalize_answer("  The U.S. army's\\tan  A-team")
    'us armys ateam'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold: str, prediction: str) -> int:
    """1 if both are the same, normalised; else 0."""
    return int(normalize_answer(gold) == normalize_answer(prediction))


def overlap_f1(gold: str, prediction: str) -> float:
    """F1 of the words, normalised, each as often as it occurs; if either has none, 1 if both have none.

    >>> overlap_f1("the black cat", "black dog")
    0.5
    """
    there, said = Counter(normalize_answer(gold).split()), Counter(normalize_answer(prediction).split())
    if not there or not said:
        return float(there == said)
    same = (there & said).total()
    precision, recall = same / said.total(), same / there.total()
    return 2 * precision * recall / (precision + recall) if same else 0.0


def evaluate_v1(gold: Gold, predictions: Mapping[str, str]) -> dict[str, float]:
    """SQuAD 1.1 -> exact_match, f1: means of the best over a question's gold answers.

    A question without a prediction scores 0. So does, in F1, a prediction of which no word is left (1.1 had no
    questions without answers), even for a gold answer of which none is left either.
    """
    if not gold:
        raise InputError("gold: expected at least one question, got none")
    exact = f1 = 0.0
    for key, texts in gold.items():
        if not texts:
            raise InputError(f"gold[{key!r}]: expected an answer, got none", "with SQuAD 2.0: evaluate_v2")
        if key in predictions:
            prediction = predictions[key]
            exact += max(exact_match(text, prediction) for text in texts)
            f1 += max(overlap_f1(text, prediction) for text in texts) if normalize_answer(prediction) else 0.0
    return {"exact_match": 100 * exact / len(gold), "f1": 100 * f1 / len(gold)}


def evaluate_v2(
    gold: Gold, predictions: Mapping[str, str], no_answer: Mapping[str, float] | None = None, threshold: float = 1.0
) -> dict[str, float]:
    """SQuAD 2.0 -> exact, f1, total; the same with HasAns_ and NoAns_ before, of the questions with and without answer.

    no_answer   {id: how likely the question has no answer}, any numbers. Above `threshold` the empty text is taken as
                the prediction. Adds best_exact, best_exact_thresh, best_f1, best_f1_thresh: the best that any threshold
                gives, and the least that gives it.

    Every question needs a prediction, and a number if there are any. As in the official script, thresholds are tried
    one question at a time: where numbers are equal, the best may take some of the questions and not the others.
    """
    _all_there("predictions", gold, predictions)
    if no_answer is not None:
        _all_there("no_answer", gold, no_answer)
        for key in gold:
            if math.isnan(no_answer[key]):
                raise InputError(f"no_answer[{key!r}]: expected a number, got nan")
    exact, f1 = {}, {}
    for key, texts in gold.items():
        right = [text for text in texts if normalize_answer(text)] or [""]
        exact[key] = float(max(exact_match(text, predictions[key]) for text in right))
        f1[key] = max(overlap_f1(text, predictions[key]) for text in right)

    silent = {key for key in gold if no_answer is not None and no_answer[key] > threshold}
    result: dict[str, float] = {}
    for prefix, keys in (
        ("", list(gold)),
        ("HasAns_", [key for key in gold if gold[key]]),
        ("NoAns_", [key for key in gold if not gold[key]]),
    ):
        for name, scores in (("exact", exact), ("f1", f1)):
            if keys:
                total = sum(float(not gold[key]) if key in silent else scores[key] for key in keys)
                result[prefix + name] = 100 * total / len(keys)
        if keys:
            result[f"{prefix}total"] = len(keys)
    if no_answer is not None:
        for name, scores in (("exact", exact), ("f1", f1)):
            best, at = _best_threshold(gold, predictions, scores, no_answer)
            result[f"best_{name}"], result[f"best_{name}_thresh"] = best, at
    return result


def _best_threshold(
    gold: Gold, predictions: Mapping[str, str], scores: Mapping[str, float], no_answer: Mapping[str, float]
) -> tuple[float, float]:
    """Start with no question answered, then answer them one after another, the surest first."""
    score = best = float(sum(not texts for texts in gold.values()))
    threshold = 0.0
    for key in sorted((key for key in no_answer if key in gold), key=no_answer.__getitem__):
        # An answered question scores what its answer does; one without answer loses its point, unless "" was answered.
        score += scores[key] if gold[key] else -float(bool(predictions[key]))
        if score > best:
            best, threshold = score, no_answer[key]
    return 100 * best / len(gold), threshold


def _all_there(name: str, gold: Gold, given: Mapping[str, object]) -> None:
    if not gold:
        raise InputError("gold: expected at least one question, got none")
    missing = [key for key in gold if key not in given]
    if missing:
        raise InputError(f"{name}: expected one a question, {len(missing)} of {len(gold)} have none: {missing[0]!r}, …")
