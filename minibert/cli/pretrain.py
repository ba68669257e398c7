"""minibert pretrain: text -> a BERT."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MinibertError, NotFound
from ..models.base import BertPreTrainedModel
from ..models.config import BertConfig
from ..models.pretraining import BertForMaskedLM, BertForPreTraining, MaskedLoss
from ..text.tokenizer import BertTokenizer
from ..training import Corpus, PretrainingData
from ..training.evaluation import evaluate_pretraining
from ..training.pretraining import check_options
from .inputs import UsageError, printable
from .outputs import say
from .training import check, say_result, train

NEW = "hidden", "heads", "intermediate", "activation", "positions"
"""What only a new model is asked."""

FEW_UNKNOWN = 0.02
"""A share of tokens beyond which the vocabulary may be one for other texts."""


def run(args: Any) -> int:
    """Tokenise the corpus, train, write the model."""
    _check(args)
    if args.steps is None and args.epochs is None:
        args.epochs = 1.0
    tokenizer = _tokenizer(args)
    options = {
        "batch_size": args.batch_size,
        "max_seq_length": args.max_length,
        "short_seq_prob": args.short,
        "next_sentence": not args.no_next_sentence,
        "masking": args.masking,
        "masked_lm_prob": args.mask,
        "hold_out": args.hold_out,
        "seed": args.seed,
    }
    check_options(tokenizer, **options)
    model = _model(args, tokenizer)
    check(args, model)
    say(f"{model}")
    data = PretrainingData(_corpus(args, tokenizer), tokenizer, **options)
    held_out = data.held_out
    say(f"{data.corpus}, {data.per_epoch} batches an epoch, {held_out.per_epoch if held_out else 0} held out")
    if (unknown := data.corpus.share_of(tokenizer.unk_token_id)) >= 1e-4:
        doubt = ": is the vocabulary one for other texts?" if unknown > FEW_UNKNOWN else ""
        say(f"{unknown:.2%} of the tokens are {tokenizer.unk_token}{doubt}")
    evaluate = (lambda model: evaluate_pretraining(model, held_out)) if held_out else None
    result = train(args, model, tokenizer, data, evaluate)
    return say_result(result, args.out, "held-out loss")


def _check(args: Any) -> None:
    """What the arguments alone say."""
    if not args.corpus:
        raise UsageError("no corpus given", f"minibert pretrain TEXT_FILE... --out {args.out}")
    for name in args.corpus:
        if not os.path.isfile(name):
            raise NotFound(f"{name}: expected a text file, got {'a folder' if os.path.isdir(name) else 'nothing'}")
    if args.model is None and args.vocab is None:
        raise UsageError(
            "--vocab: expected a vocabulary for a new model", "minibert train-vocab TEXT_FILE... --output vocab.txt"
        )
    if args.vocab is not None and not os.path.isfile(args.vocab):
        raise NotFound(f"--vocab {args.vocab}: expected a vocabulary, got nothing of that name")
    for name in NEW if args.model else ():
        if getattr(args, name) is not None:
            raise UsageError(f"--{name} does not go with --model, which has its own")
    if args.model is None and args.repeat_positions:
        raise UsageError("--repeat-positions: expected a model that has learnt some, got none", "--model MODEL")
    if args.model is None and _positions(args) < args.max_length:
        raise UsageError(f"--positions: expected at least --max-length, {args.max_length}, got {args.positions}")
    if args.cased and args.vocab is None:
        raise UsageError("--cased does not go with the model's own vocabulary, which says whether it is")
    if args.hold_out == 0 and args.eval_every:
        raise UsageError("--eval-every: nothing is held out that could be evaluated on", "--hold-out 0.01")


def _tokenizer(args: Any) -> BertTokenizer:
    if args.vocab is None:
        tokenizer = BertTokenizer.from_pretrained(args.model)
        if args.repeat_positions:
            tokenizer.model_max_length = max(tokenizer.model_max_length, args.max_length)
        return tokenizer
    return BertTokenizer.from_pretrained(args.vocab, do_lower_case=not args.cased, model_max_length=_positions(args))


def _positions(args: Any) -> int:
    """Those of a new model."""
    positions: int = args.positions or args.max_length
    return positions


def _model(args: Any, tokenizer: BertTokenizer) -> BertPreTrainedModel:
    model = _new_model(args, tokenizer)
    model.label_epsilon = 1e-5 if args.normaliser == "google" else 0.0
    return model


def _new_model(args: Any, tokenizer: BertTokenizer) -> MaskedLoss:
    kind = BertForMaskedLM if args.no_next_sentence else BertForPreTraining
    if args.model is not None:
        rates = {"hidden_dropout_prob": args.dropout, "attention_probs_dropout_prob": args.dropout}
        model: MaskedLoss = kind.from_pretrained(args.model, strict=False, seed=args.seed, **rates)
        if args.layers:
            model = _with_stacked_layers(model, args)
        if args.repeat_positions:
            model = _with_repeated_positions(model, args)
        positions, size = model.config.max_position_embeddings, model.config.vocab_size
        if args.max_length > positions:
            raise UsageError(
                f"--max-length: expected at most {positions}, the positions of {args.model}, got {args.max_length}"
            )
        if len(tokenizer) > size:
            raise UsageError(f"--vocab: expected at most the {size} pieces that {args.model} has, got {len(tokenizer)}")
        _check_pieces(args, tokenizer)
        return model
    hidden = args.hidden or 256
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=args.layers or 4,
        num_attention_heads=args.heads or max(hidden // 64, 1),
        intermediate_size=args.intermediate or 4 * hidden,
        hidden_act=args.activation or "gelu",
        max_position_embeddings=_positions(args),
        hidden_dropout_prob=args.dropout,
        attention_probs_dropout_prob=args.dropout,
    )
    return kind(config, seed=args.seed)


def _with_stacked_layers(model: MaskedLoss, args: Any) -> MaskedLoss:
    """The model with layers 0..L-1, 0..L-1, ... (Gong et al. 2019, Efficient Training of BERT by Progressively
    Stacking, §3): what a layer has learnt to do to its input is of use higher up, too."""
    layers, there = args.layers, model.config.num_hidden_layers
    if layers < there:
        raise UsageError(f"--layers: expected at least {there}, the layers of {args.model}, got {layers}")
    deeper = type(model)(dataclasses.replace(model.config, num_hidden_layers=layers), dtype=model.dtype)
    state, layer = model.state_dict(), re.compile(r"(?<=encoder\.layer\.)\d+")
    copied = {name: layer.sub(lambda i: str(int(i[0]) % there), name) for name in deeper.state_dict()}
    deeper.load_state_dict({name: state[own] for name, own in copied.items()})
    deeper.name_or_path = model.name_or_path
    return deeper


def _with_repeated_positions(model: MaskedLoss, args: Any) -> MaskedLoss:
    """The model with positions 0..N-1, 0..N-1, ... (Beltagy et al. 2020, Longformer, §5): what attention has learnt of
    neighbours holds all along a longer text, but where two copies meet."""
    number, there = args.repeat_positions, model.config.max_position_embeddings
    if number > there:
        raise UsageError(f"--repeat-positions: expected at most {there}, the positions of {args.model}, got {number}")
    config = dataclasses.replace(model.config, max_position_embeddings=max(there, args.max_length))
    name = "bert.embeddings.position_embeddings.weight"
    state = model.state_dict()
    longer = type(model)(config, dtype=model.dtype)
    longer.load_state_dict({**state, name: state[name][np.arange(config.max_position_embeddings) % number]})
    longer.name_or_path = model.name_or_path
    return longer


def _check_pieces(args: Any, tokenizer: BertTokenizer) -> None:
    """What --model has learnt of a piece is in the row of its id: another vocabulary may add pieces, and no more."""
    if args.vocab is None:
        return
    try:
        own = BertTokenizer.from_pretrained(args.model)
    except MinibertError:  # weights alone: nobody knows their pieces
        return
    given = tokenizer.get_vocab()
    for piece, number in own.get_vocab().items():
        if given.get(piece) != number:
            raise UsageError(
                f"--vocab {args.vocab}: expected the pieces of {args.model}, and perhaps more; "
                f"{printable(piece)!r} has the number {number} there and {given.get(piece, 'none')} here",
                "leave --vocab out",
            )


def _corpus(args: Any, tokenizer: BertTokenizer) -> Corpus:
    """The text's tokens; on a terminal it is said how far they are."""
    said = -1

    def progress(done: int, total: int) -> None:
        nonlocal said
        if (now := 100 * done // total) > said:
            print(f"\rreading the text: {now} %", end="" if done < total else "\n", file=sys.stderr, flush=True)
            said = now

    cache = Path(args.cache or Path(args.out) / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    return Corpus.from_files(
        args.corpus,
        tokenizer,
        cache,
        documents=args.documents,
        split_sentences=args.split_sentences,
        progress=progress if sys.stderr.isatty() else None,
    )
