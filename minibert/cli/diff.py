"""minibert diff: the largest difference a tensor between two checkpoints, of whatever formats."""

from __future__ import annotations

import json
import math
from typing import Any

from ..tasks.difference import differences
from .inputs import printable


def run(args: Any) -> int:
    """Prints every tensor that differs, the largest difference first; status 1 if there is one, as `diff` does."""
    rows = differences(args.a, args.b)
    different = [row for row in rows if row.largest != 0]
    different.sort(key=lambda row: -math.inf if row.largest is None else -row.largest)
    if args.json:
        plain = [row._replace(largest=None if row.largest == math.inf else row.largest)._asdict() for row in rows]
        print(json.dumps({"tensors": len(rows), "different": len(different), "rows": plain}))
        return int(bool(different))
    for row in different:
        size = "     —   " if row.largest is None else f"{row.largest:9.3e}"
        print(printable(f"{size}  {row.name}{f'  ({row.remark})' if row.remark else ''}"))
    print(f"{len(rows) - len(different)} of {len(rows)} tensors are equal, {len(different)} are not")
    return int(bool(different))
