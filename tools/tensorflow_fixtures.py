"""The TensorFlow part of make_weight_fixtures.py, which see: Google's checkpoints and those of tensorflow/models.

Google's (TF1): variables of these names in a graph, saved by tf.compat.v1.train.Saver, without the .meta file.
tensorflow/models (TF2): its encoders, saved by tf.train.Checkpoint, which names a variable by the shortest way to it
through the attributes of objects.

    style A     BertEncoder, a functional Keras model: layer_with_weights-0 is the first layer that has weights
    style B     BertEncoderV2, an object with _embedding_layer, _transformer_layers, ..., and beside it the masked_lm
                head, whose embedding_table is the words': the shorter way, so they are stored under that name
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
import tf_keras as keras
from official.modeling.optimization.legacy_adamw import AdamWeightDecay
from official.nlp.modeling import models, networks
from snappy_index import compress_index

Arrays = dict[str, np.ndarray]
GOOGLE_FILE = "bert_config.json"


def write(arrays: Arrays, fresh: Callable[[str], Path], write_config: Callable[..., None]) -> None:
    def folder(name: str) -> Path:
        place = fresh(name)
        write_config(place, GOOGLE_FILE)
        return place

    def only(*prefixes: str) -> Arrays:
        return {name: array for name, array in arrays.items() if name.startswith(prefixes)}

    plain = folder("tensorflow")
    save_google(plain / "bert_model.ckpt", google(only("bert.", "cls.")))
    assert_transformers_reads(plain / "bert_model.ckpt", only("bert.", "cls."))

    packed = folder("tensorflow-snappy")
    shutil.copy(plain / "bert_model.ckpt.data-00000-of-00001", packed)
    index = (plain / "bert_model.ckpt.index").read_bytes()
    (packed / "bert_model.ckpt.index").write_bytes(compress_index(index))
    for name in google(only("bert.", "cls.")):  # TensorFlow itself reads it
        first, second = (tf.train.load_variable(str(place / "bert_model.ckpt"), name) for place in (plain, packed))
        np.testing.assert_array_equal(first, second, strict=True)

    save_google(folder("tensorflow-partitioned") / "bert_model.ckpt", google(only("bert.", "cls.")), parts=3)
    classifier = google(only("bert.", "classifier."))
    save_google(folder("tensorflow-classifier") / "model.ckpt", with_adam(classifier), devices=2, step=343)
    squad = google(only("bert.", "qa_outputs.")) | {"global_step": np.array(14599, np.int64)}
    save_google(folder("tensorflow-squad") / "model.ckpt", squad, step=14599)

    encoder = encoder_a(arrays)
    optimizer = adam_with_slots(encoder.trainable_variables[-18:])  # the last layer and the pooler
    tf.train.Checkpoint(model=encoder, optimizer=optimizer).save(str(folder("tensorflow2-a") / "ckpt"))
    encoder_a_old(arrays).save_weights(folder("tensorflow2-a-old") / "bert_model.ckpt", save_format="tf")
    items = pretrainer_b(arrays).checkpoint_items
    tf.train.Checkpoint(**items).write(str(folder("tensorflow2-b") / "bert_model.ckpt"))


# --- Google's ---


def google(arrays: Arrays) -> Arrays:
    """Google's names; kernels are (in, out), the output_weights of heads are (out, in)."""
    renamed = {}
    for name, array in arrays.items():
        for pattern, new in (
            (r"\.layer\.", ".layer_"),
            (r"LayerNorm\.weight$", "LayerNorm.gamma"),
            (r"LayerNorm\.bias$", "LayerNorm.beta"),
            (r"^cls\.predictions\.bias$", "cls.predictions.output_bias"),
            (r"^cls\.seq_relationship\.weight$", "cls.seq_relationship.output_weights"),
            (r"^cls\.seq_relationship\.bias$", "cls.seq_relationship.output_bias"),
            (r"^qa_outputs\.weight$", "cls.squad.output_weights"),
            (r"^qa_outputs\.bias$", "cls.squad.output_bias"),
            (r"^classifier\.weight$", "output_weights"),
            (r"^classifier\.bias$", "output_bias"),
            (r"_embeddings\.weight$", "_embeddings"),
            (r"\.weight$", ".kernel"),
        ):
            name = re.sub(pattern, new, name)
        renamed[name.replace(".", "/")] = array.T if name.endswith(".kernel") else array
    return renamed


def with_adam(arrays: Arrays) -> Arrays:
    """Beside each variable the moments that Google's optimizer keeps, half of it and its square; and the step."""
    moments = {}
    for name, array in arrays.items():
        moments |= {name: array, f"{name}/adam_m": array / 2, f"{name}/adam_v": array * array}
    return moments | {"global_step": np.array(343, np.int64)}


def save_google(prefix: Path, arrays: Arrays, devices: int = 1, parts: int = 1, step: int | None = None) -> None:
    """A graph with these variables, saved: those of each device in a shard, the word embeddings in `parts` slices."""
    with tf.Graph().as_default():
        for i, (name, array) in enumerate(arrays.items()):
            with tf.device(f"/cpu:{i % devices}"):
                split = parts if name.endswith("word_embeddings") else 1
                make_variable(name, array, split)
        saver = tf.compat.v1.train.Saver(sharded=devices > 1, save_relative_paths=True)
        with tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(device_count={"CPU": devices})) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            saver.save(session, str(prefix), global_step=step, write_meta_graph=False, write_state=step is not None)


def make_variable(name: str, array: np.ndarray, parts: int) -> None:
    if parts == 1:
        tf.compat.v1.get_variable(name, initializer=tf.constant(array), use_resource=False)
        return

    def slice_of(shape: Any, dtype: Any, partition_info: Any) -> tf.Tensor:
        first = partition_info.var_offset[0]
        return tf.constant(array[first : first + shape[0]], dtype)

    partitioner = tf.compat.v1.fixed_size_partitioner(parts)
    tf.compat.v1.get_variable(name, array.shape, initializer=slice_of, partitioner=partitioner, use_resource=False)


def assert_transformers_reads(prefix: Path, arrays: Arrays) -> None:
    """The names and transposes above are what the converter of transformers 4 takes them for."""
    from transformers import BertConfig, BertForPreTraining
    from transformers.models.bert.modeling_bert import load_tf_weights_in_bert

    config = BertConfig.from_json_file(prefix.with_name(GOOGLE_FILE))
    model = load_tf_weights_in_bert(BertForPreTraining(config), config, str(prefix))
    state = model.state_dict()
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name].numpy(), array, strict=True)


# --- tensorflow/models ---

# What the official encoders call their variables -> Hugging Face
PLACES = {
    "word_embeddings/embeddings": "bert.embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "bert.embeddings.position_embeddings.weight",
    "type_embeddings/embeddings": "bert.embeddings.token_type_embeddings.weight",
    "embeddings/layer_norm": "bert.embeddings.LayerNorm",
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
    "pooler_transform": "bert.pooler.dense",
    "cls/predictions/transform/dense": "cls.predictions.transform.dense",
    "cls/predictions/transform/LayerNorm": "cls.predictions.transform.LayerNorm",
    "cls/predictions/output_bias/bias": "cls.predictions.bias",
}
SIZES = {
    "vocab_size": 31,
    "hidden_size": 8,
    "num_layers": 2,
    "num_attention_heads": 2,
    "max_sequence_length": 10,
    "type_vocab_size": 2,
}


def encoder_a(arrays: Arrays) -> Any:
    """The functional encoder: its layers are numbered."""
    encoder = networks.BertEncoder(intermediate_size=12, activation=keras.activations.gelu, **SIZES)
    fill(encoder.variables, arrays)
    assert_same_outputs(encoder, arrays)
    return encoder


def encoder_a_old(arrays: Arrays) -> Any:
    """As the encoder was in 2020, when its blocks held the last part of attention themselves."""
    encoder = encoder_a(arrays)
    for block in encoder.transformer_layers:
        block._attention_output_dense = block._attention_layer._output_dense
        del block._attention_layer._output_dense
    return encoder


def pretrainer_b(arrays: Arrays) -> Any:
    """The encoder with attributes, and the masked-LM head that shares its embedding table."""
    encoder = networks.BertEncoderV2(inner_dim=12, inner_activation=keras.activations.gelu, **SIZES)
    pretrainer = models.BertPretrainerV2(encoder)
    pretrainer({**INPUTS, "masked_lm_positions": tf.constant([[1, 2]])})  # builds the head
    fill(pretrainer.variables, arrays)
    assert_same_outputs(encoder, arrays)
    return pretrainer


def fill(variables: list[tf.Variable], arrays: Arrays) -> None:
    """Assigns each its array; a head's share of the features is an axis of its own in attention."""
    for variable in variables:
        name = re.sub(r"^bert_encoder\w*/|^bert/|:0$", "", variable.name)
        block, name = re.fullmatch(r"(?:transformer/layer_(\d+)/)?(.*)", name).groups()
        module, _, last = name.rpartition("/")
        place = PLACES.get(name) or f"{PLACES[module]}.{'weight' if last in ('kernel', 'gamma') else 'bias'}"
        array = arrays[f"bert.encoder.layer.{block}.{place}" if block else place]
        variable.assign((array.T if last == "kernel" else array).reshape(variable.shape))


INPUTS = {
    "input_word_ids": tf.constant([[2, 5, 30, 3, 7, 3]]),
    "input_mask": tf.ones((1, 6), tf.int32),
    "input_type_ids": tf.constant([[0, 0, 0, 0, 1, 1]]),
}


def assert_same_outputs(encoder: Any, arrays: Arrays) -> None:
    """The arrays are where they belong, for the encoder computes what Hugging Face's computes with them."""
    import torch
    from transformers import BertConfig, BertModel

    names = {"num_layers": "num_hidden_layers", "max_sequence_length": "max_position_embeddings"}
    config = {names.get(name, name): size for name, size in SIZES.items()}
    model = BertModel(BertConfig(**config, intermediate_size=12)).eval()
    numbers = {name.removeprefix("bert."): torch.tensor(array) for name, array in arrays.items() if name[:4] == "bert"}
    model.load_state_dict(numbers)
    ids, mask, types = (torch.tensor(x.numpy()) for x in INPUTS.values())
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, token_type_ids=types)
    got = encoder(INPUTS if isinstance(encoder, networks.BertEncoderV2) else [*INPUTS.values()])
    sequence, pooled = got if isinstance(got, (list, tuple)) else (got["sequence_output"], got["pooled_output"])
    np.testing.assert_allclose(sequence, expected.last_hidden_state, atol=1e-5)
    np.testing.assert_allclose(pooled, expected.pooler_output, atol=1e-5)


def adam_with_slots(variables: list[tf.Variable]) -> AdamWeightDecay:
    """The optimizer of tensorflow/models; its moments as in `with_adam`."""
    optimizer = AdamWeightDecay()
    optimizer._create_all_weights(variables)
    for variable in variables:
        optimizer.get_slot(variable, "m").assign(variable / 2)
        optimizer.get_slot(variable, "v").assign(variable * variable)
    return optimizer
