"""What the verbs that train have in common: from arguments to a run, and what is said on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.base import BertPreTrainedModel
from ..text.tokenizer import BertTokenizer
from ..training import Data, Result, Run, Settings, Trainer, schedule
from ..training.optimisers import OPTIMISERS

OUTWARD = {
    *("out", "resume", "config", "cache", "tensorboard", "debug", "verb"),
    *("log_every", "save_every", "keep", "on_bad"),
}
"""Arguments that do not decide what comes out: a run may go on with others."""


def train(
    args: Any,
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    data: Data,
    evaluate: Callable[[BertPreTrainedModel], Mapping[str, float]] | None,
    metric: str = "loss",
    larger: bool = False,
) -> Result:
    """Train as the arguments say, and leave the model in the run's folder: the best, if there were evaluations."""
    steps = args.steps or round(args.epochs * data.per_epoch / args.accumulate)
    rate = schedule(args.lr, max(steps, 1), args.warmup, args.schedule)
    optimiser = OPTIMISERS[args.optimiser](
        model,
        lr=args.lr,
        weight_decay=args.weight_decay,
        max_grad_norm=args.clip or None,
        layer_decay=args.layer_decay,
        freeze=args.freeze,
    )
    settings = Settings(
        accumulate=args.accumulate,
        seed=args.seed,
        eval_every=args.eval_every,
        save_every=args.save_every,
        patience=args.patience,
        spike=args.spike,
        on_bad=args.on_bad,
        log_every=args.log_every,
        keep=args.keep,
    )
    same = {name: value for name, value in vars(args).items() if name not in OUTWARD}
    with ExitStack() as stack:
        run = Run(args.out, {**same, "steps": rate.steps, "data": data.fingerprint}, args.resume)
        stack.callback(run.close)
        listeners: list[Callable[[Mapping[str, Any]], object]] = [Progress(rate.steps)]
        if args.tensorboard:
            listeners.append(_tensorboard(args.out, stack))
        others = tokenizer.save_pretrained
        trainer = Trainer(model, optimiser, rate, data, settings, evaluate, metric, larger, run, others, listeners)
        result = trainer.train()
        if result.why != "stopped":
            trainer.restore_best()
            model.save_pretrained(args.out)
            tokenizer.save_pretrained(args.out)
    return result


def say_result(result: Result, out: str, metric: str) -> int:
    """The last words of a verb, and its exit status: 130 if a signal ended it."""
    if result.why == "stopped":
        print(f"stopped at step {result.step}; the same command with --resume goes on", file=sys.stderr)
        return 130
    if result.why == "no improvement":
        print(f"no improvement: ended at step {result.step}", file=sys.stderr)
    if result.best_step is not None:
        print(f"best {metric} {result.best:.4f} at step {result.best_step}")
    print(f"model written to {out}")
    return 0


class Progress:
    """A line a record on stderr."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, record: Mapping[str, Any]) -> None:
        step = f"step {record['step']:>{len(str(self.steps))}}/{self.steps}"
        if "loss" in record:
            rest = (
                f"loss {record['loss']:.4f}  rate {record['lr']:.2e}  norm {record['norm']:.2f}  "
                f"{record['tokens_per_second']:,} tokens/s"
            )
        elif "skipped" in record:
            rest = f"skipped: {record['skipped']}"
        else:
            rest = "  ".join(f"{name} {value:.4f}" for name, value in record.items() if name != "step")
        print(f"{step}  {rest}", file=sys.stderr, flush=True)


def _tensorboard(out: str, stack: ExitStack) -> Callable[[Mapping[str, Any]], object]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard: tensorboardX is missing", "pip install tensorboardX") from None
    writer = SummaryWriter(str(Path(out) / "tensorboard"))
    stack.callback(writer.close)

    def listen(record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, record["step"])

    return listen
