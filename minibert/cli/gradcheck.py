"""minibert gradcheck: every tensor of a model against the complex step, and the exact identities. 1 if one fails."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from typing import Any

from ..checkpoint import open_pretrained
from ..gradcheck import Report
from ..lab.check import TINY, compare, gradients, references, scale_weights, specimen
from ..lab.identities import check_identities
from ..models.base import BertPreTrainedModel
from ..models.encoder import BertEncoder, BertModel
from ..models.pretraining import BertForPreTraining
from .inputs import UsageError


def run(args: Any) -> int:
    """Prints the two tables, or JSON; 1 if a row of either is not ok."""
    model = _model(args)
    prepared = specimen(model, args.seed)
    print(f"{model!r}, {len(prepared.batch.rows)} tokens; one complex forward pass a tensor", file=sys.stderr)
    refs = references(model, prepared, dropout_seed=args.dropout_seed, seed=args.seed)
    grads = gradients(model, prepared, dropout_seed=args.dropout_seed)
    tensors = compare(grads, refs)
    # the identities hold without dropout only
    identities = check_identities(model, grads) if args.dropout_seed is None else Report(())
    ok = tensors.ok and all(row.ok for row in identities.rows)
    if args.json:
        sections = {"tensors": tensors, "identities": identities}
        print(json.dumps({"ok": ok, **{k: [_plain(row) for row in v.rows] for k, v in sections.items()}}))
        return 0 if ok else 1
    print(_table(tensors, "gradients"))
    if identities.rows:
        print(f"\n{_table(identities, 'exact identities: the error is what is left of 0')}")
    worst = tensors.closest
    failed = sum(not row.ok for row in (*tensors.rows, *identities.rows))
    print(f"\n{len(tensors.rows)} gradients and {len(identities.rows)} identities checked, {failed} wrong")
    print(f"closest to its tolerance, at {worst.margin:.1e} of it:\n{worst.name}")
    return 0 if ok else 1


def _model(args: Any) -> BertPreTrainedModel:
    if args.model is None:
        if not 0 < args.std < math.inf:
            raise UsageError(f"--std: expected a positive number, got {args.std}")
        config = dataclasses.replace(TINY, num_hidden_layers=args.layers)
        model = BertForPreTraining(config, dtype="float64", seed=args.seed)
        scale_weights(model, args.std, args.seed)
        return model
    names = set(open_pretrained(args.model).sources)
    cls: type[BertPreTrainedModel] = BertEncoder
    if "bert.pooler.dense.weight" in names:
        heads = {"cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"}
        cls = BertForPreTraining if heads <= names else BertModel
    return cls.from_pretrained(args.model, dtype="float64")


def _table(report: Report, title: str) -> str:
    """The rows under the name of their module, which leaves them room on a terminal of 80 columns."""
    module_of = re.compile(r"((?:bert\.)?(?:encoder\.layer\.\d+|embeddings|pooler)|cls\.\w+)\.")
    modules = [module_of.match(row.name) for row in report.rows]
    names = [row.name.removeprefix(match[0] if match else "") for row, match in zip(report.rows, modules, strict=True)]
    short = Report(tuple(row._replace(name=f"  {name}") for row, name in zip(report.rows, names, strict=True)))
    head, *lines = str(short).split("\n")
    result, last = [title, head], ""
    for line, match in zip(lines, modules, strict=True):
        module = match[1] if match else ""
        result += [module, line] if module != last else [line]
        last = module
    return "\n".join(result)


def _plain(row: Any) -> dict[str, Any]:
    """JSON has no NaN: a number that is none becomes null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row._asdict().items()}
