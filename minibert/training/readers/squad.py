"""SQuAD's JSON, 1.1 and 2.0 -> questions about a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import LoadError
from ...formats.files import quote
from ...formats.jsonfile import parse_json_object
from .files import PathLike, read_text

__all__ = ["Answer", "QuestionData", "QuestionExample", "read_squad"]

_KINDS = {dict: "an object", list: "a list", str: "a text", int: "an integer", bool: "true or false"}


class Answer(NamedTuple):
    """context[start : start + len(text)] is `text`; start is None if the file says a place where it is not."""

    text: str
    start: int | None


class QuestionExample(NamedTuple):
    """Any of the answers is right. None of them: the context does not answer it, or the file does not tell."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    is_impossible: bool
    title: str


class QuestionData(NamedTuple):
    """problems: what is wrong with the file and was read all the same, one message each."""

    examples: list[QuestionExample]
    problems: tuple[str, ...]


def read_squad(path: PathLike, strict: bool = True) -> QuestionData:
    """One example a question, in the file's order. In 1.1 every question has an answer: is_impossible is False.

    Two faults raise LoadError where `strict`, else are listed in `problems`:
    - an answer that is not in the context where answer_start says, or is empty. Its start becomes None: it can be
      scored against, not trained on
    - a question that is_impossible and has answers. They are left out

    Anything else that is not as it should be, an id that comes twice included, raises LoadError with its place.
    """
    examples: list[QuestionExample] = []
    problems: list[str] = []
    seen: set[str] = set()

    def fault(message: str) -> None:
        if strict:
            raise LoadError(message, "strict=False reads on, and lists such faults")
        problems.append(message)

    file = parse_json_object(read_text(path).encode(), str(path))
    for article_place, article in _items(file, "data", f"{path}: "):
        title = _field(article, "title", str, article_place, "")
        for paragraph_place, paragraph in _items(article, "paragraphs", f"{article_place}."):
            context = _field(paragraph, "context", str, paragraph_place)
            for place, question in _items(paragraph, "qas", f"{paragraph_place}."):
                key = _field(question, "id", str, place)
                if key in seen:
                    raise LoadError(f"{place}: expected an id of its own, got {quote(key)} once more")
                seen.add(key)
                where = f"{place} ({quote(key)})"
                impossible = _field(question, "is_impossible", bool, where, False)
                answers = _answers(question, context, where, fault) if "answers" in question else []
                if impossible and answers:
                    fault(f"{where}: expected no answers, as it is_impossible, got {len(answers)}")
                    answers = []
                text = _field(question, "question", str, where)
                examples.append(QuestionExample(key, text, context, tuple(answers), impossible, title))
    if not examples:
        raise LoadError(f"{path}: expected questions, got none")
    return QuestionData(examples, tuple(problems))


def _answers(question: Any, context: str, where: str, fault: Callable[[str], None]) -> list[Answer]:
    answers = []
    for place, answer in _items(question, "answers", f"{where}."):
        text, start = _field(answer, "text", str, place), _field(answer, "answer_start", int, place)
        if not text or start < 0 or not context.startswith(text, start):
            there = quote(context[start : start + len(text)] if start >= 0 else "")
            fault(f"{place}: expected {quote(text)} at answer_start {start} of the context, got {there}")
            answers.append(Answer(text, None))
        else:
            answers.append(Answer(text, start))
    return answers


def _items(owner: Any, key: str, before: str) -> list[tuple[str, Any]]:
    """-> (place, item) of the list at `key`, objects all."""
    items = _field(owner, key, list, before.rstrip(":. "))
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise LoadError(f"{before}{key}[{i}]: expected an object, got {quote(item)}")
    return [(f"{before}{key}[{i}]", item) for i, item in enumerate(items)]


def _field(owner: dict[str, Any], key: str, kind: type, where: str, default: Any = None) -> Any:
    value = owner.get(key, default)
    if type(value) is not kind:  # true is an int of Python's
        got = quote(value) if key in owner else f"no such key; there are {', '.join(map(quote, owner)) or 'none'}"
        raise LoadError(f"{where}: {key}: expected {_KINDS[kind]}, got {got}")
    return value
