"""The arguments of the verbs that ask a model about texts. Read when the parser is built: no heavy imports here."""

from __future__ import annotations

from typing import Any

from . import FINE_TUNED, _encoding, _natural, _positive, _verb

STRATEGIES = ("none", "simple", "first", "average", "max")


def add_task_verbs(verbs: Any) -> None:
    """embed, similarity, fill-mask, classify, tag, answer."""
    embed = _verb(verbs, "embed", "turn texts into vectors", texts=True)
    embed.add_argument("--format", choices=("jsonl", "npy"), default="jsonl", help="JSON lines (default), or one array")
    embed.add_argument("--output", metavar="FILE", help="write here instead of to stdout")
    _encoding(embed)

    similarity = _verb(verbs, "similarity", "compare texts: a matrix of cosines", texts=True)
    similarity.add_argument("--json", action="store_true", help="print JSON")
    _encoding(similarity)

    fill = _verb(verbs, "fill-mask", "guess the words behind [MASK]", texts=True)
    fill.add_argument("--top-k", type=_positive, default=5, metavar="K", help="guesses a mask (default 5)")
    fill.add_argument("--targets", metavar="WORD,...", help="choose among these words only, as in cat,dog")
    fill.add_argument("--joint", action="store_true", help="fill several masks together, so that the words fit")
    fill.add_argument("--json", action="store_true", help="print JSON lines")

    classify = _verb(verbs, "classify", "label texts, or pairs of texts", texts=True, model=FINE_TUNED)
    classify.add_argument("--pair", metavar="TEXT", help="a second text for every text")
    classify.add_argument("--top-k", type=_positive, default=1, metavar="K", help="labels a text (default 1)")
    classify.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model")
    classify.add_argument("--json", action="store_true", help="print JSON lines")
    _encoding(classify)

    tag = _verb(verbs, "tag", "label words: names, places, parts of speech", texts=True, model=FINE_TUNED)
    tag.add_argument(
        "--aggregation", choices=STRATEGIES, default="first", help="how pieces become words (default first)"
    )
    tag.add_argument("--stride", type=_natural, metavar="N", help="tokens by which windows of a long text overlap")
    tag.add_argument("--json", action="store_true", help="print the entities as JSON lines")
    _encoding(tag)

    answer = _verb(verbs, "answer", "answer a question from texts, of any length", model=FINE_TUNED)
    answer.add_argument("texts", nargs="*", metavar="TEXT", help="texts to read; without any, or with -, stdin is one")
    answer.set_defaults(file=None)
    answer.add_argument("--question", required=True, metavar="Q", help="what is asked")
    answer.add_argument("--context-file", metavar="FILE", help="read the text from a file")
    answer.add_argument("--top-k", type=_positive, default=1, metavar="K", help="answers a text (default 1)")
    answer.add_argument("--no-answer", action="store_true", help="let a text have no answer")
    answer.add_argument("--google", action="store_true", help="choose as Google's run_squad.py does")
    answer.add_argument("--json", action="store_true", help="print JSON lines")
    _encoding(answer)
