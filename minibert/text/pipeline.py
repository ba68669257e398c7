"""One text to its tokens, with the place and the word of each; before special tokens, truncation and padding."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from .added import AddedTokens
from .normalizer import Aligned, Normalizer
from .unicode import SURROGATE
from .wordpiece import WordPiece, split_words

__all__ = ["Pipeline", "Tokens"]

_CACHED_CHUNKS = 1 << 16  # more than ordinary prose has different words
_CACHED_LENGTH = 64  # characters; together at most some tens of megabytes


class Tokens(NamedTuple):
    """Columns of equal length: id, first character, one past the last character (of the original text), word index."""

    ids: array[int]
    starts: array[int]
    ends: array[int]
    words: array[int]

    @classmethod
    def empty(cls) -> Tokens:
        return cls(array("i"), array("i"), array("i"), array("i"))


class _Chunk(NamedTuple):
    ids: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    words: tuple[int, ...]
    n_words: int


class Pipeline:
    """Added tokens, normalisation, words, pieces, in that order.

    The text is cut into chunks that cannot influence one another, and what a short chunk becomes is remembered, in a
    bounded table: language repeats its words. Safe to use from several threads.
    """

    def __init__(self, normalizer: Normalizer, wordpiece: WordPiece, added: AddedTokens) -> None:
        self._normalizer = normalizer
        self._wordpiece = wordpiece
        self._added = added
        self._is_punctuation = normalizer.profile.unicode.is_punctuation
        self._chunks = normalizer.chunks
        self._cache: dict[str, _Chunk] = {}

    def tokens(self, text: str, *, split_special_tokens: bool = False) -> Tokens:
        """The tokens of `text`. A lone surrogate counts as U+FFFD, which the cleaner drops; offsets stay right.

        split_special_tokens: "[MASK]" is [ mask ] like any other word.
        """
        if not text.isascii():
            text = SURROGATE.sub("\ufffd", text)
        out = Tokens.empty()
        if not self._normalizer.profile.special_in_text:
            self._plain(text, 0, len(text), 0, out)
            return out
        word = 0
        for start, end, number in self._added.literal.split(text, split_special_tokens):
            if number is None:
                word = self._searched(text, start, end, word, out, split_special_tokens)
            else:
                word = _put(out, _Chunk((number,), (0,), (end - start,), (0,), 1), start, word)
        return out

    def ids(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are ordinary, without the places, which cost most of the time."""
        if not self._added.all_special:  # others are to be found
            return self.tokens(text, split_special_tokens=True).ids.tolist()
        if not text.isascii():
            text = SURROGATE.sub("\ufffd", text)
        ids: list[int] = []
        extend, get = ids.extend, self._cache.get
        for key in self._chunks.findall(text):
            extend((get(key) or self._remember(key)).ids)
        return ids

    def pretokenized(self, words: list[str], *, split_special_tokens: bool = False) -> Tokens:
        """The tokens of a text that comes as words: word indices are theirs, offsets count within each word."""
        out = Tokens.empty()
        for index, word in enumerate(words):
            one = self.tokens(word, split_special_tokens=split_special_tokens)
            for column, more in zip(out, one, strict=True):
                column.extend(more)
            out.words[len(out.words) - len(one.words) :] = array("i", [index]) * len(one.words)
        return out

    def _searched(self, text: str, start: int, end: int, word: int, out: Tokens, skip_special: bool) -> int:
        """text[start:end], added tokens that are recognised in normalised form taken out first."""
        if self._added.normalized:
            aligned = self._normalizer(text[start:end])
            stretches = list(self._added.normalized.split(aligned.text, skip_special))
            if any(number is not None for _, _, number in stretches):
                for first, last, number in stretches:
                    part = aligned.part(first, last)
                    if number is None:
                        chunk = self._pieces(part)
                    else:
                        chunk = _Chunk((number,), (part.starts[0],), (part.ends[-1],), (0,), 1)
                    word = _put(out, chunk, start, word)
                return word
        return self._plain(text, start, end, word, out)

    def _plain(self, text: str, start: int, end: int, word: int, out: Tokens) -> int:
        """text[start:end], no added tokens in it. Returns the index of the next word."""
        cache = self._cache
        ids, starts, ends, words = out
        for match in self._chunks.finditer(text, start, end):
            key = match.group()
            chunk = cache.get(key) or self._remember(key)
            at = match.start()
            if len(chunk.ids) == 1:  # most words; `_put` unrolled, for this is the loop that time is spent in
                ids.append(chunk.ids[0])
                starts.append(at + chunk.starts[0])
                ends.append(at + chunk.ends[0])
                words.append(word)
                word += 1
            else:
                word = _put(out, chunk, at, word)
        return word

    def _remember(self, key: str) -> _Chunk:
        chunk = self._special(key) or self._pieces(self._normalizer(key))
        if len(key) <= _CACHED_LENGTH:
            if len(self._cache) >= _CACHED_CHUNKS:
                self._cache.clear()
            self._cache[key] = chunk
        return chunk

    def _special(self, key: str) -> _Chunk | None:
        """One profile looks for special tokens once more among the cleaned words."""
        if not self._normalizer.profile.special_if_clean:
            return None
        aligned = self._normalizer.clean(Aligned.identity(key))
        found = self._added.special.get(aligned.text)
        return None if found is None else _Chunk((found,), (aligned.starts[0],), (aligned.ends[-1],), (0,), 1)

    def _pieces(self, aligned: Aligned) -> _Chunk:
        ids, starts, ends, words = Tokens.empty()
        count = 0
        for start, end in split_words(aligned.text, self._is_punctuation):
            for number, first, last in self._wordpiece.match(aligned.text[start:end]):
                ids.append(number)
                starts.append(aligned.starts[start + first])
                ends.append(aligned.ends[start + last - 1])
                words.append(count)
            count += 1
        return _Chunk(tuple(ids), tuple(starts), tuple(ends), tuple(words), count)


def _put(out: Tokens, chunk: _Chunk, at: int, word: int) -> int:
    out.ids.extend(chunk.ids)
    out.starts.extend([at + start for start in chunk.starts])
    out.ends.extend([at + end for end in chunk.ends])
    out.words.extend([word + index for index in chunk.words])
    return word + chunk.n_words
