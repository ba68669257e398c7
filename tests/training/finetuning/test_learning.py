"""Tiny models learn a toy of every task, and a run that was stopped ends with the same bits."""

import numpy as np
import pytest

import minibert as mb
from minibert.training import AdamW, Run, Settings, Trainer, schedule
from minibert.training.finetuning import Batches
from tests.training.finetuning.toys import OPTIONS, TASKS, config, examples

CLASSES = {
    "crf": mb.BertCrfForTokenClassification,
    **{task: examples(task, 1).model_class for task in TASKS if task != "crf"},
}
STEPS = {"tag": 120, "choose": 20, "classify": 40}


def model_for(task, rate=0.0):
    drop = {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}
    return CLASSES[task](config(**OPTIONS.get(task, {}), **drop), seed=3, engine="reference")


def trainer(task, steps, run=None, rate=0.0, **options):
    model, data = model_for(task, rate), Batches(examples(task, 256), 16, seed=1)
    return Trainer(model, AdamW(model), schedule(5e-3, steps, 0.1), data, Settings(**options), run=run)


@pytest.mark.parametrize("task", TASKS)
def test_it_is_learnt(task):
    dev = examples(task, 40, seed=9)
    learning = trainer(task, STEPS.get(task, 80))
    before = dev.evaluate(learning.model)
    assert set(dev.metrics) <= set(before)
    learning.train()
    after = dev.evaluate(learning.model)
    if task == "regress":  # equal labels get numbers that are only nearly equal, so ranks can never all be right
        assert before["pearson"] < 0.9
        assert after["pearson"] > 0.99
    else:
        best = 100 if task == "answer" else 1
        assert before[dev.metrics[0]] < 0.9 * best
        assert after[dev.metrics[0]] == best


@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_is_the_straight_one(tmp_path, task):
    straight = trainer(task, 7, rate=0.1)
    straight.train()
    stopped = trainer(task, 7, Run(tmp_path, {}), rate=0.1, save_every=3)
    plain = stopped._one_step

    def one_step():
        if stopped.step == 5:
            raise KeyboardInterrupt
        plain()

    stopped._one_step = one_step
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    stopped.run.close()
    resumed = trainer(task, 7, Run(tmp_path, {}, resume=True), rate=0.1, save_every=3)
    assert resumed.train().step == 7
    resumed.run.close()
    one, other = ((run.model.parameters, *run.optimiser.moments.values()) for run in (straight, resumed))
    for mine, its in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.flat, its.flat)
