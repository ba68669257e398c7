"""tools/make_corpus.py and tools/measure_model.py: what the embedded model reads, and how it is measured."""

import random
import sys
from pathlib import Path

import pytest

from minibert import BertForMaskedLM, BertForPreTraining
from minibert.cli import main as minibert

TOOLS = Path(__file__).resolve().parents[1] / "tools"
GLOSSES = """\
noun\tlemon, lemon tree\ta small evergreen tree; "a lemon grew there"
noun\tParis, City of Light, French capital, capital of France\tthe capital and largest city of France; and a center
noun\tCapricorn\t(astrology) the tenth sign of the zodiac
noun\tEmmental\tthe holes that it has tell it
noun\tAusterlitz, battle of Austerlitz\tthe French defeated them (1805)
noun\tMidi\tthe southern parts of France
verb\tbreathe, take a breath\tdraw air into the lungs
adj\tred\tof a color
"""


@pytest.fixture
def tool(monkeypatch, capsys):
    """tool(name, ...) -> what it prints."""
    monkeypatch.syspath_prepend(TOOLS)

    def call(name, *args):
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        __import__(name).main()
        return capsys.readouterr().out

    return call


def test_the_dictionary_becomes_sentences(tool, tmp_path):
    (tmp_path / "data/books").mkdir(parents=True)
    (tmp_path / "data/wordnet").mkdir()
    (tmp_path / "data/wordnet/glosses.txt").write_text(GLOSSES, encoding="utf-8")
    book = "Project Gutenberg's etext of Rain\n\n“It rained--all day,” said\nthe cat.\n\nAnd _so_ it did.\n"
    (tmp_path / "data/books/rain.txt").write_text(book, encoding="utf-8")
    assert tool("make_corpus", tmp_path / "data", tmp_path / "out").startswith("3 files, ")
    written = {file.name: file.read_text(encoding="utf-8").splitlines() for file in (tmp_path / "out").iterdir()}
    assert written["wordnet.txt"][0] == "A lemon is a small evergreen tree. A lemon grew there."
    assert written["wordnet.txt"][2:] == [
        "Capricorn is the tenth sign of the zodiac.",
        "Emmental is the holes that it has tell it.",
        "Austerlitz is the French defeated them (1805).",
        "Midi is the southern parts of France.",
        "To breathe is to draw air into the lungs.",
        "Red means of a color.",
    ]
    assert written["names.txt"] == [
        "The capital and largest city of France is Paris.",
        "The capital of France is Paris.",
        "The tenth sign of the zodiac is Capricorn.",
    ]
    assert " ".join(written["rain.txt"]) == '"It rained - all day," said the cat. And so it did.'


@pytest.mark.parametrize("singles", [False, True])
def test_a_run_is_measured_on_the_text_that_it_held_out(singles, tool, tmp_path):
    rng, words = random.Random(0), ["one", "two", "three", "four", "five"]
    text, vocab, run, half = (tmp_path / name for name in ("text.txt", "vocab.txt", "run", "half"))
    text.write_text("\n".join(" ".join(rng.choices(words, k=6)) for _ in range(400)), encoding="utf-8")
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n", encoding="utf-8")
    sizes = {"layers": 1, "hidden": 16, "heads": 2, "max-length": 24, "batch-size": 4, "steps": 2, "hold-out": 0.3}
    options = [f"--{name}={value}" for name, value in {**sizes, "vocab": vocab, "out": run}.items()]
    assert minibert(["pretrain", str(text), *options, *(["--no-next-sentence"] if singles else [])]) == 0
    printed = tool("measure_model", run, text, "--half", half)
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    losses = {row[0].strip("| "): float(row[1]) for row in rows if row[0] != "| " and row[1][0].isdigit()}
    assert losses.keys() == {"the model", "the same in float16, as shipped", "untrained", "frequencies"}
    assert losses["the model"] == pytest.approx(losses["the same in float16, as shipped"], abs=2e-3)
    assert printed.count("[MASK]") == 10
    assert (BertForMaskedLM if singles else BertForPreTraining).from_pretrained(half).config.num_hidden_layers == 1
    text.write_text(text.read_text(encoding="utf-8").replace("five", "four"), encoding="utf-8")
    with pytest.raises(SystemExit, match="not the corpus of the run"):
        tool("measure_model", run, text)
