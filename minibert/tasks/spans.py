"""From start and end logits of windows to answers: Hugging Face's decoding, and Google's.

Both take a document's windows and give answers, best first. They differ:

                    hf                                      google
    score           p_start·p_end, softmax over the         softmax over the n best sums start + end
                    document and [CLS] of a window
    candidates      the best pairs of every window          pairs of the n best starts and n best ends of a window,
                                                            question and special tokens competing
    of two windows  answers of one text add their scores    a start counts only where it has most context
    no answer       smallest p_start·p_end of [CLS]         smallest start + end of [CLS], if it exceeds the best
                    competes with the answers               answer's sum by more than a threshold
    the text        whole words                             what the pieces cover of the words, found by alignment
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..ops import softmax
from ..ops.xp import Array
from ..text.encoding import Encoding
from ..text.tokenizer import BertTokenizer
from .windows import Span, widest

__all__ = ["Answer", "Document", "google", "hf"]


class Document(NamedTuple):
    """A text, its tokens, the windows of it that the model read, and what it said of each."""

    text: str
    tokens: Encoding
    before: int  # places before the document in a row: [CLS] question [SEP]
    spans: list[Span]
    logits: list[Array]  # of each window (T, 2): start and end, of all places of its row

    def inside(self, window: int) -> Array:
        """(n, 2), the logits of the window's own tokens."""
        start, stop = self.spans[window]
        return self.logits[window][self.before : self.before + stop - start]


class Answer(NamedTuple):
    score: float
    start: int
    end: int
    text: str


NOTHING = Answer(0.0, 0, 0, "")


def hf(document: Document, top_k: int, longest: int, impossible: bool, align: bool) -> list[Answer]:
    """Answers as Hugging Face's pipeline finds them, at most top_k; where the text has no word, the empty one.

    Spans that become one answer add their scores, also those of several windows, so that one may exceed 1; and as more
    spans are looked at for more answers, scores depend on top_k. Both as in the original.
    """
    answers: dict[str, Answer] = {}
    null = 1.0
    for number, span in enumerate(document.spans):
        logits = np.concatenate([document.logits[number][:1], document.inside(number)])
        probs = softmax(logits.T)[0].T.astype(np.float64)
        null = min(null, float(probs[0].prod()))
        wanted = 2 * top_k + 10 if align else top_k  # several may be one answer when they are made whole words
        for score, start, end in _best_pairs(probs[1:, 0], probs[1:, 1], wanted, longest):
            first, last = _characters(document.tokens, span, span[0] + start, span[0] + end, align)
            answer = Answer(score, first, last, document.text[first:last])
            known = answers.get(answer.text.lower(), answer._replace(score=0.0))
            answers[answer.text.lower()] = known._replace(score=known.score + score)
    found = [*answers.values(), *([Answer(null, 0, 0, "")] if impossible else [])]
    return sorted(found, key=lambda answer: -answer.score)[:top_k] or [NOTHING]


def _best_pairs(start: Array, end: Array, number: int, longest: int) -> list[tuple[float, int, int]]:
    """(score, i, j) of the best start[i]·end[j] with i ≤ j < i + longest."""
    if not len(start):
        return []
    lags = range(min(longest, len(start)))
    first = np.concatenate([np.arange(len(start) - lag) for lag in lags])
    last = np.concatenate([np.arange(lag, len(start)) for lag in lags])
    scores = start[first] * end[last]
    order = np.lexsort((last, first, -scores))[:number]
    return [(float(scores[k]), int(first[k]), int(last[k])) for k in order]


def _characters(tokens: Encoding, window: Span, first: int, last: int, align: bool) -> Span:
    """Where tokens first to last stand in the text; with `align` to the borders of their words, or of the window."""
    if align:
        words = tokens.words
        while first > window[0] and words[first - 1] == words[first]:
            first -= 1
        while last + 1 < window[1] and words[last + 1] == words[last]:
            last += 1
    return tokens.starts[first], tokens.ends[last]


_GOOGLES_WORD = re.compile(r"[^ \t\r\n\u202f]+")


def google(
    document: Document,
    tokenizer: BertTokenizer,
    n_best: int,
    longest: int,
    impossible: bool,
    threshold: float,
) -> list[Answer]:
    """Answers as run_squad.py writes them: the n best, the one that is predicted first.

    Where Google writes "empty", as no span is possible, the answer is the empty text with score 0. A text is that of
    the document; Google joins its words by single blanks.
    """
    found = _google_candidates(document, n_best, longest)
    nulls = [float(logits[0].sum()) for logits in document.logits]
    null = min(nulls)
    if impossible:
        found.append((null, -1, -1))
    found.sort(key=lambda each: -each[0])
    words = [match.span() for match in _GOOGLES_WORD.finditer(document.text)]
    seen: dict[str, tuple[float, int, int]] = {}
    for total, first, last in found:
        if len(seen) >= n_best:
            break
        start, end = (0, 0) if first < 0 else _google_text(document, words, first, last, tokenizer)
        seen.setdefault(" ".join(_GOOGLES_WORD.findall(document.text[start:end])), (total, start, end))
    if impossible:
        seen.setdefault("", (null, 0, 0))
    if not seen:
        return [NOTHING]
    totals = [total for total, _, _ in seen.values()]
    probs = softmax(np.array(totals))[0].tolist()
    answers = [Answer(p, i, j, document.text[i:j]) for p, (_, i, j) in zip(probs, seen.values(), strict=True)]
    order = sorted(range(len(answers)), key=lambda i: -totals[i])
    if impossible:
        spoken = [i for i in order if answers[i].text]
        silent = next(i for i in order if not answers[i].text)
        first = silent if not spoken or null - totals[spoken[0]] > threshold else spoken[0]
        order.sort(key=lambda i: i != first)
    return [answers[i] for i in order]


def _google_candidates(document: Document, n_best: int, longest: int) -> list[tuple[float, int, int]]:
    """(start + end logit, first, last token of the document) of what may be an answer, window by window."""
    best_window = widest(document.spans)
    found = []
    for number, (offset, stop) in enumerate(document.spans):
        logits = document.logits[number].astype(np.float64)
        starts, ends = (np.argsort(-column, kind="stable")[:n_best].tolist() for column in logits.T)
        for start in starts:
            first = start - document.before + offset
            if not offset <= first < stop or best_window[first] != number:
                continue
            for end in ends:
                last = end - document.before + offset
                if first <= last < min(stop, first + longest):
                    found.append((float(logits[start, 0] + logits[end, 1]), first, last))
    return found


def _google_text(document: Document, words: Sequence[Span], first: int, last: int, tokenizer: BertTokenizer) -> Span:
    """The part of the document's words that the predicted pieces stand for: get_final_text of run_squad.py.

    The words' own text and what the tokenizer makes of it are laid side by side, character by character, blanks left
    out. Where their lengths differ, or the pieces are not found, the answer is the whole words.
    """
    tokens = document.tokens
    ends = [end for _, end in words]
    begin, finish = (bisect_right(ends, tokens.starts[place]) for place in (first, last))
    whole = words[begin][0], words[finish][1]
    pieces = tokenizer.convert_ids_to_tokens(tokens.ids[first : last + 1].tolist())
    predicted = " ".join(pieces).replace(" ##", "").replace("##", "")
    folded = " ".join(tokenizer.words(" ".join(document.text[start:end] for start, end in words[begin : finish + 1])))
    at = folded.find(predicted)
    places = [i for start, end in words[begin : finish + 1] for i in range(start, end)]
    if at < 0 or len(places) != len(folded) - folded.count(" "):
        return whole
    skipped = at - folded.count(" ", 0, at)
    length = len(predicted) - predicted.count(" ")
    return places[skipped], places[skipped + length - 1] + 1
