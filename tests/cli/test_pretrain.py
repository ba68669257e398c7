"""minibert pretrain: from text to a model, and whatever comes between."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import minibert as mb
from minibert import BertForMaskedLM, BertForPreTraining
from minibert.cli import main
from minibert.cli.training import Progress, duration
from minibert.training.runs import read_metrics, verified

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """text.txt, of some blocks of sentences, and its vocab.txt."""
    folder, rng = tmp_path_factory.mktemp("text"), random.Random(0)
    documents = [[" ".join(rng.choices(WORDS, k=rng.randint(3, 8))) for _ in range(130)] for _ in range(6)]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines) for lines in documents), encoding="utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return folder


@pytest.fixture
def begin(place, capsys):
    """begin(out, ...) -> (status, stdout, stderr), in this process."""

    def call(*args, corpus="text.txt", vocab="vocab.txt", **options):
        status = run(arguments(place, *args, corpus=corpus, vocab=vocab, **options))
        return (status, *capsys.readouterr())

    return call


def run(args):
    try:
        return main(args)
    except SystemExit as error:  # of argparse
        return error.code


def arguments(place, out, *more, corpus="text.txt", vocab="vocab.txt", **options):
    usual = {"layers": 1, "hidden": 16, "heads": 2, "batch-size": 4, "max-length": 24, "steps": 6, "hold-out": 0.4}
    usual |= {"log-every": 2, "cache": place / "cache", "vocab": place / vocab if vocab else None, "out": out}
    usual |= {name.replace("_", "-"): value for name, value in options.items()}
    flags = [f"--{name}={value}" for name, value in usual.items() if value is not None]
    return ["pretrain", *([str(place / corpus)] if corpus else []), *flags, *map(str, more)]


def test_from_text_to_a_model_that_fills_masks(begin, tmp_path, capsys):
    status, out, err = begin(tmp_path / "run", eval_every=4)
    assert status == 0
    assert out.splitlines()[-1] == f"model written to {tmp_path / 'run'}"
    assert "best held-out loss" in out
    assert "Corpus(6 documents, 780 sentences" in err
    assert "step 2/6  loss " in err
    assert "dev next sentence accuracy" in err
    assert max(map(len, err.splitlines())) < 100  # of which the model's line is the longest
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [r["step"] for r in records if "loss" in r] == [2, 4, 6]
    assert [r["step"] for r in records if "dev_loss" in r] == [4, 6]
    best = min((r for r in records if "dev_loss" in r), key=lambda r: r["dev_loss"])
    assert f"best held-out loss {best['dev_loss']:.4f} at step {best['step']}" in out
    for folder in (tmp_path / "run", *(tmp_path / "run" / "checkpoints").glob("step-*")):
        assert main(["fill-mask", "--model", str(folder), "one two [MASK]", "--top", "1"]) == 0
        assert capsys.readouterr().out


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_killed_again_and_again_the_bits_are_the_same(begin, place, tmp_path):
    options = {"save_every": 1, "eval_every": 3, "log_every": 4, "steps": 16}
    assert begin(tmp_path / "straight", **options)[0] == 0
    folder, kills = tmp_path / "parts", 0
    for seconds in (0.02, 0.04, 0.06, 0.04, 0.05, 60):  # of the processor: tokenising, a step, saving
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            os.close(2)
            resume = ["--resume"] if (folder / "run.json").exists() else []
            os._exit(main(arguments(place, folder, *resume, **options)))
        status = os.waitpid(child, 0)[1]
        kills += os.WIFSIGNALED(status)
    assert status == 0
    assert kills > 2
    assert weights(folder) == weights(tmp_path / "straight")
    plain = [
        [{k: v for k, v in r.items() if k != "tokens_per_second"} for r in read_metrics(path / "metrics.jsonl")]
        for path in (folder, tmp_path / "straight")
    ]
    assert plain[0] == plain[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_where_it_goes_on(begin, place, tmp_path, number):
    options = {"steps": 100000, "lr": 1e-4, "hold_out": 0}
    command = [sys.executable, "-m", "minibert", *arguments(place, tmp_path / "run", **options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while "step " not in process.stderr.readline():
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "stopped at step" in err.splitlines()[-1]
    (newest,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert verified(newest)["step"] > 0


def test_nobody_need_listen(place, tmp_path):
    """stderr is closed, or its reader has gone: training goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    for name, stderr in (("gone", writer), ("closed", None)):
        command = [sys.executable, "-m", "minibert", *arguments(place, tmp_path / name, hold_out=0)]
        before = None if stderr else lambda: os.close(2)
        done = subprocess.run(
            command, stderr=stderr, stdout=subprocess.PIPE, preexec_fn=before, timeout=60, check=False
        )
        assert done.stdout.decode() == f"model written to {tmp_path / name}\n"
    assert weights(tmp_path / "gone") == weights(tmp_path / "closed")


def test_a_full_disk_is_said_and_the_run_goes_on_later(begin, tmp_path):
    assert begin(tmp_path / "straight")[0] == 0
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, limits[1]))
    try:
        status, out, err = begin(tmp_path / "run", save_every=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (status, out) == (4, "")
    assert err.splitlines()[-1].endswith("model.safetensors'")
    assert "File too large" in err
    assert begin(tmp_path / "run", "--resume", save_every=2)[0] == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")


def test_what_does_not_matter_may_change(begin, place, tmp_path):
    assert begin(tmp_path / "run", steps=None, epochs=0.01)[0] == 0  # one step
    for name in ("text.txt", "vocab.txt"):
        shutil.copy(place / name, place / f"again-{name}")
    status, _, err = begin(
        *(tmp_path / "run", "--resume", "--on-bad=skip"),
        corpus="again-text.txt", vocab="again-vocab.txt", steps=1, log_every=1, save_every=5, keep=3,
    )  # fmt: skip
    assert status == 0, err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr": 1e-3}, "lr was 0.0005 and is 0.001"),
        ({"steps": 7}, "steps was 6 and is 7"),
        ({"steps": None, "epochs": 1}, "steps was 6 and is "),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"hidden": 32}, "hidden was 16 and is 32"),
        ({"mask": 0.2}, "mask was 0.15 and is 0.2"),
        ({"corpus": "other.txt"}, "data was "),
        ({"vocab": "other-vocab.txt"}, "data was "),
    ],
)
def test_what_matters_may_not(begin, place, tmp_path_factory, changed, said):
    text = (place / "text.txt").read_text()
    (place / "other.txt").write_text(text.replace("three", "four", 1))
    (place / "other-vocab.txt").write_text((place / "vocab.txt").read_text() + "another\n")
    folder = place / "begun"
    if not folder.exists():
        assert begin(folder)[0] == 0
    status, out, err = begin(folder, "--resume", **changed)
    assert (status, out) == (4, "")
    assert f"not the same run: {said}" in err
    if "data" not in said and changed.get("steps", 1):
        assert "Corpus" not in err  # it was said before the text was read


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"corpus": None}, 2, "no corpus given"),
        ({"corpus": "none.txt"}, 3, "none.txt: expected a text file, got nothing"),
        ({"vocab": None}, 2, "--vocab: expected a vocabulary for a new model"),
        ({"vocab": "none.txt"}, 3, "expected a vocabulary, got nothing of that name"),
        ({"vocab": "text.txt"}, 4, "unk_token '[UNK]' is not among"),
        ({"epochs": 1}, 2, "not allowed with argument"),
        ({"steps": None, "epochs": "nan"}, 2, "--epochs: expected a positive number, got nan"),
        ({"steps": None, "epochs": 0}, 2, "--epochs: expected a positive number, got 0"),
        ({"steps": 0}, 2, "--steps: expected a positive integer"),
        ({"lr": "nan"}, 4, "lr: expected a number of at least 0, got nan"),
        ({"warmup": 7}, 4, "warmup: expected at most the 6 steps"),
        ({"clip": -1}, 4, "max_grad_norm: expected a positive number"),
        ({"spike": 0.5}, 4, "spike: expected 0, or a number above 1"),
        ({"layer_decay": 2}, 4, "layer_decay: expected a number above 0 and at most 1"),
        ({"freeze": "nothing"}, 4, "freeze: no tensor is called nothing"),
        ({"hold_out": 1}, 4, "hold_out: expected a number from 0 to below 1"),
        ({"hold_out": 0, "eval_every": 2}, 2, "--eval-every: nothing is held out"),
        ({"patience": 2}, 2, "expected --eval-every, too"),
        ({"short": -1}, 4, "short_seq_prob: expected a number from 0 to 1"),
        ({"mask": 0}, 4, "masked_lm_prob: expected a number above 0"),
        ({"max_length": 4}, 4, "max_seq_length: expected at least 5"),
        ({"positions": 23}, 2, "--positions: expected at least --max-length, 24, got 23"),
        ({"heads": 3}, 4, "hidden_size 16 is not a multiple"),
        ({"dropout": 1}, 4, "hidden_dropout_prob"),
        ({"activation": "step"}, 4, "hidden_act"),
        ({"out": ""}, 2, "--out: expected the name of a folder, got an empty one"),
        ({"out": "FILE"}, 4, "expected a folder for the run, got a file"),
        ({"out": "FILE/run"}, 4, "expected a folder that can be written to"),
    ],
)
def test_bad_input_is_refused_before_text_is_read(begin, tmp_path, monkeypatch, options, status, said):
    monkeypatch.setattr("minibert.training.corpus.Corpus.from_files", pytest.fail)
    (tmp_path / "FILE").touch()
    out_folder = tmp_path / options.get("out", "run") if options.get("out") != "" else ""
    found, out, err = begin(out_folder, **{name: value for name, value in options.items() if name != "out"})
    assert (found, out) == (status, ""), err
    assert said in err
    assert len(err.splitlines()) <= 2
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_there_is_not_written_over(begin, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, _, err = begin(folder, steps=1)
    assert (status, "a model is here already" in err) == (4, True), err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_text_that_the_vocabulary_does_not_know_is_said(begin, place, tmp_path):
    known = (place / "text.txt").read_text().splitlines()
    (place / "half.txt").write_text("\n".join(f"{line} один два" if i % 2 else line for i, line in enumerate(known)))
    assert "[UNK]" not in begin(tmp_path / "known", steps=1)[2]
    _, _, err = begin(tmp_path / "run", steps=1, corpus="half.txt")
    assert "% of the tokens are [UNK]: is the vocabulary one for other texts?" in err


def test_a_run_that_is_there_is_not_begun_again(begin, tmp_path):
    assert begin(tmp_path / "run", steps=1)[0] == 0
    status, _, err = begin(tmp_path / "run", steps=1)
    assert (status, err.splitlines()[0]) == (4, f"minibert: error: {tmp_path / 'run'}: a run is here already")
    status, _, err = begin(tmp_path / "other", "--resume", steps=1)
    assert (status, err.splitlines()[0]) == (4, f"minibert: error: {tmp_path / 'other'}: no run to be resumed")
    assert not (tmp_path / "other").exists()


def test_rates_that_are_too_high(begin, tmp_path):
    """The weights of every checkpoint are finite; nothing but what has happened is said."""
    status, out, err = begin(tmp_path / "run", lr=1e20, warmup=0)
    assert (status, out) == (4, "")
    assert "nothing was changed" in err
    assert "bad-step-00000001.npz holds the input; lower the learning rate, or let on_bad skip it" in err
    assert "note:" not in err  # of NumPy's
    (kept,) = (tmp_path / "run").glob("bad-step-*")
    assert kept.stat().st_size
    status, out, err = begin(tmp_path / "run", "--resume", "--on-bad=skip", lr=1e20, warmup=0)
    assert status == 0
    assert "step 6/6  skipped: the loss of batch 5 is nan; nothing was changed" in err


def test_more_batches_an_update_than_an_epoch_has(begin, tmp_path):
    assert begin(tmp_path / "run", accumulate=200, steps=1, hold_out=0)[0] == 0
    (record,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert record["epoch"] > 1


def test_on_from_a_model_that_was_published(begin, folder, place, tmp_path):
    """Its sizes are its own, and heads that it lacks are made."""
    options = dict.fromkeys(("layers", "hidden", "heads", "vocab"))
    pieces = (folder / "vocab.txt").read_text().split("\n")
    (place / "swapped.txt").write_text("\n".join([*pieces[:6], pieces[7], pieces[6], *pieces[8:]]))
    (place / "many.txt").write_text((place / "vocab.txt").read_text() + "".join(f"w{i}\n" for i in range(999)))
    status, _, err = begin(tmp_path / "run", "--no-next-sentence", model=folder, **options)
    assert status == 0, err
    trained = BertForMaskedLM.from_pretrained(tmp_path / "run")
    assert trained.config.hidden_size == BertForMaskedLM.from_pretrained(folder, strict=False).config.hidden_size
    for more, said in (
        ({"hidden": 32}, "--hidden does not go with --model"),
        ({"positions": 99}, "--positions does not go with --model"),
        ({"vocab": "many.txt"}, "--vocab: expected at most the "),
        ({"vocab": "swapped.txt"}, f"{pieces[6]!r} has the number 6 there and 7 here"),
        ({"layers": 1}, "--layers: expected at least 2, the layers of"),
        ({"vocab": "vocab.txt", "max_length": 9999}, "--max-length: expected at most"),
    ):
        status, _, err = begin(tmp_path / "other", model=folder, **{**options, **more})
        assert (status, said in err) == (2, True), err
    status, _, err = begin(tmp_path / "other", "--cased", model=folder, **options)
    assert "--cased does not go with" in err


def test_short_texts_first_and_long_ones_later(begin, tmp_path):
    """As BERT was trained: the positions that the short ones did not reach are there."""
    assert begin(tmp_path / "short", positions=40)[0] == 0
    short = BertForPreTraining.from_pretrained(tmp_path / "short")
    assert short.config.max_position_embeddings == 40
    assert mb.BertTokenizer.from_pretrained(tmp_path / "short").model_max_length == 40
    options = dict.fromkeys(("layers", "hidden", "heads", "vocab"))
    status, _, err = begin(tmp_path / "long", model=tmp_path / "short", max_length=40, **options)
    assert status == 0, err
    name = "bert.embeddings.position_embeddings.weight"
    was, now = (BertForPreTraining.from_pretrained(tmp_path / kind).state_dict()[name] for kind in ("short", "long"))
    fresh = BertForPreTraining(short.config, seed=0).state_dict()[name]
    np.testing.assert_allclose(was[24:], fresh[24:], rtol=1e-4)  # decay takes the sum of rates times 0.01
    assert abs(now[24:] - was[24:]).max() > 1e-4


def test_layers_are_stacked(begin, tmp_path):
    """Layers 0, 1, 0: and nothing else changes, though the weights of one step at the rate 0 are written."""
    assert begin(tmp_path / "shallow", layers=2)[0] == 0
    was = BertForPreTraining.from_pretrained(tmp_path / "shallow").state_dict()
    options = dict.fromkeys(("hidden", "heads", "vocab")) | {"model": tmp_path / "shallow", "lr": 0, "steps": 1}
    for layers in 2, 3, 5:
        status, _, err = begin(tmp_path / str(layers), **options, layers=layers)
        assert status == 0, err
        deeper = BertForPreTraining.from_pretrained(tmp_path / str(layers))
        assert deeper.config.num_hidden_layers == layers
        for name, array in deeper.state_dict().items():
            parts = name.split(".")
            if parts[1:3] == ["encoder", "layer"]:
                parts[3] = str(int(parts[3]) % 2)
            np.testing.assert_array_equal(array, was[".".join(parts)])


def test_positions_are_repeated_for_longer_texts(begin, tmp_path, monkeypatch):
    name = "bert.embeddings.position_embeddings.weight"
    assert begin(tmp_path / "short")[0] == 0  # of 24 positions
    was = BertForPreTraining.from_pretrained(tmp_path / "short").state_dict()
    options = dict.fromkeys(("layers", "hidden", "heads", "vocab")) | {"model": tmp_path / "short"}
    more = {"max_length": 60, "repeat_positions": 20, "lr": 0, "weight_decay": 0, "steps": 1}
    status, _, err = begin(tmp_path / "long", **options, **more)
    assert status == 0, err
    now = BertForPreTraining.from_pretrained(tmp_path / "long").state_dict()
    assert now[name].shape == (60, 16)
    for start in 0, 20, 40:
        np.testing.assert_array_equal(now[name][start : start + 20], was[name][:20])
    for other in was.keys() - {name}:
        np.testing.assert_array_equal(now[other], was[other])
    for repeat, model, said in (
        (25, tmp_path / "short", "--repeat-positions: expected at most 24"),
        (5, None, "--repeat-positions: expected a model"),
    ):
        vocab = {"vocab": "vocab.txt"} if model is None else {"vocab": None}
        given = {**options, **vocab, "model": model, "repeat_positions": repeat}
        status, _, err = begin(tmp_path / "other", **given)
        assert (status, said in err) == (2, True), err


def test_options_from_a_file(begin, place, tmp_path, capsys):
    file = tmp_path / "run.toml"
    corpus = str(place / "text.txt")
    plain = {"layers": 1, "hidden": 16, "heads": 2, "batch_size": 4, "max-length": 24, "steps": 3, "hold_out": 0}
    plain |= {"vocab": str(place / "vocab.txt"), "cache": str(place / "cache"), "freeze": ["*LayerNorm.bias"]}

    def with_file(*args, **more):
        lines = [f"{name} = {json.dumps(value)}" for name, value in {**plain, **more}.items()]
        file.write_text("\n".join(lines))
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        status = run(["pretrain", *map(str, args), "--out", str(tmp_path / "run")])
        return (status, *capsys.readouterr())

    assert with_file("--config", file, corpus=corpus)[0] == 0
    assert with_file(f"--config={file}", "--steps=2", corpus=[corpus], no_next_sentence=True, cased=False)[0] == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["steps"], settings["no_next_sentence"], settings["freeze"]) == (2, True, ["*LayerNorm.bias"])
    assert with_file(corpus, "--config", file, corpus="none.txt")[0] == 0  # what is typed wins

    for args, more, said in (
        (("--config", file), {"colour": 1}, "run.toml: colour: no option of this verb has that name"),
        (("--config", file), {"help": True}, "help: no option"),
        (("--config", file), {"lr": False}, "lr: expected text or a number, got false"),
        (("--config", file), {"lr": [1, 2]}, "lr: expected text or a number, got [1, 2]"),
        (("--config", file), {"resume": "yes"}, "resume: expected true or false, got 'yes'"),
        (("--config", file), {"freeze": [[1]]}, "freeze: expected text, a number or a list of these, got [[1]]"),
        (("--config", file), {"lr": "fast"}, "argument --lr: invalid float value: 'fast'"),
        (("--config", file, "--config", file), {}, "--config: expected one file, got several"),
        (("--conf", file), {}, "--config: expected to be spelled out"),
        (("--config", tmp_path / "none.toml"), {}, "none.toml: No such file"),
        (("--config", tmp_path), {}, "Is a directory"),
        (("--config", place / "text.txt"), {}, "not TOML"),
    ):
        status, out, err = with_file(*args, **{"corpus": corpus, **more})
        assert (status, out) == (2, ""), err
        assert said in err
    file.write_text("[lr]\npeak = 1\n")
    assert run(["pretrain", "--config", str(file), "--out", str(tmp_path / "run")]) == 2
    assert "lr: expected text or a number, got a table" in capsys.readouterr().err


def test_progress_says_what_is_left(capsys, monkeypatch):
    now = iter(range(0, 1000, 80))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    progress = Progress(30_000)
    record = {"loss": 10.5, "lr": 5e-4, "norm": 0.1234, "epoch": 1.0, "tokens_per_second": 12345}
    for step in (100, 200, 30_000):
        progress({"step": step, **record})
    progress({"step": 200, "dev_loss": 3.25, "dev_perplexity": 25.8, "dev_next_sentence_accuracy": 0.5})
    progress({"step": 201, "skipped": "the loss of batch 200 is nan"})
    assert capsys.readouterr().err.splitlines() == [
        "step   100/30000  loss 10.500  lr 5.0e-04  norm 0.123  12,345 tok/s",
        "step   200/30000  loss 10.500  lr 5.0e-04  norm 0.123  12,345 tok/s  6.6 h left",
        "step 30000/30000  loss 10.500  lr 5.0e-04  norm 0.123  12,345 tok/s",
        "step   200/30000  dev loss 3.25  dev perplexity 25.8",
        "                  dev next sentence accuracy 0.5",
        "step   201/30000  skipped: the loss of batch 200 is nan",
    ]
    said = ["1 s", "89 s", "2 min", "83 min", "1.7 h", "100.0 h"]
    assert [duration(seconds) for seconds in (0.2, 89, 91, 5000, 6000, 360_000)] == said


def test_tensorboard_gets_every_number(begin, tmp_path, monkeypatch):
    """By a stand-in for tensorboardX, which the tests do without."""
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))  # what a killed run has written from this step on is hidden

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            written.append(("flushed", 0))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    assert begin(tmp_path / "run", "--tensorboard")[0] == 0
    first, *numbers, last = written
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert (first, last) == ((str(tmp_path / "run" / "tensorboard"), records[0]["step"]), "closed")
    assert numbers[-1] == ("flushed", 0)  # `kill -9` would lose what is not
    every = [(name, record["step"]) for record in records for name in record if name != "step"]
    assert {name for name, _ in every} >= {"loss", "lr", "norm", "tokens_per_second", "dev_loss"}
    assert [number for number in numbers if number[0] != "flushed"] == every
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    status, _, err = begin(tmp_path / "other", "--tensorboard")
    assert (status, "pip install 'minibert-numpy[tensorboard]'" in err) == (4, True)
    assert not (tmp_path / "other" / "run.json").exists()
