"""Folders as sentence-transformers saves them, and what their files say about making a vector of a text.

    modules.json                        which modules follow one another, and their folders
    sentence_bert_config.json           beside the encoder: tokens read of a text, lower-casing before the tokenizer
    1_Pooling/config.json               how to pool
    config_sentence_transformers.json   the prompt that is put before every text

A setting that changes the vectors is followed or refused, never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, LoadError
from ..formats.atomic import write_atomic
from ..formats.files import quote
from ..formats.jsonfile import read_json, read_json_list
from ..models.config import BertConfig

__all__ = ["read_folder", "write_folder"]

_KINDS = ("Transformer", "Pooling", "Normalize")
_FOLDERS = "1_Pooling", "2_Normalize"
_MODES = {"cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len"}
_FLAGS = {  # in the order in which several stand side by side
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
_EXPECTED = {bool: "true or false", int: "an integer", str: "a string", dict: "an object"}


def read_folder(path: Path) -> tuple[Path, dict[str, Any]]:
    """-> the folder of the encoder and its tokenizer, and the arguments of SentenceEncoder that the files give.

    A folder without these files is a plain BERT folder, and gives none. A file of weights or the prefix of a TensorFlow
    checkpoint stands for itself, and the files beside it count. Raises LoadError for what is malformed, does
    not fit the encoder's config.json, or is not implemented.
    """
    folder = path if path.is_dir() else path.parent
    modules = _modules(folder / "modules.json")
    inside = modules.get("Transformer", "")
    if inside and not path.is_dir():
        raise LoadError(
            f"{folder / 'modules.json'}: the encoder is in {quote(inside)}, not in {path}", "give the folder"
        )
    body = folder / inside if path.is_dir() else path
    config = BertConfig.from_pretrained(body)
    options = _reading(folder / inside / "sentence_bert_config.json", config.max_position_embeddings)
    options["prompt"] = _prompt(folder / "config_sentence_transformers.json")
    options["normalize"] = "Normalize" in modules
    if "Pooling" in modules:
        options["pooling"] = _pooling(
            folder / modules["Pooling"] / "config.json", config.hidden_size, options["prompt"]
        )
    return body, options


def write_folder(
    folder: Path,
    hidden_size: int,
    pooling: Sequence[str],
    normalize: bool,
    max_length: int,
    lower_case: bool,
    prompt: str,
) -> None:
    """Write the files of these settings beside an encoder, as `read_folder` and sentence-transformers read them.

    InputError for an order of several poolings that the files cannot say.
    """
    flags = {key: name in pooling for key, name in _FLAGS.items()}
    order = [name for key, name in _FLAGS.items() if flags[key]]
    if list(pooling) != order:
        raise InputError(f"pooling: expected the order {', '.join(order)}, which files can say, got {list(pooling)}")
    modules = list(zip(_KINDS, ("", *_FOLDERS), strict=True))[: 3 if normalize else 2]
    contents: dict[str, Any] = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": lower_case},
        f"{_FOLDERS[0]}/config.json": {"word_embedding_dimension": hidden_size, **flags, "include_prompt": True},
        "config_sentence_transformers.json": {
            "prompts": {"default": prompt} if prompt else {},
            "default_prompt_name": "default" if prompt else None,
            "similarity_fn_name": "cosine",
        },
    }
    for _, path in modules[1:]:
        (folder / path).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomic(folder / name, (json.dumps(content, indent=2) + "\n").encode())


def _modules(path: Path) -> dict[str, str]:
    """Kind -> sub-folder; empty where there is no such file."""
    if not path.is_file():
        return {}
    modules = []
    for entry in read_json_list(path):
        if not isinstance(entry, dict) or not {"type", "path"} <= set(entry):
            raise LoadError(f'{path}: expected entries with "type" and "path", got {quote(entry)}')
        kind, place = str(entry["type"]).rpartition(".")[2], entry["path"]
        if kind not in _KINDS:
            raise LoadError(f"{path}: module {entry['type']} is not implemented; there are {', '.join(_KINDS)}")
        if not isinstance(place, str) or Path(place).name != place or place == "..":
            raise LoadError(f"{path}: expected the name of a sub-folder as path of {kind}, got {quote(place)}")
        modules.append((kind, place))
    kinds = [kind for kind, _ in modules]
    if kinds[:1] != ["Transformer"] or kinds != [kind for kind in _KINDS if kind in kinds]:
        raise LoadError(f"{path}: expected Transformer, then at most Pooling, then Normalize, got {', '.join(kinds)}")
    return dict(modules)


def _reading(path: Path, positions: int) -> dict[str, Any]:
    values = read_json(path) if path.is_file() else {}
    longest = _typed(values, "max_seq_length", int, path, None)
    if longest is not None and not 3 <= longest <= positions:
        raise LoadError(f"{path}: max_seq_length: expected 3 to {positions}, the model's positions, got {longest}")
    return {"max_length": longest, "lower_case": _typed(values, "do_lower_case", bool, path, False)}


def _prompt(path: Path) -> str:
    values = read_json(path) if path.is_file() else {}
    name = _typed(values, "default_prompt_name", str, path, None)
    if name is None:
        return ""
    prompts = _typed(values, "prompts", dict, path, {})
    if name not in prompts:
        raise LoadError(f"{path}: default_prompt_name: expected a name among prompts, got {quote(name)}")
    return str(_typed(prompts, name, str, path, ""))


def _pooling(path: Path, hidden_size: int, prompt: str) -> list[str]:
    values = read_json(path)
    for name in ("word_embedding_dimension", "embedding_dimension"):
        if values.get(name, hidden_size) != hidden_size:
            raise LoadError(f"{path}: {name}: expected {hidden_size}, the model's, got {quote(values[name])}")
    if prompt and not _typed(values, "include_prompt", bool, path, True):
        raise LoadError(f"{path}: include_prompt: pooling without the prompt {quote(prompt)} is not implemented")
    if "pooling_mode" in values:  # newer releases: one name, or several in their order
        modes = values["pooling_mode"]
        names = modes if isinstance(modes, list) and modes else [modes]
        unknown = [quote(name) for name in names if not isinstance(name, str) or name not in _MODES]
        if unknown:
            raise LoadError(f"{path}: pooling_mode: {', '.join(unknown)} is not implemented")
        return [_MODES[name] for name in names]
    on = [key for key in values if key.startswith("pooling_mode_") and _typed(values, key, bool, path, False)]
    if unknown := [key for key in on if key not in _FLAGS]:
        raise LoadError(f"{path}: {', '.join(unknown)} is not implemented")
    if not on:
        raise LoadError(f"{path}: expected one of {', '.join(_FLAGS)} to be true, got none")
    return [name for key, name in _FLAGS.items() if key in on]


def _typed(values: Mapping[str, Any], name: str, kind: type, path: Path, default: Any) -> Any:
    """values[name], or the default where it is not given; LoadError where it is of another kind."""
    value = values.get(name, default)
    if value is default or type(value) is kind:
        return value
    raise LoadError(f"{path}: {name}: expected {_EXPECTED[kind]}, got {quote(value)}")
