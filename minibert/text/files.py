"""Tokenizer folders: vocab.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json, added_tokens.json.

Precedence is Hugging Face's: the vocabulary from tokenizer.json if there is one, else from vocab.txt; the config's
do_lower_case, strip_accents and tokenize_chinese_chars win over the normalizer in tokenizer.json. No path named inside
a file is ever opened: a config must not be able to choose what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..errors import LoadError, NotFound
from ..formats.files import impostor, open_regular
from ..formats.jsonfile import read_json
from .added import AddedToken
from .profiles import Profile
from .unicode import SURROGATE

__all__ = ["LARGEST_ID", "NAMED_TOKENS", "Saved", "check_vocab", "read"]

NAMED_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LARGEST_FILE = 256 << 20  # bytes; the largest published one, with 500 000 pieces, has 20 MiB
LARGEST_ID = (1 << 31) - 1


@dataclass
class Saved:
    """What a folder says, unset fields left out of `options`.

    options: keyword arguments of BertTokenizer. named: unk_token and its like → text. added: (token, id or None).
    """

    vocab: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    added: list[tuple[AddedToken, int | None]] = field(default_factory=list)


def read(place: Path, profile: Profile) -> Saved:
    """A folder, or one file: tokenizer.json, or a vocabulary with one piece a line. Weights stand for their folder.

    Raises NotFound if there is no vocabulary, LoadError if a file is malformed or describes another kind of tokenizer.
    """
    if _is_weights(place):
        place = place.parent
    if place.is_file():
        if place.suffix == ".json":
            return _from_tokenizer_json(place)
        return Saved(_read_vocab(place, profile))
    if not place.is_dir():
        raise NotFound(f"{place}: no such tokenizer folder or file")
    if (place / "tokenizer.json").is_file():
        saved = _from_tokenizer_json(place / "tokenizer.json")
    elif (place / "vocab.txt").is_file():
        saved = Saved(_read_vocab(place / "vocab.txt", profile))
    else:
        raise NotFound(
            f"{place}: expected a vocabulary, vocab.txt or tokenizer.json; there is neither",
            "vocab.txt has one piece a line and comes with every published BERT",
        )
    for name, take in (
        ("added_tokens.json", _take_added),
        ("special_tokens_map.json", _take_named),
        ("tokenizer_config.json", _take_config),
    ):
        if (place / name).is_file():
            take(saved, read_json(place / name), place / name)
    return saved


def _is_weights(place: Path) -> bool:
    """Is it the prefix of a TensorFlow checkpoint, an index of shards, or a file of weights of any format?"""
    if place.name.endswith(".index.json"):
        return True
    if place.is_dir() or place.suffix in (".txt", ".json"):
        return False
    from ..formats.opening import identify, tensorflow_index  # which need NumPy; a tokenizer does not

    if not place.is_file():
        return tensorflow_index(place) is not None
    try:
        identify(place)
    except LoadError:
        return False
    return True


def check_vocab(vocab: Mapping[str, int], where: str) -> None:
    """Raises LoadError unless `vocab` maps pieces to distinct ids from 0 to 2³¹ - 1."""
    if not isinstance(vocab, Mapping) or not vocab:
        got = f"an empty {type(vocab).__name__}" if isinstance(vocab, Mapping) else repr(vocab)[:80]
        raise LoadError(f"{where}: expected pieces and their ids, got {got}")
    for piece, number in vocab.items():
        if not isinstance(piece, str) or type(number) is not int or not 0 <= number <= LARGEST_ID:
            raise LoadError(f"{where}: expected a piece and its id, 0 to 2^31 - 1, got {piece!r}: {number!r}")
        if not piece.isascii() and SURROGATE.search(piece):
            raise LoadError(f"{where}: piece {piece!r}: a lone surrogate is no text, and could not be written back")
    if len(set(vocab.values())) < len(vocab):
        raise LoadError(f"{where}: {len(vocab)} pieces have only {len(set(vocab.values()))} different ids")


def _read_vocab(path: Path, profile: Profile) -> dict[str, int]:
    """One piece a line, the id is the line number from 0; of equal lines the last counts.

    Lines end with "\\n" and nothing else: the Chinese vocabulary has U+2028 as a piece, at which `str.splitlines`
    would break a line and shift every id from 343 on.
    """
    lines = _read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    strip = str.strip if profile.vocab_strip_start else str.rstrip
    vocab = {strip(line, profile.vocab_strip): number for number, line in enumerate(lines)}
    check_vocab(vocab, str(path))
    return vocab


def _from_tokenizer_json(path: Path) -> Saved:
    data = read_json(path, _LARGEST_FILE)
    model = _section(data, "model", path, "WordPiece")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        _wrong(path, "model.vocab", "an object of pieces and ids", vocab)
    check_vocab(vocab, f"{path}: model.vocab")
    normalizer = _section(data, "normalizer", path, "BertNormalizer")
    _section(data, "pre_tokenizer", path, "BertPreTokenizer")
    options = {
        "clean_text": _typed(normalizer, "clean_text", bool, path, True),
        "do_lower_case": _typed(normalizer, "lowercase", bool, path, True),
        "tokenize_chinese_chars": _typed(normalizer, "handle_chinese_chars", bool, path, True),
        "strip_accents": _typed(normalizer, "strip_accents", (bool, type(None)), path, None),
        "continuing_subword_prefix": _typed(model, "continuing_subword_prefix", str, path, "##"),
        "max_input_chars_per_word": _typed(model, "max_input_chars_per_word", int, path, 100),
    }
    saved = Saved(vocab, options, {"unk_token": _typed(model, "unk_token", str, path, "[UNK]")})
    for entry in _typed(data, "added_tokens", list, path, []):
        if not isinstance(entry, dict):
            _wrong(path, "added_tokens", "objects with content and id", entry)
        saved.added.append((_added_token(entry, path), _typed(entry, "id", int, path, None)))
    _check_template(data.get("post_processor"), path)
    return saved


def _section(data: Mapping[str, Any], name: str, path: Path, kind: str) -> dict[str, Any]:
    """A part of tokenizer.json, which must be of that kind. (Older files give the model no type.)"""
    found = data.get(name)
    if isinstance(found, dict) and found.get("type", kind if name == "model" else None) == kind:
        return found
    got = found.get("type") if isinstance(found, dict) else found
    raise LoadError(
        f"{path}: {name}: expected {kind}, got {got!r}", "this is not a BERT tokenizer, and minibert has only BERT's"
    )


def _check_template(processor: Any, path: Path) -> None:
    """Refuses a post_processor that does not make [CLS] A [SEP] B [SEP]."""
    if processor is None:
        return
    kind = processor.get("type") if isinstance(processor, dict) else processor
    if kind == "BertProcessing":
        return
    if kind == "TemplateProcessing":
        parts = processor.get("pair")
        if isinstance(parts, list) and all(isinstance(part, dict) and part for part in parts):
            shape = [(key, value.get("type_id")) for part in parts for key, value in part.items() if value]
            special, text = "SpecialToken", "Sequence"
            if shape == [(special, 0), (text, 0), (special, 0), (text, 1), (special, 1)]:
                return
        kind = "TemplateProcessing of another shape"
    raise LoadError(f"{path}: post_processor: expected BERT's template [CLS] A [SEP] B [SEP], got {kind!r}")


def _take_added(saved: Saved, data: dict[str, Any], path: Path) -> None:
    """added_tokens.json: {text: id}; such tokens are found in normalised form."""
    known = {token.content for token, _ in saved.added}
    for content in data:
        if content not in known:
            saved.added.append((AddedToken(content, normalized=True), _typed(data, content, int, path, None)))


def _take_named(saved: Saved, data: dict[str, Any], path: Path) -> None:
    """The named special tokens, as text or as objects; and the additional ones."""
    for name in NAMED_TOKENS:
        if data.get(name) is not None:
            token = _special_token(data[name], f"{path}: {name}", path)
            saved.named[name] = token.content
            _replace_added(saved, token, None)
    extra = data.get("additional_special_tokens") or data.get("extra_special_tokens") or []
    for entry in extra if isinstance(extra, list) else []:
        _replace_added(saved, _special_token(entry, f"{path}: additional_special_tokens", path), None)


def _take_config(saved: Saved, data: dict[str, Any], path: Path) -> None:
    kind = data.get("tokenizer_class")
    if isinstance(kind, str) and "Japanese" in kind:
        raise LoadError(
            f"{path}: tokenizer_class: expected a BERT tokenizer, got {kind!r}, which splits words otherwise"
        )
    _take_named(saved, data, path)
    decoder = _typed(data, "added_tokens_decoder", dict, path, {})
    for number, entry in decoder.items():
        if not (isinstance(number, str) and number.isascii() and number.isdigit() and isinstance(entry, dict)):
            _wrong(path, "added_tokens_decoder", "ids with token objects", {number: entry})
        _replace_added(saved, _added_token(entry, path), int(number))
    for name in ("do_lower_case", "tokenize_chinese_chars"):
        if name in data:
            saved.options[name] = _typed(data, name, bool, path, True)
    if "strip_accents" in data:
        saved.options["strip_accents"] = _typed(data, "strip_accents", (bool, type(None)), path, None)
    longest = data.get("model_max_length")
    if isinstance(longest, (int, float)) and not isinstance(longest, bool) and 0 < longest < float("inf"):
        saved.options["model_max_length"] = int(longest)
    for name in ("padding_side", "truncation_side"):
        if data.get(name) in ("left", "right"):
            saved.options[name] = data[name]
    if isinstance(data.get("minibert_profile"), str):
        saved.options["profile"] = data["minibert_profile"]


def _replace_added(saved: Saved, token: AddedToken, number: int | None) -> None:
    for at, (other, known) in enumerate(saved.added):
        if other.content == token.content:
            saved.added[at] = (token if number is not None else other, known if number is None else number)
            return
    saved.added.append((token, number))


def _special_token(entry: Any, where: str, path: Path) -> AddedToken:
    if isinstance(entry, str):
        return AddedToken(entry, special=True)
    if isinstance(entry, dict):
        return _added_token({"special": True, "normalized": False, **entry}, path)
    raise LoadError(f"{where}: expected a token, got {entry!r}")


def _added_token(entry: Mapping[str, Any], path: Path) -> AddedToken:
    content = _typed(entry, "content", str, path, "")
    if not content:
        _wrong(path, "content of an added token", "a text", entry.get("content"))
    special = _typed(entry, "special", bool, path, False)
    return AddedToken(
        content,
        single_word=_typed(entry, "single_word", bool, path, False),
        lstrip=_typed(entry, "lstrip", bool, path, False),
        rstrip=_typed(entry, "rstrip", bool, path, False),
        normalized=_typed(entry, "normalized", bool, path, not special),
        special=special,
    )


def _typed(data: Mapping[str, Any], name: str, kind: Any, path: Path, default: Any) -> Any:
    """data[name], or the default where it is not given; LoadError where it is of another kind."""
    value = data.get(name, default)
    if value is default or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    names = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
    return _wrong(path, name, names, value)


def _wrong(path: Path, name: str, expected: str, got: object) -> NoReturn:
    raise LoadError(f"{path}: {name}: expected {expected}, got {repr(got)[:80]}")


def _read_text(path: Path) -> str:
    with open_regular(path) as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise LoadError(f"{path}: expected a vocabulary of at most {_LARGEST_FILE} bytes, got more")
    if verdict := impostor(data):
        raise LoadError(f"{path}: expected a vocabulary, got {verdict[0]}", verdict[1])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoadError(f"{path}: expected UTF-8 text, byte {error.start} is 0x{data[error.start]:02x}") from None
