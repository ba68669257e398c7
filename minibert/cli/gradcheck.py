"""minibert gradcheck: every tensor of a model against the complex step, and the exact identities. Status 1 if one fails."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from typing import Any

from ..checkpoint import canonical, open_pretrained
from ..gradcheck import Report
from ..lab.check import TINY, as_float64, compare, gradients, references, scale_weights, specimen
from ..lab.identities import check_identities
from ..models.base import BertPreTrainedModel
from ..models.encoder import BertModel
from ..models.pretraining import BertForPreTraining
from .inputs import UsageError


def run(args: Any) -> int:
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
    print(tensors)
    if identities.rows:
        print(f"\nexact identities (error: what is left of 0)\n{identities}")
    worst = tensors.closest
    failed = sum(not row.ok for row in (*tensors.rows, *identities.rows))
    print(
        f"\n{len(tensors.rows)} gradients and {len(identities.rows)} identities checked, {failed} wrong; "
        f"closest to its tolerance: {worst.name} at {worst.margin:.1e} of it"
    )
    return 0 if ok else 1


def _model(args: Any) -> BertPreTrainedModel:
    if args.model is None:
        if not 0 < args.std < math.inf:
            raise UsageError(f"--std: expected a positive number, got {args.std}")
        config = dataclasses.replace(TINY, num_hidden_layers=args.layers)
        model = BertForPreTraining(config, dtype="float64", seed=args.seed)
        scale_weights(model, args.std, args.seed)
        return model
    names = {canonical(name) for name in open_pretrained(args.model).tensors.tensors}
    whole = {"cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"} <= names
    return as_float64((BertForPreTraining if whole else BertModel).from_pretrained(args.model))


def _plain(row: Any) -> dict[str, Any]:
    """JSON has no NaN: a number that is none becomes null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row._asdict().items()}
