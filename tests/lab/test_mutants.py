"""The checkers are checked: every planted bug is caught, and a mutant that no longer applies says so."""

import dataclasses
import functools
import inspect

import numpy as np
import pytest

from minibert import ops
from minibert.lab.check import TINY, compare, gradients, references, scale_weights, specimen
from minibert.lab.mutants import MUTANTS, Mutant, plant
from minibert.models.pretraining import BertForPreTraining

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
each_scale = pytest.mark.parametrize("std", [0.02, 0.15])


def model_at(std):
    """Four layers: bugs are planted in the second or third, with a layer above and below."""
    model = BertForPreTraining(dataclasses.replace(TINY, num_hidden_layers=4), dtype="float64")
    scale_weights(model, std)
    return model, specimen(model)


@functools.cache
def truth(std, dropout_seed):
    """The derivatives come from the forward pass alone, so all mutants share them."""
    return references(*model_at(std), dropout_seed=dropout_seed)


def report_of(engine, std, dropout_seed):
    model, prepared = model_at(std)
    model.ops = engine
    return compare(gradients(model, prepared, dropout_seed=dropout_seed), truth(std, dropout_seed))


@each_scale
@each_mutant
def test_the_complex_step_catches_every_bug(mutant, std):
    report = report_of(plant(mutant, ops), std, dropout_seed=7 if "dropout" in mutant.name else None)
    assert not report.ok
    assert report.closest.margin > 1e3  # the weakest, measured: 3e4


@each_scale
@pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])
def test_without_a_bug_nothing_is_caught(std, dropout_seed):
    assert report_of(ops, std, dropout_seed)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "dropout" in m.name], ids=lambda mutant: mutant.name)
def test_dropout_bugs_show_only_with_dropout_on(mutant):
    assert report_of(plant(mutant, ops), 0.15, dropout_seed=None)


def test_mutants_have_names_of_their_own_and_enough_of_them():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24


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
