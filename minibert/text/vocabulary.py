"""Tokens and ids: the vocabulary, the special tokens by name, added tokens, and ids back to text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError, LoadError
from .added import AddedToken
from .files import LARGEST_ID, check_vocab
from .unicode import SURROGATE
from .wordpiece import clean_up, join_pieces

__all__ = ["Vocabulary"]


class Vocabulary:
    """Which token has which id.

    vocab: piece → id, or the pieces in the order of their ids. named: unk_token, cls_token, … → their text, of which
    those two and sep_token must exist. added: tokens found in texts; one without an id that the vocabulary lacks gets
    the next. prefix: marks pieces that continue a word. Raises LoadError where these contradict one another.
    """

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str],
        named: Mapping[str, str],
        added: Iterable[AddedToken | str | tuple[AddedToken, int | None]],
        prefix: str,
    ) -> None:
        if isinstance(vocab, (list, tuple)):
            vocab = {piece: number for number, piece in enumerate(vocab)}
        if not isinstance(vocab, Mapping):
            raise InputError(
                f"vocab: expected pieces and their ids, got {type(vocab).__name__}",
                "BertTokenizer.from_pretrained(path) reads a vocabulary from a file or folder",
            )
        check_vocab(vocab, "vocab")
        self._vocab = dict(vocab)
        self._ids = dict(vocab)
        self._by_id = {number: piece for piece, number in vocab.items()}
        self._next = max(self._by_id) + 1
        self._prefix = prefix
        self._added: dict[str, tuple[AddedToken, int]] = {}
        for item in added:
            token, number = item if isinstance(item, tuple) else (item, None)
            self._add(AddedToken(token, normalized=True) if isinstance(token, str) else token, number)
        for name in ("unk_token", "cls_token", "sep_token"):
            if named[name] not in self._ids:
                raise LoadError(
                    f"vocab: {name} {named[name]!r} is not among its {len(vocab)} pieces",
                    "name the vocabulary's own special tokens, or check that it is a BERT vocabulary",
                )
        self._named = {name: token for name, token in named.items() if token in self._ids}
        for content in self._named.values():
            if content not in self._added:
                self._add(AddedToken(content, special=True), None)

    def _add(self, token: AddedToken, number: int | None) -> None:
        if not token.content or SURROGATE.search(token.content):
            raise LoadError(f"added token {token.content!r}: expected a text without lone surrogates, and not empty")
        known = self._ids.get(token.content)
        if number is None:
            number = self._next if known is None else known
        if not 0 <= number <= LARGEST_ID:
            raise LoadError(f"added token {token.content!r}: expected an id from 0 to 2^31 - 1, got {number}")
        if known not in (None, number):
            raise LoadError(f"added token {token.content!r}: expected {known}, its id in the vocabulary, got {number}")
        if self._by_id.get(number, token.content) != token.content:
            raise LoadError(f"added token {token.content!r}: its id {number} is that of {self._by_id[number]!r}")
        self._ids[token.content] = number
        self._by_id[number] = token.content
        self._next = max(self._next, number + 1)
        self._added[token.content] = (token, number)

    def _changed(self) -> None:
        """Called when tokens were added, for whoever keeps something built from them."""

    def _to_tokens(self, ids: list[int]) -> list[str | None]:
        return list(map(self._by_id.get, ids))

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> Any:
        """The text of one row of ids (or of one id), or a list of texts for a list of rows.

        Case, accents and white space of the original are gone. As in the reference, the blank before . ? ! , n't 'm
        's 've 're goes wherever one of these begins a token; clean_up_tokenization_spaces also joins what spans
        tokens, as in "don ' t". Ids that no token has are left out.
        """
        rows = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        if isinstance(rows, (list, tuple)) and rows and not isinstance(rows[0], int):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]
        found = self.convert_ids_to_tokens([rows] if isinstance(rows, int) else rows, skip_special_tokens)
        text = join_pieces([token for token in found if token is not None], self._prefix)
        return clean_up(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> list[str]:
        """`decode` for each row."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of many; None where there is none."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        if isinstance(ids, int):
            return self._to_tokens([ids])[0]
        if not isinstance(ids, (list, tuple)) or not all(isinstance(number, int) for number in ids):
            raise InputError(f"ids: expected integers, got {repr(ids)[:80]}")
        skip = set(self.all_special_ids) if skip_special_tokens else ()
        return self._to_tokens([number for number in ids if number not in skip])

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens as a text, as `decode` joins them."""
        return join_pieces(tokens, self._prefix)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or of each of many; the id of unk_token where there is none."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self._ids[self._named["unk_token"]])
        if not isinstance(tokens, (list, tuple)) or not all(isinstance(token, str) for token in tokens):
            raise InputError(f"tokens: expected strings, got {repr(tokens)[:80]}")
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @property
    def vocab_size(self) -> int:
        """Pieces of the vocabulary, added tokens not counted."""
        return len(self._vocab)

    def __len__(self) -> int:
        return len(self._ids)

    def get_vocab(self) -> dict[str, int]:
        """Every token, added ones included, and its id."""
        return dict(self._ids)

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """More tokens to find in texts; returns how many were new. (The model's embeddings need as many more rows.)"""
        before = len(self._ids)
        for token in [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens:
            if isinstance(token, str):
                token = AddedToken(token, normalized=not special_tokens, special=special_tokens)
            self._add(token, None)
        self._changed()
        return len(self._ids) - before

    @property
    def continuing_subword_prefix(self) -> str:
        """What marks a piece that continues a word."""
        return self._prefix

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """unk_token, sep_token, … → the token, as far as the vocabulary has them."""
        return dict(self._named)

    @property
    def all_special_tokens(self) -> list[str]:
        """The named special tokens, then the other added ones that are special."""
        special = [token.content for token, _ in self._added.values() if token.special]
        return list(dict.fromkeys([*self._named.values(), *special]))

    @property
    def all_special_ids(self) -> list[int]:
        return [self._ids[token] for token in self.all_special_tokens]

    @property
    def unk_token(self) -> str:
        return self._named["unk_token"]

    @property
    def unk_token_id(self) -> int:
        return self._ids[self._named["unk_token"]]

    @property
    def cls_token(self) -> str:
        return self._named["cls_token"]

    @property
    def cls_token_id(self) -> int:
        return self._ids[self._named["cls_token"]]

    @property
    def sep_token(self) -> str:
        return self._named["sep_token"]

    @property
    def sep_token_id(self) -> int:
        return self._ids[self._named["sep_token"]]

    @property
    def pad_token(self) -> str | None:
        return self._named.get("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._ids[self._named["pad_token"]] if "pad_token" in self._named else None

    @property
    def mask_token(self) -> str | None:
        return self._named.get("mask_token")

    @property
    def mask_token_id(self) -> int | None:
        return self._ids[self._named["mask_token"]] if "mask_token" in self._named else None
