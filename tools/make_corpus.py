"""Writes the text that the embedded model is pre-trained on: books and a dictionary, a paragraph a line.

    python tools/make_corpus.py DATA OUT      # DATA/books/*.txt and DATA/wordnet/glosses.txt -> OUT/*.txt, seconds

Books: paragraphs of the front that speak of the file and not in the book are left out, quotation marks become straight,
and the underscores and dashes that stand for italics and long dashes become what they stand for.

WordNet: each synset becomes sentences, so that a model reads them as it reads a book:

    noun  lemon, lemon tree  a small evergreen tree that ...   A lemon is a small evergreen tree that ...
    verb  breathe            draw air into the lungs; "..."    To breathe is to draw air into the lungs. ...
    adj   vegetative         passive and monotonous; "..."     Vegetative means passive and monotonous. ...

and its examples follow as sentences of their own.

Names: what has one name and is the one thing of its kind is told from the other side, too, as it is asked for:

    noun  Capricorn          the tenth sign of the zodiac      The tenth sign of the zodiac is Capricorn.
    noun  Paris, ..., capital of France                        The capital of France is Paris.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

FRONT = 80  # paragraphs in which a book's front may lie
ABOUT_THE_FILE = re.compile(
    r"etext|e-text|gutenberg|copyright|donation|small print|public domain|\*\*|scanned|transcribed|proofread|"
    r"release date|ascii|ftp|indiana|email|internet",
    re.IGNORECASE,
)
STRAIGHT = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "_": "", "—": " - ", "–": " - ", "…": "..."})
ONE = re.compile(r"the( [a-z'-]+){0,3} [a-z'-]*([^s]|ss) (of|in|for|to|from|between|spoken) ")  # "the tenth sign of "
SAID = re.compile(r"\b(is|are|was|were|has|have|had)\b")  # a verb: "is Capricorn" cannot follow any more
VOWEL = re.compile(r"[aeiou]", re.IGNORECASE)


def paragraphs(text: str) -> Iterator[str]:
    """Of a book, without what is said about the file."""
    lines = text.splitlines()
    spoken = [i for i, line in enumerate(lines[:FRONT]) if ABOUT_THE_FILE.search(line)]
    for line in lines[spoken[-1] + 1 if spoken else 0 :]:
        plain = re.sub(r"\s+", " ", line.translate(STRAIGHT).replace("--", " - ")).strip()
        if plain:
            yield plain


def synsets(text: str) -> Iterator[str]:
    """Of the dictionary, each as a line of sentences."""
    for line in text.splitlines():
        kind, words, gloss = line.split("\t")
        word = words.split(", ")[0].translate(STRAIGHT)
        gloss = re.sub(r"^\([^)]*\) ", "", gloss.translate(STRAIGHT))
        parts = [part.strip() for part in re.split(r';\s*(?=")|(?<=");\s*', gloss) if part.strip()]
        meanings = [part for part in parts if not part.startswith('"')]
        examples = [part.strip('" ') for part in parts if part.startswith('"')]
        sentences = [definition(kind, word, meanings[0])] if meanings else []
        sentences += [sentence(example) for example in examples if example]
        yield " ".join(sentences)


def named(text: str) -> Iterator[str]:
    """Of the dictionary, what has one name, with the name last."""
    for line in text.splitlines():
        kind, words, gloss = line.split("\t")
        name, *others = words.translate(STRAIGHT).split(", ")
        if kind == "noun" and name[:1].isupper():
            meaning = re.sub(r"^\([^)]*\) ", "", gloss.translate(STRAIGHT)).split(";")[0].strip()
            told = [meaning, *(f"the {other}" for other in others if other[:1].islower())]
            for what in dict.fromkeys(told):
                if ONE.match(what) and not SAID.search(what) and not tells_itself(name, what):
                    yield sentence(f"{what} is {name}")


def tells_itself(name: str, what: str) -> bool:
    """Whether a word of the name is there already, as in "the battle of Austerlitz is Austerlitz"."""
    return any(word[:5] in what.lower() for word in name.lower().split() if len(word) > 2)


def definition(kind: str, word: str, meaning: str) -> str:
    """A dictionary's entry as a sentence."""
    if kind == "verb":
        return sentence(f"to {word} is to {meaning}")
    if kind != "noun":
        return sentence(f"{word} means {meaning}")
    if word[:1].isupper() or not re.match(r"(a|an|any|one|someone|the|something) ", meaning):
        return sentence(f"{word} is {meaning}")
    return sentence(f"{'an' if VOWEL.match(word) else 'a'} {word} is {meaning}")


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    books = sorted((args.data / "books").glob("*.txt"))
    written = {book.name: list(paragraphs(book.read_text(encoding="utf-8"))) for book in books}
    dictionary = (args.data / "wordnet" / "glosses.txt").read_text(encoding="utf-8")
    written["wordnet.txt"], written["names.txt"] = list(synsets(dictionary)), list(named(dictionary))
    for name, lines in written.items():
        (args.out / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = sum(len(line.split()) for lines in written.values() for line in lines)
    print(f"{len(written)} files, {words:,} words")


if __name__ == "__main__":
    main()
