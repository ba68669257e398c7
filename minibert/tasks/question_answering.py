"""Answers that are passages of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..formats.files import quote
from ..models.finetuning import BertForQuestionAnswering
from ..models.output import ModelOutput
from ..ops.xp import Array
from ..text.encoding import Encoding
from ..text.tokenizer import BertTokenizer
from . import spans
from .batches import Row, run_rows
from .task import Options, Task, check_choice, check_whole
from .windows import Span, spans_of

MAX_SEQ_LEN = 384
DECODINGS = {"hf": 15, "google": 30}
"""Decoding -> max_answer_len."""


@dataclass(frozen=True)
class AnswerOptions(Options):
    """top_k                    answers a question: one is a dictionary, more a list
    doc_stride               None: 128, or half of max_seq_len where that is less. "hf": tokens by which windows
                             overlap; "google": by which each begins after the one before
    max_seq_len              tokens of a window with its question; None: 384, or the model's length where that is less
    max_answer_len           tokens of an answer; None: 15 ("hf"), 30 ("google")
    max_question_len         tokens of the question; what is more is cut
    handle_impossible_answer   the answer may be that there is none: ""
    align_to_words           "hf": answers are whole words
    decoding                 "hf" or "google": see `minibert.tasks.spans`
    n_best                   "google": starts and ends of a window that are paired, and answers that are kept
    null_score_diff_threshold   "google": by how much no answer must exceed the best one
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_seq_len: int | None = None
    max_answer_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    decoding: str = "hf"
    n_best: int = 20
    null_score_diff_threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("top_k", "max_question_len", "n_best"):
            check_whole(name, getattr(self, name))
        for name, least in (("doc_stride", 0), ("max_seq_len", 4), ("max_answer_len", 1)):
            check_whole(name, getattr(self, name), least, optional=True)
        check_choice("decoding", self.decoding, DECODINGS)


class QuestionAnswering(Task):
    """question=, context= -> {"score", "start", "end", "answer"}: the passage of the context that answers best.

    An input is {"question": ..., "context": ...}, or both by name; lists of either, and one context may serve many
    questions. The answer is context[start:end]. With top_k > 1 a list of dictionaries, best first, always; Hugging
    Face's pipeline unwraps a list of one. A context of any length is read in windows, all of them at once with those of
    other questions. Spans that end before they begin, which the original lists when top_k asks for more than there are
    answers, are none.
    """

    model: BertForQuestionAnswering
    needs = BertForQuestionAnswering
    options_class = AnswerOptions

    def __call__(self, inputs: Any = None, *, question: Any = None, context: Any = None, **options: Any) -> Any:
        """Inputs, or question and context by name, or lists of them."""
        if question is not None or context is not None:
            if inputs is not None:
                raise InputError("expected inputs, or question and context, got both")
            inputs = _examples(question, context)
        return super().__call__(inputs, **options)

    def _is_one(self, inputs: Any, settings: AnswerOptions) -> bool:
        return isinstance(inputs, Mapping)

    def _checked(self, item: Any, where: str, settings: AnswerOptions) -> tuple[str, str]:
        if not isinstance(item, Mapping) or set(item) != {"question", "context"}:
            got = f"keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else f"{type(item).__name__}"
            raise InputError(f'{where}: expected {{"question": text, "context": text}}, got {got}')
        for name in ("question", "context"):
            if not super()._checked(item[name], f"{where}.{name}", settings).strip():
                raise InputError(f"{where}.{name}: expected some words, got {quote(item[name])}")
        return item["question"], item["context"]

    def _results(self, items: Sequence[tuple[str, str]], settings: AnswerOptions) -> list[Any]:
        longest = self._longest(settings)
        return self._answered([read(self.tokenizer, *item, longest, settings) for item in items], settings)

    def answered(self, readings: Sequence[Reading]) -> list[Any]:
        """The results of what `read` made, with the options given to the task."""
        return self._answered(readings, self.options)

    def _answered(self, readings: Sequence[Reading], settings: AnswerOptions) -> list[Any]:
        rows = [row for reading in readings for row in reading.rows]
        logits = iter(run_rows(self.model, rows, self._room(settings), _logits))
        documents = (
            spans.Document(each.context, each.tokens, each.before, each.windows, [next(logits) for _ in each.windows])
            for each in readings
        )
        return [self._answers(document, settings) for document in documents]

    def _answers(self, document: spans.Document, settings: AnswerOptions) -> Any:
        longest = settings.max_answer_len or DECODINGS[settings.decoding]
        impossible = settings.handle_impossible_answer
        if settings.decoding == "hf":
            found = spans.hf(document, settings.top_k, longest, impossible, settings.align_to_words)
        else:
            threshold = settings.null_score_diff_threshold
            found = spans.google(document, self.tokenizer, settings.n_best, longest, impossible, threshold)
        answers = [
            {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}
            for answer in found[: settings.top_k]
        ]
        return answers[0] if settings.top_k == 1 else answers

    def _longest(self, settings: AnswerOptions) -> int:
        positions = self.model.config.max_position_embeddings
        if settings.max_seq_len is None:
            return min(MAX_SEQ_LEN, self.longest)
        if settings.max_seq_len > positions:
            raise InputError(
                f"max_seq_len: expected at most {positions}, the model's positions, got {settings.max_seq_len}"
            )
        return settings.max_seq_len


# ---- tokens and windows ---------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """A text and a question about it, as the model reads them: a row a window."""

    context: str
    tokens: Encoding  # of the text
    before: int  # places before it in a row: [CLS] question [SEP]
    windows: list[Span]
    rows: list[Row]


def read(tokenizer: BertTokenizer, question: str, context: str, longest: int, settings: AnswerOptions) -> Reading:
    """Rows of up to `longest` tokens: [CLS] question [SEP] window [SEP]."""
    tokens = _tokens(tokenizer, context)
    asked = _tokens(tokenizer, question).ids[: settings.max_question_len]
    before = [tokenizer.cls_token_id, *asked, tokenizer.sep_token_id]
    windows = _windows(tokens.size, longest - len(before) - 1, longest, settings)
    rows = []
    for start, stop in windows:
        ids = [*before, *tokens.ids[start:stop], tokenizer.sep_token_id]
        rows.append(Row(ids, bytes(len(before)) + b"\1" * (len(ids) - len(before))))
    return Reading(context, tokens, len(before), windows, rows)


def _tokens(tokenizer: BertTokenizer, text: str) -> Encoding:
    return tokenizer(text, add_special_tokens=False).encodings[0]


def _windows(size: int, room: int, longest: int, settings: AnswerOptions) -> list[Span]:
    """The windows of a context of so many tokens, `room` of which fit beside the question."""
    if room < 1:
        raise InputError(
            f"question: its tokens leave no room for the context in a window of {longest}",
            "a larger max_seq_len, or a smaller max_question_len",
        )
    google, stride = settings.decoding == "google", settings.doc_stride
    if stride is None:
        stride = min(longest // 2, 128)
        if stride >= room:
            stride = max(room // 2, 1) if google else room // 2
    if google:
        if stride < 1:
            raise InputError(f"doc_stride: expected at least 1, got {stride}")
        return spans_of(size, room, min(stride, room))
    if stride >= room:
        raise InputError(f"doc_stride: expected less than {room}, the tokens of a window, got {stride}")
    return spans_of(size, room, room - stride)


def _logits(out: ModelOutput, i: int, length: int) -> Array:
    return np.stack([out.start_logits[i, :length], out.end_logits[i, :length]], axis=1)


def _examples(question: Any, context: Any) -> Any:
    """Question and context, or lists of them -> an input, or a list of inputs."""
    if question is None or context is None:
        raise InputError(f"expected question and context, got only the {'context' if question is None else 'question'}")
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    number = len(context) if isinstance(question, str) else len(question)
    questions, contexts = ([x] * number if isinstance(x, str) else list(x) for x in (question, context))
    if len(questions) != len(contexts):
        raise InputError(f"expected as many contexts as questions, got {len(questions)} and {len(contexts)}")
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]
