"""One name for one tensor: from every name under which BERT was published to Hugging Face's, and to Google's and back.

Origins differ in three ways, and each is a rule here rather than a table of two hundred names:

path        slashes (Google, Keras, Flax) or dots (PyTorch); `layer_0`, `layer_._0` or `layer.0`; and a path through
            whatever the model was wrapped in: `module.`, `0.auto_model.`, `tf_bert_for_pre_training/`
last part   kernel, embedding(s), gamma, scale, output_weights are weights; beta and output_bias are biases
layout      a `kernel` is stored (in, out) and used as x·K; a `weight` is stored (out, in) and used as x·Wᵀ. Square
            kernels have the same shape either way: a forgotten transpose loads silently, and only numbers show it.
            In TensorFlow 2 attention kernels are split by heads: (H, A, D) into the heads, (A, D, H) out of them.

Google's `output_weights`, of all classifiers, are (out, in) already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ..formats.weights import Array

__all__ = ["OPERATIONS", "Source", "canonical", "is_optimiser_state", "rearranged", "tensorflow_name", "translate"]


class Source(NamedTuple):
    """Where a tensor comes from: its name in the file, what is done to it, and the wrapping that the name shed."""

    stored: str
    operation: str
    wrapper: str = ""


OPERATIONS: dict[str, Callable[[Array], Array]] = {
    "same": lambda x: x,
    "transpose": lambda x: x.T,
    "join heads": lambda x: x.reshape(-1),  # (A, D) -> (H,)
    "join heads, transpose": lambda x: x.reshape(x.shape[0], -1).T,  # (H, A, D) -> (H, H)
    "join heads of the input, transpose": lambda x: x.reshape(-1, x.shape[-1]).T,  # (A, D, H) -> (H, H)
}

_PAIR = r"(?:weight|bias)"
_LAYER = (
    rf"(?:attention\.self\.(?:query|key|value)|attention\.output\.(?:dense|LayerNorm)|intermediate\.dense"
    rf"|output\.(?:dense|LayerNorm))\.{_PAIR}"
)
_BODY = (
    rf"embeddings\.(?:(?:word|position|token_type)_embeddings\.weight|LayerNorm\.{_PAIR}|position_ids|token_type_ids)"
    rf"|encoder\.layer\.(?:0|[1-9]\d{{0,5}})\.{_LAYER}|pooler\.dense\.{_PAIR}"
)
_HEAD = (
    rf"cls\.predictions\.(?:transform\.(?:dense|LayerNorm)\.{_PAIR}|decoder\.{_PAIR}|bias)"
    rf"|cls\.seq_relationship\.{_PAIR}|classifier\.{_PAIR}|qa_outputs\.{_PAIR}|crf\.(?:start_|end_)?transitions"
)
# What people's code puts around a BERT. An allow-list: "roberta." in front means another model.
_WRAPPERS = (
    r"module|_orig_mod|model|net|encoder|auto_model|bert_model|question_encoder|ctx_encoder|params|state_dict|bert|\d+"
)
_NAME = re.compile(rf"((?:(?:{_WRAPPERS})\.)*?)(?:(?:bert\.)?({_BODY})|({_HEAD}))")

_WEIGHTS = {"kernel", "embedding", "embeddings", "gamma", "scale", "output_weights"}
_BIASES = {"beta", "output_bias"}
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"  # of TensorFlow 2's object-based checkpoints
_OPTIMISER = re.compile(
    r"(?:.*/)?(?:adam_[mv]|lamb_[mv]|Adam(?:_\d+)?|LAMB(?:_\d+)?|AdamWeightDecayOptimizer(?:_\d+)?|global_step"
    r"|beta[12]_power)|(?:.*/)?optimizer/.*|.*/\.OPTIMIZER_SLOT/.*|save_counter/.*|global_step/.*"
    r"|_CHECKPOINTABLE_OBJECT_GRAPH"
)


def canonical(name: str) -> str | None:
    """Hugging Face's name, "bert." included, of a tensor that a file calls `name`; None if it is no part of BERT."""
    found = _NAME.fullmatch(_dotted(name))
    return _named(found) if found else None


def translate(name: str, rank: int) -> tuple[str, Source] | None:
    """The canonical name and the Source of a tensor of `rank` dimensions that a file calls `name`; None as above."""
    found = _NAME.fullmatch(_dotted(name))
    if not found:
        return None
    result, last = _named(found), re.split(r"[/.]", _trimmed(name))[-1]
    operation = "same"
    if last == "kernel":
        operation = "transpose"
        if rank == 3:
            joined = "join heads" if ".attention.self." in result else "join heads of the input"
            operation = f"{joined}, transpose"
    elif last == "bias" and rank == 2:
        operation = "join heads"
    return result, Source(name, operation, found[1])


def is_optimiser_state(name: str) -> bool:
    """Whether a TensorFlow name is a moment, a counter or a rate: what training needs and the model does not."""
    return _OPTIMISER.fullmatch(name) is not None


def rearranged(operation: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that an operation gives; without any array."""
    if operation == "transpose":
        return shape[::-1]
    if operation == "join heads":
        return (shape[0] * shape[1],)
    if operation == "join heads, transpose":
        return (shape[1] * shape[2], shape[0])
    if operation == "join heads of the input, transpose":
        return (shape[2], shape[0] * shape[1])
    return shape


def tensorflow_name(name: str) -> tuple[str, str] | None:
    """Google's name of a canonical tensor, and what is done to it on the way there; None where Google has none."""
    heads = {"classifier": "", "qa_outputs": "cls/squad/", "cls.seq_relationship": "cls/seq_relationship/"}
    module, _, last = name.rpartition(".")
    if module in heads:
        return heads[module] + ("output_weights" if last == "weight" else "output_bias"), "same"
    if name == "cls.predictions.bias":
        return "cls/predictions/output_bias", "same"
    if name.startswith("cls.predictions.decoder."):
        return None
    if module == "crf":
        return f"crf/{last}", "same"
    path = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", module).replace(".", "/")
    if module.endswith("_embeddings"):
        return path, "same"
    if module.endswith("LayerNorm"):
        return f"{path}/{'gamma' if last == 'weight' else 'beta'}", "same"
    return (f"{path}/kernel", "transpose") if last == "weight" else (f"{path}/bias", "same")


def _named(found: re.Match[str]) -> str:
    return f"bert.{found[2]}" if found[2] else found[3]


def _trimmed(name: str) -> str:
    return name.removesuffix(_SUFFIX).removesuffix(":0")


def _dotted(name: str) -> str:
    """The name in Hugging Face's spelling, whatever the origin's; the wrapping is still in front."""
    name = _object_path(name) if name.endswith(_SUFFIX) else _trimmed(name)
    if "/" in name:
        name = re.sub(r"^.*\btf_bert\w*/", "", name)  # Keras: the layer, and the models that it stands in
        name = re.sub(r"(?<![^/])\w+___", "", name)  # Keras: mlm___cls is cls
        name = re.sub(r"(?<=layer)_(?:\._)?(?=\d+/)", "/", name)
        name = name.replace("cls/squad/", "qa_outputs/").replace("/", ".")
        if name in ("output_weights", "output_bias"):  # run_classifier's, at the root
            name = f"classifier.{name}"
        if name.endswith(("word_embeddings", "position_embeddings", "token_type_embeddings")):
            name += ".weight"
    elif name in ("output_weights", "output_bias"):
        name = f"classifier.{name}"
    module, _, last = name.rpartition(".")
    module = module.removesuffix("_act") if module.endswith("dense_act") else module  # NVIDIA: a fused activation
    if last in ("gamma", "scale", "beta") and not module.endswith("LayerNorm"):
        return name  # other models have such names, too
    return f"{module}.{'weight' if last in _WEIGHTS else 'bias' if last in _BIASES else last}"


# TensorFlow's official models. Inside a layer both of their encoders use the same names.
_PARTS = {
    "_attention_layer/_query_dense": "attention.self.query",
    "_attention_layer/_key_dense": "attention.self.key",
    "_attention_layer/_value_dense": "attention.self.value",
    "_attention_layer/_output_dense": "attention.output.dense",
    "_attention_output_dense": "attention.output.dense",
    "_attention_layer_norm": "attention.output.LayerNorm",
    "_intermediate_dense": "intermediate.dense",
    "_output_dense": "output.dense",
    "_output_layer_norm": "output.LayerNorm",
}
_OUTSIDE = {
    "_embedding_layer": "embeddings.word_embeddings",
    "_position_embedding_layer": "embeddings.position_embeddings",
    "_type_embedding_layer": "embeddings.token_type_embeddings",
    "_embedding_norm_layer": "embeddings.LayerNorm",
    "_pooler_layer": "pooler.dense",
    "masked_lm/dense": "cls.predictions.transform.dense",
    "masked_lm/layer_norm": "cls.predictions.transform.LayerNorm",
}
_NUMBERED = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")


def _object_path(name: str) -> str:
    """The dotted name of a variable that an object-based checkpoint knows by its path through Python attributes.

    Either the layers are numbered in the order of their making (0 words, 1 positions, 2 types, 3 norm, then the
    encoder's layers, then the pooler), or they go by the names of attributes.
    """
    path = re.sub(r"^(?:(?:model|encoder)/)*", "", _trimmed(name)).replace(".S", "/")  # TensorFlow escapes slashes so
    module, _, last = path.rpartition("/")
    if path == "masked_lm/output_bias/bias":
        return "cls.predictions.bias"
    if path == "masked_lm/embedding_table":  # one variable; TensorFlow names it by the shortest of its paths
        return "embeddings.word_embeddings.weight"
    if module in _OUTSIDE:
        return f"{_OUTSIDE[module]}.{last}"
    if found := re.fullmatch(r"layer_with_weights-(\d{1,6})(?:/(.*))?", module):
        number, part = int(found[1]), found[2]
        if number < len(_NUMBERED) and part is None:
            return f"embeddings.{_NUMBERED[number]}.{'embeddings' if last.endswith('embeddings') else last}"
        if part is None:
            return f"pooler.dense.{last}"
        return f"encoder.layer.{number - len(_NUMBERED)}.{_PARTS.get(part, part)}.{last}"
    if found := re.fullmatch(r"_transformer_layers/(\d+)/(.*)", module):
        return f"encoder.layer.{found[1]}.{_PARTS.get(found[2], found[2])}.{last}"
    return path
