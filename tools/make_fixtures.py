"""Writes the parity fixtures of tests/models: what Hugging Face's BERT computes for tiny models, gradients included.

    python tools/make_fixtures.py              # rewrites tests/models/fixtures, about a minute

Everything is computed by transformers in float64, in evaluation mode, with eager attention and autograd. Weights are
random at several scales, biases and gains included, and are numbers that float16 holds, so they are small on disk and
the same in every dtype. Needs the extra `oracle`.

One .npz a case:
    meta                    JSON: class, config, parameters {name: shape}, names of the state_dict, without_gradient,
                            versions
    weights, grads          all parameters one after another, in the order of `parameters`; a parameter that takes no
                            part in the loss has gradient 0 and stands in `without_gradient`
    input.*, label.*        what the model was given
    cotangent.*             BertModel has no loss: the gradients are those of Σ cotangent·result
    output.*                results; hidden_states (L+1, B, T, H) and attentions (L, B, A, T, T) stacked
    grad.inputs_embeds      where those were given

`saved/` holds two small checkpoints as transformers writes them, one file and shards, and their weights stand in the
case that `SAVED` names.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "models" / "fixtures"
SAVED = "BertForMaskedLM-tied"
B, T, CHOICES = 3, 7, 2
SMALL = {
    "vocab_size": 17,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
}


class Case(NamedTuple):
    cls: str
    name: str
    config: dict[str, Any] = {}  # noqa: RUF012
    mask: str = "holes"  # "holes": one row padded, one with a hole; "left": padded on the left; "full"
    labels: str = ""  # kinds of labels where a class takes several
    inputs: str = (
        "ids"  # "ids", "embeds", "positions" (ids at positions of their own), "pad" (attends to the pad token)
    )
    scale: float = 0.5  # standard deviation of the weights


CASES = (
    Case("BertModel", "plain"),
    Case("BertModel", "head_size_1", {"num_attention_heads": 8, "hidden_act": "relu"}),
    Case(
        "BertModel", "one_head", {"num_attention_heads": 1, "num_hidden_layers": 3, "layer_norm_eps": 1e-5}, scale=0.2
    ),
    Case("BertModel", "silu", {"hidden_act": "silu", "intermediate_size": 5}, scale=1.0),
    Case("BertModel", "gelu_new", {"hidden_act": "gelu_new", "num_hidden_layers": 1}, scale=1.0),
    Case("BertModel", "causal", {"is_decoder": True}),
    Case("BertModel", "positions", inputs="positions"),
    Case("BertModel", "embeds", inputs="embeds"),
    Case("BertModel", "one_segment", {"type_vocab_size": 1, "layer_norm_eps": 1e-3}),
    Case("BertForPreTraining", "tied"),
    Case("BertForPreTraining", "untied", {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
    Case("BertForPreTraining", "small_weights", {"hidden_act": "relu", "num_attention_heads": 4}, scale=0.1),
    Case("BertForMaskedLM", "tied", scale=0.3),
    Case("BertForMaskedLM", "untied", {"tie_word_embeddings": False, "hidden_act": "silu"}),
    Case("BertForMaskedLM", "causal", {"is_decoder": True, "hidden_act": "gelu_new"}),
    Case("BertForMaskedLM", "left", mask="left"),
    Case("BertForNextSentencePrediction", "plain"),
    Case("BertForNextSentencePrediction", "relu", {"hidden_act": "relu", "num_attention_heads": 8}, scale=1.0),
    Case("BertForSequenceClassification", "single", {"num_labels": 3}),
    Case("BertForSequenceClassification", "multi", {"num_labels": 4}, labels="multi"),
    Case("BertForSequenceClassification", "regression", {"num_labels": 1}, labels="regression"),
    Case(
        "BertForSequenceClassification",
        "regression_3",
        {"num_labels": 3, "problem_type": "regression"},
        labels="regression",
    ),
    Case(
        "BertForSequenceClassification",
        "single_named",
        {"num_labels": 2, "problem_type": "single_label_classification", "hidden_act": "silu"},
    ),
    Case("BertForSequenceClassification", "pad_token", {"num_labels": 3}, inputs="pad"),
    Case("BertForMultipleChoice", "plain"),
    Case("BertForMultipleChoice", "gelu_new", {"hidden_act": "gelu_new", "num_attention_heads": 1}, mask="full"),
    Case("BertForTokenClassification", "plain", {"num_labels": 5}),
    Case("BertForTokenClassification", "left", {"num_labels": 2, "hidden_act": "relu"}, mask="left", scale=1.0),
    Case("BertForTokenClassification", "embeds", {"num_labels": 3}, inputs="embeds"),
    # Hugging Face's softmax over places runs over padding too, so there is none here
    Case("BertForQuestionAnswering", "plain", mask="full"),
    Case("BertForQuestionAnswering", "causal", {"is_decoder": True, "hidden_act": "silu"}, mask="full"),
)


def make_model(case: Case, rng: np.random.Generator) -> Any:
    config = transformers.BertConfig(**{**SMALL, **case.config}, attn_implementation="eager")
    model = getattr(transformers, case.cls)(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = case.scale * rng.standard_normal(parameter.shape)
            if name.endswith("LayerNorm.weight"):
                values = 1 + 0.5 * values
            parameter.copy_(torch.tensor(values.astype(np.float16).astype(np.float64)))
    return model


def make_inputs(case: Case, rng: np.random.Generator) -> dict[str, np.ndarray]:
    config = {**SMALL, "type_vocab_size": 2, **case.config}
    rows = B * CHOICES if case.cls == "BertForMultipleChoice" else B
    mask = np.ones((rows, T), np.int64)
    if case.mask == "holes":
        mask[1, 5:] = 0
        mask[2, 2:4] = 0
    elif case.mask == "left":
        mask[1, :2] = 0
    inputs = {"attention_mask": mask, "token_type_ids": rng.integers(0, config["type_vocab_size"], (rows, T))}
    ids = rng.integers(1, config["vocab_size"], (rows, T)) * mask  # PyTorch gives the row of token 0 no gradient
    if case.inputs == "pad":
        ids[0, [2, 5]] = 0
    if case.inputs == "embeds":
        inputs["inputs_embeds"] = rng.standard_normal((rows, T, config["hidden_size"])).astype(np.float16)
    else:
        inputs["input_ids"] = ids
    if case.inputs == "positions":
        inputs["position_ids"] = rng.integers(0, config["max_position_embeddings"], (rows, T))
    if case.cls == "BertForMultipleChoice":
        inputs = {name: x.reshape(B, CHOICES, T) for name, x in inputs.items()}
    return inputs


def make_labels(case: Case, mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    config = {**SMALL, "num_labels": 2, **case.config}

    def tokens(classes: int) -> np.ndarray:
        labels = np.where(rng.random((B, T)) < 0.6, rng.integers(0, classes, (B, T)), -100)
        return np.where(mask == 1, labels, -100)

    match case.cls:
        case "BertModel":
            return {}
        case "BertForPreTraining":
            return {"labels": tokens(config["vocab_size"]), "next_sentence_label": rng.integers(0, 2, B)}
        case "BertForMaskedLM":
            return {"labels": tokens(config["vocab_size"])}
        case "BertForTokenClassification":
            return {"labels": tokens(config["num_labels"])}
        case "BertForQuestionAnswering":  # the end of the last answer was truncated away
            return {
                "start_positions": rng.integers(0, T, B),
                "end_positions": np.array([*rng.integers(0, T, B - 1), T]),
            }
        case "BertForMultipleChoice":
            return {"labels": rng.integers(0, CHOICES, B)}
    if case.labels == "regression":
        shape = (B,) if config["num_labels"] == 1 else (B, config["num_labels"])
        return {"labels": rng.standard_normal(shape)}
    if case.labels == "multi":
        return {"labels": rng.integers(0, 2, (B, config["num_labels"])).astype(np.float64)}
    return {"labels": rng.integers(0, config["num_labels"], B)}


def compute(model: Any, case: Case, inputs: dict[str, Any], labels: dict[str, Any], rng: np.random.Generator) -> dict:
    """Run and differentiate; -> the arrays of the fixture."""
    tensors = {
        name: torch.tensor(x, dtype=torch.float64 if x.dtype.kind == "f" else torch.int64)
        for name, x in {**inputs, **labels}.items()
    }
    if "inputs_embeds" in tensors:
        tensors["inputs_embeds"].requires_grad_()
    out = model(**tensors, output_hidden_states=True, output_attentions=True)
    arrays: dict[str, Any] = {}
    for name, result in out.items():
        if name in ("past_key_values", "cross_attentions"):  # of decoders, and not what is compared
            continue
        stacked = torch.stack(result) if isinstance(result, tuple) else result
        arrays[f"output.{name}"] = stacked.detach().numpy()
    scalar = out.loss if labels else 0
    if not labels:
        mask = inputs["attention_mask"]
        for name in ("last_hidden_state", "pooler_output"):
            cotangent = rng.standard_normal(out[name].shape)
            if name == "last_hidden_state":
                cotangent *= mask[..., None]  # Hugging Face has states of padding; nothing may depend on them
            arrays[f"cotangent.{name}"] = cotangent
            scalar = scalar + (torch.tensor(cotangent) * out[name]).sum()
    scalar.backward()
    if "inputs_embeds" in tensors:
        arrays["grad.inputs_embeds"] = tensors["inputs_embeds"].grad.numpy()
    parameters = dict(model.named_parameters())
    arrays["weights"] = flatten([p.detach() for p in parameters.values()]).astype(np.float16)
    arrays["grads"] = flatten([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters.values()])
    meta = {
        "class": case.cls,
        "config": {**SMALL, **case.config},
        "parameters": {name: list(p.shape) for name, p in parameters.items()},
        "state_dict": list(model.state_dict()),
        "without_gradient": [name for name, p in parameters.items() if p.grad is None],
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
    arrays["meta"] = np.array(json.dumps(meta))
    arrays |= {f"input.{name}": small(x) for name, x in inputs.items()}
    arrays |= {f"label.{name}": small(x) for name, x in labels.items()}
    return arrays


def flatten(tensors: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([t.reshape(-1) for t in tensors]).numpy()


def small(x: np.ndarray) -> np.ndarray:
    """Integers as int16: the tests see that models take any integers."""
    return x.astype(np.int16) if x.dtype.kind == "i" else x


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    total = 0
    for i, case in enumerate(CASES):
        rng = np.random.default_rng([2019, i])
        model = make_model(case, rng)
        inputs = make_inputs(case, rng)
        labels = make_labels(case, inputs["attention_mask"], rng)
        path = FOLDER / f"{case.cls}-{case.name}.npz"
        np.savez_compressed(path, **compute(model, case, inputs, labels, rng))  # numpy dates its entries 1980
        total += path.stat().st_size
        print(f"{path.stat().st_size:8,} {path.name}")
        if path.stem == SAVED:
            model.float().save_pretrained(FOLDER / "saved" / "single")
            model.save_pretrained(FOLDER / "saved" / "sharded", max_shard_size="3KB")
    for path in sorted((FOLDER / "saved").rglob("*.*")):
        total += path.stat().st_size
        print(f"{path.stat().st_size:8,} {path.relative_to(FOLDER)}")
    print(f"{total:8,} bytes in {FOLDER}, by transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
