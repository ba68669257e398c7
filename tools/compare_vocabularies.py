"""Compares vocabularies that minibert learns with those of the `tokenizers` library, and its two methods.

    python tools/compare_vocabularies.py FILE...            # same pieces? how many tokens a word?
    python tools/compare_vocabularies.py --invented 1000    # same pieces for invented languages?

The library numbers ##a, ##b, … in the order of a hash table that is seeded anew for every run, and decides between
equally frequent pairs by these numbers: two runs of it do not give the same vocabulary. It does once it is told the
characters, in the order of minibert's, as if they were special tokens; then every piece must be the same, and in the
same place. Texts on which minibert differs on purpose are not compared: those with words of more than 100 characters
and those with characters too rare for the alphabet, of which minibert learns nothing, as they become [UNK].

Tokens a word are counted in every fourth file, pieces learnt from the others. "quotient from N" is the likelihood
method with one bound on a pair's frequency instead of steps. Exits with 1 if any pieces differ.
Needs the extra `oracle`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minibert.text.lines import file_lines  # noqa: E402
from minibert.text.wordpiece import WordPiece  # noqa: E402
from minibert.training import merges  # noqa: E402
from minibert.training.vocabulary import PROFILE, Learnt, count_words, learn_vocabulary  # noqa: E402

SIZE = 8192
BOUNDS = (2, 10, 20, 40, 80, 160)
LETTERS = "aeiouäéıабгд가각αβσς" + "bcdfghklmnprstvwz"


def invented(rng: random.Random) -> list[str]:
    """Lines of a language that has few letters, many words made of the same syllables, and marks of all kinds."""
    letters = rng.sample(LETTERS, rng.randint(1, 12))
    syllables = ["".join(rng.choices(letters, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 12))]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 60))]
    words = [word.capitalize() if rng.random() < 0.2 else word for word in words] + list("中國,.!'3")
    weights = [1 / (1 + rank) for rank in range(len(words))]
    return [" ".join(rng.choices(words, weights, k=rng.randint(1, 20))) for _ in range(rng.randint(1, 30))]


def reference(lines: list[str], size: int, min_frequency: int, lowercase: bool, first: list[str]) -> list[str]:
    """What the `tokenizers` library learns, `first` being the pieces it begins with."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece({}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    options: dict[str, Any] = {"continuing_subword_prefix": "##", "show_progress": False}
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=first, limit_alphabet=10**6, **options
    )
    made.train_from_iterator(lines, trainer)
    vocab = made.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


def beginning(learnt: Learnt) -> list[str]:
    """Special tokens and characters of a vocabulary: what is no merge."""
    merged = {left + right.removeprefix("##") for left, right in learnt.merges}
    return [piece for piece in learnt.pieces if piece not in merged]


def comparable(learnt: Learnt) -> bool:
    return not learnt.dropped and max(map(len, learnt.words)) <= PROFILE.max_word


def compare_invented(count: int) -> int:
    differ = compared = pieces = 0
    rng = random.Random(0)
    while compared < count:
        lines = invented(rng)
        lowercase, least, size = rng.random() < 0.5, rng.choice([1, 2, 5]), rng.choice([60, 100, 400])
        learnt = learn_vocabulary(lines, size, lowercase=lowercase, min_frequency=least, progress=False)
        if not comparable(learnt):
            continue
        compared += 1
        pieces += len(learnt.pieces)
        differ += reference(lines, size, least, lowercase, beginning(learnt)) != learnt.pieces
    print(f"{compared} invented languages, {pieces} pieces: {differ} vocabularies differ")
    return differ


def compare_files(files: list[Path]) -> int:
    lines = [line for file in files for line in file_lines(file)]
    start = time.perf_counter()
    learnt = learn_vocabulary(lines, SIZE, min_frequency=1, progress=False)  # 1: no character is too rare
    middle = time.perf_counter()
    expected = reference(lines, SIZE, 1, True, beginning(learnt))
    end = time.perf_counter()
    differ = sum(a != b for a, b in zip(learnt.pieces, expected, strict=False)) + abs(
        len(learnt.pieces) - len(expected)
    )
    print(f"{len(files)} files: {differ} of {len(expected)} pieces differ", end="")
    print(f" ({middle - start:.1f} s, tokenizers {end - middle:.1f} s)" if comparable(learnt) else " (not comparable)")
    return differ if comparable(learnt) else 0


def tokens_per_word(pieces: list[str], words: Counter[str]) -> float:
    match = WordPiece({piece: number for number, piece in enumerate(pieces)}, 1, "##", PROFILE.max_word).match
    return sum(times * len(match(word)) for word, times in words.items()) / words.total()


def compare_methods(files: list[Path]) -> None:
    held_out = files[3::4]
    learning = [file for file in files if file not in held_out]
    words = count_words(line for file in held_out for line in file_lines(file))
    print(f"tokens a word, in the {len(learning)} files that were learnt from and in {len(held_out)} others:")
    methods = dict(merges.METHODS)
    for bound in BOUNDS:
        methods[f"quotient from {bound}"] = lambda text, _least, bound=bound: merges._likeliest(text, bound)
    for name, method in methods.items():
        merges.METHODS[name] = method
        learnt = learn_vocabulary(learning, SIZE, name, progress=False)
        inside, outside = tokens_per_word(learnt.pieces, learnt.words), tokens_per_word(learnt.pieces, words)
        first = " ".join(left + right.removeprefix("##") for left, right in learnt.merges[:12])
        print(f"  {name:18} {len(learnt.pieces):6} pieces  {inside:.3f}  {outside:.3f}  {first}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--invented", type=int, default=0, metavar="N", help="languages to invent")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # vocabularies that stay smaller than asked are welcome here
    differ = compare_invented(args.invented) if args.invented else 0
    if args.files:
        differ += compare_files(args.files)
    if len(args.files) > 3:
        compare_methods(args.files)
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
