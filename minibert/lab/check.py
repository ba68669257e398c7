"""Every tensor of a whole model against the complex step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..gradcheck import STEP, TOLERANCES, Report, judge, total_norm
from ..models.base import BertPreTrainedModel, Prepared
from ..models.config import BertConfig
from ..models.encoder import BertEncoder
from ..models.parameters import Keep
from ..models.pretraining import BertForPreTraining
from ..models.sentences import BertForSentencePairs, BertForSentenceRanking
from ..ops.xp import Array

TINY = BertConfig(
    vocab_size=90,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=192,
    max_position_embeddings=16,
)
"""Small enough to check in a second, with every kind of tensor that BERT has."""


class Reference(NamedTuple):
    """The true derivative of the loss along a random direction of one tensor."""

    direction: Array
    derivative: float


def references(
    model: BertPreTrainedModel, prepared: Prepared, *, dropout_seed: int | None = None, seed: int = 0
) -> dict[str, Reference]:
    """Directional derivatives by complex step, Im loss(θ + ihv)/h: one for each tensor, N(0, I) directions.

    One complex forward pass a tensor. Also "inputs_embeds" where the inputs are vectors. float64 models only.
    """
    if model.dtype != np.float64:
        raise InputError(f'gradient checks need dtype="float64", the model has {model.dtype}')
    rng = directions(seed)
    block = model.parameters.astype(np.complex128)
    result = {}
    for name in model.parameters:
        v = rng.standard_normal(block[name].shape)
        block[name].imag[...] = STEP * v
        loss, _ = model.loss_at(block, prepared, Keep(), dropout_seed)
        block[name].imag[...] = 0
        result[name] = Reference(v, float(loss.imag) / STEP)
    if prepared.batch.inputs_embeds is not None:
        v = rng.standard_normal(prepared.batch.inputs_embeds.shape)
        batch = prepared.batch._replace(inputs_embeds=prepared.batch.inputs_embeds + 1j * STEP * v)
        loss, _ = model.loss_at(model.parameters, prepared._replace(batch=batch), Keep(), dropout_seed)
        result["inputs_embeds"] = Reference(v, float(loss.imag) / STEP)
    return result


def directions(seed: int) -> np.random.Generator:
    """What directions are drawn with. Not as weights of the same seed, or they would be those very numbers: a direction
    along the weights shows one component of each gradient, and often one that is 0."""
    return np.random.default_rng([seed, 1])


def gradients(model: BertPreTrainedModel, prepared: Prepared, *, dropout_seed: int | None = None) -> dict[str, Array]:
    """The hand-written gradients of the same loss, by the same names."""
    caches: dict[str, Any] = {}
    model.loss_at(model.parameters, prepared, caches, dropout_seed)
    grads, dwords = model.grads_at(prepared, caches)
    result: dict[str, Array] = dict(grads)
    if prepared.batch.inputs_embeds is not None:
        result["inputs_embeds"] = dwords
    return result


def compare(grads: dict[str, Array], refs: dict[str, Reference]) -> Report:
    """One row a tensor: |<g, v> - reference| against 1e-9·‖g‖ + 1e-13·‖G‖."""
    total = total_norm(grads.values())
    tolerance = TOLERANCES["complex", "model"]
    return Report(
        tuple(
            judge(name, grads[name], [abs(float((grads[name] * v).sum()) - truth)], tolerance, total)
            for name, (v, truth) in refs.items()
        )
    )


def check_model(
    model: BertPreTrainedModel, prepared: Prepared, *, dropout_seed: int | None = None, seed: int = 0
) -> Report:
    """Backward against the complex step for every tensor of the model."""
    refs = references(model, prepared, dropout_seed=dropout_seed, seed=seed)
    return compare(gradients(model, prepared, dropout_seed=dropout_seed), refs)


def scale_weights(model: BertPreTrainedModel, std: float, seed: int = 0) -> None:
    """Redraw everything, gains and biases too: at BERT's own initial scale (0.02) errors in attention hide, and with
    gains of 1 and biases of 0 so do others."""
    rng = np.random.default_rng(seed)
    for param in model.parameters.spec:
        centre = 1.0 if param.init == "ones" else 0.0
        model.parameters[param.name][...] = centre + std * rng.standard_normal(param.shape)


def specimen(model: BertPreTrainedModel, seed: int = 0, length: int = 12) -> Prepared:
    """A batch that has what trips backward passes: uneven lengths, repeated tokens, unlabelled rows, two segments.

    For BertForPreTraining; for BertModel and BertEncoder, which get random cotangents in place of labels; and for the
    models of pairs, where the second text of each has the length of another's first.
    """
    rng = np.random.default_rng(seed)
    length = min(length, model.config.max_position_embeddings)
    ids = rng.integers(0, model.config.vocab_size, (3, length))
    ids[:, 1] = ids[0, 2]  # one token several times in the batch, and twice in the first row
    mask = np.ones_like(ids)
    mask[1, length // 2 :] = 0
    mask[2, length // 3 : length // 2] = 0  # a hole
    segments = (np.arange(length) >= length // 2) * np.ones_like(ids) % model.config.type_vocab_size
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    if isinstance(model, BertEncoder):
        batch = model.prepare(**inputs).batch
        hidden = model.config.hidden_size
        cotangents = {name: rng.standard_normal((*axes, hidden)) for name, (axes, _) in model.places(batch).items()}
        return Prepared(batch, model.pack_cotangents(cotangents, batch))
    if isinstance(model, BertForPreTraining):
        labels = np.where(rng.random(ids.shape) < 0.4, rng.integers(0, model.config.vocab_size, ids.shape), -100)
        labels[0, 1] = ids[0, 2]
        return model.prepare(**inputs, labels=labels, next_sentence_label=[1, -100, 0])
    if isinstance(model, BertForSentencePairs):
        others = {"input_ids": rng.integers(0, model.config.vocab_size, ids.shape)}
        pairs = {k: np.stack([x, others.get(k, np.roll(x, 1, axis=0))], axis=1) for k, x in inputs.items()}
        scored = {} if isinstance(model, BertForSentenceRanking) else {"labels": rng.random(3)}
        return model.prepare(**pairs, **scored)
    expected = "a BertEncoder, BertModel, BertForPreTraining or a model of pairs"
    raise InputError(f"specimen: expected {expected}, got {type(model).__name__}")
