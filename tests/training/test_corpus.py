"""Corpora on disk: what is in them, when they are made again, and that nothing half-written is ever used."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest

from minibert.errors import InputError, LoadError, NotFound
from minibert.text import BertTokenizer
from minibert.training import corpus as module
from minibert.training.corpus import Corpus, sentences_of
from tests.text.reference import small

TEXT = "The cat sat. It ran!\nA second line\n\n  \nAnother document, [MASK] and all.\n"


def written(folder, *texts):
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return paths


def contents(corpus, tokenizer):
    """Documents of sentences, decoded."""
    sentences = [corpus.tokens[a:b].tolist() for a, b in zip(corpus.sentences, corpus.sentences[1:], strict=False)]
    texts = [tokenizer.decode(ids) for ids in sentences]
    return [texts[a:b] for a, b in zip(corpus.documents, corpus.documents[1:], strict=False)]


def plain(*lines):
    tokenizer = small()
    return [tokenizer.decode(tokenizer.encode(x, add_special_tokens=False, split_special_tokens=True)) for x in lines]


def test_lines_are_sentences_and_empty_lines_end_documents(tmp_path):
    corpus = Corpus.from_files(written(tmp_path, TEXT, "\n\nThe last one"), small(), tmp_path / "cache")
    first = ["The cat sat. It ran!", "A second line"]
    expected = [plain(*first), plain("Another document, [MASK] and all."), plain("The last one")]
    assert contents(corpus, small()) == expected
    assert small().mask_token_id not in corpus.tokens
    assert repr(corpus) == f"Corpus(3 documents, 4 sentences, {len(corpus.tokens)} tokens)"
    assert corpus.tokens.dtype == np.uint16


def test_a_byte_order_mark_is_no_text(tmp_path):
    paths = written(tmp_path, "\ufeff\nfirst", "\ufefffirst")
    tokenizer = BertTokenizer(small().get_vocab(), clean_text=False)  # cleaning would take it out anyway
    corpus = Corpus.from_files(paths, tokenizer, tmp_path / "cache")
    assert contents(corpus, tokenizer) == [["first"], ["first"]]


def test_a_document_may_be_a_file_or_a_line(tmp_path):
    paths = written(tmp_path, TEXT, "one more")
    lines = [line.strip() for line in TEXT.splitlines() if line.strip()]
    by_file = Corpus.from_files(paths, small(), tmp_path / "cache", documents="file")
    assert contents(by_file, small()) == [plain(*lines), plain("one more")]
    by_line = Corpus.from_files(paths, small(), tmp_path / "cache", documents="line", split_sentences=True)
    expected = [["The cat sat.", "It ran!"], ["A second line"], ["Another document, [MASK] and all."], ["one more"]]
    assert contents(by_line, small()) == [plain(*document) for document in expected]


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ('He saw Mr. Fogg. "Run!" he cried.', ["He saw Mr. Fogg.", '"Run!" he cried.']),
        ("“Go!” She went.  (Did she?) Yes.", ["“Go!”", "She went.", "(Did she?)", "Yes."]),
        ("J. R. R. Tolkien lived in St. Ives", ["J. R. R. Tolkien lived in St. Ives"]),
        ("3.5 metres... or e.g. more! ok", ["3.5 metres... or e.g. more! ok"]),
        ("Ça va. École! Ωμέγα", ["Ça va.", "École!", "Ωμέγα"]),
    ],
)
def test_where_sentences_end(paragraph, sentences):
    assert sentences_of(paragraph) == sentences


def test_large_vocabularies_have_wider_ids(tmp_path):
    tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(65_532))])
    corpus = Corpus.from_files(written(tmp_path, "w65531 w0"), tokenizer, tmp_path / "cache")
    assert corpus.tokens.dtype == np.uint32
    assert corpus.tokens.tolist() == [65_536, 5]


def test_made_once_for_the_same_text_tokenizer_and_options(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    paths = written(tmp_path, TEXT)
    first = Corpus.from_files(paths, small(), cache)
    other = BertTokenizer(small().get_vocab(), do_lower_case=False)
    variants = [
        Corpus.from_files(paths, other, cache),
        Corpus.from_files(paths, small(), cache, documents="file"),
        Corpus.from_files(paths, small(), cache, split_sentences=True),
        Corpus.from_files([*paths, *paths], small(), cache),
    ]
    assert len({corpus.fingerprint for corpus in (first, *variants)}) == 5
    assert len(list(cache.iterdir())) == 5
    monkeypatch.setattr(module, "_write", None)  # from here on nothing can be made
    renamed = paths[0].rename(tmp_path / "other.txt")
    again = Corpus.from_files(str(renamed), small(), cache)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.tokens, first.tokens)


def test_progress_ends_with_everything(tmp_path):
    calls = []
    paths = written(tmp_path, "a\n" * 10_001, TEXT)
    Corpus.from_files(paths, small(), tmp_path / "cache", progress=lambda done, total: calls.append((done, total)))
    total = sum(path.stat().st_size for path in paths)
    assert calls == [(20_000, total), (total, total)]


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 1 << 12)
    peaks = []
    for times in (1, 20):
        path = tmp_path / f"{times}.txt"
        path.write_text("The cat and the dog ran to the mat.\nIt sat on it.\n\n" * (500 * times))
        tracemalloc.start()
        corpus = Corpus.from_files([path], small(), tmp_path / "cache")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert corpus.tokens.nbytes > 200_000
    assert peaks[1] < peaks[0] + 50_000


# --- what goes wrong --------------------------------------------------------------------------------------------------


def refused(tmp_path, pattern, *texts, error=InputError, **options):
    cache = tmp_path / "cache"
    with pytest.raises(error, match=pattern):
        Corpus.from_files(written(tmp_path, *texts), small(), cache, **options)
    assert not cache.exists() or not list(cache.iterdir())


def test_texts_that_are_none(tmp_path):
    refused(tmp_path, r"corpus: expected text, got none in .*0\.txt, .*1\.txt", "", "\n \n")
    refused(tmp_path, r"corpus: expected text, got none in no file")
    refused(tmp_path, r"1\.txt, line 2: expected UTF-8 text, byte 3 is 0xe9", "fine", b"fine\ncaf\xe9\n")
    refused(tmp_path, r"documents: expected one of empty-line, file, line, got 'page'", "a", documents="page")
    with pytest.raises(NotFound, match=r"no\.txt: expected a text file, got nothing"):
        Corpus.from_files([tmp_path / "no.txt"], small(), tmp_path / "cache")
    with pytest.raises(NotFound, match=r"expected a text file, got a folder"):
        Corpus.from_files(tmp_path, small(), tmp_path / "cache")


def test_lines_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_LINE", 8)
    refused(tmp_path, r"0\.txt, line 2: expected at most 8 bytes, got more", "1234567\n123456789\n")


def test_a_file_that_changes_meanwhile(tmp_path):
    paths = written(tmp_path, "one\n" * 10_000 + "two\n", "three")
    with pytest.raises(InputError, match=r"1\.txt: changed while it was read"):
        Corpus.from_files(
            paths, small(), tmp_path / "cache", progress=lambda *_: paths[1].write_text("four"),
        )  # fmt: skip
    assert not list((tmp_path / "cache").iterdir())


def test_a_full_disk_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    paths = written(tmp_path, "the cat sat on the mat\n" * 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Corpus.from_files(paths, small(), tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "cache").iterdir())
    assert len(Corpus.from_files(paths, small(), tmp_path / "cache").documents) == 2


def test_an_interrupted_process_leaves_nothing_that_is_used(tmp_path, monkeypatch):
    paths = written(tmp_path, TEXT)
    monkeypatch.setattr(module.shutil, "rmtree", lambda *args, **options: None)  # as when it is killed
    monkeypatch.setattr(module, "write_atomic", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Corpus.from_files(paths, small(), tmp_path / "cache")
    monkeypatch.undo()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert len(Corpus.from_files(paths, small(), tmp_path / "cache").documents) == 3


def test_two_processes_at_once(tmp_path, monkeypatch):
    """The other one is faster: its folder is used, and one's own goes."""
    paths = written(tmp_path, TEXT)
    rename = os.rename

    def late(source, target):
        monkeypatch.setattr(os, "rename", rename)
        Corpus.from_files(paths, small(), tmp_path / "cache")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    corpus = Corpus.from_files(paths, small(), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [corpus.folder]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="cache"):
        Corpus.from_files(written(tmp_path, TEXT), small(), tmp_path / "cache")


@pytest.mark.parametrize("name", ["tokens", "sentences", "documents"])
def test_a_changed_cache_is_refused(tmp_path, name):
    paths = written(tmp_path, TEXT)
    folder = Corpus.from_files(paths, small(), tmp_path / "cache").folder
    path = folder / f"{name}.bin"
    raw = path.read_bytes()
    for damaged, what in ((raw[:-1], r"expected \d+ bytes, got \d+"), (raw[:-1] + b"\x7f", "changed since it was")):
        path.write_bytes(damaged)
        with pytest.raises(LoadError, match=rf"{name}\.bin: {what}[^\0]*delete this folder"):
            Corpus.from_files(paths, small(), tmp_path / "cache")
    path.unlink()
    with pytest.raises(LoadError, match=r"got no file"):
        Corpus(folder)


def test_a_changed_description_is_refused(tmp_path):
    folder = Corpus.from_files(written(tmp_path, TEXT), small(), tmp_path / "cache").folder
    path = folder / "corpus.json"
    facts = json.loads(path.read_text())
    for changed, what in (
        ({**facts, "version": 2}, "expected version 1, got 2"),
        ({**facts, "arrays": {}}, "corpus.json: changed"),
        ({**facts, "arrays": {**facts["arrays"], "tokens": {"dtype": "x", "count": 1, "sha256": ""}}}, "changed"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(LoadError, match=what):
            Corpus(folder)
