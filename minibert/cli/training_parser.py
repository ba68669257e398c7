"""The arguments of the verbs that train. As light as the rest of the parser."""

from __future__ import annotations

from typing import Any

from . import _natural, _positive, _verb


def add_training_verbs(verbs: Any) -> None:
    """train-vocab."""
    vocab = _verb(verbs, "train-vocab", "make a WordPiece vocabulary from text files", model=None)
    vocab.add_argument("corpus", nargs="+", metavar="CORPUS", help="text files in UTF-8")
    vocab.add_argument("--output", required=True, metavar="FILE", help="the vocabulary, one piece a line; - is stdout")
    vocab.add_argument("--size", type=_positive, default=8192, metavar="N", help="pieces to make (default 8192)")
    vocab.add_argument(
        "--method",
        choices=("bpe", "likelihood"),
        default="bpe",
        help="merge the most frequent pair (default), or the one that is least by chance",
    )
    vocab.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocab.add_argument(
        "--min-frequency", type=_positive, default=2, metavar="N", help="of a pair, or a character (default 2)"
    )
    vocab.add_argument("--unused", type=_natural, default=0, metavar="N", help="pieces to leave free: [unused0] ...")
    vocab.add_argument("--json", action="store_true", help="print the report as JSON")
