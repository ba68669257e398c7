"""What a trace is a trace of: from a text and what is wanted of it to inputs, labels, and a word for the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..models.base import BertPreTrainedModel, Prepared
from ..models.crf import BertCrfForTokenClassification
from ..models.encoder import BertEncoder
from ..models.finetuning import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from ..models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from ..models.sentences import BertForSentencePairs, BertForSentenceRanking
from ..ops.losses import IGNORE_INDEX
from ..text.tokenizer import BertTokenizer
from .trace import Trace


class Aim(NamedTuple):
    """Labels for a model, and what its loss then is."""

    labels: dict[str, Any]
    text: str


def trace(
    model: BertPreTrainedModel,
    text: Any,
    text_pair: str | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    target: Any = None,
    labels: Any = None,
    dropout_seed: int | None = None,
) -> Trace:
    """`model.trace`; see there."""
    tokens = None
    model = model.astype(np.float64)  # before inputs are prepared, which are not rounded to less
    if isinstance(text, str):
        tokenizer = tokenizer or _tokenizer_of(model)
        inputs: Mapping[str, Any] = tokenizer(text, text_pair, return_tensors="np")
        tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    elif not isinstance(text, Mapping):
        raise InputError(f"trace: expected a text or a mapping of inputs, got {type(text).__name__}")
    elif text_pair is not None:
        raise InputError("text_pair: goes with a text; inputs hold both texts already")
    else:
        inputs = text
    if target is not None and labels is not None:
        raise InputError("trace: expected target or labels, got both")
    if labels is not None:
        given = labels if isinstance(labels, Mapping) else {model.label_names[0]: labels}
        aim = Aim(dict(given), "the loss of the given labels")
    elif isinstance(model, BertEncoder):
        prepared, said = _projection(model, inputs, target)
        return Trace(model, prepared, dropout_seed, tokens, said, copied=True)
    else:
        aim = _aim(model, inputs, tokenizer, target)
    return Trace(model, model.prepare(**inputs, **aim.labels), dropout_seed, tokens, aim.text, copied=True)


def _tokenizer_of(model: BertPreTrainedModel) -> BertTokenizer:
    if model.name_or_path is None:
        raise InputError("trace: this model was not loaded from anywhere, so it has no tokenizer", "give tokenizer=…")
    return BertTokenizer.from_pretrained(model.name_or_path)


def _projection(model: BertEncoder, inputs: Mapping[str, Any], target: Any) -> tuple[Prepared, str]:
    batch = model.prepare(**inputs).batch
    shapes = {name: (*axes, model.config.hidden_size) for name, (axes, _) in model.places(batch).items()}
    if target is None:
        rng = np.random.default_rng(0)
        target = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        said = f"Σ c·x over {' and '.join(shapes)}, with c drawn from N(0, 1)"
    elif isinstance(target, Mapping):
        said = f"Σ c·x over {' and '.join(target)}, with the given c"
    else:
        raise InputError(f"target: expected {{{' or '.join(shapes)}: cotangents}}, got {type(target).__name__}")
    return Prepared(batch, model.pack_cotangents(dict(target), batch)), said


def _aim(model: BertPreTrainedModel, inputs: Mapping[str, Any], tokenizer: BertTokenizer | None, target: Any) -> Aim:
    """The target, or what the model itself answers."""
    if "input_ids" not in inputs and isinstance(model, BertForMaskedLM | BertForPreTraining):
        raise InputError("trace: without input_ids nobody knows which words to ask for", "give labels=…")
    if isinstance(model, BertForSentenceRanking):
        if target is not None:
            raise InputError("target: none in ranking, where the second text of each pair is the right one")
        return Aim({}, "cross-entropy of each pair's second text among all")
    out = model(**inputs)
    if isinstance(model, BertForSentencePairs):
        score = 1.0 if target is None else target
        labels = np.broadcast_to(score, out.cosines.shape)
        return Aim({"labels": labels}, f"squared distance of the cosine from {score}")
    if isinstance(model, BertForMaskedLM):
        return _words(np.asarray(inputs["input_ids"]), out.logits, tokenizer, target)
    if isinstance(model, BertForPreTraining):
        words = _words(np.asarray(inputs["input_ids"]), out.prediction_logits, tokenizer, target)
        follows = {"next_sentence_label": out.seq_relationship_logits.argmax(-1)}
        return Aim({**words.labels, **follows}, f"{words.text}, plus the loss of its own next-sentence answer")
    if isinstance(model, BertForQuestionAnswering):
        hidden = np.where(np.asarray(inputs.get("attention_mask", 1)), 0.0, -np.inf)  # padding is no answer
        own = [(logits + hidden).argmax(1) for logits in (out.start_logits, out.end_logits)]
        start, end = own if target is None else _pair(target)
        said = "cross-entropy of its own answer" if target is None else f"cross-entropy of the answer {start} to {end}"
        return Aim({"start_positions": np.atleast_1d(start), "end_positions": np.atleast_1d(end)}, said)
    shown = np.asarray(inputs.get("attention_mask", np.ones(np.shape(out.logits)[:2], int)))
    return _classes(model, out.logits, target, shown)


def _words(ids: Any, logits: Any, tokenizer: BertTokenizer | None, target: Any) -> Aim:
    """At every [MASK] the target's word, or the likeliest; without a mask every word itself."""
    if tokenizer is None:
        if target is not None:
            raise InputError("target: words need a tokenizer", "give tokenizer=…, or labels=… of ids")
        return Aim({"labels": ids}, "cross-entropy of every token itself")
    masked = ids == tokenizer.mask_token_id
    if not masked.any():
        if target is not None:
            raise InputError(f"target: there is no {tokenizer.mask_token} in the text that it could stand for")
        labels = np.where(np.isin(ids, tokenizer.all_special_ids), IGNORE_INDEX, ids)
        return Aim({"labels": labels}, "cross-entropy of every word itself")
    if target is None:
        labels = np.where(masked, logits.argmax(-1), IGNORE_INDEX)
    else:
        words = list(target) if isinstance(target, list | tuple) else [target]
        if len(words) != masked.sum():
            raise InputError(f"target: expected a word for each of {masked.sum()} masks, got {len(words)}")
        labels = np.full(ids.shape, IGNORE_INDEX)
        labels[masked] = [_word_id(tokenizer, word) for word in words]
    said = ", ".join(tokenizer.convert_ids_to_tokens(labels[masked].tolist()))
    return Aim({"labels": labels}, f"−log p({said})" + " averaged" * bool(masked.sum() > 1))


def _word_id(tokenizer: BertTokenizer, word: str) -> int:
    if not isinstance(word, str):
        raise InputError(f"target: expected a word, got {word!r}")
    if word in (vocabulary := tokenizer.get_vocab()):  # pieces, too
        return int(vocabulary[word])
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        pieces = ", ".join(tokenizer.tokenize(word)) or "nothing"
        raise InputError(f"target: {word!r} is not one word of the vocabulary, but {pieces}")
    return int(ids[0])


def _pair(target: Any) -> tuple[Any, Any]:
    if np.shape(target)[:1] != (2,):
        raise InputError(f"target: expected (start, end), got {target!r}")
    return target[0], target[1]


def _classes(model: BertPreTrainedModel, logits: Any, target: Any, shown: Any) -> Aim:
    """Of a classifier: the target, a number or the name of a class, or what the model says. shown: attention_mask."""
    names = {name: number for number, name in (model.config.id2label or {}).items()}
    if isinstance(model, BertForNextSentencePrediction):
        names = {}
    said = "its own answer" if target is None else f"{target}"
    if isinstance(target, str):
        if target not in names:
            raise InputError(
                f"target: expected a number{' or one of ' * bool(names)}{', '.join(names)}, got {target!r}"
            )
        target = names[target]
    if isinstance(model, BertCrfForTokenClassification):
        labels = model.decode(logits, shown) if target is None else np.broadcast_to(target, shown.shape)
        return Aim({"labels": labels}, f"−log p of {said} as a path through all tokens")
    if isinstance(model, BertForTokenClassification):
        labels = logits.argmax(-1) if target is None else np.broadcast_to(target, logits.shape[:-1])
        return Aim({"labels": labels}, f"cross-entropy of {said}, averaged over the tokens")
    problem = model.config.problem_type if isinstance(model, BertForSequenceClassification) else None
    if problem == "multi_label_classification":
        labels = (logits > 0).astype(float) if target is None else np.reshape(target, logits.shape)
        return Aim({"labels": labels}, f"binary cross-entropy of {said}")
    if problem == "regression" or (isinstance(model, BertForSequenceClassification) and logits.shape[-1] == 1):
        labels = np.zeros(logits.shape) if target is None else np.reshape(target, logits.shape)
        return Aim({"labels": labels}, f"squared distance from {0 if target is None else target}")
    labels = logits.argmax(-1) if target is None else np.atleast_1d(target)
    return Aim({"labels": labels}, f"cross-entropy of {said}")
