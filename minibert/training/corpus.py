"""Text files, tokenised once into a folder of arrays that are mapped into memory.

    CACHE/<fingerprint>/
      corpus.json      what it was made from, and the sizes and sha256 of the arrays
      tokens.bin       ids, uint16, or uint32 for vocabularies beyond 65 536
      sentences.bin    int64: sentence s is tokens[sentences[s]:sentences[s + 1]]
      documents.bin    int64: document d is the sentences from documents[d] to documents[d + 1]

All little-endian. The fingerprint is the sha256 of the files' contents, the tokenizer and the options, so a corpus that
is there is the one asked for. The folder is written under another name and renamed when it is complete. Text goes
through memory line by line: a corpus may be larger than memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError, LoadError, NotFound
from ..formats.atomic import write_atomic
from ..formats.jsonfile import read_json
from ..ops.xp import Array
from ..text.tokenizer import BertTokenizer

__all__ = ["DOCUMENTS", "Corpus", "sentences_of"]

DOCUMENTS = ("empty-line", "file", "line")
VERSION = 1
LONGEST_LINE = 1 << 26  # bytes: what bounds memory
_AT_ONCE = 1 << 16  # numbers that wait to be written


class Corpus:
    """Documents of sentences of token ids, on disk.

    tokens: (N,) ids. sentences: (S + 1,) borders in tokens. documents: (D + 1,) borders in sentences. None is empty.
    fingerprint: sha256 of what it was made from. tokenizer: the fingerprint of the tokenizer.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Opens the folder of one corpus. Raises LoadError if its files are not what was written."""
        folder = Path(folder)
        facts = read_json(folder / "corpus.json")
        if facts.get("version") != VERSION:
            raise _damaged(folder, f"corpus.json: expected version {VERSION}, got {facts.get('version')!r}")
        try:
            arrays = [_mapped(folder, name, **facts["arrays"][name]) for name in ("tokens", "sentences", "documents")]
            self.fingerprint = str(facts["fingerprint"])
            self.tokenizer = str(facts["tokenizer"])
        except (KeyError, TypeError):
            raise _damaged(folder, "corpus.json: changed since it was written") from None
        self.folder = folder
        self.tokens, self.sentences, self.documents = arrays

    def share_of(self, token: int) -> float:
        """Which share of all tokens is this one."""
        pieces = (self.tokens[i : i + _AT_ONCE] for i in range(0, len(self.tokens), _AT_ONCE))
        return sum(int((piece == token).sum()) for piece in pieces) / len(self.tokens)

    @classmethod
    def from_files(
        cls,
        files: Iterable[str | os.PathLike[str]],
        tokenizer: BertTokenizer,
        cache: str | os.PathLike[str],
        *,
        documents: str = "empty-line",
        split_sentences: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Corpus:
        """The corpus of these UTF-8 files, one sentence or paragraph a line, in their order.

        documents: what ends a document: an "empty-line", as in the original, the end of the "file" alone, or every
        "line". The end of a file always does. split_sentences: lines are paragraphs and are cut by `sentences_of`.
        cache: a folder; a corpus with the same fingerprint in it is opened, otherwise it is made.
        progress(done, total): called now and then with bytes of text.

        Special tokens written in the text are ordinary text. Raises NotFound, InputError for text that is not UTF-8 or
        without a token, LoadError for a damaged cache, OSError where the cache cannot be written.
        """
        if documents not in DOCUMENTS:
            raise InputError(f"documents: expected one of {', '.join(DOCUMENTS)}, got {documents!r}")
        paths = [Path(file) for file in ([files] if isinstance(files, (str, os.PathLike)) else files)]
        for path in paths:
            if not path.is_file():
                raise NotFound(f"{path}: expected a text file, got {'a folder' if path.is_dir() else 'nothing'}")
        contents = [_sha256(path) for path in paths]
        facts: dict[str, Any] = {
            "version": VERSION,
            "tokenizer": tokenizer.fingerprint,
            "documents": documents,
            "split_sentences": split_sentences,
            "files": contents,
        }
        fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        folder = Path(cache) / fingerprint[:32]
        if not folder.exists():
            lines = _lines(paths, contents, progress)
            with _complete_folder(folder) as unfinished:
                cuts = functools.partial(_cuts, documents=documents, split_sentences=split_sentences)
                arrays = _write(unfinished, cuts(lines), tokenizer, paths)
                facts |= {"fingerprint": fingerprint, "arrays": arrays}
                write_atomic(unfinished / "corpus.json", json.dumps(facts, indent=2).encode())
        return cls(folder)

    def __repr__(self) -> str:
        sizes = len(self.documents) - 1, len(self.sentences) - 1, len(self.tokens)
        return "Corpus({} documents, {} sentences, {} tokens)".format(*sizes)


# --- text -------------------------------------------------------------------------------------------------------------


def sentences_of(paragraph: str) -> list[str]:
    """A paragraph cut where . ! or ? (and closing quotes or brackets) is followed by white space and a capital letter,
    perhaps in opening quotes or brackets; not after Mr. Mrs. Ms. Dr. St. nor an initial. A rule, not a judgement.

        sentences_of('He saw Mr. Fogg. "Run!" he cried.')      # ['He saw Mr. Fogg.', '"Run!" he cried.']
    """
    return [sentence for sentence in _sentence_ends().split(paragraph) if sentence]


@functools.cache
def _sentence_ends() -> Any:
    import regex  # looks back any distance, and knows capital letters of all scripts

    return regex.compile(
        r"""(?<=[.!?]["'”’»)\]]*)(?<!\b(?:Mr|Mrs|Ms|Dr|St|\p{Lu})\.)\s+(?=["'“‘«(\[]*\p{Lu})""", regex.V1
    )


def _lines(
    paths: Sequence[Path], contents: Sequence[str], progress: Callable[[int, int], None] | None
) -> Iterator[str | None]:
    """The stripped lines of all files, and None at the end of each."""
    done, total = 0, sum(path.stat().st_size for path in paths)
    for path, expected in zip(paths, contents, strict=True):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise InputError(
                        f"{path}, line {number}: expected at most {LONGEST_LINE} bytes, got more", "break the line"
                    )
                digest.update(raw)
                done += len(raw)
                if progress and (number % 10_000 == 0 or done == total):
                    progress(done, total)
                yield _decoded(raw, path, number)
        if digest.hexdigest() != expected:
            raise InputError(f"{path}: changed while it was read", "start again when nobody writes to it")
        yield None


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")  # a byte order mark is no text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number}: expected UTF-8 text, byte {error.start} is 0x{raw[error.start]:02x}",
            "convert the file, as iconv -f latin1 -t utf-8 does",
        ) from None
    return text.strip()


def _cuts(lines: Iterator[str | None], *, documents: str, split_sentences: bool) -> Iterator[str | None]:
    """Sentences, and None where a document ends."""
    for line in lines:
        if not line:
            if line is None or documents == "empty-line":
                yield None
            continue
        if split_sentences:
            yield from sentences_of(line)
        else:
            yield line
        if documents == "line":
            yield None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- arrays on disk ---------------------------------------------------------------------------------------------------


def _write(
    folder: Path, sentences: Iterator[str | None], tokenizer: BertTokenizer, paths: Sequence[Path]
) -> dict[str, Any]:
    """Tokenises into the three files; what corpus.json says about them."""
    ids_of = tokenizer.plain_ids
    small = max(tokenizer.get_vocab().values()) < 1 << 16
    names = ("tokens", "sentences", "documents")
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(folder / f"{name}.bin", "xb")) for name in names]
        types = ("<u2" if small else "<u4", "<i8", "<i8")
        tokens, ends, borders = (_Column(file, dtype) for file, dtype in zip(files, types, strict=True))
        ends.add([0])
        borders.add([0])
        count = border = 0
        for sentence in sentences:
            if sentence is None:
                if count > border:
                    borders.add([count])
                    border = count
                continue
            ids = ids_of(sentence)
            if ids:
                tokens.add(ids)
                ends.add([tokens.count])
                count += 1
        if not count:
            where = ", ".join(map(str, paths[:3])) or "no file"
            raise InputError(f"corpus: expected text, got none in {where}")
        return {"tokens": tokens.close(), "sentences": ends.close(), "documents": borders.close()}


class _Column:
    """Numbers on their way into a file."""

    def __init__(self, file: BinaryIO, dtype: str) -> None:
        self._file = file
        self._dtype = dtype
        self._waiting: list[int] = []
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, numbers: list[int]) -> None:
        self._waiting += numbers
        self.count += len(numbers)
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        raw = np.array(self._waiting, self._dtype).tobytes()
        self._digest.update(raw)
        self._file.write(raw)
        self._waiting.clear()

    def close(self) -> dict[str, Any]:
        self._flush()
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"dtype": self._dtype, "count": self.count, "sha256": self._digest.hexdigest()}


@contextlib.contextmanager
def _complete_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, that becomes `folder` at the end; after an exception nothing is left of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{secrets.token_hex(8)}.tmp")
    unfinished.mkdir()
    try:
        yield unfinished
        try:
            os.rename(unfinished, folder)
        except OSError:
            if not folder.exists():  # otherwise another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _mapped(folder: Path, name: str, dtype: str, count: int, sha256: str) -> Array:
    path = folder / f"{name}.bin"
    expected = count * np.dtype(dtype).itemsize
    got = path.stat().st_size if path.is_file() else None
    if got != expected:
        raise _damaged(folder, f"{path.name}: expected {expected} bytes, got {'no file' if got is None else got}")
    if _sha256(path) != sha256:
        raise _damaged(folder, f"{path.name}: changed since it was written")
    return np.memmap(path, dtype, mode="r")


def _damaged(folder: Path, what: str) -> LoadError:
    return LoadError(f"{folder}: {what}", "delete this folder: it is made again from the text")
