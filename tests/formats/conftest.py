"""Builds safetensors files byte by byte, the wrong ones too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """build(header, data): header as bytes, text, or anything JSON; `length` overrides the first eight bytes."""

    def write(header: object, data: bytes = b"", *, length: int | None = None, name: str = "model.safetensors") -> Path:
        text = (
            header
            if isinstance(header, bytes)
            else (header if isinstance(header, str) else json.dumps(header)).encode()
        )
        path = tmp_path / name
        path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
        return path

    return write
