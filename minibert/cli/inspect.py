"""minibert inspect: what a weight file or a model folder is, without loading a weight."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from ..checkpoint.inference import architecture
from ..checkpoint.opening import read_config, recognise
from ..checkpoint.plan import BUFFERS
from ..errors import MinibertError, NotFound
from ..formats.mapped import MappedFile
from ..formats.opening import open_weights
from ..locate import embedded, locate
from . import MODEL_VARIABLE
from .inputs import printable

SHOWN = {
    "num_hidden_layers": "{} layers",
    "hidden_size": "hidden {}",
    "num_attention_heads": "{} heads",
    "intermediate_size": "intermediate {}",
    "vocab_size": "vocabulary {}",
    "max_position_embeddings": "{} positions",
    "hidden_act": "{}",
}


def run(args: Any) -> None:
    """Prints format, files, configuration and a guess at the model, then every tensor's name, dtype and shape."""
    place = locate(args.path or os.environ.get(MODEL_VARIABLE) or embedded(), parts=("config", "weights"))
    weights = open_weights(place)
    sources, skipped, unknown = recognise(weights)
    own = [source.stored for name, source in sources.items() if name not in BUFFERS] + unknown
    sizes = {name: math.prod(info.shape) for name, info in weights.tensors.items()}
    try:
        config = read_config(place)
    except NotFound:
        config = {}
    except MinibertError as error:  # no reason not to show the weights
        config = {}
        weights.notes.append(error.message)
    found: dict[str, Any] = {
        "path": str(place),
        "format": weights.format,
        "files": [{"path": str(p), "bytes": p.stat().st_size, "sha256": _sha256(p)} for p in weights.paths],
        "model": architecture(sources),
        "config": config,
        "parameters": sum(sizes[name] for name in own if name not in weights.ties),
        "bytes": sum(info.nbytes for info in weights.tensors.values()),
        "skipped": skipped,
        "unknown": unknown,
        "ties": weights.ties,
        "metadata": weights.metadata,
        "notes": weights.notes,
        "tensors": [
            {"name": name, "dtype": info.dtype, "shape": list(info.shape), "bytes": info.nbytes}
            for name, info in weights.tensors.items()
        ],
    }
    print(json.dumps(found) if args.json else "\n".join(map(printable, _lines(found))))


def _lines(found: dict[str, Any]) -> list[str]:
    skipped: dict[str, str] = found["skipped"]
    lines = [f"{found['path']}: {found['format']}"]
    lines += [f"  {Path(f['path']).name}  {f['bytes']:,} bytes  sha256 {f['sha256'][:16]}…" for f in found["files"]]
    lines.append(f"model: {found['model'] or 'no BERT that is known here'}")
    if found["config"]:
        config = found["config"]
        lines.append(", ".join(text.format(config[key]) for key, text in SHOWN.items() if key in config))
    kept = len(found["tensors"]) - len(skipped)
    lines.append(f"{kept} tensors, {found['parameters']:,} parameters, {found['bytes'] / 1e6:.1f} MB")
    if skipped:
        lines.append(
            f"and {len(skipped)} that are no part of it, marked *: optimiser state, second copies and the like"
        )
    lines += [f"metadata: {key}: {text}" for key, text in found["metadata"].items()]
    lines += [f"tied: {name} is {first}" for name, first in found["ties"].items()]
    lines += [f"note: {note}" for note in found["notes"]]
    lines.append("")
    width = max((len(tensor["name"]) for tensor in found["tensors"]), default=0)
    for tensor in found["tensors"]:
        mark = " *" if tensor["name"] in skipped else ""
        shape = "×".join(map(str, tensor["shape"])) or "scalar"
        lines.append(f"{tensor['name']:{width}}  {tensor['dtype']:4}  {shape}{mark}")
    return lines


def _sha256(path: Path) -> str:
    file = MappedFile(path)
    return hashlib.sha256(file.window(0, file.size)).hexdigest()
