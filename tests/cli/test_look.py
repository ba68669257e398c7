"""minibert look: the map, a card, a sum, JSON; and what it says when asked for what is not there."""

import contextlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.text import Text

from minibert.cli import main
from minibert.lab.heat import SHADES, heat_map
from minibert.lab.tensors import load_trace
from minibert.lab.terminal import map_lines
from minibert.lab.trace import Trace
from tests.cli.process import minibert
from tests.lab.traces import traced

TEXT = "the cat [MASK] on the mat"


def look(folder, *args, **options):
    return minibert("look", "--model", folder, *args, **options)


def test_the_map_shows_every_tensor_and_that_its_gradient_is_right(folder):
    status, out, err = look(folder, TEXT, env={"COLUMNS": "80"})
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[1] == "[CLS] the cat [MASK] on the mat [SEP]"
    assert lines[2].startswith("loss ")
    assert "−log p(" in lines[2]
    assert any(line.startswith("│  ├─ attention.self.probs ") and "2×8×8" in line for line in lines)
    assert any(line.startswith("├─ bert.encoder.layer.1  24 activations, 16 parameters") for line in lines)
    assert "gradients right: 74 of 74 activations and 46 of 46 parameters" in out
    assert max(map(len, lines[4:-2])) <= 80
    assert "WRONG" not in out


def test_all_layers_are_unfolded_when_asked_for(folder):
    _, short, _ = look(folder, TEXT)
    status, out, _ = look(folder, TEXT, "--all", "--whole")
    assert status == 0
    assert len(out.splitlines()) == len(short.splitlines()) + 40
    assert "from each tensor to the loss" in out


def test_a_card_has_equations_code_numbers_pictures_and_checks(folder):
    status, out, _ = look(folder, TEXT, "-t", "encoder.layer.0.attention.self.probs[1]", env={"COLUMNS": "80"})
    assert status == 0
    for part in (
        "bert.encoder.layer.0.attention.self.probs\n",
        "A 2 (head) × T 8 (token of the sequence) × T′ 8 (token of the sequence)",
        "also blocks.0.attn.hook_pattern",
        "  p[h,n,m] = exp(s[h,n,m] − max_j(s[h,n,j]))/Σ_l exp(s[h,n,l] − max_j(s[h,n,j]))\n",
        "probs, _ = softmax(scores)",
        "  dp[h,n,m] = Σ_d do[h,n,d]·v[h,m,d]\n",
        "  do    gradient of attention.self.context\n  s     attention.self.scores\n  v     attention.self.value\n",
        "value, head 1: ",
        "[CLS] the   cat   [MASK on    the   mat   [SEP]",
        "gradient, head 1: ",
        "one step  error",
        "whole     error",
    ):
        assert part in out, part
    assert max(map(len, out.splitlines())) <= 110  # only where a name or an equation is that long


def test_a_pattern_shows_all_that_it_matches(folder):
    status, out, _ = look(folder, TEXT, "-t", "*.attention.self.key.bias")
    assert status == 0
    assert out.count("attention.self.key.bias\n") == 2


def test_a_sum_is_written_out(folder):
    status, out, _ = look(folder, TEXT, "--unfold", "d:encoder.layer.0.attention.self.value.weight[3,5]")
    assert status == 0
    assert out.startswith("gradient of bert.encoder.layer.0.attention.self.value.weight[3,5] = ")
    assert "  dW_V[3,5] = Σ_n dv[0,n,3]·x[n,5]\n" in out
    assert "8 terms" in out
    assert "difference" in out


def test_json_has_it_all(folder):
    status, out, _ = look(folder, TEXT, "--json", "--target", "sat")
    result = json.loads(out)
    assert status == 0
    assert result["ok"]
    assert result["aim"].startswith("−log p(sat)")
    assert len(result["tensors"]) == 120
    probs = next(t for t in result["tensors"] if t["name"].endswith("0.attention.self.probs"))
    assert probs["shape"] == [[2, 8, 8]]
    assert probs["code"].startswith("minibert/ops/attention.py:")
    assert probs["verdict"] == "ok"
    assert probs["error"] <= probs["tolerance"]
    (card,) = json.loads(look(folder, TEXT, "--json", "-t", probs["name"])[1])
    np.testing.assert_allclose(np.sum(card["value"], axis=-1), 1)
    assert set(card["checks"]) == {"one step", "whole"}
    cell = json.loads(look(folder, TEXT, "--json", "--unfold", f"{probs['name']}[0,1,2]")[1])
    assert cell["stored"] == card["value"][0][1][2]
    assert cell["sums"][0]["terms"]


def test_a_trace_is_saved(folder, tmp_path):
    status, _, err = look(folder, TEXT, "--save", tmp_path / "trace.npz", "--dropout-seed", "3")
    assert status == 0
    assert err == f"wrote {tmp_path / 'trace.npz'}\n"
    assert load_trace(tmp_path / "trace.npz").tokens[2] == "cat"


def test_a_reader_who_has_seen_enough_is_no_error(folder):
    command = f"{sys.executable} -m minibert look --model {folder} '{TEXT}' --all | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0"


def test_a_page_is_written(folder, tmp_path):
    path = tmp_path / "look.html"
    status, out, err = look(folder, TEXT, "--html", path, "--curve", "encoder.layer.0.attention.self.probs")
    assert (status, out) == (0, "")
    assert err == f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB\n"
    text = path.read_text(encoding="utf-8")
    assert "74/74 activation and 46/46 parameter gradients are right" in text
    assert f"minibert look --model {folder} &#x27;{TEXT}&#x27; --html" in text


def test_a_page_that_is_too_large_is_refused_before_the_model_runs(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Trace, "__init__", None)
    monkeypatch.setattr(sys, "argv", ["minibert"])
    assert main(["look", "--model", str(folder), TEXT, "--html", str(tmp_path / "x.html"), "--max-mb", "0.3"]) == 4
    out, err = capsys.readouterr()
    assert not out
    assert re.fullmatch(r"minibert: error: page: 8 tokens take .* 0.3 MB were allowed\nhint: --max-mb \d\.\d\n", err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [("--file", "text.txt"), ("-",)])
def test_the_title_is_the_text_wherever_it_comes_from(folder, tmp_path, given):
    (tmp_path / "text.txt").write_text(f"{TEXT}\n")
    given = [tmp_path / one if one == "text.txt" else one for one in given]
    status, _, _ = look(folder, *given, "--html", tmp_path / "x.html", "--curve", "pooler.first", stdin=f"{TEXT}\n")
    assert status == 0
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert f"<title>{TEXT}</title>" in html
    assert f"<h1><bdi>{TEXT}</bdi></h1>" in html


def test_arguments_are_utf8_whatever_the_locale_says(folder, tmp_path):
    path, locale = tmp_path / "x.html", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    status, out, _ = look(folder, "the cät", "--pair", "漢", env=locale)
    assert status == 0
    assert "[CLS] the cat [SEP] [UNK] [SEP]" in out
    status, _, err = look(folder, f"cät {TEXT}", "--html", path, "--target", "säd", env=locale)
    assert (status, err.splitlines()[0]) == (
        4,
        "minibert: error: target: 'säd' is not one word of the vocabulary, but [UNK]",
    )
    status, _, _ = look(folder, f"cät {TEXT}", "--html", path, "--curve", "pooler.first", env=locale)
    html = path.read_text(encoding="utf-8")
    assert f"<title>cät {TEXT}</title>" in html
    assert f"{folder} &#x27;cät {TEXT}&#x27; --html" in html
    assert "mät" in minibert("tokenize", "--model", folder, "cat", "--pair", "mät", env=locale)[1]
    for verb in "look", "tokenize":
        status, out, err = minibert(
            verb, "--model", folder, "cat", "--pair", b"m\xe4t".decode(errors="surrogateescape")
        )
        assert (status, out, err) == (4, "", r"minibert: error: text b'm\xe4t' is not UTF-8" + "\n")


def test_progress_is_for_terminals(folder):
    """A bar on stderr while checks run, and nothing of it where stderr is a file; stdout is the same."""
    command = [sys.executable, "-m", "minibert", "look", "--model", str(folder), TEXT]
    theirs, ours = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=ours, env=environment, check=True, timeout=120)
    os.close(ours)
    seen = b""
    with contextlib.suppress(OSError):  # what a terminal says when its other side is closed
        while part := os.read(theirs, 65536):
            seen += part
    os.close(theirs)
    assert b"checking, one step of the chain rule each" in seen
    assert seen.endswith(b"\x1b[2K")  # and is gone
    status, out, err = look(folder, TEXT)
    assert (status, err, out) == (0, "", done.stdout.decode())


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        ((), 2, "expected one text, got 0"),
        (("a", "b"), 2, "expected one text, got 2"),
        (("the cat", "-t", "prob"), 4, "hint: the nearest are bert.encoder.layer.0.attention.self.probs, "),
        (("the cat", "--unfold", "loss.masked_lm[1]"), 4, "loss.masked_lm: expected a cell of shape (), got [1]"),
        (("the cat", "--unfold", "loss[x]"), 4, "loss[x]: expected NAME[i,j]"),
        (("the cat", "--html", "x.html", "-t", "loss"), 2, "expected one of --html and --tensor"),
        (("the cat", "--html", "x.html", "--json"), 2, "--html does not go with --json"),
        (("the cat", "--curve", "pooler.dense"), 2, "--curve goes with --html"),
        (
            ("the cat", "--html", "x.html", "--max-mb", "nan"),
            2,
            "--max-mb: expected a positive number of megabytes, got",
        ),
        (("the cat", "--html", "x.html", "--max-mb", "0.2"), 4, "--max-mb 0."),
        (
            ("the cat", "-t", "encoder.layer.0.output.dense[1,2]"),
            2,
            "output.dense shows all of it, not a cell\nhint: --unf",
        ),
        (
            ("the cat", "-t", "encoder.layer.0.output.dense[1]"),
            2,
            "hint: --unfold encoder.layer.0.output.dense[1] shows",
        ),
        (("the cat", "-t", "*.probs[1,2,3]"), 2, "probs shows one head, NAME[2], not a cell"),
        (("the cat", "-t", "d:pooler.dense"), 2, "hint: -t pooler.dense, or --unfold d:pooler.dense for"),
        (("the cat", "-t", "encoder.layer.0.attention.self.probs[99]"), 4, "there are 2 of them, 0 to 1; got 99"),
        (("the cat", "--target", "dog"), 4, "there is no [MASK] in the text"),
        ((TEXT, "--target", "sits"), 4, "'sits' is not one word of the vocabulary"),
        ((TEXT, "--save", "/nowhere/trace.npz"), 4, "/nowhere"),
        (("the " * 40,), 4, "tokens, the model has 32 positions"),
    ],
)
def test_what_cannot_be_shown_is_said(folder, args, status, said):
    found, out, err = look(folder, *args)
    assert found == status
    assert said in err
    assert not out


def test_a_wrong_gradient_turns_the_map_red():
    trace = traced("masked LM")
    report = trace.check()
    wrong = [row._replace(verdict="wrong") if row.name.endswith("1.output.LayerNorm") else row for row in report.rows]
    lines = [line.plain for line in map_lines(trace, report._replace(rows=tuple(wrong)), ["bert.encoder.layer.1"])]
    section, tensor = (line for line in lines if "WRONG" in line)
    assert section.startswith("├─ bert.encoder.layer.1 ")
    assert tensor.startswith("│  ├─ output.LayerNorm ")


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_without_colours_a_character_says_how_large():
    lines = heat_map(np.array([[0.0, 0.5, -1.0], [1.0, 0.0, 0.0]]), width=11, colour=False)
    assert [line.plain for line in lines] == [f"    {SHADES[4] * 2} @@", " @@"]


def test_colours_are_orange_and_blue():
    (line,) = heat_map(np.array([[1.0, -1.0, 0.0]]), width=4)
    assert line == Text.assemble(" ", (" ", "on #d95f02"), (" ", "on #2166ac"), (" ", "on #f7f7f7"))


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (100, 5), (100, 1000), (24, 76)])
@pytest.mark.parametrize("colour", [True, False])
def test_pictures_fit(shape, colour):
    lines = heat_map(np.random.default_rng(0).standard_normal(shape), 60, 20, colour)
    assert len(lines) == min(20, shape[0])
    assert max(len(line) for line in lines) <= 60


def test_a_cell_is_the_mean_of_what_it_stands_for():
    line = heat_map(np.array([[1.0] * 30 + [0.0] * 30]), width=3, colour=False)[0]
    assert line.plain == " @"


def test_a_matrix_of_nothing_is_blank():
    assert heat_map(np.zeros((2, 3)), 10, colour=False)[0].plain == ""
    assert heat_map(np.full((1, 2), -np.inf), 3, colour=False)[0].plain == ""
