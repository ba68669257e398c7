"""The registry: one entry for every tensor of a model, activation or parameter.

It is the single source of names, axes, symbols, equations, code lines and aliases. Equations are in index notation and
are computed (`minibert.lab.equations`): the tests evaluate each of them, forward and backward, on the tensors of a run.
Code lines are looked up in the source when they are asked for, so they cannot be out of date.
"""

from __future__ import annotations

from collections.abc import Callable

from ...models.base import BertPreTrainedModel, Prepared
from ...models.class_loss import ClassLoss
from ...models.crf import BertCrfForTokenClassification
from ...models.encoder import BertEncoder
from ...models.finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from ...models.pretraining import NSP, BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from ...models.sentences import BertForSentencePairs
from . import encoder, heads, pairs
from .entries import AXES, Entry, Gradient, Room

__all__ = ["AXES", "Entry", "registry"]

COTANGENTS = "models.encoder:BertEncoder._loss_backward.return"


def registry(model: BertPreTrainedModel, prepared: Prepared, dropout: bool = False) -> dict[str, Entry]:
    """{name: entry} of a model on prepared inputs, activations in the order in which they are computed."""
    config = model.config
    entries: dict[str, Entry] = {}
    body = f"{model.body}." if model.body else ""
    count = config.num_hidden_layers
    tied = " + Σ_n dl_V[n,v]·e_V[n,i]" if _masked_lm(model) and config.tie_word_embeddings else ""
    given = prepared.batch.input_ids is None

    x = f"{body}embeddings.{'dropout' if dropout else 'LayerNorm'}"
    room = Room(entries, f"{body}embeddings.", config, {})
    dx = encoder.next_layer(room, body, 0) if count else _last(model, room, body, dropout)
    room.symbols |= {"l_V": "cls.predictions.decoder", "e_V": "cls.predictions.transform.LayerNorm"} if tied else {}
    encoder.embeddings(room, dx, dropout, given, tied)
    for i in range(count):
        room = Room(entries, f"{body}encoder.layer.{i}.", config, {"x": x})
        dy = encoder.next_layer(room, body, i + 1) if i + 1 < count else _last(model, room, body, dropout)
        encoder.layer(room, i, dy, dropout)
        x = f"{room.prefix}output.LayerNorm"
    _head(model, entries, body, x, prepared, dropout)
    return entries


def _masked_lm(model: BertPreTrainedModel) -> bool:
    return isinstance(model, BertForMaskedLM | BertForPreTraining)


def _last(model: BertPreTrainedModel, room: Room, body: str, dropout: bool) -> Gradient:
    """The gradient of the last hidden states, from whatever reads them; gives the room the symbols for it."""
    terms, code = [], "gather_rows_backward.return"
    if isinstance(model, BertEncoder):
        room.symbols["ȳ"] = "cotangents.last_hidden_state"
        terms.append("ȳ[n,i]")
        code = "models.encoder:BertModel._logits_backward.return" if model.pooled else COTANGENTS
    if _masked_lm(model):
        room.symbols |= {"t_M": "cls.predictions.rows", "rows": "rows"}
        terms.append("Σ_m [rows[m] = n]·dt_M[m,i]")
    if model.pooled:
        room.symbols |= {"t_P": f"{body}pooler.first", "first": "first_tokens"}
        terms.append("Σ_m [first[m] = n]·dt_P[m,i]")
    if isinstance(model, BertForSentencePairs):
        dx = pairs.last(room, model)
        terms, code = [dx.equation], dx.code
    if isinstance(model, BertForPreTraining):
        code = "models.pretraining:BertForPreTraining._head_backward.return"
    if not terms:
        name = "qa_outputs" if isinstance(model, BertForQuestionAnswering) else "classifier"
        dropped = dropout and name == "classifier"
        room.symbols |= {"x̃_C": f"{name}.dropout", "κ_C": f"{name}.dropout.mask"} if dropped else {}
        room.symbols |= {"l_C": name, "W_C": f"{name}.weight"}
        terms.append("dx̃_C[n,i]·κ_C[n,i]" if dropped else "Σ_c dl_C[n,c]·W_C[c,i]")
        code = "dropout_backward.return" if dropped else heads.LINEAR_DX
    return Gradient(" + ".join(terms), code)


def _head(
    model: BertPreTrainedModel, entries: dict[str, Entry], body: str, y: str, prepared: Prepared, dropout: bool
) -> None:
    """Everything above the encoder."""
    config = model.config
    if isinstance(model, BertForSentencePairs):
        pairs.pairs(Room(entries, "", config, {"y": y}), model)
        return
    gradient: Callable[[Room, str], Gradient]
    if model.pooled:
        room = Room(entries, f"{body}pooler.", config, {"y": y})
        heads.pooler(room, _pooled(model, room, dropout))
    if _masked_lm(model):
        loss = "loss.masked_lm" if isinstance(model, BertForPreTraining) else "loss"
        heads.masked_lm(Room(entries, "cls.predictions.", config, {"y": y}), loss)
    if isinstance(model, BertForPreTraining | BertForNextSentencePrediction):
        name, loss = NSP, "loss.next_sentence" if isinstance(model, BertForPreTraining) else "loss"
        gradient = heads.cross_entropy
    elif isinstance(model, BertForQuestionAnswering):
        several = len(prepared.batch.sequences) > 1
        name, loss, gradient = "qa_outputs", "loss", heads.spans_of_several if several else heads.spans
    elif isinstance(model, BertForMultipleChoice):
        name, loss, gradient = "classifier", "loss", heads.choices
    elif isinstance(model, BertForSequenceClassification):
        name, loss = "classifier", "loss"
        ((problem, _),) = prepared.labels.items()
        gradient = getattr(heads, model.LOSSES[problem])
    elif isinstance(model, BertCrfForTokenClassification):
        name, loss, gradient = "classifier", "loss", heads.crf
    elif isinstance(model, BertForTokenClassification):
        name, loss, gradient = "classifier", "loss", heads.cross_entropy
    else:
        return
    if isinstance(model, ClassLoss) and model.loss_options:
        gradient = heads.weighted_cross_entropy
    read, axis = (f"{body}pooler.activation", "B") if model.pooled else (y, "N")
    room = Room(entries, "", config, {"x": read})
    heads.classifier(room, name, axis, dropout and name == "classifier", loss, gradient)


def _pooled(model: BertPreTrainedModel, room: Room, dropout: bool) -> Gradient:
    """The gradient of the pooler's output z."""
    if isinstance(model, BertEncoder):
        room.symbols["z̄"] = "cotangents.pooler_output"
        return Gradient("z̄[n,j]", COTANGENTS)
    pretraining = isinstance(model, BertForPreTraining | BertForNextSentencePrediction)
    name = NSP if pretraining else "classifier"
    if dropout and not pretraining:
        room.symbols |= {"x̃_C": f"{name}.dropout", "κ_C": f"{name}.dropout.mask"}
        return Gradient("dx̃_C[n,j]·κ_C[n,j]", "dropout_backward.return")
    room.symbols |= {"l_C": name, "W_C": f"{name}.weight"}
    return Gradient("Σ_c dl_C[n,c]·W_C[c,j]", heads.LINEAR_DX)
