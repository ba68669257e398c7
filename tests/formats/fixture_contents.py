"""What each of the fixtures holds, worked out from expected.npz.

Which names each program gives to the tensors, and in which shapes it stores them, stands here once more, so that no
mistake in the package's own tables can agree with itself: BERT as a list of modules, and for each program what it calls
a module's tensors and what it does to them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = dict(np.load(FIXTURES / "expected.npz"))

LAYER = (
    ("attention.self.query", "dense"),
    ("attention.self.key", "dense"),
    ("attention.self.value", "dense"),
    ("attention.output.dense", "dense"),
    ("attention.output.LayerNorm", "norm"),
    ("intermediate.dense", "dense"),
    ("output.dense", "dense"),
    ("output.LayerNorm", "norm"),
)
ENCODER = (
    ("bert.embeddings.word_embeddings", "table"),
    ("bert.embeddings.position_embeddings", "table"),
    ("bert.embeddings.token_type_embeddings", "table"),
    ("bert.embeddings.LayerNorm", "norm"),
    *((f"bert.encoder.layer.{i}.{module}", kind) for i in (0, 1) for module, kind in LAYER),
    ("bert.pooler.dense", "dense"),
)
MASKED_LM = (
    ("cls.predictions", "bias"),
    ("cls.predictions.transform.dense", "dense"),
    ("cls.predictions.transform.LayerNorm", "norm"),
)
PRETRAINING = (*ENCODER, *MASKED_LM, ("cls.seq_relationship", "head"))

# program -> kind of module -> the program's ending -> what it holds; .T where it stores (in, out)
HUGGING_FACE = {
    "table": {".weight": "weight"},
    "norm": {".weight": "weight", ".bias": "bias"},
    "dense": {".weight": "weight", ".bias": "bias"},
    "head": {".weight": "weight", ".bias": "bias"},
    "bias": {".bias": "bias"},
}
GOOGLE = {
    "table": {"": "weight"},
    "norm": {"/gamma": "weight", "/beta": "bias"},
    "dense": {"/kernel": "weight.T", "/bias": "bias"},
    "head": {"/output_weights": "weight", "/output_bias": "bias"},
    "bias": {"/output_bias": "bias"},
}
KERAS = {
    "table": {"/embeddings:0": "weight"},
    "norm": {"/gamma:0": "weight", "/beta:0": "bias"},
    "dense": {"/kernel:0": "weight.T", "/bias:0": "bias"},
    "head": {"/kernel:0": "weight.T", "/bias:0": "bias"},
    "bias": {"/bias:0": "bias"},
}
FLAX = {
    "table": {"/embedding": "weight"},
    "norm": {"/scale": "weight", "/bias": "bias"},
    "dense": {"/kernel": "weight.T", "/bias": "bias"},
    "head": {"/kernel": "weight.T", "/bias": "bias"},
    "bias": {"/bias": "bias"},
}
ATTRIBUTES = {
    "table": {"/embeddings": "weight"},
    "norm": {"/gamma": "weight", "/beta": "bias"},
    "dense": {"/kernel": "weight.T", "/bias": "bias"},
}


def stored(modules, program, rename):
    """{name in the file: array as the file holds it} of these modules; rename gives the program's name of one."""
    arrays = {}
    for module, kind in modules:
        for ending, holds in program[kind].items():
            array = EXPECTED[f"{module}.{holds.removesuffix('.T')}"]
            arrays[rename(module) + ending] = array.T if holds.endswith(".T") else array
    return arrays


# --- What each fixture holds ---


def hugging_face():
    return stored(PRETRAINING, HUGGING_FACE, str)


def torch_state(bias=True, prefix=""):
    """As torch.save writes a state_dict: the decoder is there, tied or not."""
    arrays = hugging_face()
    arrays["cls.predictions.decoder.weight"] = EXPECTED["bert.embeddings.word_embeddings.weight"]
    if bias:
        arrays["cls.predictions.decoder.bias"] = EXPECTED["cls.predictions.bias"]
    return {prefix + name: array for name, array in arrays.items()}


def torch_2018():
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {
        next((name.replace(new, old[new]) for new in old if name.endswith(new)), name): array
        for name, array in torch_state(bias=False).items()
    }


def torch_nested():
    positions = np.arange(10, dtype=np.int64)[np.newaxis]
    return torch_state(prefix="module.") | {"module.bert.embeddings.position_ids": positions}


def google(modules=PRETRAINING):
    return stored(modules, GOOGLE, lambda module: module.replace("layer.", "layer_").replace(".", "/"))


def google_classifier():
    """Fine-tuned by run_classifier: the head stands at the root; Adam's moments are half and square of the numbers."""
    arrays = google(ENCODER)
    arrays |= {"output_weights": EXPECTED["classifier.weight"], "output_bias": EXPECTED["classifier.bias"]}
    for name, array in list(arrays.items()):
        arrays |= {f"{name}/adam_m": array / 2, f"{name}/adam_v": array * array}
    return arrays | {"global_step": np.array(343, np.int64)}


def google_squad():
    head = {f"cls/squad/output_{x}": EXPECTED[f"qa_outputs.{y}"] for x, y in (("weights", "weight"), ("bias", "bias"))}
    return google(ENCODER) | head | {"global_step": np.array(14599, np.int64)}


def keras():
    """Every group is written with all that its layer refers to: the embeddings stand in two of them."""

    def rename(module):
        group = {"bert": "bert", "cls.predictions": "mlm___cls", "cls.seq_relationship": "nsp___cls"}
        layer = next(layer for start, layer in group.items() if module.startswith(start))
        path = module.replace("cls.", f"{layer}.").replace(".", "/").replace("layer/", "layer_._")
        return f"{layer}/tf_bert_for_pre_training/{path}"

    arrays = stored(PRETRAINING, KERAS, rename)
    words = "bert/tf_bert_for_pre_training/bert/embeddings/word_embeddings/"
    arrays[words + "weight:0"] = arrays.pop(words + "embeddings:0")
    return arrays | {
        "mlm___cls" + name.removeprefix("bert"): array for name, array in arrays.items() if "/embeddings/" in name
    }


def flax():
    return stored(PRETRAINING, FLAX, lambda module: module.replace(".", "/"))


ATTENTION = {
    "attention.self.query": "_attention_layer/_query_dense",
    "attention.self.key": "_attention_layer/_key_dense",
    "attention.self.value": "_attention_layer/_value_dense",
    "attention.output.dense": "_attention_layer/_output_dense",
    "attention.output.LayerNorm": "_attention_layer_norm",
    "intermediate.dense": "_intermediate_dense",
    "output.dense": "_output_dense",
    "output.LayerNorm": "_output_layer_norm",
}
STYLE_A = {
    "bert.embeddings.word_embeddings": "layer_with_weights-0",
    "bert.embeddings.position_embeddings": "layer_with_weights-1",
    "bert.embeddings.token_type_embeddings": "layer_with_weights-2",
    "bert.embeddings.LayerNorm": "layer_with_weights-3",
    **{
        f"bert.encoder.layer.{i}.{module}": f"layer_with_weights-{4 + i}/{place}"
        for i in (0, 1)
        for module, place in ATTENTION.items()
    },
    "bert.pooler.dense": "layer_with_weights-6",
}
STYLE_B = {
    "bert.embeddings.word_embeddings": "encoder/_embedding_layer",
    "bert.embeddings.position_embeddings": "encoder/_position_embedding_layer",
    "bert.embeddings.token_type_embeddings": "encoder/_type_embedding_layer",
    "bert.embeddings.LayerNorm": "encoder/_embedding_norm_layer",
    **{
        f"bert.encoder.layer.{i}.{module}": f"encoder/_transformer_layers/{i}/{place}"
        for i in (0, 1)
        for module, place in ATTENTION.items()
    },
    "bert.pooler.dense": "encoder/_pooler_layer",
    "cls.predictions.transform.dense": "masked_lm/dense",
    "cls.predictions.transform.LayerNorm": "masked_lm/layer_norm",
}


def attributes(modules, style):
    """By the ways through the objects; in attention, features are (heads, size of a head)."""
    arrays = stored(modules, ATTRIBUTES, lambda module: style[module])
    for name, array in arrays.items():
        if any(part in name for part in ("_query_dense", "_key_dense", "_value_dense")):
            arrays[name] = array.reshape(*array.shape[:-1], 2, 4)
        elif "_attention" in name and name.endswith("_output_dense/kernel"):
            arrays[name] = array.reshape(2, 4, 8)
    return arrays


def attribute_names(arrays):
    return {f"{name}/.ATTRIBUTES/VARIABLE_VALUE": array for name, array in arrays.items()}


def style_a():
    """With an optimizer that trains the last layer and the pooler; moments as in google_classifier."""
    arrays = {f"model/{name}": array for name, array in attributes(ENCODER, STYLE_A).items()}
    for name, array in list(arrays.items()):
        if name.startswith(("model/layer_with_weights-5", "model/layer_with_weights-6")):
            slot = f"{name}/.OPTIMIZER_SLOT/optimizer"
            arrays |= {f"{slot}/m": array / 2, f"{slot}/v": array * array}
    arrays["optimizer/iter"] = np.array(0, np.int64)
    for name, value in (("beta_1", 0.9), ("beta_2", 0.999), ("decay", 0), ("learning_rate", 0.001)):
        arrays[f"optimizer/{name}"] = np.array(value, np.float32)
    arrays["save_counter"] = np.array(1, np.int64)
    return attribute_names(arrays)


def style_a_old():
    old = {name: place.replace("_attention_layer/_output", "_attention_output") for name, place in STYLE_A.items()}
    return attribute_names(attributes(ENCODER, old))


def style_b():
    """The words are stored under the name that the head has for them, which is shorter."""
    arrays = attributes([*ENCODER, *MASKED_LM[1:]], STYLE_B)
    arrays["masked_lm/embedding_table"] = arrays.pop("encoder/_embedding_layer/embeddings")
    arrays["masked_lm/output_bias.Sbias"] = EXPECTED["cls.predictions.bias"]  # TensorFlow writes a "/" in a name as .S
    return attribute_names(arrays)


HOLDS = {
    "expected.npz": lambda: EXPECTED,
    "npz-compressed": hugging_face,
    "safetensors": hugging_face,
    "safetensors-sharded": hugging_face,
    "safetensors-float16": hugging_face,
    "torch-2018": torch_2018,
    "torch-nested-bfloat16": torch_nested,
    "transformers": torch_state,
    "transformers-sharded": torch_state,
    "tensorflow": google,
    "tensorflow-snappy": google,
    "tensorflow-partitioned": google,
    "tensorflow-classifier": google_classifier,
    "tensorflow-squad": google_squad,
    "tensorflow2-a": style_a,
    "tensorflow2-a-old": style_a_old,
    "tensorflow2-b": style_b,
    "keras": keras,
    "flax": flax,
    "flax-bfloat16": flax,
    "flax-chunked": flax,
}
