"""Writes what PyTorch computes in 200 steps of pre-training, to be compared with ours: tests/training/fixtures.

    python tools/make_training_fixtures.py              # a few seconds

The model, its first weights and the batches are those of tests/training/toy.py, without dropout; everything is float64.
transformers' BertForPreTraining by autograd, torch.optim.AdamW in two groups, clipping by the norm, transformers'
linear schedule, and two batches accumulated a step. Also SGD and, written out here after
google-research/bert's optimization.py, of Google's Adam under Google's schedule. Needs the extra `oracle`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.training.toy import CONFIG, ToyData, toy_model  # noqa: E402

STEPS, WARMUP, ACCUMULATE, RATE, DECAY, CLIP = 200, 20, 2, 1e-2, 0.01, 1.0


def peer() -> torch.nn.Module:
    """transformers' model with our first weights, in float64, without dropout."""
    config = transformers.BertConfig(**{
        **CONFIG.to_dict(), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }, attn_implementation="eager")  # fmt: skip
    model = transformers.BertForPreTraining(config).double()
    ours = {name: torch.tensor(array) for name, array in toy_model(dtype="float64").state_dict().items()}
    missing, unexpected = model.load_state_dict(ours, strict=False)
    assert not unexpected, unexpected
    assert all("decoder" in name or "position_ids" in name for name in missing), missing
    return model


def groups(model: torch.nn.Module) -> list[dict[str, object]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": matrices, "weight_decay": DECAY}, {"params": [p for p in model.parameters() if p.ndim < 2]}]


def losses(model: torch.nn.Module, optimiser: torch.optim.Optimizer, rate, steps: int) -> dict[str, list[float]]:
    """Train, and note every step's loss and norm."""
    data, curve = ToyData(), {"loss": [], "norm": []}
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad()
        total = 0.0
        for i in range(ACCUMULATE * step, ACCUMULATE * (step + 1)):
            batch = {name: torch.tensor(value) for name, value in data.batch(i).items()}
            loss = model(**batch).loss / ACCUMULATE
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        for p in model.parameters():
            p.grad *= min(1.0, CLIP / norm)  # clip_grad_norm_ divides by norm + 1e-6, which would show
        curve["norm"].append(norm.item())
        optimiser.step()
        curve["loss"].append(total)
    return curve


class GooglesAdam(torch.optim.Optimizer):
    """AdamWeightDecayOptimizer: no bias correction, decay added to the update."""

    def __init__(self, params) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m, v = state.setdefault("m", torch.zeros_like(p)), state.setdefault("v", torch.zeros_like(p))
                m.copy_(0.9 * m + 0.1 * p.grad)
                v.copy_(0.999 * v + 0.001 * p.grad**2)
                p -= group["lr"] * (m / (v.sqrt() + 1e-6) + group["weight_decay"] * p)


def googles_rate(step: int) -> float:
    return RATE * step / WARMUP if step < WARMUP else RATE * (1 - step / STEPS)


def main() -> None:
    torch.use_deterministic_algorithms(True)
    model = peer()
    adamw = torch.optim.AdamW(groups(model), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE), WARMUP, STEPS
    ).lr_lambdas[0]
    curves = {"adamw": losses(model, adamw, lambda step: RATE * schedule(step), STEPS)}
    model = peer()
    curves["bert-adam"] = losses(model, GooglesAdam(groups(model)), googles_rate, STEPS)
    model = peer()
    curves["sgd"] = losses(model, torch.optim.SGD(groups(model), lr=0.05, momentum=0.9), lambda _: 0.05, STEPS)
    record = {"torch": torch.__version__, "transformers": transformers.__version__, "curves": curves}
    record |= {"steps": STEPS, "warmup": WARMUP, "accumulate": ACCUMULATE, "lr": RATE, "decay": DECAY, "clip": CLIP}
    path = ROOT / "tests" / "training" / "fixtures" / "curves.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    first, *_, last = curves["adamw"]["loss"]
    print(f"{path}: {path.stat().st_size} bytes; losses from {first:.4f} to {last:.4f}")


if __name__ == "__main__":
    main()
