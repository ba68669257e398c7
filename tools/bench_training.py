"""The training steps of `bench.py cpu`."""

import json

from bench_models import torch_model
from bench_process import built
from bench_rows import CLIP, DECAY, LEARNING_RATE, labelled_ids


def minibert_optimizer(model):
    from minibert.training import AdamW

    return AdamW(model, lr=LEARNING_RATE, weight_decay=DECAY, max_grad_norm=CLIP)


def minibert_training_step(model, optimizer, ids, labels, seed):
    """Forward, backward, clipping and update -> loss. Dropout is on where there is a seed."""
    out, grads = model.loss_and_grads(ids, labels=labels, dropout_seed=seed)
    optimizer.step(grads)
    return float(out.loss)


def train_minibert(row, work):
    import minibert as mb
    from minibert import engines

    ids, labels = labelled_ids(row)
    engines.get("auto")  # otherwise imported, and Numba with it, when the model is first asked for something
    built()
    model = mb.BertForMaskedLM.from_pretrained(work / row.model)
    optimizer = minibert_optimizer(model)
    seeds = iter(range(10**9))

    def result(_):
        model = mb.BertForMaskedLM.from_pretrained(work / row.model)
        optimizer = minibert_optimizer(model)
        return [minibert_training_step(model, optimizer, ids, labels, None) for _ in range(3)]

    return lambda: minibert_training_step(model, optimizer, ids, labels, next(seeds)), result


def torch_optimizer(model, kind):
    """Biases and layer normalisation are not decayed, as in minibert and everywhere else."""
    import torch

    flat = [p for p in model.parameters() if p.ndim < 2]
    deep = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": deep}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=DECAY, **{kind: True})


def train_torch(attention, everywhere):
    def side(row, work):
        import torch

        ids, labels = map(torch.from_numpy, labelled_ids(row))
        wanted = labels != -100

        def made():
            model = torch_model("BertForMaskedLM", work / row.model, attention)
            kinds = json.loads((work / f"{row.model}-adamw.json").read_text())
            return model, torch_optimizer(model, min(kinds, key=kinds.get))

        def step(model, optimizer):
            optimizer.zero_grad()
            if everywhere:
                loss = model(ids, labels=labels).loss
            else:  # the head on the labelled rows alone, as minibert's: the class cannot, but its user can
                logits = model.cls(model.bert(ids).last_hidden_state[wanted])
                loss = torch.nn.functional.cross_entropy(logits, labels[wanted])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            return loss.item()

        def result(_):
            timed[:] = made()
            return [step(*timed) for _ in range(3)]

        timed = list(made())
        timed[0].train()
        return lambda: step(*timed), result

    return side
