"""minibert inspect: what is in a model folder, without loading a weight."""

from __future__ import annotations

import json
import math
from typing import Any

from ..checkpoint import open_pretrained
from ..models.config import BertConfig
from .inputs import model_of


def run(args: Any) -> None:
    """Prints the configuration, then every tensor's name, dtype and shape."""
    source = open_pretrained(model_of(args))
    config = BertConfig.from_dict(source.config)
    tensors = source.tensors.tensors
    numbers = sum(math.prod(info.shape) for info in tensors.values())
    size = sum(info.nbytes for info in tensors.values())
    if args.json:
        listed = [{"name": k, "dtype": i.dtype, "shape": list(i.shape), "bytes": i.nbytes} for k, i in tensors.items()]
        folder = str(source.directory)
        print(
            json.dumps({"path": folder, "config": source.config, "numbers": numbers, "bytes": size, "tensors": listed})
        )
        return
    print(source.directory)
    print(
        f"{config.num_hidden_layers} layers, hidden {config.hidden_size}, {config.num_attention_heads} heads, "
        f"intermediate {config.intermediate_size}, vocabulary {config.vocab_size}, "
        f"{config.max_position_embeddings} positions, {config.hidden_act}"
    )
    print(f"{len(tensors)} tensors, {numbers:,} numbers, {size / 1e6:.1f} MB\n")
    width = max(map(len, tensors), default=0)
    for name, info in tensors.items():
        print(f"{name:{width}}  {info.dtype:4}  {'×'.join(map(str, info.shape)) or 'scalar'}")
