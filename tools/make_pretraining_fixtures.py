"""Writes tests/training/fixtures/pairs.json: the instances that Google's create_pretraining_data.py makes of a text.

    python tools/make_pretraining_fixtures.py FOLDER

FOLDER holds create_pretraining_data.py and tokenization.py of google-research/bert, the former with its flag
do_whole_word_mask. Their own functions run; of TensorFlow they need flags and files only, which are stood in for here.
Three seeds, token by token and whole words, on the text in tests/training/fixtures/text.txt with the vocabulary of the
tokenizer's tests; the sequences are short, so that pairs are truncated. The file is reproducible byte by byte.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "training" / "fixtures"
VOCAB = ROOT / "tests" / "text" / "fixtures" / "vocab.txt"
OPTIONS = {"max_seq_length": 32, "short_seq_prob": 0.2, "masked_lm_prob": 0.15, "max_predictions_per_seq": 4}
CASES = [
    {"seed": 12345, "dupe_factor": 4, "whole_word": False, **OPTIONS},
    {"seed": 7, "dupe_factor": 4, "whole_word": False, **OPTIONS, "max_seq_length": 64, "max_predictions_per_seq": 20},
    {"seed": 1, "dupe_factor": 4, "whole_word": True, **OPTIONS},
]


class Flags(types.SimpleNamespace):
    """FLAGS of absl: each has its default until it is set."""


def stand_ins() -> Flags:
    """Modules in the place of tensorflow, absl and six, as far as the two scripts import them."""
    values = Flags()
    flags = types.ModuleType("flags")
    flags.FLAGS = values  # type: ignore[attr-defined]
    for kind in ("string", "bool", "integer", "float"):
        setattr(flags, f"DEFINE_{kind}", lambda name, default, text: setattr(values, name, default))
    tf = types.ModuleType("tensorflow")
    tf.flags = flags  # type: ignore[attr-defined]
    tf.gfile = types.SimpleNamespace(GFile=functools.partial(open, encoding="utf-8"))  # type: ignore[attr-defined]
    tf.io = types.SimpleNamespace(gfile=tf.gfile)  # type: ignore[attr-defined]
    compat = types.ModuleType("tensorflow.compat")
    compat.v1 = tf  # type: ignore[attr-defined]
    six = types.ModuleType("six")
    six.PY3, six.PY2 = True, False  # type: ignore[attr-defined]
    absl = types.ModuleType("absl")
    absl.flags = flags  # type: ignore[attr-defined]
    sys.modules |= {"tensorflow": tf, "tensorflow.compat": compat, "tensorflow.compat.v1": tf, "six": six, "absl": absl}
    return values


def load(path: Path, name: str) -> Any:
    module = types.ModuleType(name)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    sys.modules[name] = module
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with create_pretraining_data.py and tokenization.py")
    folder = parser.parse_args().folder
    values = stand_ins()
    tokenization = load(folder / "tokenization.py", "tokenization")
    bert = types.ModuleType("bert")  # one release imports it from a package
    bert.tokenization = tokenization  # type: ignore[attr-defined]
    sys.modules["bert"] = bert
    script = load(folder / "create_pretraining_data.py", "create_pretraining_data")
    if not hasattr(values, "do_whole_word_mask"):
        sys.exit("create_pretraining_data.py: expected a release with the flag do_whole_word_mask")

    tokenizer = tokenization.FullTokenizer(str(VOCAB), do_lower_case=True)
    results = []
    for case in CASES:
        values.do_whole_word_mask = case["whole_word"]
        instances = script.create_training_instances(
            [str(FIXTURES / "text.txt")],
            tokenizer,
            case["max_seq_length"],
            case["dupe_factor"],
            case["short_seq_prob"],
            case["masked_lm_prob"],
            case["max_predictions_per_seq"],
            random.Random(case["seed"]),
        )
        fields = ("segment_ids", "is_random_next", "masked_lm_positions", "masked_lm_labels")
        rows = [
            {"tokens": " ".join(one.tokens), **{field: getattr(one, field) for field in fields}} for one in instances
        ]
        for row in rows:  # zeros, then ones
            row["segment_ids"] = [row["segment_ids"].count(0), row["segment_ids"].count(1)]
        results.append({"options": case, "instances": rows})
        print(f"seed {case['seed']}: {len(rows)} instances")
    lines = ",\n".join(json.dumps(result) for result in results)
    (FIXTURES / "pairs.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
