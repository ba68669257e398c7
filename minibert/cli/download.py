"""minibert download: the newest state of a model of the Hugging Face hub, into the hub's cache."""

from __future__ import annotations

import sys
from typing import Any

from ..locate import is_hub_name
from .inputs import UsageError


def run(args: Any) -> None:
    """Prints the folder on stdout; on stderr what is in it, and how much of that had to be fetched."""
    if not is_hub_name(args.name):
        raise UsageError(f"expected the name of a model on the hub, org/name, got {args.name!r}")
    from ..hub import download

    done = download(args.name, args.revision)
    for name, size in done.files.items():
        print(f"{size:14,}  {name}{'' if name in done.fetched else '  (was there)'}", file=sys.stderr)
    total = sum(done.files[name] for name in done.fetched)
    print(f"{total:14,}  bytes fetched, in {len(done.fetched)} of {len(done.files)} files", file=sys.stderr)
    print(done.folder)
