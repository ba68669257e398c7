"""Time minibert against PyTorch: start-up, and a BERT-base forward pass.

    python tools/bench.py startup            # import minibert over import numpy; minibert --help
    python tools/bench.py forward            # 8 × 128 tokens, float32, against transformers on PyTorch

Every measurement runs in a process of its own (thread pools of two libraries disturb each other), the two sides in
turn; medians and minima are printed, and the ratio of medians. Needs torch and transformers for `forward`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPE = (8, 128)


def forward_minibert(repeat):
    import numpy as np

    import minibert as mb

    model = mb.BertModel(mb.BertConfig())
    ids = np.random.default_rng(0).integers(1, model.config.vocab_size, SHAPE)
    return timed(lambda: model(ids), repeat)


def forward_torch(repeat, attention):
    import torch
    import transformers

    model = transformers.BertModel(transformers.BertConfig(attn_implementation=attention)).eval()
    ids = torch.randint(1, model.config.vocab_size, SHAPE)
    with torch.no_grad():
        return timed(lambda: model(ids), repeat)


def timed(call, repeat):
    call()  # warm up: threads, caches, first allocations
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


SIDES = {
    "minibert": forward_minibert,
    "torch sdpa": lambda repeat: forward_torch(repeat, "sdpa"),
    "torch eager": lambda repeat: forward_torch(repeat, "eager"),
}


def forward(rounds, repeat):
    results = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "one", side, "--repeat", str(repeat)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[side] += json.loads(done.stdout.splitlines()[-1])
    print(f"BERT-base forward, {SHAPE[0]} × {SHAPE[1]} tokens, float32, {os.cpu_count()} cores")
    for side, seconds in results.items():
        median, least = statistics.median(seconds), min(seconds)
        print(f"  {side:12} median {median:.3f} s   minimum {least:.3f} s   n = {len(seconds)}")
    best = min(statistics.median(results[side]) for side in SIDES if side != "minibert")
    print(f"  minibert takes {statistics.median(results['minibert']) / best:.2f} × PyTorch's best time")


def startup(rounds):
    cases = {
        "python -c 'import numpy'": ["-c", "import numpy"],
        "python -c 'import numpy, minibert'": ["-c", "import numpy, minibert"],
        "python -m minibert --help": ["-m", "minibert", "--help"],
    }
    results = {name: [] for name in cases}
    for _ in range(rounds):
        for name, command in cases.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            results[name].append(time.perf_counter() - start)
    for name, seconds in results.items():
        print(f"{name:36} median {1000 * statistics.median(seconds):6.1f} ms   minimum {1000 * min(seconds):6.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("startup", "forward", "one"))
    parser.add_argument("side", nargs="?", choices=tuple(SIDES), help="of `one`: measure this side in this process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.what == "startup":
        startup(4 * args.rounds)
    elif args.what == "forward":
        forward(args.rounds, args.repeat)
    else:
        print(json.dumps(SIDES[args.side](args.repeat)))


if __name__ == "__main__":
    main()
