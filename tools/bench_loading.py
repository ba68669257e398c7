"""Time and memory of loading a BERT-base of 440 MB, from every format, against PyTorch and transformers.

    python tools/bench_loading.py                    # needs torch and transformers, and 2.5 GB of temporary space
    python tools/bench_loading.py --rounds 3

The same random tensors are written as safetensors, .bin of both generations, a TensorFlow checkpoint and .npz. Every
measurement is the first of a process of its own, the sides in turn, files in the page cache:

load    minibert: BertForPreTraining.from_pretrained; PyTorch: torch.load and load_state_dict into a model made before
first   from_pretrained and a forward pass over 16 tokens; and the same with the time that the imports take
memory  the process's peak, less what it held before loading
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOKENS = 16
FORMATS = ("safetensors", "bin", "bin-legacy", "tf", "npz")


def prepare(folder):
    """The same BERT-base in every format; torch writes what is torch's."""
    import numpy as np
    import torch

    import minibert as mb
    from minibert.checkpoint.saving import save_weights

    model = mb.BertForPreTraining(mb.BertConfig(), seed=0)
    config = {**model.config.to_dict(), "architectures": ["BertForPreTraining"]}
    arrays = dict(model.state_dict())
    for to in ("safetensors", "tf", "npz"):
        save_weights(folder / to, config, arrays, to)
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    for name, zipped in (("bin", True), ("bin-legacy", False)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
        torch.save(state, folder / name / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)


def measured(load):
    """Seconds, and MB at the peak above what was there before."""
    before = peak_memory()
    start = time.perf_counter()
    load()
    return {"seconds": time.perf_counter() - start, "MB": peak_memory() - before}


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # Linux counts in KiB


def load_minibert(folder, kind):
    import minibert as mb

    cls = mb.BertForPreTraining
    return measured(lambda: cls.from_pretrained(folder / kind))


def load_torch(folder, kind):
    import torch
    import transformers

    model = transformers.BertForPreTraining(transformers.BertConfig())
    return measured(lambda: model.load_state_dict(torch.load(folder / kind / "pytorch_model.bin", weights_only=True)))


def first_minibert(folder, kind):
    import numpy as np

    import minibert as mb

    cls, ids = mb.BertModel, np.arange(1, TOKENS + 1)[None]
    return measured(lambda: cls.from_pretrained(folder / kind)(ids))


def first_transformers(folder, kind):
    import torch
    import transformers

    cls, ids = transformers.BertModel, torch.arange(1, TOKENS + 1)[None]

    def predict():
        with torch.no_grad():
            cls.from_pretrained(folder / kind).eval()(ids)

    return measured(predict)


SIDES = {
    **{f"load {kind}: minibert": (load_minibert, kind) for kind in FORMATS},
    **{f"load {kind}: torch": (load_torch, kind) for kind in ("bin", "bin-legacy")},
    "first safetensors: minibert": (first_minibert, "safetensors"),
    "first safetensors: transformers": (first_transformers, "safetensors"),
}


def run(side, folder):
    command = [sys.executable, __file__, "--one", side, folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one and args.one[0] == "prepare":
        prepare(Path(args.one[1]))
        return
    if args.one:
        function, kind = SIDES[args.one[0]]
        print(json.dumps(function(Path(args.one[1]), kind)))
        return
    with tempfile.TemporaryDirectory() as name:
        run("prepare", name)  # in a process of its own: children inherit the peak of their parent's memory
        results = {side: [] for side in SIDES}
        for _ in range(args.rounds + 1):
            for side in SIDES:
                start = time.perf_counter()
                row = json.loads(run(side, name).splitlines()[-1])
                results[side].append({**row, "process": time.perf_counter() - start})
        size = (Path(name) / "safetensors" / "model.safetensors").stat().st_size / 1e6
    show({side: rows[1:] for side, rows in results.items()}, size)  # the first round warms the page cache


def show(results, size):
    median = {
        side: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for side, rows in results.items()
    }
    print(f"BERT-base, {size:.0f} MB, {os.cpu_count()} cores; medians of {len(next(iter(results.values())))}")
    for side, row in median.items():
        least = min(run["seconds"] for run in results[side])
        print(
            f"  {side:32} {row['seconds']:6.3f} s (minimum {least:6.3f}), whole process {row['process']:6.3f} s, "
            f"{row['MB']:5.0f} MB more memory"
        )
    for kind, other in (("bin", "bin"), ("bin-legacy", "bin-legacy"), ("tf", "bin"), ("safetensors", "bin")):
        ratio = median[f"load {kind}: minibert"]["seconds"] / median[f"load {other}: torch"]["seconds"]
        print(f"  loading {kind}: {ratio:.2f} × torch.load + load_state_dict")
    ours, theirs = (median[f"first safetensors: {side}"] for side in ("minibert", "transformers"))
    print(
        f"  to the first prediction: {ours['seconds'] / theirs['seconds']:.2f} × transformers', "
        f"{ours['process'] / theirs['process']:.2f} × with imports"
    )


if __name__ == "__main__":
    main()
