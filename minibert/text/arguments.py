"""The arguments of a tokenizer call, checked at the door."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from ..errors import InputError
from .encoding import PADDING_STRATEGIES, TRUNCATION_STRATEGIES, Truncation
from .profiles import Profile

__all__ = ["Plan", "plan", "texts_of"]

Text: TypeAlias = "str | list[str]"  # a text, or the words of one


_NO_LIMIT = 10**20  # Hugging Face writes 10^30 where a tokenizer knows no longest row


class Plan(NamedTuple):
    """How rows are to be shortened and filled up."""

    truncation: Truncation | None
    padding: str
    padding_side: str
    max_length: int | None
    multiple: int | None


def plan(
    *,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    stride: int,
    pad_to_multiple_of: int | None,
    padding_side: str,
    truncation_side: str,
    return_tensors: str | None,
    model_max_length: int,
    profile: Profile,
) -> Plan:
    """The arguments with their defaults filled in.

    Raises InputError for a value that is not one of the choices or a length that is none.
    """
    if return_tensors not in (None, "np"):
        raise InputError(
            f"return_tensors: expected None or 'np', got {return_tensors!r}",
            "NumPy arrays go straight into minibert's models; other libraries convert them",
        )
    for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
        if side not in ("right", "left"):
            raise InputError(f"{name}: expected 'right' or 'left', got {side!r}")
    _check_length("max_length", max_length)
    _check_length("stride", stride, optional=False)
    _check_length("pad_to_multiple_of", pad_to_multiple_of)
    if truncation is None:
        truncation = max_length is not None and padding is False
    fill = _choice("padding", padding, "longest", PADDING_STRATEGIES)
    cut = _choice("truncation", truncation, "longest_first", TRUNCATION_STRATEGIES)
    if max_length is None:
        max_length = model_max_length if model_max_length < _NO_LIMIT else None
        if max_length is None:  # nothing to cut to or to fill up to
            cut = "do_not_truncate"
            fill = "do_not_pad" if fill == "max_length" else fill
    if (
        cut != "do_not_truncate"
        and fill != "do_not_pad"
        and pad_to_multiple_of
        and (max_length or 0) % pad_to_multiple_of
    ):
        raise InputError(
            f"max_length: {max_length} is not a multiple of pad_to_multiple_of {pad_to_multiple_of}, "
            "so a truncated row could not be padded"
        )
    shorten = None
    if cut != "do_not_truncate" and max_length is not None:
        shorten = Truncation(max_length, cut, stride, truncation_side, profile.odd_token_to)
    return Plan(shorten, fill, padding_side, max_length, pad_to_multiple_of)


def _choice(name: str, value: bool | str, default: str, choices: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return default if value else choices[-1]
    if value not in choices:
        raise InputError(f"{name}: expected True, False or one of {', '.join(choices)}, got {value!r}")
    return value


def _check_length(name: str, value: Any, optional: bool = True) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 0:
        raise InputError(f"{name}: expected a number of tokens, 0 or more, got {value!r}")


def texts_of(text: Any, text_pair: Any, words: bool) -> tuple[list[tuple[Text, Text | None]], bool]:
    """The texts of a call as (text, pair) couples, and whether they were given as a batch.

    words: each text is a list of words. Raises InputError for anything that is not texts.
    """
    if words:
        batched = isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    if not batched:
        first = _text(text, "text", words)
        # An empty second text of a single one is no second text: so says the reference.
        return [(first, _text(text_pair, "text_pair", words) if text_pair not in (None, "", [], ()) else None)], False
    if text_pair is None:
        return [_couple(item, f"text[{i}]", words) for i, item in enumerate(text)], True
    if not isinstance(text_pair, (list, tuple)) or len(text_pair) != len(text):
        got = f"{len(text_pair)}" if isinstance(text_pair, (list, tuple)) else f"a {type(text_pair).__name__}"
        raise InputError(f"text_pair: expected {len(text)} second texts, as many as there are texts, got {got}")
    return [
        (_text(first, f"text[{i}]", words), _text(second, f"text_pair[{i}]", words))
        for i, (first, second) in enumerate(zip(text, text_pair, strict=True))
    ], True


def _couple(item: Any, where: str, words: bool) -> tuple[Text, Text | None]:
    if isinstance(item, tuple) and len(item) == 2 and (not words or isinstance(item[0], (list, tuple))):
        return _text(item[0], where, words), _text(item[1], where, words)
    return _text(item, where, words), None


def _text(value: Any, where: str, words: bool) -> Text:
    if isinstance(value, str) and not words:
        return value
    if words and isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return list(value)
    hint = ""
    if isinstance(value, bytes):
        hint = "decode it first: text.decode('utf-8')"
    elif isinstance(value, (list, tuple)) and not words:
        hint = "lists of words need is_split_into_words=True; pairs are tuples of two texts"
    elif isinstance(value, str):
        hint = "is_split_into_words=True expects lists of words"
    expected = "a list of words" if words else "a text (str)"
    raise InputError(f"{where}: expected {expected}, got {type(value).__name__} {repr(value)[:60]}", hint)
