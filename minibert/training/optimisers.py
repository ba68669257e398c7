"""Optimisers over a model's flat block of parameters.

Parameters that are updated alike, with one rate and one decay, and lie side by side, are updated in one pass: a model
whose every layer has the same rate takes two, the matrices, which decay, and the gains and biases, which do not.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..errors import InputError
from ..models.base import BertPreTrainedModel
from ..models.parameters import Block
from ..ops.xp import Array

LAYER = re.compile(r"\bencoder\.layer\.(\d+)\.")


class Group(NamedTuple):
    """Parameters that are updated alike."""

    part: slice  # of the flat arrays
    rate: float  # a factor of the learning rate
    weight_decay: float


class Optimiser:
    """What all optimisers share: groups, clipping, moments. Subclasses say what one step does to a part of the flat
    arrays (`_update`), and which moments they keep (`MOMENTS`).

    model           whose parameters are updated, in place
    lr              learning rate; a schedule assigns it anew before every step
    weight_decay    λ, for matrices; gains and biases do not decay (Devlin et al. 2019)
    max_grad_norm   a longer gradient is scaled to this length; None leaves it as it is. PyTorch's clip_grad_norm_
                    divides by ‖g‖ + 1e-6 and so ends a millionth shorter
    layer_decay     each layer learns at this multiple of the rate of the layer above it, embeddings as a layer below
                    the first; 1 is one rate for all (Sun et al. 2019, "How to Fine-Tune BERT", §5.3.3)
    freeze          names, or patterns such as "*embeddings*", of tensors that stay as they are. Their gradients do not
                    count in the norm
    """

    MOMENTS: ClassVar[tuple[str, ...]] = ()
    TENSORWISE: ClassVar[bool] = False  # must every tensor be updated by itself?

    def __init__(
        self,
        model: BertPreTrainedModel,
        lr: float,
        weight_decay: float,
        max_grad_norm: float | None,
        layer_decay: float,
        freeze: Sequence[str],
    ) -> None:
        at_least_0(lr=lr, weight_decay=weight_decay)
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise InputError(f"max_grad_norm: expected a positive number or None, got {max_grad_norm!r}")
        if not 0 < layer_decay <= 1:
            raise InputError(f"layer_decay: expected a number above 0 and at most 1, got {layer_decay!r}")
        self.model = model
        self.lr = lr
        self.max_grad_norm = max_grad_norm
        self.steps = 0
        self.moments = {name: model.parameters.like() for name in self.MOMENTS}
        frozen = frozen_names(model.parameters, freeze)
        self.frozen = [model.parameters.places[name] for name in frozen]
        self.groups = _groups(model, frozen, weight_decay, layer_decay, self.TENSORWISE)

    def step(self, grads: Mapping[str, Array]) -> float:
        """Update the parameters. -> ‖g‖ of all gradients together, before clipping.

        grads: what `loss_and_grads` returned; the gradients of frozen tensors are set to 0. A norm that is not finite
        raises NotFinite, an InputError, and changes nothing else.
        """
        parameters = self.model.parameters
        block = grads if isinstance(grads, Block) else _packed(parameters, grads)
        gradient, norm = block.flat, self.norm(block)
        if not math.isfinite(norm):
            raise NotFinite(f"the gradient's norm is {norm}; nothing was changed", "lower the learning rate")
        clipped = self.max_grad_norm is not None and norm > self.max_grad_norm
        scale = self.max_grad_norm / norm if clipped and self.max_grad_norm is not None else 1.0
        self.steps += 1
        for group in self.groups:
            moments = [block.flat[group.part] for block in self.moments.values()]
            lr = self.lr * group.rate
            self._update(parameters.flat[group.part], gradient[group.part], moments, lr, group.weight_decay, scale)
        return norm

    def norm(self, grads: Block) -> float:
        """‖g‖ of all gradients together, those of frozen tensors set to 0."""
        for part in self.frozen:
            grads.flat[part] = 0
        return float(self.model.ops.global_norm(grads.flat))

    def _update(
        self, parameter: Array, gradient: Array, moments: list[Array], lr: float, weight_decay: float, scale: float
    ) -> None:
        raise NotImplementedError


class NotFinite(InputError):
    """A loss or a gradient that is infinite or not a number; nothing was changed."""


class AdamW(Optimiser):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.

    betas, eps      of the moments' averages, and what is added to the root; the others as in Optimiser
    """

    MOMENTS = ("mean", "square")

    def __init__(
        self,
        model: BertPreTrainedModel,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
        layer_decay: float = 1.0,
        freeze: Sequence[str] = (),
    ) -> None:
        at_least_0(eps=eps)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"betas: expected two numbers from 0 to below 1, got {betas!r}")
        super().__init__(model, lr, weight_decay, max_grad_norm, layer_decay, freeze)
        self.betas = betas
        self.eps = eps

    def _update(
        self, parameter: Array, gradient: Array, moments: list[Array], lr: float, weight_decay: float, scale: float
    ) -> None:
        numbers = self.steps, lr, self.betas, self.eps, weight_decay, scale
        self.model.ops.adamw(parameter, gradient, *moments, *numbers)


class BertAdam(AdamW):
    """The Adam that BERT was trained with (google-research/bert, optimization.py): AdamW without bias correction.

    Its first step is 3.16 times as long as AdamW's; only warm-up makes it fit for use. Defaults are Google's.
    """

    def __init__(self, model: BertPreTrainedModel, lr: float = 5e-5, eps: float = 1e-6, **options: Any) -> None:
        super().__init__(model, lr, eps=eps, **options)

    def _update(
        self, parameter: Array, gradient: Array, moments: list[Array], lr: float, weight_decay: float, scale: float
    ) -> None:
        numbers = self.steps, lr, self.betas, self.eps, weight_decay, scale
        self.model.ops.adamw(parameter, gradient, *moments, *numbers, bias_correction=False)


class Lamb(AdamW):
    """LAMB (You et al. 2020) for large batches: every tensor's step is lr times as long as the tensor."""

    TENSORWISE = True

    def __init__(self, model: BertPreTrainedModel, lr: float = 1e-3, eps: float = 1e-6, **options: Any) -> None:
        super().__init__(model, lr, eps=eps, **options)

    def _update(
        self, parameter: Array, gradient: Array, moments: list[Array], lr: float, weight_decay: float, scale: float
    ) -> None:
        numbers = self.steps, lr, self.betas, self.eps, weight_decay, scale
        self.model.ops.lamb(parameter, gradient, *moments, *numbers)


class Sgd(Optimiser):
    """Gradient descent with momentum, as torch.optim.SGD computes it; weight decay is part of the gradient."""

    MOMENTS = ("velocity",)

    def __init__(
        self,
        model: BertPreTrainedModel,
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = 1.0,
        layer_decay: float = 1.0,
        freeze: Sequence[str] = (),
    ) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f"momentum: expected a number from 0 to below 1, got {momentum!r}")
        super().__init__(model, lr, weight_decay, max_grad_norm, layer_decay, freeze)
        self.momentum = momentum

    def _update(
        self, parameter: Array, gradient: Array, moments: list[Array], lr: float, weight_decay: float, scale: float
    ) -> None:
        self.model.ops.sgd(parameter, gradient, *moments, lr, self.momentum, weight_decay, scale)


OPTIMISERS = {"adamw": AdamW, "bert-adam": BertAdam, "lamb": Lamb, "sgd": Sgd}


def frozen_names(parameters: Block, patterns: Sequence[str]) -> list[str]:
    """Tensors whose name is, or matches, one of the patterns. InputError for a pattern that matches none."""
    found: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matching = [name for name in parameters if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise InputError(f"freeze: no tensor is called {pattern}", 'as in "bert.embeddings.*"')
        found += matching
    if len(set(found)) == len(parameters):
        raise InputError("freeze: nothing is left to be trained")
    return sorted(set(found))


def _groups(
    model: BertPreTrainedModel, frozen: Sequence[str], weight_decay: float, layer_decay: float, tensorwise: bool
) -> list[Group]:
    """The flat arrays, cut where the rate or the decay changes."""
    groups: list[Group] = []
    for param in sorted(model.parameters.spec, key=lambda p: model.parameters.places[p.name].start):
        if param.name in frozen:
            continue
        part = model.parameters.places[param.name]
        group = Group(part, layer_decay ** _depth(param.name, model), weight_decay if param.decayed else 0.0)
        last = groups[-1] if groups else None
        if last and not tensorwise and last.part.stop == part.start and last[1:] == group[1:]:
            groups[-1] = group._replace(part=slice(last.part.start, part.stop))
        else:
            groups.append(group)
    return groups


def _depth(name: str, model: BertPreTrainedModel) -> int:
    """How many layers lie between a tensor and the head: 0 for the head, 1 for the last layer, L + 1 for embeddings."""
    if match := LAYER.search(name):
        return model.config.num_hidden_layers - int(match[1])
    return model.config.num_hidden_layers + 1 if ".embeddings." in f".{name}" else 0


def _packed(parameters: Block, grads: Mapping[str, Array]) -> Block:
    block = parameters.like()
    for name, total in block.items():
        total[...] = grads[name]
    return block


def at_least_0(**numbers: float) -> None:
    """InputError for a number that is negative, infinite or none."""
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name}: expected a number of at least 0, got {value!r}")
