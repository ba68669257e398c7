"""Words into pieces of the vocabulary: greedy, longest match first, from the left.

"unaffable" → un ##aff ##able. A word that cannot be covered, or is too long, is one [UNK]: pieces are never mixed with
an unknown rest. Source: Wu et al. 2016, §4.1, in the form of google-research/bert `tokenization.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .unicode import WHITESPACE

__all__ = ["WordPiece", "clean_up", "join_pieces", "split_words"]


class WordPiece:
    """Greedy matching against one vocabulary.

    vocab: piece → id. prefix: marks a piece that continues a word. max_word: longest word tried, in characters.

    At each position at most `longest` substrings are looked up (the length of the longest piece, 18 in the English
    vocabulary), and a word has at most max_word positions. So a word costs O(max_word · longest) whatever its length,
    and a text costs time linear in its length. Without the bound on words greedy matching would be quadratic.
    """

    def __init__(self, vocab: Mapping[str, int], unk_id: int, prefix: str, max_word: int) -> None:
        self.unk_id = unk_id
        self.max_word = max_word
        self._initial = vocab
        self._inner = {piece[len(prefix) :]: number for piece, number in vocab.items() if piece.startswith(prefix)}
        self._longest = max(map(len, vocab), default=0)
        self._longest_inner = max(map(len, self._inner), default=0)

    def match(self, word: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each piece of `word`, in characters of it. An empty word has no pieces."""
        size = len(word)
        if size > self.max_word:
            return [(self.unk_id, 0, size)]
        pieces = []
        vocab, longest = self._initial, self._longest
        start = 0
        while start < size:
            for end in range(min(size, start + longest), start, -1):
                number = vocab.get(word[start:end])
                if number is not None:
                    break
            else:
                return [(self.unk_id, 0, size)]
            pieces.append((number, start, end))
            start = end
            vocab, longest = self._inner, self._longest_inner
        return pieces


def split_words(text: str, is_punctuation: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """(start, end) of each word of a normalised text: runs between white space, every punctuation mark alone."""
    start = 0
    for at, c in enumerate(text):
        alone = is_punctuation(c)
        if alone or c in WHITESPACE:
            if start < at:
                yield start, at
            if alone:
                yield at, at + 1
            start = at + 1
    if start < len(text):
        yield start, len(text)


# What decoding writes without the blank before it.
_GLUED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")


def join_pieces(pieces: Sequence[str], prefix: str) -> str:
    """Tokens as a text: a blank before each that does not continue a word, nor is glued to what is before it."""
    text = []
    for at, piece in enumerate(pieces):
        if at and piece.startswith(prefix):
            piece = piece[len(prefix) :]
        elif at:
            piece = f" {piece}"
        text.append(_glue(piece, _GLUED))
    return "".join(text)


def clean_up(text: str) -> str:
    """A decoded text without the blanks around apostrophes and before punctuation."""
    return _glue(text, (*_GLUED[:4], " ' ", *_GLUED[4:]))


def _glue(text: str, patterns: Iterable[str]) -> str:
    for pattern in patterns:
        text = text.replace(pattern, pattern.strip())
    return text
