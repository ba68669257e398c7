"""Rows of equal length: how long they become, and padding of rows that are lists already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError

__all__ = ["padded_lists", "padded_size"]


def padded_size(strategy: str, longest: int, max_length: int | None, multiple: int | None) -> int:
    """The length that rows are filled up to: 0 for no padding. Rows that are longer stay as they are."""
    if strategy == "do_not_pad":
        return 0
    size = max_length if strategy == "max_length" and max_length is not None else longest
    return size if not multiple else -(-size // multiple) * multiple


def padded_lists(
    encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    strategy: str,
    max_length: int | None,
    multiple: int | None,
    side: str,
    pad_id: int,
    attention_mask: bool,
) -> tuple[dict[str, Any], bool]:
    """Pads input_ids and the columns that go with it; other entries pass. Second: whether it was a batch.

    `encoded` is one row, a batch (rows under each name), or a list of rows as a data loader has them. A missing
    attention_mask is made. Raises InputError for anything else.
    """
    if not isinstance(encoded, Mapping):
        if not isinstance(encoded, (list, tuple)) or not all(isinstance(row, Mapping) for row in encoded):
            raise InputError(f"pad: expected a dictionary or a list of dictionaries, got {type(encoded).__name__}")
        if any(row.keys() != encoded[0].keys() for row in encoded):
            raise InputError("pad: expected rows with the same names, got " + "; ".join(map(str, map(sorted, encoded))))
        encoded = {name: [row[name] for row in encoded] for name in (encoded[0] if encoded else ("input_ids",))}
    if "input_ids" not in encoded:
        raise InputError(f"pad: expected input_ids among the names, got {', '.join(map(str, encoded)) or 'nothing'}")
    data = {name: _plain(value) for name, value in encoded.items()}
    rows = data["input_ids"]
    batched = not rows or isinstance(rows[0], list)
    if not batched:
        data = {name: [value] for name, value in data.items()}
        rows = data["input_ids"]
    if not all(isinstance(row, list) for row in rows):
        raise InputError("pad: input_ids: expected one row of ids or a list of rows")
    lengths = [len(row) for row in rows]
    if attention_mask:
        data.setdefault("attention_mask", [[1] * length for length in lengths])
    size = padded_size(strategy, max(lengths, default=0), max_length, multiple)
    fill = {"input_ids": pad_id, "attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}
    for name, value in fill.items():
        if name not in data:
            continue
        if [len(row) for row in data[name]] != lengths:
            raise InputError(f"pad: {name}: its rows are not as long as those of input_ids")
        padding = [[value] * (size - length) for length in lengths]
        pairs = zip(padding, data[name], strict=True) if side == "left" else zip(data[name], padding, strict=True)
        data[name] = [a + b for a, b in pairs]
    return (data if batched else {name: value[0] for name, value in data.items()}), batched


def _plain(value: Any) -> Any:
    """Arrays and tuples as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
