"""minibert finetune embed: pairs of texts -> a model of sentence vectors."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..models.sentences import BertForSentenceRanking
from ..tasks.embed import SentenceEncoder
from ..training.finetuning import PairBatches, Pairs, open_sentences, positives, scaled
from ..training.readers import TextExample, read_table
from .examples import check_scores
from .inputs import UsageError
from .outputs import say
from .training import say_result, train


class _Beside(NamedTuple):
    """What is written beside the encoder: tokenizer, pooling and the like."""

    encoder: SentenceEncoder

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        self.encoder.save_settings(directory)


def run(args: Any) -> int:
    """Read and tokenise, train, write a folder as sentence-transformers has it."""
    ranked = (args.loss or "cosine") == "ranking"
    for name in ("least_score", "scale", "symmetric"):
        if not ranked and getattr(args, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is for --loss ranking")
    if ranked and args.max_score is not None:
        raise UsageError("--max-score is for --loss cosine; --least-score is in the scores of the file")
    options = {"pooling": args.pooling, "max_length": args.max_length, "dropout": args.dropout}
    model, encoder = open_sentences(args.model, "ranking" if ranked else "cosine", **options)
    if isinstance(model, BertForSentenceRanking):
        model.set_ranking(20.0 if args.scale is None else args.scale, args.symmetric)
    examples = _read(args.train, args, scores=not ranked or args.least_score is not None)
    if ranked:
        examples = examples if args.least_score is None else positives(examples, args.least_score)
    else:
        examples = scaled(examples, 1.0 if args.max_score is None else args.max_score)
    data = PairBatches(Pairs(examples, encoder), args.batch_size, ranked=ranked, seed=args.seed)
    dev = _scored(args.dev, args, encoder) if args.dev else None
    if args.eval_every is None:
        args.eval_every = max(1, round(data.per_epoch / args.accumulate))
    say(f"{model}")
    say(f"{len(examples)} pairs, {data.per_epoch} batches an epoch, dropout {model.config.hidden_dropout_prob:g}")
    metric = "spearman" if dev else "loss"
    evaluate, same = (dev.evaluate, {"dev data": dev.fingerprint}) if dev else (None, None)
    result = train(args, model, _Beside(encoder), data, evaluate, metric, larger=True, same=same)
    return say_result(result, args.out, metric)


def evaluate(args: Any, place: str) -> tuple[dict[str, float], int]:
    """How well the cosines of a model follow the scores of a file, whatever they are counted in; of how many pairs."""
    model, encoder = open_sentences(place, max_length=args.max_length)
    pairs = _scored(args.data, args, encoder)
    return pairs.evaluate(model), len(pairs.examples)


def _scored(path: str, args: Any, encoder: SentenceEncoder) -> Pairs:
    """Pairs to measure by."""
    examples = _read(path, args, scores=True)
    check_scores(path, examples)
    return Pairs(examples, encoder)


def _read(path: str, args: Any, scores: bool) -> list[TextExample]:
    """Pairs, with their scores or without. Columns are names, or, without a header, numbers from 1."""
    places: dict[str, Any] = {}
    for name in ("text", "text_pair", "label"):
        places[name] = getattr(args, name) or name
        if args.no_header:
            try:
                places[name] = int(places[name])
            except ValueError:
                raise UsageError(
                    f"--{name.replace('_', '-')}: expected the number of a column, as there is no header, "
                    f"got {places[name]!r}"
                ) from None
    if not scores:
        places["label"] = None
    table = read_table(path, **places, format=args.format, header=not args.no_header, problem_type="regression")
    return table.examples
