"""minibert gradcheck beyond its tables: references, a planted bug, the curve, second order."""

import json

import pytest

from minibert import cli
from minibert.cli import laboratory
from minibert.lab.mutants import MUTANTS
from minibert.lab.references import references


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Five references of everything take half a minute."""
    names = "embeddings.sum", "encoder.layer.0.attention.self.key.bias", "cls.predictions.rows"
    monkeypatch.setattr(laboratory, "references", lambda trace, seed: references(trace, *names, seed=seed))


def test_references_are_columns(capsys):
    assert cli.main(["gradcheck", "--references", "--layers", "1"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[1].split() == ["complex", "one", "step", "differ.", "identity", "engine"]
    assert lines[2] == "bert.embeddings"
    assert lines[3].startswith("  sum ")
    assert lines[3].split()[-2:] == ["-", "-"]
    assert "bert.encoder.layer.0" in lines
    assert "3 gradients, 0 wrong; closest to a tolerance" in lines[-1]
    assert "five references each" in err
    assert cli.main(["gradcheck", "--references", "--layers", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"]
    assert [r["name"] for r in result["tensors"][1]["references"]] == [
        "complex", "one step", "richardson", "identity", "engine",
    ]  # fmt: skip


def test_a_planted_bug_is_found_and_explained(capsys):
    assert cli.main(["gradcheck", "--plant", "attention-scale-dk"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("attention: 1/√D missing on dK, planted in attention_backward\n  - @ q * scale\n  + @ q\n")
    assert "first wrong gradient, from the loss down: bert.encoder.layer.1.attention.self.key; " in out
    assert "3.4641 = √(48/num_heads)" in out
    assert cli.main(["gradcheck", "--plant", "attention-scale-dk", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["found"]["name"] == "bert.encoder.layer.1.attention.self.key"


def test_bugs_are_listed(capsys):
    assert cli.main(["gradcheck", "--plant", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(MUTANTS)
    assert any(line.split()[0] == "softmax-row-sum" for line in lines)


def test_a_bug_outside_the_trace_says_so(capsys):
    assert cli.main(["gradcheck", "--plant", "cross-attention-scale"]) == 0
    assert "Nothing is wrong in a trace, which computes all tokens in every layer" in capsys.readouterr().out


def test_the_curve_is_drawn(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    png = tmp_path / "curve.png"
    name = "encoder.layer.0.attention.self.probs"
    assert cli.main(["gradcheck", "--layers", "1", "--curve", name, "--png", str(png)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"bert.{name}, along a direction drawn from N(0, I)\n")
    assert "step h" in out
    assert "i complex step" in out
    assert max(map(len, out.splitlines())) <= 80
    assert png.read_bytes().startswith(b"\x89PNG")
    assert err == f"wrote {png}\n"


@pytest.mark.parametrize("dropout", [[], ["--dropout-seed", "3"]], ids=["no dropout", "dropout"])
def test_second_order(capsys, dropout):
    assert cli.main(["gradcheck", "--layers", "1", "--second-order", *dropout]) == 0
    out = capsys.readouterr().out
    assert "expected rates 1, 2, 3" in out
    assert "<Hu, v> = " in out
    assert cli.main(["gradcheck", "--layers", "1", "--second-order", "--json", *dropout]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rates"] == pytest.approx([1, 2, 3], abs=0.1)
    assert result["asymmetry"] < 1e-14


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--plant", "softmax"], "hint: there is softmax-row-sum, softmax-axis"),
        (["--plant", "nonsense"], "no bug is called 'nonsense'"),
        (["--references", "--second-order"], "expected one of --references and --second-order"),
        (["--png", "x.png"], "--png goes with --curve"),
    ],
)
def test_wrong_usage_is_said(capsys, args, said):
    assert cli.main(["gradcheck", *args]) == 2
    assert said in capsys.readouterr().err


def test_a_curve_of_nothing_names_the_nearest(capsys):
    assert cli.main(["gradcheck", "--curve", "prob"]) == 4
    assert "the nearest are bert.encoder.layer.0.attention.self.probs" in capsys.readouterr().err
