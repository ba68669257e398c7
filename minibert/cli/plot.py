"""minibert plot: what runs have measured, as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFound
from .plotting import read_runs, save, terminal


def run(args: Any) -> None:
    """Draw in the terminal, or into a file, or print the records."""
    png = None if args.png is None else Path(args.png)
    if png is not None:
        if not args.png or png.is_dir():
            raise InputError(f"--png: expected the name of a file, got {args.png!r}")
        if not png.parent.is_dir():
            raise NotFound(f"{png.parent}: no such folder, for {png.name} to be written to")
    runs = read_runs(args.folders)
    if png is not None:
        try:
            save(runs, png)
        except ImportError as error:
            raise InputError(f"--png: {error}") from None
    if args.json:
        print(json.dumps([measured._asdict() for measured in runs]))
    elif png is None:
        print(terminal(runs))
    else:
        print(f"picture written to {png}")
