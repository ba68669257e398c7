"""minibert gradcheck: what makes it fail, and what its options change."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minibert import cli
from minibert.cli import gradcheck
from minibert.gradcheck import Report
from tests.cli.process import minibert


def test_gradcheck_prints_a_row_a_tensor_and_passes(folder):
    status, out, _ = minibert("gradcheck", "--layers", 1)
    assert status == 0
    assert "‖g‖" in out
    assert out.count(" ok\n") == 30 + 12  # tensors and identities
    assert max(map(len, out.splitlines())) <= 80
    assert "0 wrong" in out
    status, out, _ = minibert("gradcheck", "--model", folder, "--json")
    result = json.loads(out)
    assert status == 0
    assert result["ok"]
    assert all(row["verdict"] == "ok" for row in result["tensors"] + result["identities"])
    assert minibert("gradcheck", "--layers", 1, "--dropout-seed", 3)[0] == 0


def test_gradcheck_fails_with_status_1_when_a_gradient_is_wrong():
    code = (
        "from minibert.lab import mutants; from minibert import engines, ops, cli\n"
        "engines.get = lambda name: mutants.plant(mutants.MUTANTS[3], ops)\n"
        "raise SystemExit(cli.main(['gradcheck', '--layers', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert " wrong\n" in done.stdout


@pytest.mark.parametrize("broken", ["compare", "check_identities"])
def test_gradcheck_fails_when_one_row_of_either_table_is_wrong(monkeypatch, capsys, broken):
    sound = getattr(gradcheck, broken)

    def spoiled(*args):
        first, *rest = sound(*args).rows
        return Report((first._replace(verdict="wrong"), *rest))

    monkeypatch.setattr(gradcheck, broken, spoiled)
    assert cli.main(["gradcheck", "--layers", "1"]) == 1
    assert "12 identities checked, 1 wrong" in capsys.readouterr().out
    assert cli.main(["gradcheck", "--layers", "1", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert not result["ok"]
    assert [row["verdict"] for row in result["tensors"] + result["identities"]].count("wrong") == 1


def norms(capsys, *args):
    assert cli.main(["gradcheck", "--json", *map(str, args)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert bool(result["identities"]) == ("--dropout-seed" not in args)
    return [row["norm"] for row in result["tensors"]]


def test_gradcheck_options_change_what_is_checked(folder, capsys):
    small, given = ("--layers", 1), ("--model", folder)
    assert norms(capsys, *small) == norms(capsys, *small, "--seed", 0, "--std", 0.15)
    assert norms(capsys, *small) != norms(capsys, *small, "--std", 0.3)
    assert norms(capsys, *small) != norms(capsys, *small, "--dropout-seed", 0)
    assert norms(capsys, *small, "--dropout-seed", 0) != norms(capsys, *small, "--dropout-seed", 1)
    assert norms(capsys, *given) != norms(capsys, *given, "--seed", 1)  # the input
    assert len(norms(capsys, *small)) < len(norms(capsys, "--layers", 2))


def test_gradcheck_seed_is_that_of_weights_and_directions(monkeypatch):
    weights, directions = [], []

    def spied(model, prepared, **options):
        weights.append(model.parameters.flat.copy())
        found = references(model, prepared, **options)
        directions.append(np.concatenate([v.ravel() for v, _ in found.values()]))
        return found

    references = gradcheck.references
    monkeypatch.setattr(gradcheck, "references", spied)
    for seed in ("0", "1"):
        assert cli.main(["gradcheck", "--layers", "1", "--json", "--seed", seed]) == 0
    assert not np.array_equal(*weights)
    assert not np.array_equal(*directions)
