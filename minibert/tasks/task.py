"""What all tasks share: their options, one text or many, and what happens to a text that is too long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from ..errors import InputError, InputTooLong
from ..formats.files import quote
from ..models.base import BertPreTrainedModel
from ..text.tokenizer import BertTokenizer
from .batches import Row
from .vocabulary import check_vocabulary

__all__ = ["Options", "Task", "check_choice", "check_whole"]

CHUNK = 8
"""Times batch_size: what is taken from an iterator at a time."""


@dataclass(frozen=True)
class Options:
    """Options of every task.

    batch_size   tokens that the model works on at a time, as a number of texts of the model's length; of shorter texts
                 as many more share a batch as that has room for
    """

    batch_size: int = 32

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size)


class Task:
    """A model and its tokenizer, to be called with one text or many.

    Options are given here, and again in a call, where they count for that call. A text gives one result, a list a list
    of results in its order, an iterator an iterator, which reads ahead as far as a batch goes. Texts share batches,
    which changes no number beyond rounding.

    Subclasses say which class of models they need, which options they have, and `_results`.
    """

    needs: ClassVar[type[BertPreTrainedModel]]
    options_class: ClassVar[type[Options]]

    def __init__(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, **options: Any) -> None:
        if not isinstance(model, self.needs):
            raise InputError(f"model: expected a {self.needs.__name__}, got {type(model).__name__}")
        if not isinstance(tokenizer, BertTokenizer):
            raise InputError(f"tokenizer: expected a BertTokenizer, got {type(tokenizer).__name__}")
        check_vocabulary(tokenizer, model.config)
        self.model = model
        self.tokenizer = tokenizer
        self.options = self._with(self.options_class(), options)

    def __call__(self, inputs: Any = None, **options: Any) -> Any:
        """See the class for what an input is, and for the results."""
        settings = self._with(self.options, options)
        if self._is_one(inputs, settings):
            return self._results([self._checked(inputs, "text", settings)], settings)[0]
        if isinstance(inputs, Iterator):
            return self._lazily(inputs, settings)
        if isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | Mapping):
            items = [self._checked(item, f"texts[{i}]", settings) for i, item in enumerate(inputs)]
            return self._results(items, settings) if items else []
        return self._checked(inputs, "text", settings)  # which says what is wrong with it

    # ---- what subclasses define -------------------------------------------------------------------------------------

    def _results(self, items: Sequence[Any], settings: Any) -> list[Any]:
        """The results of checked inputs, of which there is at least one."""
        raise NotImplementedError

    def _is_one(self, inputs: Any, settings: Any) -> bool:
        return isinstance(inputs, str)

    def _checked(self, item: Any, where: str, settings: Any) -> Any:
        """The input in the form that `_results` takes; raises InputError."""
        if isinstance(item, str):
            return item
        hint = "decode it first: text.decode('utf-8')" if isinstance(item, bytes) else ""
        raise InputError(f"{where}: expected a string, got {type(item).__name__} {quote(item)}", hint)

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def longest(self) -> int:
        """Tokens that a row may have: the model's positions, or the tokenizer's limit where that is less."""
        return min(self.model.config.max_position_embeddings, self.tokenizer.model_max_length)

    def _room(self, settings: Options) -> int:
        """Tokens of a batch."""
        return settings.batch_size * self.longest

    def _with(self, options: Any, given: Mapping[str, Any]) -> Any:
        known = [field.name for field in dataclasses.fields(options)]
        if unknown := sorted(set(given) - set(known)):
            expected = ", ".join(sorted(known))
            raise TypeError(f"{type(self).__name__}: unexpected option {', '.join(unknown)}; expected {expected}")
        return dataclasses.replace(options, **given)

    def _lazily(self, items: Iterator[Any], settings: Any) -> Iterator[Any]:
        done = 0
        while chunk := list(islice(items, CHUNK * settings.batch_size)):
            checked = [self._checked(item, f"texts[{done + i}]", settings) for i, item in enumerate(chunk)]
            yield from self._results(checked, settings)
            done += len(chunk)

    def _rows(self, texts: Sequence[Any], truncation: bool, hint: str = "truncation=True cuts it") -> list[Row]:
        """Strings, or (text, pair) tuples, as rows. InputTooLong unless they fit or are to be cut."""
        options: dict[str, Any] = {"truncation": True, "max_length": self.longest} if truncation else {}
        encodings = self.tokenizer(list(texts), **options).encodings
        for i, encoding in enumerate(encodings):
            self._check_length(f"texts[{i}]" if len(texts) > 1 else "text", encoding.size, hint)
        return [Row(encoding.ids, encoding.type_ids) for encoding in encodings]

    def _check_length(self, where: str, size: int, hint: str) -> None:
        positions = self.model.config.max_position_embeddings
        if size > positions:
            raise InputTooLong(f"{where} has {size} tokens, the model has {positions} positions", hint)


def check_whole(name: str, value: Any, least: int = 1, optional: bool = False) -> None:
    """Raises InputError unless value is an integer of at least `least`, or None where that is allowed."""
    if (value is None and optional) or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return
    expected = f"{'None or ' if optional else ''}an integer of at least {least}"
    raise InputError(f"{name}: expected {expected}, got {value!r}")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises InputError unless value is one of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r}")
