"""minibert train-vocab: text files -> vocab.txt."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFound
from ..text.profiles import PROFILES
from ..text.wordpiece import WordPiece
from ..training.merges import PREFIX
from ..training.vocabulary import Learnt, learn_vocabulary
from .inputs import UsageError, printable
from .outputs import check_output, write


def run(args: Any) -> None:
    """Writes the vocabulary, then says what it is made of and how it cuts up the text it was made from."""
    corpus = [Path(name) for name in args.corpus]
    _check(corpus, args)
    learnt = learn_vocabulary(
        corpus,
        args.size,
        args.method,
        lowercase=not args.cased,
        min_frequency=args.min_frequency,
        unused=args.unused,
    )
    write(["".join(f"{piece}\n" for piece in learnt.pieces).encode()], args.output)
    if args.output == "-":
        return
    report = _report(learnt, args)
    if args.json:
        print(json.dumps(report))
        return
    print(printable(f"{len(learnt.pieces)} pieces written to {args.output}"))
    print(f"  {report['characters']} characters, {report['merges']} merges by {args.method}")
    if learnt.dropped:
        shown = " ".join(learnt.dropped[:20]) + " …" * (len(learnt.dropped) > 20)
        print(printable(f"  {len(learnt.dropped)} characters are too rare to be pieces: {shown}"))
    print(f"  {report['words']} words, {report['different_words']} different; {report['unknown']} of them become [UNK]")
    print(f"  {report['tokens_per_word']:.3f} tokens a word")
    if args.cased:
        print("vocab.txt cannot say that it is cased: BertTokenizer.from_pretrained(path, do_lower_case=False)")


def _check(corpus: list[Path], args: Any) -> None:
    """What would be a pity to learn only when the work is done."""
    check_output(args.output)
    for path in corpus:
        if not path.exists():
            raise NotFound(f"{path}: no such file")
    if args.output == "-":
        if args.json:
            raise UsageError("stdout cannot take both the vocabulary and a report", "--output vocab.txt, or no --json")
        return
    output = Path(args.output)
    if output.is_dir():
        raise InputError(f"{output}: expected the name of a file, got a folder", f"--output {output / 'vocab.txt'}")
    if not output.parent.is_dir():
        raise NotFound(f"{output.parent}: no such folder, for {output.name} to be written to")
    if output.exists() and any(os.path.samefile(output, path) for path in corpus):
        raise UsageError(f"--output {output} is a file of the corpus", "give another name")


def _report(learnt: Learnt, args: Any) -> dict[str, Any]:
    """The corpus is cut up as the tokenizer does it: greedily, which is not the way the pieces were merged."""
    vocab = {piece: number for number, piece in enumerate(learnt.pieces)}
    pieces = WordPiece(vocab, vocab["[UNK]"], PREFIX, PROFILES["hf-fast"].max_word)
    tokens = unknown = 0
    for word, times in learnt.words.items():
        found = pieces.match(word)
        tokens += times * len(found)
        unknown += times * (found[0][0] == vocab["[UNK]"])
    words = learnt.words.total()
    return {
        "output": args.output,
        "size": len(vocab),
        "asked": args.size,
        "method": args.method,
        "lowercase": not args.cased,
        "min_frequency": args.min_frequency,
        "unused": args.unused,
        "characters": len(learnt.characters),
        "dropped_characters": len(learnt.dropped),
        "merges": len(learnt.merges),
        "words": words,
        "different_words": len(learnt.words),
        "unknown": unknown,
        "tokens_per_word": tokens / words,
    }
