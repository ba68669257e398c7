"""Labels for texts and pairs: sentiment, topic, entailment, similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats.files import quote
from ..models.finetuning import BertForSequenceClassification
from ..ops import softmax
from ..ops.activations import sigmoid
from ..ops.xp import Array
from .batches import run_rows
from .task import Options, Task, check_choice, check_whole

FUNCTIONS = ("softmax", "sigmoid", "none")
BEST = "best"


@dataclass(frozen=True)
class ClassificationOptions(Options):
    """top_k              labels a text: a number, or None for all; "best" is one, not in a list
    function_to_apply  to the logits: "softmax", "sigmoid" or "none"; None leaves it to the kind of model
    truncation         cut what is too long, at its end
    """

    top_k: int | str | None = BEST
    function_to_apply: str | None = None
    truncation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k != BEST:
            check_whole("top_k", self.top_k, optional=True)
        check_choice("function_to_apply", self.function_to_apply, (*FUNCTIONS, None))


class TextClassification(Task):
    """Text -> [{"label", "score"}], as Hugging Face's pipeline of that name returns it.

    An input is a text, or a pair {"text": ..., "text_pair": ...}. A list gives a dictionary an input; with top_k a list
    of dictionaries, best first. A single text gives a list of one result unless the call itself says top_k, as in the
    original; a single pair never does.

    The score is the softmax over the labels; the sigmoid for one label, or where several may hold; the bare number of a
    regression.
    """

    needs = BertForSequenceClassification
    options_class = ClassificationOptions

    def __call__(self, inputs: Any = None, **options: Any) -> Any:
        """One text or pair, a list of them, or an iterator."""
        found = super().__call__(inputs, **options)
        return [found] if isinstance(inputs, str) and "top_k" not in options else found

    def function(self, settings: ClassificationOptions) -> str:
        """The function that makes scores of the logits."""
        config = self.model.config
        if settings.function_to_apply is not None:
            return settings.function_to_apply
        if config.problem_type == "regression":
            return "none"
        return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"

    def _is_one(self, inputs: Any, settings: ClassificationOptions) -> bool:
        return isinstance(inputs, str | Mapping)

    def _checked(self, item: Any, where: str, settings: ClassificationOptions) -> str | tuple[str, str]:
        if not isinstance(item, Mapping):
            if isinstance(item, list | tuple):
                raise InputError(
                    f"{where}: expected a text, got {quote(item)}", 'a pair is {"text": ..., "text_pair": ...}'
                )
            return str(super()._checked(item, where, settings))
        if "text" not in item or set(item) - {"text", "text_pair"}:
            raise InputError(f'{where}: expected {{"text", "text_pair"}}, got {{{", ".join(map(repr, item))}}}')
        text = super()._checked(item["text"], f"{where}.text", settings)
        if not item.get("text_pair"):  # an empty second text is none
            return str(text)
        return text, super()._checked(item["text_pair"], f"{where}.text_pair", settings)

    def _results(self, items: Sequence[Any], settings: ClassificationOptions) -> list[Any]:
        rows = self._rows(items, settings.truncation)
        logits = run_rows(self.model, rows, self._room(settings), lambda out, i, _: out.logits[i])
        return [self._labelled(row, settings) for row in self._scores(np.stack(logits), settings)]

    def _scores(self, logits: Array, settings: ClassificationOptions) -> Array:
        match self.function(settings):
            case "softmax":
                return softmax(logits)[0]
            case "sigmoid":
                return sigmoid(logits)
            case _:
                return logits

    def _labelled(self, scores: Array, settings: ClassificationOptions) -> Any:
        names = self.model.config.id2label or {}
        order = np.argsort(-scores, kind="stable").tolist()
        number = 1 if settings.top_k == BEST else settings.top_k
        found = [{"label": names[i], "score": float(scores[i])} for i in order[:number]]
        return found[0] if settings.top_k == BEST else found
