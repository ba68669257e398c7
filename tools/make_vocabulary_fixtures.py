"""Writes tests/training/fixtures/vocabularies.json.gz: what the `tokenizers` library learns from invented languages.

    python tools/make_vocabulary_fixtures.py

A case has the lines, the options, the pieces that the library learnt, beginning with the special tokens and characters
it was given (why, says tools/compare_vocabularies.py), and the pieces into which transformers' BertTokenizer, having
read minibert's vocab.txt, cuts some of the lines. Needs the extra `oracle`; the file is reproducible byte by byte.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minibert.training.vocabulary import learn_vocabulary  # noqa: E402
from tools.compare_vocabularies import beginning, comparable, invented, reference  # noqa: E402

CASES = 24


def transformers_tokens(pieces: list[str], lowercase: bool, lines: list[str]) -> list[list[str]]:
    from transformers import BertTokenizer

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        tokenizer = BertTokenizer.from_pretrained(folder, do_lower_case=lowercase)
        assert tokenizer.get_vocab() == {piece: number for number, piece in enumerate(pieces)}
        return [tokenizer.tokenize(line) for line in lines]


def main() -> None:
    warnings.simplefilter("ignore")
    rng = random.Random(1)
    cases = []
    while len(cases) < CASES:
        lines = invented(rng)
        lowercase, least, size = rng.random() < 0.5, rng.choice([1, 2, 3]), rng.choice([60, 100, 400])
        learnt = learn_vocabulary(lines, size, lowercase=lowercase, min_frequency=least, progress=False)
        if not comparable(learnt):
            continue
        first = beginning(learnt)
        shown = [*lines[:3], "Unseen x!"]
        cases.append(
            {
                "lines": lines,
                "size": size,
                "min_frequency": least,
                "lowercase": lowercase,
                "beginning": len(first),
                "pieces": reference(lines, size, least, lowercase, first),
                "shown": shown,
                "tokens": transformers_tokens(learnt.pieces, lowercase, shown),
            }
        )
    target = ROOT / "tests" / "training" / "fixtures" / "vocabularies.json.gz"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(gzip.compress(json.dumps(cases, ensure_ascii=False).encode(), mtime=0))
    print(f"{target.relative_to(ROOT)}: {len(cases)} cases, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
