"""The catalogue of bugs: each is complete, one of its own, and shows where it says; one that no longer applies says so.

That the checks catch them is tests/lab/test_matrix.py's affair.
"""

import functools
import inspect
import re

import numpy as np
import pytest

from minibert import ops
from minibert.lab.check import compare, references
from minibert.lab.mutants import MUTANTS, SETTINGS, Bench, Mutant, plant

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.slug)
FAMILIES = {
    "activation", "attention", "dropout", "embedding", "feed-forward", "gelu", "head", "layer norm", "linear", "loss",
    "residual", "similarity",
}  # fmt: skip


@functools.cache
def bench(setting):
    return Bench(SETTINGS[setting], 0.15)


@functools.cache
def truth(setting):
    """The derivatives come from the forward pass alone, so all mutants share them."""
    at = bench(setting)
    return references(at.model, at.prepared, dropout_seed=at.setting.dropout_seed, seed=at.seed)


def report_of(mutant, setting):
    return compare(bench(setting).gradients(plant(mutant, ops)), truth(setting))


def test_there_are_enough_of_them_of_every_family():
    assert len(MUTANTS) >= 45
    assert {mutant.family for mutant in MUTANTS} == FAMILIES


@pytest.mark.parametrize("field", ["name", "slug"])
def test_each_is_called_otherwise(field):
    values = [getattr(mutant, field) for mutant in MUTANTS]
    assert len(set(values)) == len(values)


@each_mutant
def test_each_says_what_the_laboratory_and_its_readers_need(mutant):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", mutant.slug)
    assert mutant.needs in SETTINGS
    assert mutant.after != mutant.before
    for sentence in (mutant.why, mutant.hint):
        assert re.fullmatch(r"\S.*[.?]", sentence), sentence
        assert len(sentence) <= 120
    assert len(mutant.name) <= 50  # or it does not fit beside its verdicts


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.needs != "pre-training"], ids=lambda mutant: mutant.slug)
def test_what_needs_a_setting_does_not_show_without(mutant):
    assert report_of(mutant, "pre-training")


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_two_are_the_same_bug_and_none_is_harmless(setting):
    along = bench(setting).direction()
    right = bench(setting).gradients()
    found = {"the right gradient": sum(float((right[name] * along[name]).sum()) for name in right)}
    for mutant in MUTANTS:
        if mutant.needs == setting:
            grads = bench(setting).gradients(plant(mutant, ops))
            found[mutant.name] = sum(float((grads[name] * along[name]).sum()) for name in grads)
    slopes = np.sort(list(found.values()))
    assert len(slopes) > 1
    assert np.diff(slopes).min() > 1e-9, found  # measured: 1e-5 or more; rounding is 1e-14


@each_mutant
def test_mutants_change_what_they_name_and_nothing_else(mutant):
    engine = plant(mutant, ops)
    assert {name for name in ops.__all__ if getattr(engine, name) is not getattr(ops, name)} == {mutant.operator}
    assert mutant.before in inspect.getsource(getattr(ops, mutant.operator))  # the operator itself is as it was


@pytest.mark.parametrize(
    ("before", "times"), [("a line that was rewritten since", "none"), ("dy", "several")], ids=["gone", "ambiguous"]
)
def test_a_mutant_that_no_longer_applies_says_so(before, times):
    mutant = Mutant("outdated", "gelu_backward", before, "0")
    with pytest.raises(LookupError, match=f"mutant 'outdated': gelu_backward does not hold '{before}' exactly once"):
        plant(mutant, ops)


def test_a_bug_can_be_planted_at_one_call_only():
    mutant = Mutant("second call", "relu_backward", "dy * cache.positive", "dy * 0", call=1)
    engine = plant(mutant, ops)
    x = np.ones(3)
    results = [engine.relu_backward(x, engine.relu(x)[1]).sum() for _ in range(3)]
    assert results == [3, 0, 3]


# ---- the bench ------------------------------------------------------------------------------------------------------


def test_directions_are_not_the_weights():
    at = bench("pre-training")
    for name, v in at.direction().items():
        w = at.model.parameters[name] - (1 if "LayerNorm.weight" in name else 0)
        if v.size > 1000:
            cosine = float((v * w).sum() / np.linalg.norm(v) / np.linalg.norm(w))
            assert abs(cosine) < 0.1, name


def test_the_bench_leaves_the_model_as_it_was():
    at = Bench(SETTINGS["silu"], 0.15)
    before = at.model.parameters.flat.copy()
    name = "bert.pooler.dense.bias"
    along = at.loss_of(name)
    there = along(at.model.parameters[name] + 1)
    assert at.loss(at.model.parameters) == along(at.model.parameters[name]) == at.moved(at.direction(), 0.0) != there
    at.gradients(plant(MUTANTS[0], ops))
    np.testing.assert_array_equal(at.model.parameters.flat, before)
    assert at.model.ops is ops


def test_padding_is_attended_to_where_the_setting_says_so():
    batch = bench("attended padding").prepared.batch
    assert (batch.input_ids == 0).sum() > 1
    assert not (bench("pre-training").prepared.batch.input_ids == 0).any()
