"""What runs have measured, drawn, and `minibert plot`."""

import json
import math
import sys

import numpy as np
import pytest

from minibert.cli import main
from minibert.cli.plotting import Measured, _look, _ticks, panels, picture, read_runs, save, smooth, terminal
from minibert.errors import LoadError, NotFound


def written(folder, steps=1000, seed=0, torn=True, total=2000):
    """The metrics of a run that learns, and is still going on."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    lines = []
    for step in range(10, steps + 1, 10):
        loss = 2 + 7 * math.exp(-step / 200) + 0.05 * rng.normal()
        rate = 5e-4 * min(step / 200, (total - step) / 1800)
        record = {"step": step, "loss": loss, "lr": rate, "norm": 1 + 50 * math.exp(-step / 100) + 0.1 * rng.random()}
        lines.append(record | {"epoch": step / 100, "tokens_per_second": 9000})
        if step % 200 == 0:
            scores = {"dev_accuracy": 0.6 - 0.5 * math.exp(-step / 300), "dev_next_sentence_accuracy": 0.9}
            lines.append({"step": step, "dev_loss": loss + 0.3, "dev_perplexity": math.exp(loss + 0.3), **scores})
    lines.insert(3, {"step": 35, "skipped": "the loss of batch 34 is nan; nothing was changed"})
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 1010, "lo' * torn
    (folder / "metrics.jsonl").write_text(text)
    (folder / "run.json").write_text(json.dumps({"format": 1, "settings": {"steps": total}}))
    return folder


@pytest.fixture
def run(tmp_path):
    return written(tmp_path / "run")


def test_in_the_terminal(run):
    text = terminal(read_runs([run]))
    lines = text.split("\n")
    assert max(map(len, lines)) < 80
    assert lines[0].startswith("run: step 1,000 of 2,000, loss 2.")
    assert lines[0].endswith(", 1 skipped")
    titles = [line for line in lines if line and line[0] != " "][1:]
    assert titles == [
        "loss   • training   ◆ evaluation",
        "evaluations   ◆ accuracy   ◇ next sentence accuracy",
        "norm of the gradient",
        "learning rate",
    ]
    loss = lines[lines.index(titles[0]) + 1 :][:14]
    assert loss[0].split("│")[1].lstrip().startswith("•")  # from the left above
    columns = [max(i for i, c in enumerate(line) if c == "•") for line in loss if "•" in line]
    assert columns == sorted(columns)  # to the right below
    assert sum(line.count("◆") for line in loss) == 5
    assert lines[-1].split() == ["0", "500", "1,000"]


def test_several_in_the_terminal(run, tmp_path):
    other = written(tmp_path / "other", steps=500, seed=1, torn=False)
    text = terminal(read_runs([run, other]))
    lines = text.split("\n")
    assert max(map(len, lines)) < 80
    assert [line[:8] for line in lines[:2]] == ["a  run: ", "b  other"]
    loss = "".join(lines[lines.index("loss") :][:15])
    assert loss.count("B") == 2
    assert loss.count("A") >= 3  # of five, of which the other run may hide two
    assert all(mark in loss for mark in "ab")
    assert {"accuracy", "next sentence accuracy"} <= {*lines}  # apart: letters are for the runs


def test_many_in_a_picture(tmp_path):
    runs = read_runs([written(tmp_path / name, steps=400, seed=i) for i, name in enumerate("abcdefgh")])
    figure = picture(runs)
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert [text.partition(":")[0] for text in shown] == [*"abcdefgh"]
    assert all("step 400 of 2,000, loss" in text for text in shown)  # none is left out, and said once
    assert not any(axes.get_legend() for axes in figure.axes)  # nothing covers a curve
    looks = [(line.get_color(), str(line._dash_pattern)) for line in legend.get_lines()]
    assert len({*looks}) == len(runs)
    assert len({str(_look(i)) for i in range(18)}) == 18


def test_runs_of_one_name_are_told_apart_by_their_folders(run, tmp_path):
    (tmp_path / "b").mkdir()
    written(tmp_path / "b" / "run")
    assert [m.name for m in read_runs([run, tmp_path / "b" / "run"])] == [str(run), str(tmp_path / "b" / "run")]
    assert [m.name for m in read_runs([run])] == ["run"]


def test_little_is_drawn_as_well(tmp_path):
    for number, records in enumerate(
        (
            [{"step": 1, "loss": 3.0, "lr": 0.0, "norm": 1.0}],
            [{"step": 5, "loss": None, "lr": 1e-3, "norm": 1.0}, {"step": 6, "loss": 2.0, "lr": 1e-3, "norm": 1.0}],
            [{"step": 5, "dev_f1": 0.5}],
        )
    ):
        measured = Measured("little", None, records)
        assert terminal([measured]).startswith(f"little: step {records[-1]['step']}")
        save([measured], tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000
    with pytest.raises(LoadError, match="nothing has been measured that could be drawn"):
        terminal([Measured("little", None, [{"step": 5, "skipped": "the loss of batch 4 is nan"}])])


def test_a_quantity_that_spans_much_has_a_logarithmic_axis(run):
    lines = terminal(read_runs([run])).split("\n")
    norm = lines[lines.index("norm of the gradient") + 1 :][:6]
    assert [line.split("│")[0].strip() for line in norm if line[:9].strip()] == ["20", "10", "5", "2"]


def test_panels_are_of_what_is_there(run):
    (measured,) = read_runs([run])
    assert [panel.title for panel in panels([measured])] == [
        "loss", "accuracy and next sentence accuracy", "norm of the gradient", "learning rate",
    ]  # fmt: skip
    assert tuple(panels([measured])[0].keys) == ("loss", "dev_loss")
    x, y = measured.line("dev_loss")
    assert x.tolist() == [200, 400, 600, 800, 1000]
    assert y.size == 5


def test_smoothing_keeps_lines_and_ends():
    line = np.arange(100.0)
    np.testing.assert_allclose(smooth(line)[:-2], line[:-2])
    assert smooth(line)[-1] == 98  # of the last three
    assert smooth(np.ones(3)).tolist() == [1, 1, 1]
    noise = np.random.default_rng(0).normal(size=400)
    assert smooth(noise).std() < 0.3


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(2.1, 9.4, [4, 6, 8]), (0, 5e-4, [0, 2e-4, 4e-4]), (0.11, 0.89, [0.2, 0.4, 0.6, 0.8])],
)
def test_ticks_are_round(low, high, ticks):
    assert _ticks(low, high, 4) == pytest.approx(ticks)


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(NotFound, match="expected the folder of a run"):
        read_runs([tmp_path])
    (tmp_path / "run.json").write_text('{"format": 1, "settings": {"steps": 9}}')
    for text in (None, "", '{"step": 1, "lo'):
        if text is not None:
            (tmp_path / "metrics.jsonl").write_text(text)
        with pytest.raises(LoadError, match="the run has measured nothing yet"):
            read_runs([tmp_path])
    (tmp_path / "metrics.jsonl").write_text('nonsense\n{"step": 1}\n')
    with pytest.raises(LoadError, match="line 1 is no record of a step"):
        read_runs([tmp_path])


def test_the_verb(run, tmp_path, capsys, monkeypatch):
    def plot(*args):
        return (main(["plot", *map(str, args)]), *capsys.readouterr())

    before = {path: path.read_bytes() for path in run.iterdir()}
    status, out, err = plot(run)
    assert (status, out, err) == (0, terminal(read_runs([run])) + "\n", "")
    status, out, err = plot(run, "--png", tmp_path / "a.png")
    assert (status, out, err) == (0, f"picture written to {tmp_path / 'a.png'}\n", "")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    status, out, err = plot(run, "--json")
    assert json.loads(out) == [{"name": "run", "steps": 2000, "records": read_runs([run])[0].records}]
    assert {path: path.read_bytes() for path in run.iterdir()} == before  # somebody else is writing there
    for args, expected, said in (
        ((tmp_path,), 3, "expected the folder of a run"),
        ((run, "--png", ""), 4, "--png: expected the name of a file"),
        ((run, "--png", tmp_path), 4, "--png: expected the name of a file"),
        ((run, "--png", tmp_path / "no" / "a.png"), 3, "no such folder, for a.png"),
    ):
        status, out, err = plot(*args)
        assert (status, out, said in err) == (expected, "", True), err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, err = plot(run, "--png", tmp_path / "a.png")
    assert (status, out) == (4, "")
    assert "pip install 'minibert-numpy[plot]'" in err
