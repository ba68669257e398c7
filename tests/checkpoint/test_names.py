"""Names: from every origin to Hugging Face's, and to Google's and back. The expected pairs are written out here."""

import time

import numpy as np
import pytest

from minibert.checkpoint.names import OPERATIONS, canonical, is_optimiser_state, rearranged, tensorflow_name, translate
from tests.models import tiny

V = "/.ATTRIBUTES/VARIABLE_VALUE"
JOIN, JOIN_INPUT = "join heads, transpose", "join heads of the input, transpose"
Q = "bert.encoder.layer.3.attention.self.query"
OUT = "bert.encoder.layer.3.attention.output"

CASES = {
    # Hugging Face, today and in the beginning
    "bert.embeddings.word_embeddings.weight": ("bert.embeddings.word_embeddings.weight", 2, "same"),
    "embeddings.LayerNorm.gamma": ("bert.embeddings.LayerNorm.weight", 1, "same"),
    "bert.encoder.layer.11.output.LayerNorm.beta": ("bert.encoder.layer.11.output.LayerNorm.bias", 1, "same"),
    "encoder.layer.3.attention.self.query.weight": (f"{Q}.weight", 2, "same"),
    "bert.embeddings.position_ids": ("bert.embeddings.position_ids", 2, "same"),
    "cls.predictions.decoder.bias": ("cls.predictions.decoder.bias", 1, "same"),
    "qa_outputs.weight": ("qa_outputs.weight", 2, "same"),
    "bert.encoder.layer.3.intermediate.dense_act.weight": ("bert.encoder.layer.3.intermediate.dense.weight", 2, "same"),
    # wrapped
    "module.bert.pooler.dense.bias": ("bert.pooler.dense.bias", 1, "same"),
    "_orig_mod.module.classifier.weight": ("classifier.weight", 2, "same"),
    "0.auto_model.encoder.layer.3.attention.self.query.bias": (f"{Q}.bias", 1, "same"),
    "bert.model.encoder.layer.3.attention.self.query.bias": (f"{Q}.bias", 1, "same"),
    "question_encoder.bert_model.embeddings.LayerNorm.weight": ("bert.embeddings.LayerNorm.weight", 1, "same"),
    "encoder.encoder.layer.3.attention.self.query.bias": (f"{Q}.bias", 1, "same"),
    # Google
    "bert/embeddings/token_type_embeddings": ("bert.embeddings.token_type_embeddings.weight", 2, "same"),
    "bert/embeddings/LayerNorm/gamma": ("bert.embeddings.LayerNorm.weight", 1, "same"),
    "bert/encoder/layer_3/attention/self/query/kernel": (f"{Q}.weight", 2, "transpose"),
    "bert/encoder/layer_3/attention/self/query/bias": (f"{Q}.bias", 1, "same"),
    "bert/encoder/layer_3/attention/output/dense/kernel": (f"{OUT}.dense.weight", 2, "transpose"),
    "bert/encoder/layer_3/attention/output/LayerNorm/beta": (f"{OUT}.LayerNorm.bias", 1, "same"),
    "bert/pooler/dense/kernel": ("bert.pooler.dense.weight", 2, "transpose"),
    "cls/predictions/output_bias": ("cls.predictions.bias", 1, "same"),
    "cls/predictions/transform/dense/kernel": ("cls.predictions.transform.dense.weight", 2, "transpose"),
    "cls/seq_relationship/output_weights": ("cls.seq_relationship.weight", 2, "same"),
    "output_weights": ("classifier.weight", 2, "same"),
    "output_bias": ("classifier.bias", 1, "same"),
    "cls/squad/output_weights": ("qa_outputs.weight", 2, "same"),
    "cls/squad/output_bias": ("qa_outputs.bias", 1, "same"),
    # TensorFlow 2, layers by number
    f"layer_with_weights-0/embeddings{V}": ("bert.embeddings.word_embeddings.weight", 2, "same"),
    f"model/layer_with_weights-1/embeddings{V}": ("bert.embeddings.position_embeddings.weight", 2, "same"),
    f"model/layer_with_weights-2/embeddings{V}": ("bert.embeddings.token_type_embeddings.weight", 2, "same"),
    f"model/layer_with_weights-3/gamma{V}": ("bert.embeddings.LayerNorm.weight", 1, "same"),
    f"layer_with_weights-7/_attention_layer/_query_dense/kernel{V}": (f"{Q}.weight", 3, JOIN),
    f"layer_with_weights-7/_attention_layer/_query_dense/bias{V}": (f"{Q}.bias", 2, "join heads"),
    f"layer_with_weights-7/_attention_layer/_output_dense/kernel{V}": (f"{OUT}.dense.weight", 3, JOIN_INPUT),
    f"layer_with_weights-7/_attention_output_dense/bias{V}": (f"{OUT}.dense.bias", 1, "same"),
    f"layer_with_weights-7/_attention_layer_norm/gamma{V}": (f"{OUT}.LayerNorm.weight", 1, "same"),
    f"layer_with_weights-7/_output_dense/kernel{V}": ("bert.encoder.layer.3.output.dense.weight", 2, "transpose"),
    f"layer_with_weights-16/kernel{V}": ("bert.pooler.dense.weight", 2, "transpose"),
    # TensorFlow 2, by attributes
    f"encoder/_embedding_layer/embeddings{V}": ("bert.embeddings.word_embeddings.weight", 2, "same"),
    f"encoder/_embedding_norm_layer/beta{V}": ("bert.embeddings.LayerNorm.bias", 1, "same"),
    f"encoder/_transformer_layers/3/_attention_layer/_query_dense/kernel{V}": (f"{Q}.weight", 3, JOIN),
    f"model/encoder/_pooler_layer/bias{V}": ("bert.pooler.dense.bias", 1, "same"),
    f"masked_lm/output_bias.Sbias{V}": ("cls.predictions.bias", 1, "same"),
    f"masked_lm/embedding_table{V}": ("bert.embeddings.word_embeddings.weight", 2, "same"),
    f"masked_lm/layer_norm/gamma{V}": ("cls.predictions.transform.LayerNorm.weight", 1, "same"),
    # Keras
    "bert/tf_bert_model/bert/encoder/layer_._3/attention/self/query/kernel:0": (f"{Q}.weight", 2, "transpose"),
    "tf_bert_model/tf_bert_model/bert/encoder/layer_._3/attention/self/query/kernel:0": (f"{Q}.weight", 2, "transpose"),
    "bert/tf_bert_model_3/bert/embeddings/position_embeddings/embeddings:0": (
        "bert.embeddings.position_embeddings.weight", 2, "same",
    ),
    "bert/tf_bert_for_pre_training/bert/embeddings/word_embeddings/weight:0": (
        "bert.embeddings.word_embeddings.weight", 2, "same",
    ),
    "mlm___cls/tf_bert_for_pre_training/mlm___cls/predictions/bias:0": ("cls.predictions.bias", 1, "same"),
    "nsp___cls/tf_bert_for_pre_training/nsp___cls/seq_relationship/kernel:0": (
        "cls.seq_relationship.weight", 2, "transpose",
    ),
    "classifier/tf_bert_for_sequence_classification/classifier/kernel:0": ("classifier.weight", 2, "transpose"),
    # Flax
    "params/bert/embeddings/word_embeddings/embedding": ("bert.embeddings.word_embeddings.weight", 2, "same"),
    "bert/encoder/layer/3/attention/output/LayerNorm/scale": (f"{OUT}.LayerNorm.weight", 1, "same"),
    "encoder/layer/3/attention/self/query/kernel": (f"{Q}.weight", 2, "transpose"),
    "cls/seq_relationship/kernel": ("cls.seq_relationship.weight", 2, "transpose"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_origin_has_the_same_name_for_a_tensor(name):
    expected, rank, operation = CASES[name]
    found, source = translate(name, rank)
    assert (found, source.stored, source.operation) == (expected, name, operation)
    assert canonical(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "roberta.encoder.layer.0.attention.self.query.weight",
        "distilbert.transformer.layer.0.attention.q_lin.weight",
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",
        "bert.encoder.layer.0.crossattention.self.query.weight",
        "bert.encoder.layer.00.output.dense.bias",
        "bert.encoder.layer.-1.output.dense.bias",
        "bert.encoder.layer.0.output.dense.gamma",
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight",
        "xbert.pooler.dense.bias",
        "bert.pooler.dense.bias.more",
        "transformer.wte.weight",
        "model/h0/attn/c_attn/w",
        "",
        "gamma",
        "/",
        "...",
        V,
        "layer_with_weights-0" + V,
    ],
)
def test_what_is_no_part_of_bert(name):
    assert translate(name, 2) is None
    assert canonical(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "bert/pooler/dense/kernel/adam_m",
        "output_bias/adam_v",
        "global_step",
        "beta1_power",
        "bert/pooler/dense/kernel/AdamWeightDecayOptimizer_1",
        "bert/embeddings/LayerNorm/beta/LAMB",
        f"optimizer/iter{V}",
        f"model/layer_with_weights-3/gamma/.OPTIMIZER_SLOT/optimizer/m{V}",
        f"save_counter{V}",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    ],
)
def test_optimiser_state_is_known_by_its_name(name):
    assert is_optimiser_state(name)


@pytest.mark.parametrize("name", ["encoder.layer.{}.output.dense.bias", "layer_with_weights-{}/kernel" + V])
def test_a_layer_has_no_number_of_thousands_of_digits(name):
    assert translate(name.format("9" * 5000), 2) is None  # Python refuses to make an int of so many


@pytest.mark.parametrize("piece", ["a", "layer_", "layer_1", "tf_bert", "/tf_bert", "a___", "module.", "model/"])
def test_s21_a_long_name_takes_no_longer_than_it_is_long(piece):
    name = piece * (2**19 // len(piece)) + "/"
    start = time.perf_counter()
    assert translate(name, 2) is None
    assert not is_optimiser_state(name)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("name", CASES)
def test_weights_are_no_optimiser_state(name):
    assert not is_optimiser_state(name)


@pytest.mark.parametrize("cls", ["BertForPreTraining", "BertForSequenceClassification", "BertForQuestionAnswering"])
def test_there_and_back_through_googles_names(cls):
    arrays = tiny.model(cls).state_dict()
    google = {}
    for name, array in arrays.items():
        place, operation = tensorflow_name(name)
        google[place] = OPERATIONS[operation](array)
    assert len(google) == len(arrays)
    assert "bert/encoder/layer_1/attention/self/query/kernel" in google
    for place, array in google.items():
        name, source = translate(place, array.ndim)
        np.testing.assert_array_equal(OPERATIONS[source.operation](array), arrays[name])


def test_google_has_no_name_for_an_untied_decoder():
    assert tensorflow_name("cls.predictions.decoder.weight") is None


@pytest.mark.parametrize(
    ("operation", "shape"),
    [("same", (2, 3)), ("transpose", (2, 3)), ("join heads", (2, 3)), (JOIN, (8, 2, 3)), (JOIN_INPUT, (2, 3, 8))],
)
def test_shapes_are_known_without_arrays(operation, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    assert rearranged(operation, shape) == OPERATIONS[operation](array).shape


def test_kernels_split_by_heads_are_joined_as_they_are_multiplied():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(8), rng.standard_normal((8, 2, 3))
    split = np.einsum("h,had->ad", x, kernel)  # TensorFlow's own equation: BTH,HAD -> BTAD
    np.testing.assert_allclose(OPERATIONS[JOIN](kernel) @ x, split.reshape(-1), rtol=1e-13)
    heads, kernel = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 8))
    merged = np.einsum("ad,adh->h", heads, kernel)
    np.testing.assert_allclose(OPERATIONS[JOIN_INPUT](kernel) @ heads.reshape(-1), merged, rtol=1e-13)
