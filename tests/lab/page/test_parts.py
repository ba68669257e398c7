"""What the page says, before a browser shows it: derivations, identities, curves, bugs, places."""

import itertools

import numpy as np
import pytest

from minibert import ops
from minibert.gradcheck import STEP
from minibert.lab.equations import Equation
from minibert.lab.mutants import MUTANTS, plant
from minibert.lab.page import bugs
from minibert.lab.page.bugs import Effects, effects, planted_at, reached, worthwhile, wrong_trace
from minibert.lab.page.curves import STEPS, curve, typical
from minibert.lab.page.derivations import NOTES, derivation, notes
from minibert.lab.page.layout import edges, placed
from minibert.lab.residues import TOLERANCE, identities
from minibert.lab.trace import Trace
from minibert.lab.tracer import forward, using
from tests.lab.traces import CASES, traced
from tests.tolerances import ALARM

each_case = pytest.mark.parametrize("case", CASES)
with_dropout = pytest.mark.parametrize("dropout_seed", [None, 7], ids=["no dropout", "dropout"])


@with_dropout
@each_case
def test_every_step_of_every_derivation_is_true(case, dropout_seed):
    trace, rng = traced(case, dropout_seed), np.random.default_rng(0)
    found = {name: derivation(entry) for name, entry in trace.entries.items() if derivation(entry)}
    assert {d.title for d in found.values()} >= {"Layer normalisation", "Softmax of a row of scores"}
    for name, steps in found.items():
        symbols = trace.symbols(name)
        for step in itertools.chain(steps.definition, steps.chunked, steps.fused):
            equation = Equation(step.equation)
            left = np.asarray(symbols[equation.name])
            cells = tuple(rng.integers(0, size, 10) for size in left.shape)
            scale = np.abs(left[np.isfinite(left)]).max()
            np.testing.assert_allclose(
                equation.compute(cells, symbols), left[cells], rtol=1e-10, atol=1e-10 * scale, err_msg=step.equation
            )
            assert set(step.notes) <= set(NOTES)
        assert steps.fused[-1].equation == trace.entries[name].gradient  # the line of the registry, and so of the code


def test_derivations_are_of_what_is_fused():
    entries = traced("pre-training").entries
    titles = {name: derivation(entry).title for name, entry in entries.items() if derivation(entry)}
    assert len(titles) == 6 + 2 + 3 + 2  # layer norms, attentions, GELUs, losses
    assert titles["cls.predictions.decoder"] == "Cross-entropy of softmax"
    assert notes(entries["bert.embeddings.word_embeddings.weight"]) == [NOTES["gather"], NOTES["twice"]]
    assert notes(entries["bert.encoder.layer.0.intermediate.dense.bias"]) == [NOTES["broadcast"]]
    assert notes(entries["bert.encoder.layer.0.attention.output.LayerNorm"]) == [NOTES["twice"]]
    assert notes(entries["bert.embeddings.position_embeddings"]) == [NOTES["sum"]]


@with_dropout
@each_case
def test_identities_hold(case, dropout_seed):
    found = identities(traced(case, dropout_seed))
    assert all(one.ok for one in found), [one for one in found if not one.ok]
    assert {"Σ_m p[h,n,m] = 1", "Σ_m ds[h,n,m] = 0", "Σ_i dz[n,i] = 0"} <= {one.statement for one in found}
    activations = [one for one in found if "[" in one.statement]
    assert max(one.residue / one.size for one in activations) < ALARM * TOLERANCE
    assert (len(found) > len(activations)) == (dropout_seed is None)


def test_an_identity_that_fails_is_seen():
    good = traced("masked LM")
    trace = Trace(good.model, good.prepared)
    call = trace.call("bert.encoder.layer.1.attention.self")
    call.dinner["dscores"][0] = call.dinner["dscores"][0] + 1e-9
    assert [one.statement for one in identities(trace) if not one.ok] == ["Σ_m ds[h,n,m] = 0"]


def test_the_error_of_a_difference_has_a_valley():
    errors = np.array(curve(traced("pre-training"), "encoder.layer.0.attention.self.probs"))
    assert len(errors) == len(STEPS) == 12
    assert STEP == 1e-30  # as the page says of the complex step
    slope = np.diff(np.log10(errors[:4]))
    np.testing.assert_allclose(slope, -2, atol=0.6)  # h²
    assert errors.min() < 1e-7
    assert errors[-1] > 100 * errors.min()  # rounding
    assert np.isfinite(curve(traced("masked LM"), "encoder.layer.0.intermediate.dense.weight")).all()


def test_curves_of_a_large_model_are_of_three_kinds():
    assert typical(traced("masked LM"), everything=True) == list(traced("masked LM"))
    assert len(typical(traced("masked LM"), everything=False)) == 3


@pytest.mark.parametrize(("case", "dropout_seed"), [("pre-training", None), ("pre-training", 7), ("tags", 7)])
def test_a_bug_makes_the_gradients_that_the_planted_engine_makes(case, dropout_seed):
    trace = traced(case, dropout_seed)
    model, prepared = trace.model, trace.prepared
    for mutant in MUTANTS[::4]:
        engine = plant(mutant._replace(call=planted_at(trace, mutant)), ops)
        _, caches = forward(model, engine, model.parameters, prepared, dropout_seed)
        expected, _ = using(model, engine).grads_at(prepared, caches)
        wrong = wrong_trace(trace, mutant)
        for name, gradient in expected.items():
            np.testing.assert_allclose(wrong.grads[name], gradient, rtol=1e-12, atol=1e-15, err_msg=mutant.name)
        if not reached(trace, mutant):
            assert all(np.array_equal(wrong.grads[name], gradient) for name, gradient in trace.grads.items())


def test_a_bug_shows_where_it_begins():
    trace = traced("pre-training")
    names, found = list(trace.entries), effects(trace)
    assert len(found.shown) + found.silent == len(MUTANTS)
    assert found.untried == 0
    assert len(found.shown) > 60
    for mutant, vector in found.shown:
        assert len(vector) == len(names)
        wrong = [name for name, change in zip(names, vector, strict=True) if change > 1e-6]
        activations = [name for name in wrong if not trace.entries[name].is_parameter]
        if mutant.name.startswith("softmax"):
            assert activations[-1].endswith("attention.self.scores")
    assert {m.needs for m, _ in found.shown} == {"pre-training"}


def test_which_bugs_are_tried_depends_on_sizes_alone(monkeypatch):
    trace = traced("pre-training")
    assert worthwhile(trace) > len(MUTANTS)
    monkeypatch.setattr(bugs, "WORK", 0)
    assert worthwhile(trace) == bugs.FEWEST
    found = effects(trace)
    reachable = sum(reached(trace, mutant) for mutant in MUTANTS)
    assert len(found.shown) <= bugs.FEWEST == reachable - found.untried
    assert len(found.shown) + found.silent + found.untried == len(MUTANTS)
    assert len({mutant.operator for mutant, _ in found.shown}) == len(found.shown)  # of many kinds
    assert [mutant for mutant, _ in found.shown] == [mutant for mutant, _ in effects(trace).shown]
    assert effects(trace, 0) == Effects([], len(MUTANTS) - reachable, reachable)


@with_dropout
@each_case
def test_no_two_boxes_of_the_map_stand_in_one_place(case, dropout_seed):
    entries = traced(case, dropout_seed).entries
    blocks = placed(entries)
    assert {name for block in blocks.values() for name in block} == set(entries)
    for block in blocks.values():
        assert len(set(block.values())) == len(block)
        for a, b in itertools.combinations([place for place in block.values() if not place.under], 2):
            assert a.row != b.row or abs(a.column - b.column) >= 1
        for source, target in edges(entries, block):
            assert target in block
            assert not source or source in block
    assert list(blocks)[:2] == ["Embeddings", "Layer 0"]
