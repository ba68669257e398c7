"""Writes tests/formats/fixtures: one tiny BERT, as every program that BERT was ever published with writes it.

    python tools/make_weight_fixtures.py numpy          # expected.npz and npz-compressed
    python tools/make_weight_fixtures.py torch          # torch.save, and transformers 5 (safetensors)
    python tools/make_weight_fixtures.py transformers4  # the last transformers with .bin, TensorFlow and Flax
    python tools/make_weight_fixtures.py tensorflow     # Google's checkpoints, and those of tensorflow/models

No environment has all of these programs, so there is a command for each, which rewrites its own folders only:

    numpy           numpy 2.4.6
    torch           numpy, torch 2.13.0, transformers 5.23.0        (the extra `oracle`)
    transformers4   torch 2.13.0, transformers 4.57.6, tensorflow 2.21.0, tf-keras 2.21.0, h5py 3.14.0, flax 0.12.8,
                    jax 0.10.2, msgpack 1.2.4
    tensorflow      tensorflow 2.21.0, tf-keras 2.21.0, gin-config 0.5.0, tf-models-official 2.20.0 (with --no-deps:
                    its encoders do not use what else it asks for); torch, transformers 4.57.6 to check against

The model is a BertForPreTraining whose tensors all differ, biases and gains included; a vocabulary of 31 divides by
nothing, and square matrices are not symmetric, so that a forgotten transpose shows. Every number is k/128 with |k| <
256, which float16 and bfloat16 hold exactly: all fixtures hold the same numbers. Written again they have the same
bytes, but for torch-2018: PyTorch's old format calls a storage by its address in memory.

README.md there is the card: what wrote which fixture, how, and what it is for.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "formats" / "fixtures"
SIZES = {
    "vocab_size": 31,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
}
GOOGLE_CONFIG = SIZES | {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
Arrays = dict[str, np.ndarray]


def shapes() -> dict[str, tuple[int, ...]]:
    """Hugging Face's names in Hugging Face's order; then the heads of Google's run_classifier and run_squad."""
    vocab, hidden, inner = SIZES["vocab_size"], SIZES["hidden_size"], SIZES["intermediate_size"]
    table: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (vocab, hidden),
        "bert.embeddings.position_embeddings.weight": (SIZES["max_position_embeddings"], hidden),
        "bert.embeddings.token_type_embeddings.weight": (SIZES["type_vocab_size"], hidden),
    }

    def norm(name: str) -> None:
        table[f"{name}.LayerNorm.weight"] = table[f"{name}.LayerNorm.bias"] = (hidden,)

    def linear(name: str, rows: int, columns: int) -> None:
        table[f"{name}.weight"], table[f"{name}.bias"] = (rows, columns), (rows,)

    norm("bert.embeddings")
    for i in range(SIZES["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", hidden, hidden)
        linear(f"{layer}.attention.output.dense", hidden, hidden)
        norm(f"{layer}.attention.output")
        linear(f"{layer}.intermediate.dense", inner, hidden)
        linear(f"{layer}.output.dense", hidden, inner)
        norm(f"{layer}.output")
    linear("bert.pooler.dense", hidden, hidden)
    table["cls.predictions.bias"] = (vocab,)
    linear("cls.predictions.transform.dense", hidden, hidden)
    norm("cls.predictions.transform")
    linear("cls.seq_relationship", 2, hidden)
    linear("classifier", 3, hidden)
    linear("qa_outputs", 2, hidden)
    return table


def weights() -> Arrays:
    """The numbers: the same in every environment."""
    rng = np.random.default_rng(20181011)
    arrays: Arrays = {}
    for name, shape in shapes().items():
        values = 0.3 * rng.standard_normal(shape) + (1.0 if name.endswith("LayerNorm.weight") else 0.0)
        arrays[name] = (np.clip(np.rint(128 * values), -255, 255) / 128).astype(np.float32)
    assert len({array.tobytes() for array in arrays.values()}) == len(arrays)
    return arrays


def pretraining(arrays: Arrays) -> Arrays:
    """Those of the BertForPreTraining."""
    return {name: array for name, array in arrays.items() if name.startswith(("bert.", "cls."))}


def fresh(name: str) -> Path:
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_config(folder: Path, name: str = "config.json") -> None:
    """Google's keys only, or those and what Hugging Face cannot do without."""
    config: dict[str, Any] = dict(GOOGLE_CONFIG)
    if name == "config.json":
        config |= {"architectures": ["BertForPreTraining"], "model_type": "bert"}
    (folder / name).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


# --- NumPy ---


def write_numpy() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez(FOLDER / "expected.npz", **weights())
    folder = fresh("npz-compressed")
    np.savez_compressed(folder / "model.npz", **pretraining(weights()))
    write_config(folder)


# --- PyTorch, and transformers 5 ---


def torch_model() -> Any:
    """The model as transformers builds it, its decoder tied."""
    import torch
    import transformers

    model = transformers.BertForPreTraining(transformers.BertConfig(**SIZES)).eval()
    numbers = {name: torch.from_numpy(array) for name, array in pretraining(weights()).items()}
    missing, unexpected = model.load_state_dict(numbers, strict=False)
    assert not unexpected
    assert {*missing} <= {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    model.tie_weights()
    return model


def write_torch() -> None:
    import torch

    torch_model().save_pretrained(fresh("safetensors"))
    torch_model().save_pretrained(fresh("safetensors-sharded"), max_shard_size="4KB")
    torch_model().half().save_pretrained(fresh("safetensors-float16"))

    # As pytorch-pretrained-BERT published it in 2018: old names, and no decoder.bias.
    first = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in torch_model().state_dict().items()
        if name != "cls.predictions.decoder.bias"
    }
    folder = fresh("torch-2018")
    torch.save(first, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    write_config(folder, "bert_config.json")

    # As training scripts do: DataParallel, the buffer that transformers used to save, and things beside the weights.
    model = torch_model().bfloat16()
    parallel = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    parallel["module.bert.embeddings.position_ids"] = torch.arange(SIZES["max_position_embeddings"]).expand((1, -1))
    script = {
        "epoch": 3,
        "state_dict": parallel,
        "optimizer": torch.optim.SGD(model.parameters(), lr=1e-3).state_dict(),
        "args": argparse.Namespace(lr=1e-3, name="tiny"),
    }
    folder = fresh("torch-nested-bfloat16")
    torch.save(script, folder / "checkpoint.pt")
    write_config(folder)


# --- transformers 4: .bin, Keras, Flax ---


def write_transformers4() -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import flax.serialization
    from transformers import FlaxBertForPreTraining, TFBertForPreTraining

    torch_model().save_pretrained(fresh("transformers"), safe_serialization=False)
    torch_model().save_pretrained(fresh("transformers-sharded"), safe_serialization=False, max_shard_size="4KB")

    source = FOLDER / "transformers"  # both rename and transpose what PyTorch wrote
    TFBertForPreTraining.from_pretrained(source, from_pt=True).save_pretrained(fresh("keras"))
    model = FlaxBertForPreTraining.from_pretrained(source, from_pt=True)
    model.save_pretrained(fresh("flax"))
    model.save_pretrained(fresh("flax-bfloat16"), params=model.to_bf16(model.params))
    flax.serialization.MAX_CHUNK_SIZE = 400  # bytes; it cuts up whatever is larger, by itself only from 2^30 on
    model.save_pretrained(fresh("flax-chunked"))


def write_tensorflow() -> None:
    import tensorflow_fixtures

    tensorflow_fixtures.write(weights(), fresh, write_config)


COMMANDS = {
    "numpy": write_numpy,
    "torch": write_torch,
    "transformers4": write_transformers4,
    "tensorflow": write_tensorflow,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", choices=COMMANDS)
    COMMANDS[parser.parse_args().program]()
