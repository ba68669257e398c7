"""The loop: what a step does, what it refuses, and that nothing but the seed and the step decides what comes out."""

import itertools
import json
import os
import signal

import numpy as np
import pytest

from minibert import InputError
from minibert.formats.npz import open_npz
from minibert.training import AdamW, NotFinite, Run, Settings, Trainer, schedule
from minibert.training.loop import HOPELESS, RECENT
from minibert.training.runs import read_metrics, verified
from minibert.training.signals import asked_to_stop
from tests.training.toy import ToyData, toy_model


def trainer(steps=12, run=None, data=None, model=None, rate=1e-2, **options):
    extra = {name: options.pop(name) for name in ("evaluate", "metric", "larger", "listeners") if name in options}
    model = model or toy_model()
    settings = Settings(**{"log_every": 1, **options})
    return Trainer(model, AdamW(model), schedule(rate, steps), data or ToyData(), settings, run=run, **extra)


def bits(trainer):
    blocks = trainer.model.parameters, *trainer.optimiser.moments.values()
    return b"".join(block.flat.tobytes() for block in blocks)


def test_the_seed_decides_and_nothing_else():
    runs = [trainer(seed=seed) for seed in (0, 0, 1, None)]
    for run in runs:
        run.train()
    first, same, other, without = map(bits, runs)
    assert first == same
    assert len({first, other, without}) == 3


def test_evaluations_change_nothing():
    def evaluate(model):
        model(**ToyData(seed=9).batch(0))
        return {"loss": 1.0}

    plain, evaluated = trainer(), trainer(eval_every=2, evaluate=evaluate)
    plain.train()
    evaluated.train()
    assert bits(plain) == bits(evaluated)


def test_accumulated_batches_are_averaged():
    model, data = toy_model(dtype="float64"), ToyData()
    one = trainer(1, data=data, model=model, rate=1.0, seed=None, accumulate=3)
    one._tokens = 0
    loss, grads = one._gradients(range(3))
    each = [model.loss_and_grads(**data.batch(i)) for i in range(3)]
    assert loss == pytest.approx(np.mean([out.loss for out, _ in each]), rel=1e-14)
    for name, total in grads.items():
        np.testing.assert_allclose(total, np.mean([g[name] for _, g in each], axis=0), rtol=1e-12, atol=1e-15)


def test_records_say_what_happened():
    records = []
    trainer(10, log_every=4, listeners=[records.append]).train()
    assert [r["step"] for r in records] == [4, 8, 10]
    assert set(records[0]) == {"step", "loss", "lr", "norm", "epoch", "tokens_per_second"}
    assert records[-1]["lr"] == pytest.approx(1e-2 / 10)
    assert records[-1]["epoch"] == 0.2


class Poisoned(ToyData):
    """A model whose gradients are spoilt at one batch, and whose batches are otherwise the toy's."""

    def __init__(self, model, at, how):
        super().__init__()
        plain = model.loss_at, model.grads_at
        self.at, self.number = at, -1

        def loss_at(*args):
            loss, logits = plain[0](*args)
            return (loss * np.nan if how == "loss" and self.number == at else loss), logits

        def grads_at(*args):
            grads, dwords = plain[1](*args)
            if self.number == at and how == "element":
                grads["cls.predictions.bias"][3] = np.nan
            if self.number == at and how == "infinite":
                grads.flat[7] = np.inf
            if self.number == at and how == "long":
                grads.flat *= 1000
            return grads, dwords

        model.loss_at, model.grads_at = loss_at, grads_at

    def batch(self, i):
        self.number = i
        return super().batch(i)


@pytest.mark.parametrize("how", ["loss", "element", "infinite"])
def test_what_is_not_finite_never_touches_the_weights(tmp_path, how):
    model = toy_model()
    run = Run(tmp_path / "run", {})
    bad = trainer(model=model, data=Poisoned(model, 5, how), run=run)
    with pytest.raises(NotFinite, match=r"step 5: the .* is (nan|inf)"):
        bad.train()
    straight = trainer()
    stop_before(straight, 5)
    assert bits(bad) == bits(straight)
    assert bad.optimiser.steps == 5
    assert [p.name for p in run.checkpoints.glob("step-*")] == ["step-00000005"]
    kept = open_npz(tmp_path / "run" / "bad-step-00000005.npz")
    np.testing.assert_array_equal(kept.read("5/input_ids"), ToyData().batch(5)["input_ids"])


def stop_before(trainer, step):
    """Train up to a step, and no further."""

    class Enough(Exception):
        pass

    plain = trainer._one_step

    def one_step():
        if trainer.step == step:
            raise Enough
        plain()

    trainer._one_step = one_step
    with pytest.raises(Enough):
        trainer.train()


@pytest.mark.parametrize("how", ["loss", "element", "infinite"])
def test_or_the_step_is_skipped(how):
    model, records = toy_model(), []
    skipping = trainer(model=model, data=Poisoned(model, 5, how), on_bad="skip", listeners=[records.append])
    assert skipping.train().step == 12
    assert skipping.optimiser.steps == 11
    assert np.isfinite(model.parameters.flat).all()
    (skipped,) = (r for r in records if "skipped" in r)
    assert skipped["step"] == 6
    assert skipped["skipped"].startswith("the ")
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]


def test_a_spike_is_not_applied():
    model, records = toy_model(), []
    spiked = trainer(40, model=model, data=Poisoned(model, 30, "long"), spike=20.0, listeners=[records.append])
    assert spiked.train().step == 40
    assert [r["step"] for r in records if "skipped" in r] == [31]
    assert "times as long as is usual" in next(r["skipped"] for r in records if "skipped" in r)
    assert spiked.optimiser.steps == 39


def test_where_gradients_are_usually_nothing_none_is_a_spike():
    run = trainer(2, spike=20.0)
    run.norms = [0.0] * RECENT
    assert run.train().step == 2
    assert run.optimiser.steps == 2


def test_training_ends_without_improvement_and_the_best_comes_back(tmp_path):
    values = iter([3.0, 1.0, 2.0, 2.0, 9.0, 9.0])
    records = []
    stopping = trainer(
        run=Run(tmp_path / "run", {}), eval_every=2, patience=2, evaluate=lambda model: {"loss": next(values)},
        listeners=[records.append],
    )  # fmt: skip
    result = stopping.train()
    assert result == (8, "no improvement", 4, 1.0)
    assert [(r["step"], r["dev_loss"]) for r in records if "dev_loss" in r] == [(2, 3), (4, 1), (6, 2), (8, 2)]
    stopping.restore_best()
    at_4 = trainer()
    stop_before(at_4, 4)
    assert stopping.model.parameters.flat.tobytes() == at_4.model.parameters.flat.tobytes()
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")}
    assert kept == {"step-00000004", "step-00000006", "step-00000008"}  # two, and the best


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "end of the terminal"]
)
@pytest.mark.parametrize("moment", ["batch", "backward", "save"])
def test_a_signal_stops_the_run_where_it_can_go_on(tmp_path, number, moment):
    straight = trainer(save_every=3)
    straight.train()
    stopped = trainer(run=Run(tmp_path / "run", {}), save_every=3)
    owner, name = {
        "batch": (stopped.data, "batch"), "backward": (stopped.model, "grads_at"), "save": (stopped.run, "save"),
    }[moment]  # fmt: skip
    plain, calls = getattr(owner, name), []

    def interrupted(*args):
        calls.append(0)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return plain(*args)

    setattr(owner, name, interrupted)
    before = signal.getsignal(number)
    assert stopped.train().why == "stopped"
    assert signal.getsignal(number) == before
    stopped.run.close()
    going_on = trainer(run=Run(tmp_path / "run", {}, resume=True), save_every=3)
    assert going_on.train().why == "done"
    assert bits(going_on) == bits(straight)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_is_not_waited_for(first):
    twice = trainer()
    twice.data.batch = lambda i: [os.kill(os.getpid(), number) for number in (first, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        twice.train()


def test_signals_that_were_to_be_ignored_are(monkeypatch):
    """As in a program that nohup started, or a shell in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopped()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # which says no more than one
            assert stopped()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate: expected an integer of at least 1, got 0"),
        ({"patience": -1}, "patience: expected an integer of at least 0"),
        ({"log_every": True}, "log_every: expected an integer"),
        ({"spike": 0.5}, "spike: expected 0, or a number above 1, got 0.5"),
        ({"on_bad": "ignore"}, "on_bad: expected stop or skip, got 'ignore'"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_a_metric_that_is_not_measured_and_a_batch_without_labels_are_refused():
    with pytest.raises(InputError, match="metric: expected one of accuracy, got 'loss'"):
        trainer(evaluate=lambda model: {"accuracy": 1.0}).train()
    unlabelled = trainer()
    unlabelled.data.batch = lambda i: {"input_ids": [[1, 4, 2]]}
    with pytest.raises(InputError, match="batch 0: expected labels and next_sentence_label"):
        unlabelled.train()


@pytest.mark.parametrize("how", ["loss", "long"])
def test_a_run_that_skips_everything_ends(tmp_path, how):
    """It has diverged, or the gradients are longer for good: neither gets better by itself."""

    class Always(Poisoned):
        def batch(self, i):
            batch = super().batch(i)
            self.number = self.at if i >= 30 else i
            return batch

    model = toy_model()
    run = Run(tmp_path / "run", {})
    options = {"on_bad": "skip", "spike": 20.0, "save_every": 7}
    with pytest.raises(NotFinite, match=rf"step {30 + HOPELESS - 1}, the 16th in a row that is skipped: the "):
        trainer(60, run=run, model=model, data=Always(model, 30, how), **options).train()
    assert np.isfinite(model.parameters.flat).all()
    run.close()
    again, resumed = toy_model(), Run(tmp_path / "run", {}, resume=True)
    with pytest.raises(NotFinite, match=f"step {30 + HOPELESS - 1}, the 16th in a row"):
        trainer(60, run=resumed, model=again, data=Always(again, 30, how), **options).train()
    assert bits_of(again) == bits_of(model)


def bits_of(model):
    return model.parameters.flat.tobytes()


def test_the_loss_of_a_record_is_the_mean_since_the_one_before(tmp_path):
    """Evaluations, steps that are skipped and the end of the program take nothing from it."""
    each, records, model = [], [], toy_model()
    options = {"spike": 20.0, "evaluate": lambda model: {"loss": 1.0}, "eval_every": 3, "save_every": 1}
    trainer(40, data=Poisoned(model, 30, "long"), model=model, listeners=[each.append], **options).train()
    losses = {r["step"]: r["loss"] for r in each if "loss" in r}

    def run(resume):
        model = toy_model()
        run = Run(tmp_path / "run", {}, resume)
        listeners = [records.append]
        return trainer(
            40, data=Poisoned(model, 30, "long"), model=model, run=run, listeners=listeners, log_every=7, **options
        )

    first = run(resume=False)
    stop_before(first, 31)
    first.run.close()
    run(resume=True).train()
    found = {r["step"]: r["loss"] for r in records if "loss" in r}
    assert list(found) == [7, 14, 21, 28, 35, 40]
    for before, step in itertools.pairwise([0, *found]):
        assert found[step] == pytest.approx(np.mean([losses[s] for s in range(before + 1, step + 1) if s in losses]))
    logged = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [r["step"] for r in logged if "skipped" in r] == [31]  # once


def test_what_overflows_is_found_by_its_norm_without_warnings():
    with pytest.raises(NotFinite):
        trainer(rate=1e30, model=toy_model(), on_bad="stop").train()


def test_an_evaluation_that_is_not_finite_is_never_the_best(tmp_path):
    values = iter([float("inf"), float("nan"), 3.0, float("inf")])
    run = trainer(8, run=Run(tmp_path, {}), eval_every=2, evaluate=lambda model: {"loss": next(values)})
    assert run.train() == (8, "done", 6, 3.0)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["dev_loss"] for line in lines if "dev" in line] == [
        None, None, 3.0, None,
    ]  # fmt: skip
    assert all(verified(path) for path in run.run.checkpoints.glob("step-*"))


def test_without_a_word_about_when_it_is_saved_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.training.loop.SAVE_AFTER", -1)
    run = trainer(4, run=Run(tmp_path, {}), keep=9)
    run.train()
    assert len(list(run.run.checkpoints.glob("step-*"))) == 4


def test_an_optimiser_of_another_model_is_refused():
    run = trainer(3)
    run.optimiser = trainer(3).optimiser
    with pytest.raises(InputError, match="expected one of this model, got one of another"):
        run.train()


def test_what_is_frozen_is_no_spike():
    run = trainer(30, spike=5.0)
    run.optimiser = AdamW(run.model, lr=1e-3, freeze=("bert.*",))
    plain = run._gradients

    def with_a_long_one(numbers):
        loss, grads = plain(numbers)
        if run.step == 25:
            grads["bert.embeddings.word_embeddings.weight"][...] = 1e6
        return loss, grads

    run._gradients = with_a_long_one
    records = []
    run.listeners.append(records.append)
    run.train()
    assert [record for record in records if "skipped" in record] == []
