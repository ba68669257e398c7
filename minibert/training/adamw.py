"""AdamW over a model's flat block of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import InputError
from ..models.base import BertPreTrainedModel
from ..models.parameters import Block
from ..ops.xp import Array


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.

    model           whose parameters are updated, in place
    lr              learning rate
    betas, eps      of the moments' averages, and what is added to the root
    weight_decay    λ, for matrices; gains and biases do not decay (Devlin et al. 2019)
    max_grad_norm   a longer gradient is scaled to this length; None leaves it as it is
    """

    def __init__(
        self,
        model: BertPreTrainedModel,
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
    ) -> None:
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name}: expected a number of at least 0, got {value!r}")
        if not all(0 <= beta < 1 for beta in betas) or len(betas) != 2:
            raise InputError(f"betas: expected two numbers from 0 to below 1, got {betas!r}")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise InputError(f"max_grad_norm: expected a positive number or None, got {max_grad_norm!r}")
        self.model = model
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.steps = 0
        self.mean = model.parameters.like()
        self.square = model.parameters.like()

    def step(self, grads: Mapping[str, Array]) -> float:
        """Update the parameters. -> ‖g‖ of all gradients together, before clipping.

        grads: what `loss_and_grads` returned. A norm that is not finite raises InputError and changes nothing.
        """
        parameters = self.model.parameters
        gradient = (grads if isinstance(grads, Block) else _packed(parameters, grads)).flat
        norm = self.model.ops.global_norm(gradient)
        if not math.isfinite(norm):
            raise InputError(f"the gradient's norm is {norm}; nothing was changed", "lower the learning rate")
        scale = 1.0
        if self.max_grad_norm is not None and norm > self.max_grad_norm:
            scale = self.max_grad_norm / norm
        self.steps += 1
        decayed = parameters.decayed
        for part, weight_decay in ((slice(decayed), self.weight_decay), (slice(decayed, None), 0.0)):
            arrays = (parameters.flat[part], gradient[part], self.mean.flat[part], self.square.flat[part])
            self.model.ops.adamw(*arrays, self.steps, self.lr, self.betas, self.eps, weight_decay, scale)
        return float(norm)


def _packed(parameters: Block, grads: Mapping[str, Array]) -> Block:
    block = parameters.like()
    for name, total in block.items():
        total[...] = grads[name]
    return block
