"""Questions about texts, whose answers are passages of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...models.base import BertPreTrainedModel
from ...models.config import BertConfig
from ...models.finetuning import BertForQuestionAnswering
from ...ops.xp import Array
from ...tasks.batches import Row
from ...tasks.question_answering import MAX_SEQ_LEN, AnswerOptions, QuestionAnswering, Reading, read
from ...text.tokenizer import BertTokenizer
from .. import metrics
from ..readers import QuestionExample
from .batches import Examples, longest_row

__all__ = ["Questions"]


class Questions(Examples):
    """Questions, as `read_squad` gives them, for BertForQuestionAnswering: a row a window of the text.

    A window that holds the whole answer, the first one listed, is trained to give its first and last token; one that
    does not, and any of a question without an answer, to give [CLS]. Answers are found by the pipeline
    "question-answering", with the text of no answer where some question has none, and scored as SQuAD does:
    exact_match and f1 of version 1.1 if every question has an answer; else exact and f1 of 2.0, and the same of the
    questions with an answer and without. A question whose answer is not where the file says, or has no token, is
    scored but not trained on, and `notes` says how many are.

    max_length      tokens of a window with its question; None: 384, or the model's length where that is less
    doc_stride, decoding      see `AnswerOptions`
    """

    model_class = BertForQuestionAnswering

    def __init__(
        self,
        examples: Sequence[QuestionExample],
        tokenizer: BertTokenizer,
        config: BertConfig,
        max_length: int | None = None,
        doc_stride: int | None = None,
        decoding: str = "google",
    ) -> None:
        longest = longest_row(max_length, MAX_SEQ_LEN, tokenizer, config, 4)
        self.unanswerable = any(example.is_impossible for example in examples)
        self.settings = AnswerOptions(
            max_seq_len=longest,
            doc_stride=doc_stride,
            decoding=decoding,
            handle_impossible_answer=self.unanswerable,
        )
        self.tokenizer = tokenizer
        self.examples = examples
        self.readings = [read(tokenizer, each.question, each.context, longest, self.settings) for each in examples]
        rows: list[Row] = []
        targets: list[tuple[int, int]] = []
        lost = 0
        for example, reading in zip(examples, self.readings, strict=True):
            span = None if example.is_impossible else _answer_tokens(example, reading)
            if span is None and not example.is_impossible:
                lost += 1
                continue
            rows += reading.rows
            targets += [_places(span, window, reading.before) for window in reading.windows]
        note = f"{lost} of {len(examples)} questions have no answer in their text where it should be: not trained on"
        super().__init__(rows, targets, [note] if lost else [])
        self.metrics = ("f1", "exact" if self.unanswerable else "exact_match")

    def labels(self, chosen: Sequence[int], length: int) -> dict[str, Array]:
        places = np.array([self.targets[i] for i in chosen], np.int64)
        return {"start_positions": places[:, 0], "end_positions": places[:, 1]}

    def predict(self, model: BertPreTrainedModel) -> list[dict[str, Any]]:
        """The best answer to every question: {"score", "start", "end", "answer"}."""
        assert isinstance(model, BertForQuestionAnswering)
        return QuestionAnswering(model, self.tokenizer, **vars(self.settings)).answered(self.readings)

    def scores(self, predictions: Sequence[Any]) -> dict[str, float]:
        gold = {example.id: [answer.text for answer in example.answers] for example in self.examples}
        said = {example.id: found["answer"] for example, found in zip(self.examples, predictions, strict=True)}
        if not self.unanswerable:
            return metrics.evaluate_v1(gold, said)
        return {name: value for name, value in metrics.evaluate_v2(gold, said).items() if not name.endswith("total")}

    def records(self, predictions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for example, found in zip(self.examples, predictions, strict=True):
            label = [answer.text for answer in example.answers]
            yield {"id": example.id, "question": example.question, "label": label, "prediction": found["answer"],
                   "score": found["score"]}  # fmt: skip


def _answer_tokens(example: QuestionExample, reading: Reading) -> tuple[int, int] | None:
    """First and last token of the first answer that is in the text; None if there is none."""
    answer = next((answer for answer in example.answers if answer.start is not None), None)
    if answer is None or answer.start is None:
        return None
    first = bisect_right(reading.tokens.ends, answer.start)
    last = bisect_left(reading.tokens.starts, answer.start + len(answer.text)) - 1
    return (first, last) if first <= last else None


def _places(span: tuple[int, int] | None, window: tuple[int, int], before: int) -> tuple[int, int]:
    """Where in a window's row the answer begins and ends: at [CLS], 0, if it is not all there."""
    start, stop = window
    if span is None or not (start <= span[0] and span[1] < stop):
        return 0, 0
    return span[0] - start + before, span[1] - start + before
