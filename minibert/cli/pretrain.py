"""minibert pretrain: text -> a BERT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..models.base import BertPreTrainedModel
from ..models.config import BertConfig
from ..models.pretraining import BertForMaskedLM, BertForPreTraining, MaskedLoss
from ..text.tokenizer import BertTokenizer
from ..training import Corpus, PretrainingData
from ..training.evaluation import evaluate_pretraining
from .inputs import UsageError
from .training import say_result, train


def run(args: Any) -> int:
    """Tokenise the corpus, train, write the model."""
    if not args.corpus:
        raise UsageError("no corpus given", f"minibert pretrain TEXT_FILE... --out {args.out}")
    if args.model is None and args.vocab is None:
        raise UsageError(
            "--vocab: expected a vocabulary for a new model", "minibert train-vocab TEXT_FILE... --output vocab.txt"
        )
    if args.steps is None and args.epochs is None:
        args.epochs = 1.0
    tokenizer = _tokenizer(args)
    model = _model(args, tokenizer)
    data = _data(args, tokenizer, model.config)
    print(f"{model}", file=sys.stderr)
    print(f"{data.corpus}, {data.per_epoch} batches an epoch", file=sys.stderr)
    held_out = data.held_out
    evaluate = (lambda model: evaluate_pretraining(model, held_out)) if held_out else None
    result = train(args, model, tokenizer, data, evaluate)
    return say_result(result, args.out, "held-out loss")


def _tokenizer(args: Any) -> BertTokenizer:
    if args.vocab is None:
        return BertTokenizer.from_pretrained(args.model)
    return BertTokenizer.from_pretrained(args.vocab, do_lower_case=not args.cased, model_max_length=args.max_length)


def _model(args: Any, tokenizer: BertTokenizer) -> BertPreTrainedModel:
    model = _new_model(args, tokenizer)
    model.label_epsilon = 1e-5 if args.normaliser == "google" else 0.0
    return model


def _new_model(args: Any, tokenizer: BertTokenizer) -> MaskedLoss:
    kind = BertForMaskedLM if args.no_next_sentence else BertForPreTraining
    if args.model is not None:
        rates = {"hidden_dropout_prob": args.dropout, "attention_probs_dropout_prob": args.dropout}
        return kind.from_pretrained(args.model, strict=False, seed=args.seed, **rates)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads or max(args.hidden // 64, 1),
        intermediate_size=args.intermediate or 4 * args.hidden,
        hidden_act=args.activation,
        max_position_embeddings=args.max_length,
        hidden_dropout_prob=args.dropout,
        attention_probs_dropout_prob=args.dropout,
    )
    return kind(config, seed=args.seed)


def _data(args: Any, tokenizer: BertTokenizer, config: BertConfig) -> PretrainingData:
    if args.max_length > config.max_position_embeddings:
        raise UsageError(
            f"--max-length: expected at most {config.max_position_embeddings}, the positions of {args.model}, "
            f"got {args.max_length}"
        )
    cache = Path(args.cache or Path(args.out) / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    corpus = Corpus.from_files(
        args.corpus, tokenizer, cache, documents=args.documents, split_sentences=args.split_sentences
    )
    return PretrainingData(
        corpus,
        tokenizer,
        batch_size=args.batch_size,
        max_seq_length=args.max_length,
        short_seq_prob=args.short,
        next_sentence=not args.no_next_sentence,
        masking=args.masking,
        masked_lm_prob=args.mask,
        hold_out=args.hold_out,
        seed=args.seed,
    )
