"""minibert look: a model under the microscope, every tensor of one text's forward and backward pass."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..gradcheck import Report
from ..lab.page import PageTooLarge, check_size, save_page
from ..lab.trace import Trace
from ..models.auto import load
from ..models.base import BertPreTrainedModel
from ..text.tokenizer import BertTokenizer
from .inputs import UsageError, decoded, model_of, texts_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def run(args: Any) -> int:
    """Prints the map, tensors' cards, or the arithmetic of a cell; 1 if a gradient is not what it should be."""
    _check_options(args)
    texts = list(texts_of(args))
    if len(texts) != 1:
        raise UsageError(f"expected one text, got {len(texts)}", 'minibert look --model MODEL "The text."')
    text, pair, target = texts[0], *(given and decoded(given) for given in (args.pair, args.target))
    model = load(model_of(args), dtype="float64")
    if args.html:
        _check_size(model, text, pair, args)
    trace = model.trace(text, pair, target=target, dropout_seed=args.dropout_seed)
    if args.save:
        trace.save(args.save)
        print(f"wrote {args.save}", file=sys.stderr)
    if args.unfold:
        return _unfold(trace, args)
    if args.tensor:
        return _cards(trace, args)
    if args.html:
        return _page(trace, text, args)
    report = _checked(trace, args.whole)
    if args.json:
        tensors = [_plain(trace, row) for row in report.rows]
        about = {"model": trace.about, "tokens": trace.tokens, "loss": trace.loss, "aim": trace.aim}
        print(json.dumps({**about, "ok": report.ok, "tensors": tensors}))
    else:
        _print([*_header(trace), *_map(trace, report, args.all), *_verdicts(trace, report, args.whole)])
    return 0 if report.ok else 1


def _check_options(args: Any) -> None:
    asked = [option for option in ("--html", "--tensor", "--unfold") if getattr(args, option[2:])]
    if len(asked) > 1:
        raise UsageError(f"expected one of {' and '.join(asked)}")
    if (args.html and args.json) or (args.curve and not args.html):
        raise UsageError("--html does not go with --json" if args.json else "--curve goes with --html")
    if not 0 < args.max_mb < math.inf:
        raise UsageError(f"--max-mb: expected a positive number of megabytes, got {args.max_mb:g}")
    if args.tensor and args.tensor.startswith("d:"):
        card = args.tensor.removeprefix("d:")
        raise UsageError(
            f"--tensor {args.tensor}: a card shows value and gradient, there is none of the gradient alone",
            f"-t {card.partition('[')[0]}, or --unfold {args.tensor} for the sum behind a number of the gradient",
        )


def _check_size(model: BertPreTrainedModel, text: str, pair: str | None, args: Any) -> None:
    """Whether there is room for the page, before anything is computed."""
    inputs = BertTokenizer.from_pretrained(model_of(args))(text, pair, return_tensors="np")
    with _in_words_of_options():
        check_size(model, model.prepare(**inputs).batch, args.max_mb, args.dropout_seed is not None)


@contextmanager
def _in_words_of_options() -> Iterator[None]:
    try:
        yield
    except PageTooLarge as error:
        raise InputError(error.message, f"{error.shorter}--max-mb {error.megabytes:g}") from None


def _checked(trace: Trace, whole: bool) -> Report:
    """trace.check(), with a bar for whoever waits for it at a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)

    def bar(names: Sequence[str]) -> Iterable[str]:
        what = "from each tensor to the loss" if whole else "one step of the chain rule each"
        return track(names, f"checking, {what}", console=console, transient=True, disable=not console.is_terminal)

    return trace.check(whole=whole, progress=bar)


def _page(trace: Trace, text: str, args: Any) -> int:
    """The page; 1 if a gradient in it is wrong."""
    path, curves = model_of(args), [trace.resolve(args.curve)] if args.curve else None
    report = _checked(trace, whole=False)
    whole = _checked(trace, whole=True) if args.whole else None
    given = [os.fsencode(argument).decode("utf-8", "replace") for argument in sys.argv[1:]]
    with _in_words_of_options():
        save_page(
            trace,
            args.html,
            title=text,
            command=shlex.join(["minibert", *given, *(["--model", path] if not args.model else [])]),
            source=path,
            tokenizer=BertTokenizer.from_pretrained(path),
            max_mb=args.max_mb,
            check=report,
            whole=whole,
            curves=curves,
        )
    print(f"wrote {args.html}, {os.path.getsize(args.html) / 1e6:.1f} MB", file=sys.stderr)
    return 0 if report.ok and (whole is None or whole.ok) else 1


def _map(trace: Trace, report: Report, everything: bool) -> Iterator[Text]:
    from ..lab.terminal import map_lines, sections

    names = list(sections(trace))
    later = [name for name in names if ".layer." in name][1:]
    yield from map_lines(trace, report, [name for name in names if everything or name not in later])


def _header(trace: Trace) -> Iterator[Text]:
    from rich.text import Text

    yield Text(trace.about)
    yield Text(" ".join(trace.tokens or []), "bold")
    yield Text(f"loss {trace.loss:.6g}, {trace.aim}")
    yield Text()


def _verdicts(trace: Trace, report: Report, whole: bool) -> Iterator[Text]:
    from rich.text import Text

    parts = {"activations": False, "parameters": True}
    counts = []
    for what, learned in parts.items():
        rows = [row for row in report.rows if trace.entries[row.name].is_parameter == learned]
        counts.append(f"{sum(row.ok for row in rows)} of {len(rows)} {what}")
    how = "complex step, from each tensor to the loss" if whole else "complex step, one step of the chain rule each"
    worst = report.closest
    yield Text()
    yield Text(f"gradients right: {' and '.join(counts)} ({how})", "green" if report.ok else "bold red")
    yield Text(f"closest to its tolerance, at {worst.margin:.0e} of it: {worst.name}")


def _cards(trace: Trace, args: Any) -> int:
    """One card, or those of all that a pattern matches."""
    from ..lab.terminal import card_lines
    from ..lab.unfold import parse

    name, cell, _ = parse(args.tensor)
    names = trace.find(name) or [trace.resolve(name)]
    for one in names:
        headed = len(trace.entries[one].axes) == 3
        if cell and not (headed and len(cell) == 1):
            shows = "one head, NAME[2]" if headed else "all of it"
            raise UsageError(
                f"--tensor {args.tensor}: a card of {one} shows {shows}, not a cell",
                f"--unfold {args.tensor} shows the sum behind a number",
            )
    part, ok, shown = cell[0] if cell else 0, True, []
    for one in names:
        tensor = trace[one]
        checks = {"one step": tensor.check(whole=False), "whole": tensor.check(whole=True)}
        ok &= all(row.ok for row in checks.values())
        if args.json:
            rows = {method: row._asdict() for method, row in checks.items()}
            shown.append({**_plain(trace, checks["one step"]), "checks": rows, "value": _list(tensor.value)})
            shown[-1]["grad"] = _list(tensor.grad)
            continue
        console = _console()
        width, colour = min(console.width, 100), console.color_system is not None
        if one != names[0]:
            console.print()
        _print([*card_lines(tensor, trace.tokens, checks, part, width, colour)], console)
    if args.json:
        print(json.dumps(shown))
    return 0 if ok else 1


def _unfold(trace: Trace, args: Any) -> int:
    from ..lab.terminal import unfolded_lines
    from ..lab.unfold import parse, unfold

    name, cell, gradient = parse(args.unfold)
    found = unfold(trace, name, cell, gradient)
    if args.json:
        sums = [{**one._asdict(), "terms": [term._asdict() for term in one.terms]} for one in found.sums]
        print(json.dumps({**found._asdict(), "sums": sums}))
    else:
        _print(unfolded_lines(found))
    return 0


def _plain(trace: Trace, row: Any) -> dict[str, Any]:
    """A tensor for JSON."""
    entry = trace.entries[row.name]
    code, gradient_code = trace.lines(entry)
    values = np.concatenate([part.reshape(-1) for part in trace.parts(entry)])
    values = values[np.isfinite(values)]
    return {
        "name": row.name,
        "kind": "parameter" if entry.is_parameter else "activation",
        "meaning": entry.meaning,
        "axes": entry.axes,
        "shape": [part.shape for part in trace.parts(entry)],
        "equation": entry.equation,
        "backward_equation": entry.gradient,
        "code": code and str(code),
        "backward_code": gradient_code and str(gradient_code),
        "aliases": entry.aliases,
        "rms": float(np.sqrt(np.mean(values**2))) if values.size else 0.0,
        "grad_norm": row.norm,
        "error": row.error,
        "tolerance": row.tolerance,
        "verdict": row.verdict,
    }


def _list(array: Any) -> Any:
    """Nested lists; what is not finite, as causal scores of the future are not, becomes null."""
    if isinstance(array, list):
        return [_list(one) for one in array]
    numbers = array.astype(object)
    numbers[~np.isfinite(array)] = None
    return numbers.tolist()


def _console() -> Console:
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:  # the reader has seen enough; rich would call that an error
            raise BrokenPipeError

    return Quiet(highlight=False, markup=False, emoji=False, soft_wrap=True)


def _print(lines: Iterable[Text], console: Console | None = None) -> None:
    from .inputs import printable

    console = console or _console()
    for line in lines:
        line.plain = printable(line.plain)
        console.print(line)
