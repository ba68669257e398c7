"""What can be read without the script: header, map, checks, identities, names."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from ... import __version__
from ...checkpoint.names import tensorflow_name
from ...gradcheck import Report, Row
from ..equations import Equation
from ..registry import AXES
from ..residues import Identity
from ..tensors import Tensors
from ..trace import ONE_STEP, Trace
from .blocks import STEPS, TOP_LOGITS, Plan
from .bugs import Effects
from .document import Summaries
from .layout import Place
from .mathml import mathml
from .svg import block_svg, strip_svg


def digits(x: float, places: int = 2) -> str:
    """As the script writes numbers."""
    text = f"{x:.{places - 1}e}" if x and not 1e-3 <= abs(x) < 1e5 else f"{x:.{places}g}"
    mantissa, _, exponent = text.partition("e")
    return (mantissa + (f"e{int(exponent)}" if exponent else "")).replace("-", "−")


def header(trace: Trace, title: str, facts: Mapping[str, str], labels: Sequence[str], report: Report) -> str:
    """Text, tokens, what was run, and whether its gradients are right."""
    chips = "".join(
        f'<li><button class="token" data-token="{i}"><bdi>{escape(text)}</bdi></button></li>'
        for i, text in enumerate(labels)
    )
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in facts.items())
    return (
        '<header><div class="bar-top"><span>minibert: every tensor, forward and backward</span>'
        '<nav class="needs-script" aria-label="Page"><input id="search" type="search" placeholder="search a tensor  /" '
        'aria-label="search a tensor by any name"><div id="found" hidden></div>'
        '<output id="found-none" for="search" aria-live="polite"></output>'
        '<button id="show-help" aria-label="keys">?</button><button id="theme">light / dark</button></nav></div>'
        f'<h1><bdi>{escape(title)}</bdi></h1><ul class="tokens" aria-label="tokens">{chips}</ul>'
        f'{_verdict(trace, report)}<dl class="facts">{rows}</dl></header>'
    )


def _verdict(trace: Trace, report: Report) -> str:
    parameters = [row for row in report.rows if trace.entries[row.name].is_parameter]
    activations = [row for row in report.rows if not trace.entries[row.name].is_parameter]
    right = [sum(row.ok for row in rows) for rows in (activations, parameters)]
    worst = report.closest
    return (
        f'<p class="verdict-line"><span class="{"ok" if report.ok else "bad"}">{"✓" if report.ok else "✗"}</span> '
        f"{right[0]}/{len(activations)} activation and {right[1]}/{len(parameters)} parameter gradients are right "
        f"by the complex step; worst error is {digits(worst.margin)} of what is allowed, at "
        f'<a href="#t={escape(worst.name)}" data-t="{escape(worst.name)}">{escape(worst.name)}</a>.</p>'
    )


def versions() -> str:
    """Of what made the page."""
    return f"minibert {__version__}, NumPy {np.__version__}, Python {platform.python_version()}"


def picture_of_map(trace: Trace, blocks: Mapping[str, Mapping[str, Place]]) -> str:
    """Blocks from the input to the loss; layers after the first are folded."""
    result = []
    for title, block in blocks.items():
        folded = title.startswith("Layer ") and title != "Layer 0"
        result.append(
            f'<details class="block"{"" if folded else " open"}><summary>{escape(title)}'
            f"{strip_svg(trace.entries, block) if title.startswith('Layer ') else ''}</summary>"
            f"{block_svg(trace.entries, block, title)}</details>"
        )
    return "".join(result)


def check_section(report: Report) -> str:
    """Error over tolerance of all tensors along the tape."""
    left, top, width, height = 52, 14, 830, 150
    low, high = -8.0, 1.0

    def y(margin: float) -> float:
        power = math.log10(margin) if 0 < margin < math.inf else low if margin == 0 else high
        return top + height * (high - min(max(power, low), high)) / (high - low)

    ticks = "".join(
        f'<line class="{"limit" if p == 0 else "tick"}" x1="{left}" x2="{left + width}" y1="{y(10.0**p):.1f}" '
        f'y2="{y(10.0**p):.1f}"/><text x="{left - 8}" y="{y(10.0**p) + 4:.1f}" text-anchor="end">'
        f"{'allowed' if p == 0 else f'1e−{-p}'}</text>"
        for p in (0, -2, -4, -6, -8)
    )
    dots = "".join(
        f'<circle{"" if row.ok else " class=bad"} cx="{left + width * (i + 0.5) / len(report.rows):.1f}" '
        f'cy="{y(row.margin):.1f}" r="3" data-t="{escape(row.name)}"><title>{escape(row.name)}: '
        f"{digits(row.margin)}</title></circle>"
        for i, row in enumerate(report.rows)
    )
    return (
        f'<svg id="check-plot" viewBox="0 0 900 {top + height + 28}" role="img" aria-label="error over what is '
        f'allowed, of {len(report.rows)} tensors">{ticks}{dots}<text x="{left}" y="{top + height + 22}">first '
        "activation</text>"
        f'<text x="{left + width}" y="{top + height + 22}" text-anchor="end">last parameter</text></svg>'
        '<p class="how">How to read this: one dot a tensor, along the tape, at its error over what is allowed, '
        f"{digits(ONE_STEP.relative, 1)}·‖g‖ + {digits(ONE_STEP.floor, 1)}·(the terms that are added + ‖G‖/100). Above "
        "the dashed line its gradient is wrong, at the bottom there is no error at all. Each is one step of the chain "
        "rule along a random direction, hand-written against Im L(x + ihv)/h.</p>"
    )


def identity_table(found: Sequence[Identity]) -> str:
    """What holds exactly, and what is left of 0."""
    rows = "".join(
        f'<tr class="{"" if one.ok else "bad"}"><td>{_statement(one.statement)}</td><td>{escape(one.why)}</td>'
        f'<td class="n">{one.places}</td><td class="n">{digits(one.residue)}</td><td class="n">{digits(one.size)}</td>'
        f"<td>{'✓' if one.ok else '✗'}</td></tr>"
        for one in found
    )
    return (
        '<p class="how">How to read this: each line is exactly 0 in theory, whatever the weights and the text are; the '
        "residue is what rounding left of it in this run, at the worst of the places where it holds, next to the size "
        "of the terms that cancel.</p>"
        '<div class="wide"><table><thead><tr><th>identity</th><th>because</th><th>places</th><th>residue</th>'
        f"<th>size</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _statement(text: str) -> str:
    left, _, right = text.rpartition(" = ")
    try:
        both = Equation(f"L = {left}"), Equation(f"L = {right}")
    except ValueError:
        return f"<code>{escape(text)}</code>"
    a, b = (mathml(one).partition("<mo>=</mo>")[2].removesuffix("</mrow></math>") for one in both)
    return f"<math><mrow>{a}<mo>=</mo>{b}</mrow></math>"


def appendix(
    trace: Trace,
    plan: Plan,
    seen: Mapping[str, list[int]],
    source: str,
    steps: Mapping[str, Row],
    bugs: str,
    summaries: Summaries,
) -> str:
    """Letters, what was left out, where the weights are from, names, and all tensors as a table."""
    letters = "".join(f"<dt>{letter}</dt><dd>{escape(words)}</dd>" for letter, words in AXES.items())
    origin = (
        f"They were read from <code>{escape(source)}</code>; their licence is what that place says, not this page."
        if source
        else "They were made here, by a random generator or by training, or come from where this page was not told."
    )
    return (
        f"<h3>What is in this page</h3><p>{escape(left_out(trace, plan, seen))}</p>"
        f"<p>{bugs}</p><h3>The weights</h3><p>{origin}</p>"
        f'<h3>Letters</h3><dl class="facts columns">{letters}</dl>'
        "<details><summary>Names of the same tensor elsewhere</summary>"
        '<div class="wide"><table><thead><tr><th>here and at Hugging Face</th><th>Google</th>'
        f"<th>TransformerLens, other names</th></tr></thead><tbody>{_names(trace)}</tbody></table></div></details>"
        '<details id="list"><summary>All tensors, with numbers</summary>'
        f'<div class="wide">{tensor_table(trace, trace, summaries, steps)}</div></details>'
    )


def left_out(trace: Trace, plan: Plan, seen: Mapping[str, list[int]]) -> str:
    """One paragraph."""
    parts = ["Everything was computed in float64.", STEPS[plan.step]]
    matrices = sum(trace.entries[name].is_parameter for name in plan.absent)
    if matrices:
        parts.append(f"{matrices} weight matrices are left out; what would be unfolded through them says so.")
    parts.append(
        "Gradients of weight matrices are not stored: they are computed from two activations when they are looked at."
    )
    whole = [entry for entry in trace.entries.values() if entry.axes[:1] == ("V",) and len(entry.axes) == 2]
    if whole and any(np.size(x) > 2**16 for entry in whole for x in trace.parts(entry)):
        parts.append(f"Of large tables only the {len(seen['V'])} rows are stored that the text, its labels or the "
                     f"{TOP_LOGITS} likeliest words ask for.")  # fmt: skip
    return " ".join(parts)


def _names(trace: Trace) -> str:
    rows = []
    for name in trace:
        entry = trace.entries[name]
        full = name if name.startswith(("bert.", "cls.", "classifier", "qa_")) else f"bert.{name}"
        google = tensorflow_name(full) if entry.is_parameter else None
        if google or entry.aliases:
            turned = " (transposed)" if google and google[1] == "transpose" else ""
            rows.append(
                f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(google[0]) if google else ''}</code>"
                f"{turned}</td><td><code>{escape(', '.join(entry.aliases))}</code></td></tr>"
            )
    return "".join(rows)


def tensor_table(
    trace: Tensors, names: Iterable[str], summaries: Summaries, steps: Mapping[str, Row] | None = None
) -> str:
    """A line a tensor, with its check if there are any."""
    heads = ["tensor", "symbol", "shape", "RMS", "‖gradient‖", *["error/allowed"] * (steps is not None)]
    rows = []
    for name in names:
        entry, row = trace.entries[name], steps and steps.get(name)
        shapes = ", ".join("×".join(map(str, x.shape)) or "scalar" for x in trace.parts(entry))
        value, gradient = summaries.statistics(name)
        rows.append(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(entry.symbol)}</td><td>{shapes}</td>"
            f'<td class="n">{digits(value["rms"], 3)}</td>'
            f'<td class="n">{digits(gradient["norm"], 3) if gradient else "none"}</td>'
            + (f'<td class="n">{digits(row.margin) if row else ""}</td></tr>' if steps is not None else "</tr>")
        )
    head = "".join(f"<th>{text}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def bug_section(bugs: Effects, total: int) -> str:
    """The choice of a bug; the script shows what it does."""
    if not bugs.shown:
        return ""
    options = "".join(f'<option value="{i}">bug {i + 1}</option>' for i in range(len(bugs.shown)))
    some = f" Of {total} bugs {len(bugs.shown)} show in this run" + (
        f"; {bugs.untried} were not tried on a model of this size." * bool(bugs.untried) or "."
    )
    return (
        '<section id="break" class="needs-script" aria-labelledby="break-title"><h2 id="break-title">Break it</h2>'
        "<p>Plant a bug in the backward pass, one line changed, and find it by where gradients become wrong. "
        f'<label>Plant <select id="bug-choice"><option value="">no bug</option>{options}</select></label></p>'
        '<p class="how">How to read this: in the map a red box is a gradient that the bug changed, by '
        "‖wrong − right‖/(‖right‖ + 1e−3 of the median norm) above 1e−6. Gradients are made from the loss to the "
        f"words, so what is wrong spreads that way: the culprit makes the first wrong one.{some}</p>"
        '<div id="bug-body"></div></section>'
    )
