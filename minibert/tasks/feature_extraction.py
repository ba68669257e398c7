"""Hidden states of every token, of whichever layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..models.base import BertPreTrainedModel
from ..models.encoder import BertEncoder
from ..models.output import ModelOutput
from ..ops.xp import Array
from .batches import run_rows
from .task import Options, Task, check_choice

# Each takes the wanted layers' states, (T, H) each
COMBINATIONS: dict[str, Callable[[list[Array]], Array]] = {
    "last": lambda states: states[-1],
    "sum": lambda states: np.add.reduce(states),
    "mean": lambda states: np.add.reduce(states) / len(states),
    "concat": lambda states: np.concatenate(states, axis=-1),
}


@dataclass(frozen=True)
class FeatureOptions(Options):
    """layers          numbers of `hidden_states`: 0 is the embeddings, -1 the last layer; one, or several
    combine         how several become one: "sum", "mean", "concat", or "last", the last that is named
    return_tensors  "np" for arrays (1, T, H); None for nested lists
    truncation      cut what is too long, at its end
    """

    layers: int | Sequence[int] = -1
    combine: str = "last"
    return_tensors: str | None = None
    truncation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("combine", self.combine, COMBINATIONS)
        check_choice("return_tensors", self.return_tensors, (None, "np"))


class FeatureExtraction(Task):
    """Text -> its tokens' hidden states (1, T, H), [CLS] and [SEP] included, as Hugging Face's pipeline gives them.

    The last layer's, unless `layers` says otherwise: layers=-2, or layers=[-4, -3, -2, -1] with combine="sum" or
    "concat" (Devlin et al. 2019, Table 7). For one vector a text see `SentenceEncoder`. The model may have any head.
    """

    needs = BertPreTrainedModel
    options_class = FeatureOptions

    def _results(self, items: Sequence[Any], settings: FeatureOptions) -> list[Any]:
        layers = self._layers(settings.layers)
        rows = self._rows(items, settings.truncation)
        plain = isinstance(self.model, BertEncoder) and layers == [self.model.config.num_hidden_layers]

        def read(out: ModelOutput, i: int, length: int) -> Any:
            states = [out.last_hidden_state] if plain else [out.hidden_states[layer] for layer in layers]
            found = COMBINATIONS[settings.combine]([x[i, :length] for x in states])[None]
            return found.copy() if settings.return_tensors == "np" else found.tolist()

        return run_rows(self.model, rows, self._room(settings), read, output_hidden_states=not plain)

    def _layers(self, wanted: int | Sequence[int]) -> list[int]:
        """Counted from 0, the embeddings."""
        number = self.model.config.num_hidden_layers
        layers = list(wanted) if isinstance(wanted, Sequence) else [wanted]
        for layer in layers:
            if not isinstance(layer, int) or isinstance(layer, bool) or not -number - 1 <= layer <= number:
                raise InputError(f"layers: expected {-number - 1} to {number}, 0 being the embeddings, got {layer!r}")
        if not layers:
            raise InputError("layers: expected at least one, got none")
        return [layer % (number + 1) for layer in layers]
