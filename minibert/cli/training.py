"""What the verbs that train have in common: from arguments to a run, and what is said on the way."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError
from ..models.base import BertPreTrainedModel
from ..training import Data, Optimiser, Result, Run, Settings, Trainer, schedule
from ..training.optimisers import OPTIMISERS
from ..training.runs import check_run
from .inputs import UsageError
from .outputs import say

OUTWARD = {
    *("out", "resume", "config", "cache", "tensorboard", "debug", "verb"),
    *("log_every", "save_every", "keep", "on_bad"),
    *(
        "corpus",
        "vocab",
        "train",
        "dev",
        "epochs",
    ),  # what matters of them is in the data's fingerprint, and the number of steps
}
"""Arguments that do not decide what comes out: a run may go on with others."""

OF_THE_DATA = {"steps", "eval_every"}
"""Arguments that may be None until the data say how long an epoch is."""

FOREVER = 1 << 62
"""Steps, where their number is known only with the data."""


def check(args: Any, model: BertPreTrainedModel | None = None) -> None:
    """Everything that can be wrong about a run, before data are read, which may take long. Without a model, which may
    depend on them, less what the optimiser asks of its tensors."""
    if args.patience and args.eval_every == 0:
        raise UsageError("--patience counts evaluations: expected --eval-every, too")
    _settings(args)
    if model is not None:
        _optimiser(args, model)
    schedule(args.lr, args.steps or FOREVER, args.warmup, args.schedule)
    same = {name: value for name, value in _same(args).items() if value is not None or name not in OF_THE_DATA}
    check_run(args.out, same, args.resume)
    out = Path(args.out)
    place = next(folder for folder in (out, *out.parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"{place}: expected a folder that can be written to")
    if args.tensorboard:
        _summary_writer()


def train(
    args: Any,
    model: BertPreTrainedModel,
    tokenizer: Files,
    data: Data,
    evaluate: Callable[[BertPreTrainedModel], Mapping[str, float]] | None,
    metric: str = "loss",
    larger: bool = False,
    same: Mapping[str, Any] | None = None,
) -> Result:
    """Train as the arguments say, and leave the model in the run's folder: the best, if there were evaluations.

    same: what else must be as it was when the run goes on.
    """
    steps = args.steps or round(args.epochs * data.per_epoch / args.accumulate)
    rate = schedule(args.lr, max(steps, 1), args.warmup, args.schedule)
    optimiser, settings = _optimiser(args, model), _settings(args)
    listeners: list[Callable[[Mapping[str, Any]], object]] = [Progress(rate.steps)]
    with ExitStack() as stack:
        fixed = {**_same(args), "steps": rate.steps, "data": data.fingerprint, **(same or {})}
        run = Run(args.out, fixed, args.resume)
        stack.callback(run.close)
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


def _settings(args: Any) -> Settings:
    given: dict[str, Any] = {field.name: getattr(args, field.name) for field in fields(Settings)}
    given |= {name: 0 for name in OF_THE_DATA & set(given) if given[name] is None}
    return Settings(**given)


def _optimiser(args: Any, model: BertPreTrainedModel) -> Optimiser:
    kind: Callable[..., Optimiser] = OPTIMISERS[args.optimiser]
    return kind(
        model,
        lr=args.lr,
        weight_decay=args.weight_decay,
        max_grad_norm=args.clip or None,
        layer_decay=args.layer_decay,
        freeze=args.freeze,
    )


def _same(args: Any) -> dict[str, Any]:
    """What must be the same when the run goes on."""
    return {name: value for name, value in vars(args).items() if name not in OUTWARD}


def say_result(result: Result, out: str, metric: str) -> int:
    """The last words of a verb, and its exit status: 130 if a signal ended it."""
    if result.why == "stopped":
        say(f"stopped at step {result.step}; the same command with --resume goes on")
        return 130
    if result.why == "no improvement":
        say(f"no improvement: ended at step {result.step}")
    if result.best_step is not None:
        print(f"best {metric} {result.best:.4f} at step {result.best_step}")
    print(f"model written to {out}")
    return 0


class Files(Protocol):
    """What is written beside a model: its tokenizer, for one."""

    def save_pretrained(self, directory: Any) -> Any:
        """Write the files into the folder."""
        ...


class Progress:
    """A record on stderr, in lines of at most 79 columns, and the time that is left as the latest records suggest."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.latest: deque[tuple[int, float]] = deque(maxlen=20)

    def __call__(self, record: Mapping[str, Any]) -> None:
        step = f"step {record['step']:>{len(str(self.steps))}}/{self.steps}"
        if "loss" in record:
            parts = [
                f"loss {record['loss']:.3f}",
                f"lr {record['lr']:.1e}",
                f"norm {record['norm']:.3g}",
                f"{record['tokens_per_second']:,} tok/s",
                *self._left(record["step"]),
            ]
        elif "skipped" in record:
            parts = [f"skipped: {record['skipped']}"]
        else:
            parts = [f"{k.replace('_', ' ')} {v:.4g}" for k, v in record.items() if k != "step"]
        line = step
        for part in parts:
            if len(line) + 2 + len(part) > 79 and line.strip() != step:
                say(line)
                line = " " * len(step)
            line += f"  {part}"
        say(line)

    def _left(self, step: int) -> Iterator[str]:
        now = time.monotonic()
        self.latest.append((step, now))
        first, then = self.latest[0]
        if first < step < self.steps:
            yield f"{duration((now - then) / (step - first) * (self.steps - step))} left"


def duration(seconds: float) -> str:
    """As people say it: 45 s, 12 min, 2.1 h."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _tensorboard(out: str, stack: ExitStack) -> Callable[[Mapping[str, Any]], object]:
    writer: Any = None

    def listen(record: Mapping[str, Any]) -> None:
        nonlocal writer
        if writer is None:  # what a run that was killed has written of this step and later ones is hidden
            writer = _summary_writer()(str(Path(out) / "tensorboard"), purge_step=record["step"])
            stack.callback(writer.close)
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(name, value, record["step"])
        writer.flush()  # whatever ends the program

    return listen


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard: tensorboardX is missing", "pip install 'minibert-numpy[tensorboard]'"
        ) from None
    return SummaryWriter
