"""Checks engine="gpu" on the card of this machine: does it compute what the host computes, and how fast?

    python tools/gpu_check.py                                    # everything, some minutes
    python tools/gpu_check.py parity gradients                   # some parts, of those below
    python tools/gpu_check.py --json card.json --png card.png    # and a report

parity      results of every class, float64 and float32, against the reference on the host in float64
gradients   of every class, with dropout, against the host's; and in float64 against complex steps on the card itself
training    losses of 20 steps of AdamW, with dropout and clipping, against the host's
speed       BERT-base against PyTorch on the same card: float32, TF32, bfloat16 and that compiled; each contender a
            process of its own, results brought to the host (gpu_speed.py)

Differences are max|Δ| / max|host's| of a result, and ‖Δ‖ / ‖host's‖ of a gradient. Exits with 1 if one is larger than
it may be. Needs CuPy (extra cuda12 or cuda13) and a card; speed needs torch built for CUDA, and transformers; --png
matplotlib.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gpu_speed
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minibert as mb  # noqa: E402
from minibert.models.parameters import Block  # noqa: E402
from minibert.ops.xp import host  # noqa: E402
from minibert.training import AdamW  # noqa: E402
from tests.everyclass import CONFIG, LABELS, LEARNT, inputs  # noqa: E402

LIMITS = {"float64": 1e-12, "float32": 1e-5}
DIRECTIONS, STEP = 5, 1e-30
TRAINING_LIMIT, STEPS = 1e-9, 20
OURS, PEER, INK = "#c2410c", "#94a3b8", "#1e293b"


class Finding(NamedTuple):
    """One comparison."""

    part: str
    what: str
    difference: float
    limit: float

    @property
    def ok(self) -> bool:
        return bool(self.difference <= self.limit)  # NaN is not


def model(name: str, dtype: str, engine: str) -> Any:
    return getattr(mb, name)(CONFIG, seed=1, dtype=dtype, engine=engine)


# ---- does it compute what the host computes? ------------------------------------------------------------------------


def parity() -> Iterator[Finding]:
    for name, labels in LABELS.items():
        expected = _results(model(name, "float64", "reference"), name, labels)
        for dtype, limit in LIMITS.items():
            found = _results(model(name, dtype, "gpu"), name, labels)
            differences = [_furthest(found[key], expected[key]) for key in expected]
            yield Finding("parity", f"{name}, {dtype}", max(differences), limit)


def gradients() -> Iterator[Finding]:
    for name in LEARNT:
        _, expected = model(name, "float64", "reference").loss_and_grads(**inputs(name), **LABELS[name], dropout_seed=3)
        for dtype, limit in LIMITS.items():
            _, found = model(name, dtype, "gpu").loss_and_grads(**inputs(name), **LABELS[name], dropout_seed=3)
            yield Finding("gradients", f"{name}, {dtype}", _apart(host(found.flat), expected.flat), limit)
        yield Finding("gradients", f"{name}, complex steps", _complex_steps(name), LIMITS["float64"])


def _complex_steps(name: str) -> float:
    """g·v against Im L(p + ihv)/h, both on the card -> the worst, relative to ‖g‖ ‖v‖."""
    on_card = model(name, "float64", "gpu")
    prepared = on_card.prepare(**inputs(name), **LABELS[name])
    caches: dict[str, Any] = {}
    on_card.loss_at(on_card.parameters, prepared, caches)
    gradient = host(on_card.grads_at(prepared, caches)[0].flat)
    p, worst = on_card.parameters, 0.0
    for seed in range(DIRECTIONS):
        v = np.random.default_rng(seed).standard_normal(gradient.shape)
        moved = Block(p.spec, np.complex128, p.flat + Block(p.spec, complex, 1j * STEP * v).onto("gpu").flat)
        derivative = complex(host(on_card.loss_at(moved, prepared, {})[0])).imag / STEP
        worst = max(worst, abs(derivative - gradient @ v) / (np.linalg.norm(gradient) * np.linalg.norm(v)))
    return float(worst)


def training() -> Iterator[Finding]:
    losses = []
    name = "BertForPreTraining"
    for engine in "reference", "gpu":
        learner = model(name, "float64", engine)
        optimiser = AdamW(learner, lr=1e-3)
        losses.append([])
        for step in range(STEPS):
            out, grads = learner.loss_and_grads(**inputs(name), **LABELS[name], dropout_seed=step)
            optimiser.step(grads)
            losses[-1].append(float(out.loss))
    expected, found = map(np.array, losses)
    yield Finding("training", f"{STEPS} losses of {name}", _furthest(found, expected), TRAINING_LIMIT)


def _results(of: Any, name: str, labels: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    out = of(**inputs(name), **labels, output_hidden_states=True, output_attentions=True)
    several = {key: value if isinstance(value, tuple) else (value,) for key, value in out.items() if value is not None}
    return {key: np.concatenate([np.ravel(part) for part in parts]) for key, parts in several.items()}


def _furthest(found: Any, expected: Any) -> float:
    return float(abs(found - expected).max() / abs(expected).max())


def _apart(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


PARTS = {"parity": parity, "gradients": gradients, "training": training}


# ---- the report -----------------------------------------------------------------------------------------------------


def card() -> dict[str, str]:
    """What it is, and by what it is driven."""
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "card": found["name"].decode(),
        "memory": f"{found['totalGlobalMem'] / 2**30:.0f} GiB",
        "CUDA of the driver": str(cupy.cuda.runtime.driverGetVersion()),
        "CUDA of CuPy": str(cupy.cuda.runtime.runtimeGetVersion()),
        "CuPy": cupy.__version__,
    }


def check(parts: list[str]) -> list[Finding]:
    findings = []
    for part in parts:
        for finding in PARTS[part]():
            mark = "ok   " if finding.ok else "WRONG"
            print(
                f"{mark} {finding.part:10} {finding.what:46} {finding.difference:8.1e} of {finding.limit:.0e}",
                flush=True,
            )
            findings.append(finding)
    return findings


def draw(findings: list[Finding], speeds: list[dict[str, Any]], path: Path) -> None:
    """Differences beside what is allowed; times beside PyTorch's."""
    from matplotlib.figure import Figure

    timed = [(f"{row['title']}: {side}", side, t) for row in speeds for side, t in row["seconds"].items()]
    panels = [panel for panel in (findings, timed) if panel]
    height = 1 + 0.22 * max(map(len, panels))
    figure = Figure(figsize=(8 * len(panels), height), dpi=100, layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        if panel is findings:
            names = [f"{finding.part}: {finding.what}" for finding in findings]
            axes.barh(names, [max(finding.difference, 1e-18) for finding in findings], color=OURS)
            axes.plot([finding.limit for finding in findings], names, "|", color=INK, markersize=10)
            axes.set(title="relative difference to the host, and what is allowed")
        else:
            colours = [OURS if side == "minibert" else PEER for _, side, _ in timed]
            bars = axes.barh([name for name, *_ in timed], [t * 1e3 for *_, t in timed], color=colours)
            axes.bar_label(bars, fmt="%.2f", padding=3)
            axes.set(title="milliseconds")
        axes.set(xscale="log")
        axes.margins(x=0.15, y=0.01)
        axes.invert_yaxis()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="parity, gradients, training, speed; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--png", type=Path, metavar="FILE")
    args = parser.parse_args()
    every = [*PARTS, "speed"]
    parts = args.parts or every
    if unknown := set(parts) - set(every):
        parser.error(f"expected parts of {', '.join(every)}, got {', '.join(sorted(unknown))}")
    try:
        model("BertModel", "float32", "gpu")
    except mb.InputError as error:
        sys.exit(f"{error}\n{error.hint}")
    machine = card()
    print("  ".join(f"{name}: {value}" for name, value in machine.items()))
    findings = check([part for part in parts if part in PARTS])
    speeds = gpu_speed.compare() if "speed" in parts else []
    if args.json:
        content = {"machine": machine, "findings": [finding._asdict() for finding in findings], "speed": speeds}
        args.json.write_text(json.dumps(content, indent=1) + "\n")
    if args.png and (findings or speeds):
        draw(findings, speeds, args.png)
    return int(not all(finding.ok for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
