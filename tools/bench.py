"""Time minibert on a CPU against PyTorch, ONNX Runtime and sentence-transformers.

    python tools/bench.py cpu --quick                  # a minute: few rows, one round
    python tools/bench.py cpu --json bench.json --png bench.png      # the README's table: 20 minutes
    python tools/bench.py cpu --only 8x128 train       # some rows: see --help
    python tools/bench.py startup                      # import minibert over import numpy; minibert --help

Every measurement runs in a process of its own (thread pools of two libraries disturb each other), which warms up and
repeats; the contenders of a row take turns, in another order each round. What each does is in bench_sides.py: all read
the same weights, and a contender whose result is not minibert's to 1e-4 is struck out, with exit status 1. Printed are
the median and the minimum of all repeats, and peer / minibert of both: above 1 minibert is faster. GFLOP/s are of the
matrix products that the task needs, whatever else a contender computes.

The machine may be shared: the share of processor time that the hypervisor stole and that other processes took is
printed, and a process that lost more than 5 % to them is run again, each contender at most twice in a row of the table;
the calmest run counts. A star marks what lost more even so: do not trust it.

Needs torch, transformers, onnx, onnxruntime, tokenizers and sentence-transformers; --png also matplotlib. The weights
and graphs take 2.6 GB; --work DIR keeps them for the next time.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import bench_sides
from bench_gemms import GEMMS
from bench_process import unhindered
from bench_report import disturbed, lost, show, show_all
from bench_rows import CORES, OURS, ROWS, TOLERANCE, flops
from bench_sides import SIDES

AGAIN = 2
QUICK_ROWS = ("8x128", "1x128", "encode")
SLOWER = (
    "torch",
    "torch eager",
    "torch padded",
    "onnxruntime",
    "onnxruntime plain",
    "onnxruntime padded",
    "torch GEMM",
)
"""--quick leaves them out: the same library has a faster way."""


# ---- measuring -------------------------------------------------------------------------------------------------------


def child(work, *arguments):
    """Run bench_sides, with every library as it is by itself -> its output; RuntimeError with its last line."""
    env = {**unhindered(), "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, bench_sides.__file__, str(work), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout


def calm(work, name, side, check, again):
    """One measurement, and how often it was run again; of several the one that lost least."""
    arguments = [name, side, "--repeats", str(ROWS[name].repeats), *["--check"] * check]
    runs = []
    while not runs or (len(runs) <= again and all(map(disturbed, runs))):
        runs.append(json.loads(child(work, *arguments).splitlines()[-1]))
    return min(runs, key=lost), len(runs) - 1


def measure(name, work, args):
    """{side: [run, …]} of all rounds, and {side: what went wrong}"""
    row = ROWS[name]
    sides = [*SIDES[row.kind], *(GEMMS if flops(row) else ())]
    sides = [side for side in sides if not args.quick or side not in SLOWER]
    (work / "result.npy").unlink(missing_ok=True)
    runs, failed, repeated = {side: [] for side in sides}, {}, dict.fromkeys(sides, 0)
    rounds = args.rounds or (1 if args.quick else row.rounds)
    for number in range(rounds):
        shift = number % len(sides)  # minibert is the first of the first round, with which the others are compared
        for side in [*sides[shift:], *sides[:shift]]:
            if side in failed:
                continue
            progress(f"{name}: {side}, round {number + 1} of {rounds}")
            try:
                again = 0 if args.quick else AGAIN - repeated[side]
                run, more = calm(work, name, side, number == 0, again)
            except RuntimeError as error:
                failed[side] = f"not measured: {error}"
                continue
            runs[side].append(run)
            repeated[side] += more
            apart = run.get("difference")
            if apart is not None and not apart <= TOLERANCE:  # so that NaN is wrong, too
                failed[side] = f"WRONG: differs from minibert's result by {apart:.1e}"
    progress("")
    return {side: found for side, found in runs.items() if side not in failed and found}, failed, sum(repeated.values())


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def summary(name, runs, failed, repeated):
    """What is printed, drawn and written of a row."""
    row, work = ROWS[name], flops(ROWS[name])
    sides, gemm = {}, {}
    for side, found in runs.items():
        if side in GEMMS:
            gemm[side] = best_rate(found)
            continue
        seconds = [s for run in found for s in run["seconds"]]
        one = {"median": statistics.median(seconds), "minimum": min(seconds), "seconds": seconds}
        one |= {key: sum(run[key] for run in found) for key in ("total", "stolen", "others")}
        one["difference"] = found[0]["difference"]
        if work:
            one["gflops"] = 1e-9 * work / one["median"]
        for key in ("peak", "before"):
            known = [run[key] for run in found if run[key]]
            one[key] = statistics.median(known) if known else None
        sides[side] = one
    for one in sides.values():
        if OURS in sides:
            one["ratio"] = one["median"] / sides[OURS]["median"]
            one["ratio_of_minima"] = one["minimum"] / sides[OURS]["minimum"]
    return {"title": row.title, "kind": row.kind, "sides": sides, "gemm": gemm, "failed": failed, "again": repeated}


def best_rate(found):
    """Of the shape with the best median."""
    rates = {shape: [rate for run in found for rate in run["rates"][shape]] for shape in found[0]["rates"]}
    shape = max(rates, key=lambda shape: statistics.median(rates[shape]))
    load = {key: sum(run[key] for run in found) for key in ("total", "stolen", "others")}
    return {"shape": shape, "median": statistics.median(rates[shape]), "maximum": max(rates[shape]), **load}


# ---- commands --------------------------------------------------------------------------------------------------------


def machine():
    try:
        processor = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    except OSError:
        processor = platform.processor()
    versions = {"python": platform.python_version()}
    for name in ("numpy", "numba", "torch", "transformers", "onnxruntime", "sentence-transformers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {"processor": processor, "cores": CORES, "date": time.strftime("%Y-%m-%d"), "versions": versions}


def cpu(args):
    if args.png and importlib.util.find_spec("matplotlib") is None:
        sys.exit("--png needs matplotlib: pip install 'minibert-numpy[plot]'")
    names = args.only or (QUICK_ROWS if args.quick else ROWS)
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).absolute()
        about = machine()
        print(f"{about['processor']}, {CORES} cores, float32")
        print(textwrap.fill(", ".join(f"{name} {number}" for name, number in about["versions"].items() if number), 80))
        progress("writing weights and graphs")
        try:
            child(work, "prepare", *names, "--data", str(args.data))
        except RuntimeError as error:
            sys.exit(f"\nno weights or inputs: {error}")
        rows = {}
        for name in names:
            rows[name] = summary(name, *measure(name, work, args))
            show(name, rows[name])
            if args.json:  # after every row: what is measured stays, whatever happens to the next
                content = {"machine": about, "rows": rows}
                args.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show_all(rows)
    if args.png:
        import bench_chart

        bench_chart.draw({"machine": about, "rows": rows}, args.png)
    return any(side == OURS or "WRONG" in why for row in rows.values() for side, why in row["failed"].items())


def startup(args):
    cases = {
        "python -c 'import numpy'": ["-c", "import numpy"],
        "python -c 'import numpy, minibert'": ["-c", "import numpy, minibert"],
        "python -m minibert --help": ["-m", "minibert", "--help"],
    }
    results = {name: [] for name in cases}
    for _ in range(args.rounds or 20):
        for name, command in cases.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            results[name].append(time.perf_counter() - start)
    for name, seconds in results.items():
        print(f"{name:36} median {1000 * statistics.median(seconds):6.1f} ms   minimum {1000 * min(seconds):6.1f} ms")


def main():
    lines = [f"  {name:12} {row.title}" for name, row in ROWS.items()]
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="rows:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("cpu", "startup"))
    parser.add_argument("--quick", action="store_true", help="one round, few rows, the strongest peers, nothing again")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), metavar="ROW", help="these rows")
    parser.add_argument("--rounds", type=int, help="instead of each row's own number")
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graphs for the next time")
    data = Path(os.environ.get("MINIBERT_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="holds sst2/dev.tsv (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write every measurement there")
    parser.add_argument("--png", type=Path, help="draw the chart there")
    args = parser.parse_args()
    sys.exit({"cpu": cpu, "startup": startup}[args.what](args))


if __name__ == "__main__":
    main()
