"""The model that comes with minibert: it is there, small, what its card says, and what every verb takes by default."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import minibert as mb
from minibert import locate
from minibert.cli import main
from minibert.locate import embedded

CARD = embedded() / "README.md"
GOLD = "✓"
NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def table(heading):
    """Rows of the card's table under a heading, as lists of cells."""
    text = CARD.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    rows = [line.strip("| ").split(" | ") for line in re.findall(r"^\|.*\|$", text.partition("\n## ")[0], re.MULTILINE)]
    return rows[2:]


def test_it_is_small():
    weights = embedded() / "model.safetensors"
    assert weights.stat().st_size <= 16e6
    assert sum(path.stat().st_size for path in embedded().iterdir()) <= 16.5e6
    assert {array.dtype for array in load_file(weights).values()} == {np.dtype(np.float16)}


def test_answers_are_those_of_its_card():
    rows = table("Ten sentences")
    assert len(rows) == 10
    fill = mb.pipeline("fill-mask")
    for sentence, answers, _ in rows:
        found = [f"{guess['token_str']} {guess['score']:.2f}" for guess in fill(sentence)]
        words, promised = ([answer.split() for answer in each] for each in (found, answers.split(", ")))
        assert words[0][0] == promised[0][0], sentence
        # both have two digits: at the edge of rounding they are 0.01 apart
        np.testing.assert_allclose([float(p) for _, p in words], [float(p) for _, p in promised], atol=0.011)
    right = sum(judgement == GOLD for *_, judgement in rows)
    assert f"{NUMBERS[right]} of ten first answers are sensible" in CARD.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "args",
    [
        ("fill-mask", "She opened the [MASK] and walked into the room."),
        ("tokenize", "A text."),
        ("embed", "A text."),
        ("similarity", "A text.", "Another text."),
        ("inspect",),
        ("look", "A text."),
    ],
    ids=lambda args: args[0],
)
def test_verbs_take_it_by_default(args, capsys, monkeypatch):
    monkeypatch.delenv("MINIBERT_MODEL", raising=False)
    assert main(list(args)) == 0
    by_default = capsys.readouterr().out
    place = [str(embedded())] if args == ("inspect",) else [f"--model={embedded()}"]
    assert main([args[0], *place, *args[1:]]) == 0
    named = capsys.readouterr().out
    assert by_default
    assert by_default.splitlines()[:3] == named.splitlines()[:3]


@pytest.mark.parametrize(
    "args", [("classify", "A text."), ("tag", "A text."), ("answer", "--question", "What?", "A text.")]
)
def test_verbs_that_need_another_head_say_which(args, capsys, monkeypatch):
    monkeypatch.delenv("MINIBERT_MODEL", raising=False)
    assert main(list(args)) == 4
    err = capsys.readouterr().err
    assert "this is a BertForPreTraining" in err
    assert "minibert fill-mask" in err


@pytest.mark.filterwarnings("default::minibert.checkpoint.MissingWeights")
def test_training_begins_with_it(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MINIBERT_MODEL", raising=False)
    rows = [{"text": text, "label": label} for text, label in (("A good day.", "good"), ("A bad day.", "bad"))]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ["finetune", "classify", f"--train={tmp_path}/train.jsonl", f"--out={tmp_path}/run", "--epochs=10"]
    assert main([*args, "--lr=1e-3"]) == 0
    assert "2 missing: classifier.weight, classifier.bias" in capsys.readouterr().err
    assert main(["classify", f"--model={tmp_path}/run", "A good day.", "A bad day.", "--json"]) == 0
    said = [json.loads(line)["labels"][0]["label"] for line in capsys.readouterr().out.splitlines()]
    assert said == ["good", "bad"]


def test_a_copy_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "__file__", str(tmp_path / "minibert" / "locate.py"))
    with pytest.raises(mb.NotFound, match=r"is not there \(looked at .*weights/mini, "):
        embedded()
    (tmp_path / "minibert" / "weights" / "mini").mkdir(parents=True)  # as a wheel has it
    assert embedded() == tmp_path / "minibert" / "weights" / "mini"


def test_the_card_names_texts_and_licences():
    text = CARD.read_text(encoding="utf-8")
    for words in ("minibert pretrain", "minibert train-vocab", "tools/make_corpus.py", "public domain", "WordNet"):
        assert words in text
    assert Path(embedded(), "curves.png").is_file()


def test_the_prompt_answers_without_a_compiler():
    """So the first answer ever comes at once, too."""
    code = "import sys; from minibert.cli import main; main(['fill-mask', 'A [MASK].']); print('numba' in sys.modules)"
    env = {**os.environ, "MINIBERT_MODEL": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stderr == ""
