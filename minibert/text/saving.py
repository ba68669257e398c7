"""Writes a tokenizer folder that minibert and Hugging Face transformers both read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..formats.atomic import write_atomic
from .added import AddedToken

__all__ = ["tokenizer_json", "write"]


def write(
    directory: Path,
    vocab: Mapping[str, int],
    config: Mapping[str, Any],
    named: Mapping[str, str],
    full: Mapping[str, Any],
) -> list[Path]:
    """Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and vocab.txt. Returns what was written.

    vocab.txt can only say "the id is the line number": it is left out where ids have gaps or a piece would not survive
    being a line, and tokenizer.json, which takes precedence in any case, has the whole truth. Each file is replaced in
    one step, so that an interrupted write leaves the old one. Raises InputError if `directory` is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: expected a folder to write the tokenizer to, got a file")
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "tokenizer.json": _dumps(full),
        "tokenizer_config.json": _dumps(config),
        "special_tokens_map.json": _dumps(named),
    }
    pieces = sorted(vocab, key=vocab.__getitem__)
    if [vocab[piece] for piece in pieces] == list(range(len(pieces))) and all(map(_is_line, pieces)):
        texts["vocab.txt"] = "".join(f"{piece}\n" for piece in pieces)
    else:
        (directory / "vocab.txt").unlink(missing_ok=True)  # one of an earlier tokenizer would contradict the rest
    for name, text in texts.items():
        write_atomic(directory / name, text.encode("utf-8"))
    return [directory / name for name in texts]


def tokenizer_json(
    vocab: Mapping[str, int],
    *,
    added: list[tuple[AddedToken, int]],
    named: Mapping[str, str],
    ids: Mapping[str, int],
    normalizer: Mapping[str, Any],
    prefix: str,
    max_word: int,
) -> dict[str, Any]:
    """The contents of tokenizer.json: the whole tokenizer in one object, in the schema of the `tokenizers` library."""
    cls, sep = named["cls_token"], named["sep_token"]

    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special(cls, 0), sequence("A", 0), special(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token.content,
                "single_word": token.single_word,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
                "normalized": token.normalized,
                "special": token.special,
            }
            for token, number in sorted(added, key=lambda item: item[1])
        ],
        "normalizer": {"type": "BertNormalizer", **normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), special(sep, 1)],
            "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (cls, sep)},
        },
        "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": named["unk_token"],
            "continuing_subword_prefix": prefix,
            "max_input_chars_per_word": max_word,
            "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])),
        },
    }


def _is_line(piece: str) -> bool:
    return bool(piece) and "\n" not in piece and piece == piece.strip()


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"
