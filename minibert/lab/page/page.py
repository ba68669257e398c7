"""One self-contained file from a trace. Nothing in it is loaded from elsewhere, and its own policy forbids it."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import os
import string
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ...errors import InputError
from ...formats.atomic import write_atomic
from ...gradcheck import Report
from ...text.tokenizer import BertTokenizer
from ..mutants import MUTANTS
from ..registry import AXES
from ..residues import identities
from ..trace import Trace
from . import static
from .about import labels_of, objective, prediction
from .blocks import Blocks, Plan, occurring, plan
from .bugs import Effects, effects, planted_at
from .curves import curve, typical
from .derivations import NOTES, Derivation, Step, derivation, notes
from .document import Document, Summaries, rows_by_name
from .layout import placed
from .size import check_size

SCRIPTS = ("data", "equations", "colour", "text", "heatmap", "sums", "unfold", "statistics", "card", "derive", "check",
           "attention", "bugs", "map", "main")  # fmt: skip
STYLES = ("page.css", "map.css", "card.css", "sections.css", "media.css")
SMALL = 2**18  # parameters of a model for which every curve is computed


def page(
    trace: Trace,
    *,
    title: str = "",
    command: str = "",
    source: str = "",
    tokenizer: BertTokenizer | None = None,
    max_mb: float = 12.0,
    check: Report | None = None,
    whole: Report | None = None,
    curves: Sequence[str] | None = None,
    bugs: int | None = None,
) -> str:
    """The HTML of a page that shows all of a trace.

    title, command    what is being looked at, and what made the page, for its header
    source            where the weights came from
    tokenizer         names the words of a vocabulary
    max_mb            megabytes, 1e6 bytes, that it may take; what then has to be left out, in a fixed order, the
                      page says. PageTooLarge if it would still be larger, before anything is computed where shapes
                      tell
    check, whole      trace.check(), made here if it is not given, and trace.check(whole=True), shown if it is
    curves            names or patterns of tensors whose error is shown against the step of a difference; by default
                      all of a small model, and three of the first layer of a larger one
    bugs              how many planted bugs are tried; by default all on a small model, and fewer the larger it is
    """
    if not isinstance(trace, Trace):
        raise InputError(f"page: expected a Trace, which has a model, got {type(trace).__name__}", "trace it again")
    check_size(trace.model, trace.prepared.batch, max_mb, trace.dropout_seed is not None)
    threads = 1 if len(trace.prepared.batch.rows) < 128 else None  # which would wait for one another over few rows
    with threadpool_limits(threads, "blas"):
        return _page(trace, title, command, source, tokenizer, max_mb, check, whole, curves, bugs)


def _page(
    trace: Trace,
    title: str,
    command: str,
    source: str,
    tokenizer: BertTokenizer | None,
    max_mb: float,
    check: Report | None,
    whole: Report | None,
    curves: Sequence[str] | None,
    bugs: int | None,
) -> str:
    small = sum(x.size for x in trace.model.parameters.values()) <= SMALL
    report = check or trace.check()
    lines = _curves(trace, typical(trace, small) if curves is None else trace.chosen(tuple(curves)) if curves else ())
    found = effects(trace, bugs)
    seen, labels, summaries = occurring(trace), labels_of(trace, tokenizer), Summaries(trace)
    facts = {
        "model": escape(trace.about), "differentiated": objective(trace),
        **prediction(trace, tokenizer),
        "computed": "in float64, by the reference operators of minibert.ops; dropout "
        + ("off" if trace.dropout_seed is None else f"on, seed {trace.dropout_seed}"),
        "made by": f"<code>{escape(command)}</code>" if command else "", "versions": static.versions(),
    }  # fmt: skip
    head = static.header(trace, title or " ".join(labels["N"]), {k: v for k, v in facts.items() if v}, labels["N"],
                         report)  # fmt: skip
    places = placed(trace.entries)
    style, script = "".join(map(_asset, STYLES)), _script()
    fixed = {
        "policy": _policy(style, script), "title": escape(title or "minibert"), "style": style, "script": script,
        "header": head, "map": static.picture_of_map(trace, places), "check": static.check_section(report),
        "identities": static.identity_table(identities(trace)), "bugs": static.bug_section(found, len(MUTANTS)),
    }  # fmt: skip

    def render(planned: Plan) -> str:
        blocks = Blocks()
        shared = Document(trace, planned, seen, blocks, summaries)
        document = {**_document(trace, shared, places, [report, whole], lines, found, labels), "title": title}
        appendix = static.appendix(trace, planned, seen, source, rows_by_name(report), _bugs_left(found), summaries)
        text = string.Template(_asset("page.html")).substitute(fixed, appendix=appendix, data=_data(document, blocks))
        return text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair is no text

    frame = len(render(Plan(0, frozenset(), frozenset(trace.entries), 0)).encode())  # all but the numbers
    return render(plan(trace, seen, max_mb * 1e6, frame))


def save_page(trace: Trace, path: str | os.PathLike[str], **options: Any) -> None:
    """Write `page(trace, **options)`; all of it or nothing. Raises OSError as the file system does."""
    write_atomic(path, page(trace, **options).encode())


def _curves(trace: Trace, names: Sequence[str]) -> dict[str, list[float | None]]:
    return {name: [error if np.isfinite(error) else None for error in curve(trace, name)] for name in names}


def _document(
    trace: Trace,
    shared: Document,
    places: Any,
    reports: Sequence[Report | None],
    curves: Any,
    effects: Effects,
    labels: Any,
) -> dict[str, Any]:
    """What the script reads, in the order of the tape."""
    step, whole = (rows_by_name(report) for report in reports)
    block_of = {name: title for title, block in places.items() for name in block}
    tensors: list[dict[str, Any]] = []
    derivations: list[dict[str, Any]] = []
    for name in trace:
        entry = trace.entries[name]
        item = shared.tensor(entry, block_of[name], step.get(name), whole.get(name))
        if found := derivation(entry):
            item["derivation"] = len(derivations)
            derivations.append(_derivation(found, shared))
        item["notes"] = notes(entry)
        tensors.append(item)
    order = list(trace.entries)
    bugs = [
        {
            "name": m.name, "operator": m.operator, "before": m.before, "after": m.after,
            "hint": m.hint, "why": m.why,
            "call": "" if (at := planted_at(trace, m)) is None else f", at call {at + 1} of it from the loss",
            "change": [float(f"{v[order.index(name)]:.2e}") for name in trace],
        }
        for m, v in effects.shown
    ]  # fmt: skip
    return {
        "tensors": tensors, "equations": shared.equation_list, "rooms": shared.room_list, "given": shared.given,
        "sources": shared.sources, "axes": AXES, "labels": labels, "derivations": derivations, "bugs": bugs,
        "sequences": [int(i) for i in trace.prepared.batch.cu_seqlens], "curves": curves,
        "start": next(iter(trace.find("*layer.0.attention.self.probs")), tensors[0]["name"]),
    }  # fmt: skip


def _derivation(found: Derivation, shared: Document) -> dict[str, Any]:
    def steps(these: Sequence[Step]) -> list[dict[str, Any]]:
        return [
            {"text": s.text, "equation": shared.equation(s.equation), "notes": [NOTES[k] for k in s.notes]}
            for s in these
        ]

    return {"title": found.title, "definition": steps(found.definition), "chunked": steps(found.chunked),
            "fused": steps(found.fused)}  # fmt: skip


def _bugs_left(bugs: Effects) -> str:
    untried = f", {bugs.untried} were not tried on a model of this size" * bool(bugs.untried)
    return f"Of {len(MUTANTS)} planted bugs {len(bugs.shown)} show in this run, {bugs.silent} do not{untried}."


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("assets", name).read_text("utf-8")


def _script() -> str:
    """All modules in one function; their comments and indentation stay in the sources."""
    lines = [line.strip() for name in SCRIPTS for line in _asset(f"{name}.js").splitlines()]
    return '"use strict";\n(() => {\n' + "\n".join(line for line in lines if line and line[:2] != "//") + "\n})();\n"


def _policy(style: str, script: str) -> str:
    """Nothing but the style and the script that stand here, by their hashes."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )


def _data(document: dict[str, Any], blocks: Blocks) -> str:
    """Numbers and the document as elements that are not run. ASCII, and no < that could end one."""
    text = json.dumps(_finite(document), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    numbers = "".join(f'<script type="text/plain" id="b{i}">{block}</script>\n' for i, block in enumerate(blocks.texts))
    return f'{numbers}<script type="application/json" id="document">{text}</script>'


def _finite(x: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(x, float):
        return x if x - x == 0 else None
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    return [_finite(v) for v in x] if isinstance(x, list | tuple) else x
