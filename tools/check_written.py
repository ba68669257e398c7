"""Lets the reference programs read what minibert writes, and compares every number bitwise.

    python tools/check_written.py --with numpy
    python tools/check_written.py --with tensorflow      # tensorflow 2.21.0
    python tools/check_written.py --with transformers    # torch, and transformers 4 or 5

    python tools/check_written.py --write DIR                       # where minibert runs
    python tools/check_written.py --check DIR --with tensorflow     # where the program runs

The first form does both in one environment, which then needs minibert's own dependencies, too. What is written: the
tiny BERT of tests/formats/fixtures, by save_pretrained and converted into each format; and arrays of every dtype and
odd shape, by save_safetensors, save_npz and save_bundle. Prints one line a check, and exits with 1 if any failed; the
card of the fixtures, README.md there, has the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "formats" / "fixtures"
Arrays = dict[str, np.ndarray]
Check = tuple[str, Callable[[], int]]


def bert() -> Arrays:
    """The tiny BERT by Hugging Face's names."""
    arrays = np.load(FIXTURES / "expected.npz")
    return {name: arrays[name] for name in arrays if name.startswith(("bert.", "cls."))}


def odd() -> Arrays:
    """Every dtype that NumPy shares with the formats; scalars, nothing, many dimensions, strides, special numbers."""
    arrays = {f"dtype/{np.dtype(letter).name}": np.arange(7).astype(letter) for letter in "?bBhHiIqQefdF"}
    arrays |= {
        "scalar": np.array(-1.5, np.float32),
        "empty": np.zeros((3, 0, 2), np.float32),
        "six.dimensions": np.arange(48, dtype=np.int16).reshape(1, 2, 1, 4, 2, 3),
        "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "reversed": np.arange(12, dtype=np.float64)[::-2],
        "complex": np.array([1 - 2j, -3j], np.complex64),
        "special": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
        "Ünïcode name": np.arange(3, dtype=np.float32),
    }
    return arrays


def names_in_many_blocks() -> Arrays:
    """So many long names that the index of a TensorFlow checkpoint takes several blocks."""
    return {f"scope/{i:04}/{'deep/' * 25}w": np.array([i], np.int32) for i in range(9000)}


def write(folder: Path) -> None:
    sys.path.insert(0, str(ROOT))
    import minibert as mb
    from minibert.formats.npz import save_npz
    from minibert.formats.safetensors import save_safetensors
    from minibert.formats.tensorflow.writing import save_bundle
    from minibert.tasks.convert import convert

    mb.BertForPreTraining.from_pretrained(FIXTURES / "safetensors").save_pretrained(folder / "saved")
    convert(FIXTURES / "safetensors", folder / "tf", "tf")
    convert(FIXTURES / "tensorflow", folder / "safetensors", "safetensors")
    convert(FIXTURES / "safetensors", folder / "npz", "npz")
    save_safetensors(folder / "odd.safetensors", odd())
    save_npz(folder / "odd.npz", odd(), {"origin": "check_written"})
    save_bundle(folder / "odd", odd())
    save_bundle(folder / "many", names_in_many_blocks())


def same(got: Arrays, expected: Arrays) -> int:
    """How many arrays there are. AssertionError unless names, dtypes, shapes and bytes are the same."""
    assert {*got} == {*expected}, f"names differ: {sorted({*got} ^ {*expected})[:5]}"
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, f"{name}: dtype {got[name].dtype}, expected {array.dtype}"
        assert got[name].shape == array.shape, f"{name}: shape {got[name].shape}, expected {array.shape}"
        assert got[name].tobytes() == array.tobytes(), f"{name}: other numbers"
    return len(expected)


# --- The programs ---


def numpy_checks(folder: Path) -> Iterator[Check]:
    from safetensors.numpy import load_file

    def load(path: Path) -> Arrays:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays if name != "__metadata__"}

    yield (
        f"np.load (NumPy {np.__version__}), converted to npz",
        lambda: same(load(folder / "npz" / "model.npz"), bert()),
    )
    yield "np.load, every dtype", lambda: same(load(folder / "odd.npz"), odd())
    yield "safetensors.numpy.load_file, every dtype", lambda: same(load_file(folder / "odd.safetensors"), odd())


def tensorflow_checks(folder: Path) -> Iterator[Check]:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    v1 = tf.compat.v1

    def listed(prefix: Path) -> Arrays:
        reader = tf.train.load_checkpoint(str(prefix))
        arrays = {name: np.asarray(reader.get_tensor(name)) for name, _ in tf.train.list_variables(str(prefix))}
        assert {name: [*array.shape] for name, array in arrays.items()} == dict(tf.train.list_variables(str(prefix)))
        return arrays

    def restored(prefix: Path, like: Arrays) -> Arrays:
        """Through variables of those names, as Google's scripts start from init_checkpoint."""
        with tf.Graph().as_default(), v1.Session() as session:
            variables = {
                name: v1.get_variable(f"v{i}", array.shape, tf.as_dtype(array.dtype), v1.zeros_initializer())
                for i, (name, array) in enumerate(like.items())
            }
            v1.train.Saver(variables).restore(session, str(prefix))
            return {name: np.asarray(session.run(variable)) for name, variable in variables.items()}

    google = listed(FIXTURES / "tensorflow" / "bert_model.ckpt")
    place = folder / "tf" / "bert_model.ckpt"
    numeric = {name: array for name, array in odd().items() if array.dtype.kind == "f"}
    version = f"TensorFlow {tf.__version__}"
    yield f"load_checkpoint and list_variables ({version}), converted to tf", lambda: same(listed(place), google)
    yield "tf.compat.v1.train.Saver.restore, converted to tf", lambda: same(restored(place, google), google)
    yield "load_checkpoint, every dtype", lambda: same(listed(folder / "odd"), odd())
    yield "Saver.restore, floats of every kind and shape", lambda: same(restored(folder / "odd", numeric), numeric)
    yield "load_checkpoint, an index of many blocks", lambda: same(listed(folder / "many"), names_in_many_blocks())

    def latest() -> int:
        found = tf.train.latest_checkpoint(str(folder / "tf"))
        assert found == str(place), f"found {found}"
        return 1

    def same_files() -> int:
        for suffix in (".index", ".data-00000-of-00001"):
            written, original = (
                (home / f"bert_model.ckpt{suffix}").read_bytes() for home in (folder / "tf", FIXTURES / "tensorflow")
            )
            assert written == original, f"{suffix} differs"
        return 2

    yield "tf.train.latest_checkpoint finds it", latest
    yield "the same files, byte for byte, as TensorFlow's own Saver writes", same_files


def transformers_checks(folder: Path) -> Iterator[Check]:
    import torch
    import transformers
    from safetensors.torch import load_file

    def loaded(place: Path) -> Arrays:
        model, info = transformers.BertForPreTraining.from_pretrained(place, output_loading_info=True)
        assert not any(info.values()), f"loading info: {info}"
        state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        assert torch.equal(model.cls.predictions.decoder.weight, model.bert.embeddings.word_embeddings.weight)
        return {name: array for name, array in state.items() if ".decoder." not in name}

    version = f"transformers {transformers.__version__}"
    yield (
        f"BertForPreTraining.from_pretrained ({version}), save_pretrained: no key missing or unexpected",
        lambda: same(loaded(folder / "saved"), bert()),
    )
    yield (
        "BertForPreTraining.from_pretrained, converted from tf: no key missing or unexpected",
        lambda: same(loaded(folder / "safetensors"), bert()),
    )
    yield (
        f"safetensors.torch.load_file (torch {torch.__version__}), every dtype",
        lambda: same({name: x.numpy() for name, x in load_file(folder / "odd.safetensors").items()}, odd()),
    )
    if transformers.__version__ < "5":

        def from_tf() -> Arrays:
            from transformers.models.bert.modeling_bert import load_tf_weights_in_bert

            config = transformers.BertConfig.from_json_file(folder / "tf" / "bert_config.json")
            model: Any = transformers.BertForPreTraining(config)
            load_tf_weights_in_bert(model, config, str(folder / "tf" / "bert_model.ckpt"))
            state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
            return {name: array for name, array in state.items() if ".decoder." not in name}

        yield "load_tf_weights_in_bert (through TensorFlow), converted to tf", lambda: same(from_tf(), bert())


PROGRAMS = {"numpy": numpy_checks, "tensorflow": tensorflow_checks, "transformers": transformers_checks}


def check(folder: Path, program: str) -> bool:
    """Runs the checks of a program; True if all hold."""
    failed = 0
    for what, run in PROGRAMS[program](folder):
        try:
            print(f"ok      {what} ({run()} equal)", flush=True)
        except Exception as error:  # whatever the program raises is the finding
            failed += 1
            print(f"FAILED  {what}: {type(error).__name__}: {error}", flush=True)
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", metavar="DIR", type=Path, help="only write, into this new folder")
    parser.add_argument("--check", metavar="DIR", type=Path, help="check what --write wrote there")
    parser.add_argument("--with", dest="program", choices=PROGRAMS, help="the program that reads")
    args = parser.parse_args()
    if args.write:
        args.write.mkdir(parents=True)
        write(args.write)
    elif not args.program:
        parser.error("expected --write DIR or --with PROGRAM")
    elif args.check:
        sys.exit(not check(args.check, args.program))
    else:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            sys.exit(not check(Path(folder), args.program))


if __name__ == "__main__":
    main()
