"""Labels for tokens: names, places, parts of speech."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..formats.files import quote
from ..models.crf import BertCrfForTokenClassification
from ..models.finetuning import BertForTokenClassification
from ..ops import softmax
from ..ops.xp import Array
from ..text.encoding import Encoding
from .aggregation import STRATEGIES, Entry, Token, as_entities, as_entries, as_words, longest_of_overlapping
from .batches import Row, run_rows
from .task import Options, Task, check_choice, check_whole
from .windows import Span, spans_of, widest


@dataclass(frozen=True)
class TaggingOptions(Options):
    """aggregation_strategy  "none", "simple", "first", "average", "max": see `minibert.tasks.aggregation`
    ignore_labels         entities that are left out
    stride                tokens by which windows overlap, for texts longer than the model; None refuses such texts
    merge                 of windows: "context", or "hf"
    truncation            cut what is too long, at its end
    is_split_into_words   a text is a list of words, each of which has one label if labels are made one at all
    delimiter             between such words, in the text that start and end count in
    """

    aggregation_strategy: str = "none"
    ignore_labels: Sequence[str] = ("O",)
    stride: int | None = None
    merge: str = "context"
    truncation: bool = False
    is_split_into_words: bool = False
    delimiter: str = " "

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("aggregation_strategy", self.aggregation_strategy, STRATEGIES)
        check_choice("merge", self.merge, ("context", "hf"))
        check_whole("stride", self.stride, least=0, optional=True)
        if isinstance(self.ignore_labels, str):
            raise InputError(f"ignore_labels: expected a list of labels, got the string {quote(self.ignore_labels)}")
        if self.merge == "hf" and self.aggregation_strategy == "none":
            raise InputError("merge='hf': expected an aggregation_strategy, as it chooses between entities, got none")


class Cut(NamedTuple):
    """A text and its tokens without special ones, and the windows that the model reads."""

    text: str
    tokens: Encoding
    spans: list[Span]


class TokenClassification(Task):
    """Text -> [{"entity", "score", "index", "word", "start", "end"}], one entry a token; with an aggregation_strategy
    [{"entity_group", "score", "word", "start", "end"}], one an entity. As Hugging Face's pipeline, but:

    - A text longer than the model is an InputTooLong, unless stride or truncation say what to do; nothing is cut
      silently.
    - Windows: every token gets its label from the window in which it has most context (merge="context"), then words
      and entities are made as of any text. The original makes entities in each window, cut at its borders, and of
      those that overlap takes the longer (merge="hf").
    - What belongs to one word is known from the tokenizer; the original compares the length of a piece with that of
      the text it stands for, and fails where folding changes the length.

    start and end count characters of the text: text[start:end] is the entity as it was written.
    """

    model: BertForTokenClassification
    needs = BertForTokenClassification
    options_class = TaggingOptions

    def words(self, inputs: Any, **options: Any) -> Any:
        """Every word with its label, "O" included: {"entity", "score", "word", "start", "end"}; tokens if the strategy
        is "none" or "simple"."""
        settings = self._with(self.options, options)
        if self._is_one(inputs, settings):
            return self.words([inputs], **options)[0]
        items = [self._checked(item, f"texts[{i}]", settings) for i, item in enumerate(inputs)]
        return [self._entries(tokens, settings) for tokens in self._tagged(items, settings)]

    def _is_one(self, inputs: Any, settings: TaggingOptions) -> bool:
        if settings.is_split_into_words:
            return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], str)
        return isinstance(inputs, str)

    def _checked(self, item: Any, where: str, settings: TaggingOptions) -> Any:
        if not settings.is_split_into_words:
            return super()._checked(item, where, settings)
        if isinstance(item, list | tuple) and all(isinstance(word, str) for word in item):
            return list(item)
        raise InputError(f"{where}: expected a list of words, got {type(item).__name__} {quote(item)}")

    def _results(self, items: Sequence[Any], settings: TaggingOptions) -> list[list[Entry]]:
        if settings.merge == "hf":
            return [self._merged(windows, settings) for windows in self._by_window(items, settings)]
        return [self._kept(tokens, settings) for tokens in self._tagged(items, settings)]

    def _kept(self, tokens: Sequence[Token], settings: TaggingOptions) -> list[Entry]:
        entries = self._entries(tokens, settings)
        if settings.aggregation_strategy == "none":
            return [entry for entry in entries if entry["entity"] not in settings.ignore_labels]
        entities = as_entities(entries, self.tokenizer.convert_tokens_to_string)
        return [entity for entity in entities if entity["entity_group"] not in settings.ignore_labels]

    def _entries(self, tokens: Sequence[Token], settings: TaggingOptions) -> list[Entry]:
        names = self.model.config.id2label or {}
        if settings.aggregation_strategy in ("none", "simple"):
            return as_entries(tokens, names)
        return as_words(tokens, names, settings.aggregation_strategy, self.tokenizer.convert_tokens_to_string)

    def _merged(self, windows: list[list[Token]], settings: TaggingOptions) -> list[Entry]:
        entities = [entity for tokens in windows for entity in self._kept(tokens, settings)]
        return entities if len(windows) == 1 else longest_of_overlapping(entities)

    def _tagged(self, items: Sequence[Any], settings: TaggingOptions) -> list[list[Token]]:
        """The tokens of each text, each as the window says in which it has most context."""
        results = []
        for cut, windows in zip(*self._labelled(items, settings), strict=True):
            numbers = widest(cut.spans).tolist()
            found = [windows[number][i - cut.spans[number][0]] for i, number in enumerate(numbers)]
            results.append([self._token(cut, i, *each) for i, each in enumerate(found)])
        return results

    def _by_window(self, items: Sequence[Any], settings: TaggingOptions) -> list[list[list[Token]]]:
        """The tokens of every window of each text. A window's first token begins a word there."""
        results = []
        for cut, windows in zip(*self._labelled(items, settings), strict=True):
            results.append(
                [
                    [self._token(cut, start + i, *each) for i, each in enumerate(window)]
                    for (start, _), window in zip(cut.spans, windows, strict=True)
                ]
            )
        return results

    def _labelled(
        self, items: Sequence[Any], settings: TaggingOptions
    ) -> tuple[list[Cut], list[list[list[tuple[int, Array]]]]]:
        """Every text, and (label, scores) of each token of each of its windows."""
        cuts = [self._cut(item, i, settings) for i, item in enumerate(items)]
        cls_id, sep_id = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        rows, words = [], []
        for cut in cuts:
            for start, stop in cut.spans:
                ids = [*cls_id, *cut.tokens.ids[start:stop], *sep_id]
                rows.append(Row(ids, bytes(len(ids))))
                words.append(cut.tokens.words[start:stop])
        found = iter(label_tokens(self.model, rows, words, self._room(settings)))
        return cuts, [[list(zip(*next(found), strict=True)) for _ in cut.spans] for cut in cuts]

    def _cut(self, item: Any, number: int, settings: TaggingOptions) -> Cut:
        words = item if settings.is_split_into_words else None
        text = item if words is None else settings.delimiter.join(words)
        (tokens,) = self.tokenizer(item, add_special_tokens=False, is_split_into_words=words is not None).encodings
        if words is not None:
            tokens = _in_the_text(tokens, words, settings.delimiter)
        room, size = self.longest - 2, tokens.size
        if settings.stride is not None:
            if settings.stride >= room:
                raise InputError(f"stride: expected less than {room}, the tokens of a window, got {settings.stride}")
            return Cut(text, tokens, spans_of(size, room, room - settings.stride))
        if settings.truncation:
            size = min(size, room)
        self._check_length(f"texts[{number}]", size + 2, "stride=64 reads it in windows, truncation=True cuts it")
        return Cut(text, tokens, [(0, size)])

    def _token(self, cut: Cut, i: int, label: int, scores: Array) -> Token:
        tokens = cut.tokens
        start, end = tokens.starts[i], tokens.ends[i]
        unknown = tokens.ids[i] == self.tokenizer.unk_token_id
        text = cut.text[start:end] if unknown else self.tokenizer.convert_ids_to_tokens(tokens.ids[i])
        continues = i > 0 and tokens.words[i] == tokens.words[i - 1]
        return Token(text, start, end, i + 1, continues, label, scores)


def label_tokens(
    model: BertForTokenClassification, rows: Sequence[Row], words: Sequence[Sequence[int]], room: int
) -> list[tuple[list[int], Array]]:
    """(labels, scores (T, C)) of the tokens of each row, its [CLS] and [SEP] left out. words: of which each token is.

    The one place where tokens get labels: the likeliest each on its own; with a CRF the best path through the words,
    whose pieces all have the label of the first, and as scores the probabilities over all paths.
    """
    found = run_rows(model, rows, room, lambda out, i, length: out.logits[i, 1 : length - 1].copy())
    if isinstance(model, BertCrfForTokenClassification):
        return [_path(model, logits, np.asarray(each)) for logits, each in zip(found, words, strict=True)]
    scores = [softmax(logits)[0] for logits in found]
    return [(each.argmax(axis=-1).tolist(), each) for each in scores]


def _path(model: BertCrfForTokenClassification, logits: Array, words: Array) -> tuple[list[int], Array]:
    if not len(words):
        return [], logits
    starts = np.diff(words, prepend=words[0] - 1) != 0
    given = logits[None], starts[None].astype(np.int64)
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # of each token's word
    labels, scores = model.decode(*given)[0], model.marginals(*given)[0]
    return labels[first].tolist(), scores[first]


def _in_the_text(tokens: Encoding, words: Sequence[str], delimiter: str) -> Encoding:
    """Offsets within words -> offsets in the text that the words make."""
    starts = np.cumsum([0, *(len(word) + len(delimiter) for word in words)])
    shift = starts[np.asarray(tokens.words, np.int64)]
    first, last = ((np.asarray(column, np.int64) + shift).tolist() for column in (tokens.starts, tokens.ends))
    return tokens._replace(starts=array("i", first), ends=array("i", last))
