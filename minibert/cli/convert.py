"""minibert convert: a checkpoint of any format into another, with a report."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

from ..checkpoint.plan import some
from ..tasks.convert import Conversion, convert
from .inputs import printable


def run(args: Any) -> None:
    """Converts, then prints what became of every tensor; layers that were treated alike share a line."""
    done = convert(args.source, args.target, args.to, strict=not args.drop_unknown)
    if args.json:
        print(json.dumps(done.to_dict()))
        return
    print(printable(f"{done.source}: {done.format}, {done.architecture}"))
    for source, target, operation, count in _grouped(done):
        remarks = [operation] * (operation != "same") + [f"×{count}"] * (count > 1)
        remark = f"  ({', '.join(remarks)})" if remarks else ""
        if source == target:
            print(printable(f"  {source}{remark}"))
        else:
            print(printable(f"  {source}"))
            print(printable(f"    → {target}{remark}"))
    for name, original in done.tied.items():
        print(printable(f"  {name}"))
        print(printable(f"    tied to {original}"))
    for reason in dict.fromkeys(done.unused.values()):
        names = [name for name, why in done.unused.items() if why == reason]
        print(printable(f"not used, {reason}: {some(names, 3)}"))
    if done.missing:
        print(printable(f"missing: {some(done.missing)}"))
    for note in done.notes:
        print(textwrap.fill(printable(f"note: {note}"), 80, subsequent_indent="  "))
    print(printable(f"{len(done.tensors)} tensors written to {done.target}: {', '.join(done.files)}"))


def _grouped(done: Conversion) -> list[tuple[str, str, str, int]]:
    """(source, target, operation, how often), the numbers of layers written as *."""
    groups: dict[tuple[str, str, str], int] = {}
    for row in done.tensors:
        source, target = (re.sub(r"(layer(?:_\._|[._/])|layer_with_weights-|layers/)\d+", r"\1*", n) for n in row[:2])
        key = (source, target, row.operation)
        groups[key] = groups.get(key, 0) + 1
    return [(*key, count) for key, count in groups.items()]
