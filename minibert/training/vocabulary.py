"""WordPiece vocabularies from text.

The text is normalised and split into words by the rooms that the tokenizer uses (`minibert.text`), so that what is
learnt here is what `BertTokenizer` will look up. Then characters are merged into pieces, `merges` says how. The pieces
in the order of their ids, as in the published vocabularies:

    [PAD]  [unused0] …  [UNK] [CLS] [SEP] [MASK]  … [unused993]  ! " # … z  ##0 … ##z  th the ##er …

As many as 99 of the unused stand between [PAD] and [UNK], the others behind [MASK]: with 99 or more [UNK] is 100, [CLS]
101, [SEP] 102 and [MASK] 103, and with 994 the first character is 999, as in bert-base-uncased. Characters are in the
order of their code points, all of them once as they are and, but for punctuation and ideographs, which are words of
their own, once with ## before them: no word made of them becomes [UNK].

With "bpe" the pieces are those of the `tokenizers` library, but for these: it numbers ##a, ##b, … by chance, and with
them decides between equally frequent pairs; it keeps every character, however rare, up to limit_alphabet, and closes
the gap that one of the others leaves in a word; it learns from words of more than 100 characters, too. Here such words
teach nothing, as the tokenizer makes them [UNK]. tools/compare_vocabularies.py compares the two.
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFound
from ..text.lines import file_lines
from ..text.normalizer import Normalizer
from ..text.profiles import PROFILES
from ..text.unicode import SURROGATE
from ..text.wordpiece import split_words
from .merges import METHODS, PREFIX, Segmented

__all__ = ["Learnt", "count_words", "learn_vocabulary", "special_tokens", "train_vocabulary"]

PROFILE = PROFILES["hf-fast"]
FIRST_UNUSED = 99
"""That stand before [UNK]."""


@dataclass(frozen=True)
class Learnt:
    """What `learn_vocabulary` found."""

    pieces: list[str]
    """In the order of their ids."""
    merges: list[tuple[str, str]]
    """Left and right piece of every merge, in their order."""
    words: Counter[str]
    """The words of the text, as the tokenizer's normaliser leaves them, and how often each occurs."""
    characters: list[str]
    """Those that are pieces."""
    dropped: list[str]
    """The other characters, too rare, the most frequent first: a word with one of them becomes [UNK]."""


def train_vocabulary(
    texts: Iterable[str | os.PathLike[str]] | os.PathLike[str],
    size: int = 8192,
    method: str = "bpe",
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
    unused: int = 0,
    limit_alphabet: int = 1000,
    progress: bool | None = None,
) -> list[str]:
    """The pieces of a vocabulary in the order of their ids: `BertTokenizer(pieces)` takes them as they are.

        pieces = train_vocabulary([Path("corpus.txt")], 8192)

    texts           lines of text (str), files in UTF-8 (Path), or both; read once, a line at a time
    size            pieces to make, special tokens and characters included
    method          "bpe" or "likelihood", see `minibert.training.merges`
    lowercase       as do_lower_case of the tokenizer: also strips accents
    min_frequency   of a merged pair and of a character
    unused          [unused0] … to keep room for, see `special_tokens`
    limit_alphabet  characters to keep, the most frequent
    progress        a bar on stderr; None: only on a terminal

    The same text gives the same pieces, whatever the order of its lines. Warns if there is too little text for so many
    pieces. Raises NotFound for a missing file, InputError for one that is not UTF-8, for a text without words, and for
    a size that has no room for the characters.
    """
    return learn_vocabulary(
        texts,
        size,
        method,
        lowercase=lowercase,
        min_frequency=min_frequency,
        unused=unused,
        limit_alphabet=limit_alphabet,
        progress=progress,
    ).pieces


def learn_vocabulary(
    texts: Iterable[str | os.PathLike[str]] | os.PathLike[str],
    size: int = 8192,
    method: str = "bpe",
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
    unused: int = 0,
    limit_alphabet: int = 1000,
    progress: bool | None = None,
) -> Learnt:
    """`train_vocabulary` with all that it found out on the way."""
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    for name, value, least in (
        ("size", size, 1),
        ("min_frequency", min_frequency, 1),
        ("unused", unused, 0),
        ("limit_alphabet", limit_alphabet, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name}: expected an integer of at least {least}, got {value!r}")
    with _progress(progress) as advance:
        words = count_words(advance(_lines(texts), "lines", None), lowercase)
        if not words:
            raise InputError("the text has no words", "give files with text in them, or lines")
        normalizer = Normalizer(PROFILE, lowercase=lowercase)
        characters, dropped = _alphabet(words, min_frequency, limit_alphabet)
        pieces = [*special_tokens(unused), *characters]
        pieces += [PREFIX + c for c in characters if len(_words(normalizer, f"a{c}")) == 1]
        if len(pieces) > size:
            raise InputError(
                f"size: expected at least {len(pieces)}, got {size}: {len(special_tokens(unused))} special tokens and "
                f"{len(characters)} characters take that many",
                "ask for more pieces, or keep fewer characters: a higher min_frequency, a lower limit_alphabet",
            )
        alphabet = set(characters)
        text = Segmented({word: n for word, n in words.items() if _matchable(word, alphabet)}, pieces)
        room = size - len(pieces)
        found = itertools.islice(METHODS[method](text, min_frequency), room)
        merges = [(pieces[a], pieces[b]) for a, b in advance(found, "merges", room)]
    if len(pieces) < size:
        often = f"{min_frequency} times" if min_frequency > 1 else "at all"
        warnings.warn(
            f"{len(pieces)} pieces instead of {size}: no other pair of pieces occurs {often}; "
            "more text or a lower min_frequency gives more",
            stacklevel=2,
        )
    return Learnt(pieces, merges, words, characters, dropped)


def special_tokens(unused: int = 0) -> list[str]:
    """[PAD], [unused0] …, [UNK] [CLS] [SEP] [MASK] and the rest of the unused, at the published ids."""
    room = [f"[unused{i}]" for i in range(unused)]
    return ["[PAD]", *room[:FIRST_UNUSED], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *room[FIRST_UNUSED:]]


def count_words(lines: Iterable[str], lowercase: bool = True) -> Counter[str]:
    """The words of a text as the tokenizer sees them before it cuts them into pieces, and how often each occurs.

    Memory goes with the number of different words.
    """
    normalizer = Normalizer(PROFILE, lowercase=lowercase)
    cut = normalizer.chunks.findall
    chunks: Counter[str] = Counter()
    for line in lines:
        chunks.update(cut(line if line.isascii() else SURROGATE.sub("\ufffd", line)))
    words: Counter[str] = Counter()
    for chunk, times in chunks.items():
        for word in _words(normalizer, chunk):
            words[word] += times
    return words


def _words(normalizer: Normalizer, text: str) -> list[str]:
    text = normalizer(text).text
    return [text[start:end] for start, end in split_words(text, PROFILE.unicode.is_punctuation)]


def _alphabet(words: Mapping[str, int], min_frequency: int, limit: int) -> tuple[list[str], list[str]]:
    """-> (characters kept, in the order of their code points; the others, the most frequent first)."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for c in word:
            counts[c] += times
    ranked = sorted(counts, key=lambda c: (-counts[c], c))
    enough = sum(times >= min_frequency for times in counts.values())
    return sorted(ranked[: min(enough, limit)]), ranked[min(enough, limit) :]


def _matchable(word: str, characters: set[str]) -> bool:
    """Whether the tokenizer can cut up the word. Of one that becomes [UNK] nothing is to be learnt."""
    return len(word) <= PROFILE.max_word and characters.issuperset(word)


def _lines(texts: Any) -> Iterator[str]:
    if isinstance(texts, (str, bytes)):
        raise InputError(
            f"texts: expected lines or files, got one {type(texts).__name__}", "[text] for one line, Path for a file"
        )
    for item in [texts] if isinstance(texts, os.PathLike) else texts:
        if isinstance(item, str):
            yield item
        elif isinstance(item, os.PathLike):
            path = Path(item)
            if not path.exists():
                raise NotFound(f"{path}: no such file")
            if path.is_dir():
                raise NotFound(f"{path}: expected a file of text, got a folder", f"{path}/*.txt names the files in it")
            yield from file_lines(path)
        else:
            raise InputError(f"texts: expected lines (str) or files (Path), got {type(item).__name__}")


@contextmanager
def _progress(wanted: bool | None) -> Iterator[Any]:
    """A function that passes items on and counts them, on a bar that shows what is being counted."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda items, _label, _total: items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:

        def advance(items: Iterable[Any], label: str, total: int | None) -> Iterator[Any]:
            task = bar.add_task(label, total=total)
            for done, item in enumerate(items):
                if done % 64 == 0:  # the bar takes its time for every step
                    bar.update(task, completed=done)
                yield item

        yield advance
