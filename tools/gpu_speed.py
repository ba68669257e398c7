"""The rows of gpu_check.py's speed: BERT-base on a card, minibert beside PyTorch.

    python tools/gpu_speed.py WORK 32x128 "torch bf16"       # one measurement; the last line of the output is JSON

All sides read the same weights and inputs, and a call ends when its result lies on the host.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_process import measure as timed
from bench_rows import SHORTEST, Row, labelled_ids, padded, random_ids, uneven_texts
from bench_training import minibert_optimizer, minibert_training_step, torch_optimizer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TEXTS = 134  # 16376 tokens together
REPEATS = 1000  # or as many as fit into bench_process.ENOUGH

ROWS = {
    "32x128": Row("dense", "forward, 32 × 128 tokens", 32, 128),
    "uneven": Row("uneven", f"forward, {TEXTS} texts of {SHORTEST} to 512 tokens", TEXTS, 512),
    "1x128": Row("dense", "forward, 1 × 128 tokens", 1, 128),
    "train": Row("train", "training step, masked words, 32 × 128 tokens", 32, 128),
}


def inputs_of(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """ids and attention_mask"""
    if row.kind == "uneven":
        return padded(uneven_texts(row))
    ids = random_ids(row)
    return ids, np.ones_like(ids)


# ---- the sides ------------------------------------------------------------------------------------------------------


def minibert(row, work):
    import cupy

    import minibert as mb

    if row.kind == "train":
        model = mb.BertForMaskedLM.from_pretrained(work, engine="gpu")
        (ids, labels), optimizer = labelled_ids(row), minibert_optimizer(model)
        seeds = iter(range(10**9))
        call = lambda: minibert_training_step(model, optimizer, ids, labels, next(seeds))  # noqa: E731
    else:
        model = mb.BertModel.from_pretrained(work, engine="gpu")
        ids, mask = inputs_of(row)
        call = lambda: model(ids, mask).last_hidden_state  # noqa: E731
    return call, lambda: cupy.get_default_memory_pool().total_bytes()


def torch_side(precision, compiled=False):
    def side(row, work):
        import torch
        import transformers

        if precision == "tf32":
            torch.set_float32_matmul_precision("high")
        half = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")
        name = "BertForMaskedLM" if row.kind == "train" else "BertModel"
        model = getattr(transformers, name).from_pretrained(work, attn_implementation="sdpa").cuda()
        run = torch.compile(model, mode="reduce-overhead") if compiled else model
        if row.kind == "train":
            ids, labels = (torch.from_numpy(array).cuda() for array in labelled_ids(row))
            optimizer = torch_optimizer(model.train(), "fused")

            def call():
                optimizer.zero_grad()
                with half:
                    loss = run(ids, labels=labels).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                return loss.item()
        else:
            ids, mask = (torch.from_numpy(array).cuda() for array in inputs_of(row))
            model.eval()

            def call():
                with torch.inference_mode(), half:
                    return run(ids, attention_mask=mask).last_hidden_state.cpu()

        return call, torch.cuda.max_memory_allocated

    return side


SIDES = {
    "minibert": minibert,
    "torch float32": torch_side("float32"),
    "torch tf32": torch_side("tf32"),
    "torch bf16": torch_side("bf16"),
    "torch bf16 compiled": torch_side("bf16", compiled=True),
}


# ---- all of them ----------------------------------------------------------------------------------------------------


def measure(side: str, row: str, work: Path) -> dict[str, float]:
    call, memory = SIDES[side](ROWS[row], work)
    seconds = timed(call, REPEATS)[0]["seconds"]
    return {"seconds": statistics.median(seconds), "memory": memory()}


def compare() -> list[dict]:
    """Every row by every side; prints a line for each, and says which of them could not."""
    import minibert as mb

    results = []
    with tempfile.TemporaryDirectory() as folder:
        mb.BertForPreTraining(mb.BertConfig(), seed=0).save_pretrained(folder)
        for name, row in ROWS.items():
            found: dict[str, dict[str, float]] = {}
            for side in SIDES:
                line = [sys.executable, __file__, folder, name, side]
                done = subprocess.run(line, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{row.title:46} {side:20} failed: {(done.stderr.splitlines() or ['?'])[-1]}", flush=True)
                    continue
                found[side] = json.loads(done.stdout.splitlines()[-1])
                seconds, memory = found[side].values()
                ratio = f"{seconds / found['minibert']['seconds']:.2f} ×" if "minibert" in found else ""
                print(
                    f"{row.title:46} {side:20} {seconds * 1e3:9.2f} ms {memory / 2**20:7.0f} MiB  {ratio}", flush=True
                )
            results.append(
                {"title": row.title, **{key: {s: f[key] for s, f in found.items()} for key in ("seconds", "memory")}}
            )
    return results


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[3], sys.argv[2], Path(sys.argv[1]))))
