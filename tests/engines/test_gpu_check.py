"""tools/gpu_check.py over the stand-in for CuPy: what it finds right there, and a planted bug that it must find."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibert import engines
from tests.card import CARD

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def check(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", CARD)
    runtime = SimpleNamespace(
        **vars(CARD.cuda.runtime),
        getDeviceProperties=lambda _: {"name": b"stand-in", "totalGlobalMem": 2**30},
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
    )
    monkeypatch.setattr(CARD.cuda, "runtime", runtime)
    monkeypatch.setattr(CARD, "__version__", "0", raising=False)
    monkeypatch.syspath_prepend(TOOLS)
    import gpu_check

    yield gpu_check
    for name in [name for name in sys.modules if name.startswith(("gpu_", "bench_"))]:
        del sys.modules[name]
    sys.modules.pop("minibert.engines.gpu", None)  # it has the stand-in
    engines.__dict__.pop("gpu", None)


def test_it_finds_all_right_and_reports(check, monkeypatch, capsys, tmp_path):
    file = tmp_path / "card.json"
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "parity", "gradients", "training", "--json", str(file)])
    assert check.main() == 0
    assert "WRONG" not in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert content["machine"]["card"] == "stand-in"
    assert len(content["findings"]) == 2 * 11 + 3 * 10 + 1
    exact = [finding for finding in content["findings"] if "float64" in finding["what"]]
    assert all(finding["difference"] == 0 for finding in exact)


def test_it_finds_a_wrong_gradient(check, monkeypatch, capsys):
    engine = engines.get("gpu")
    right = engine.add_layer_norm_backward

    def wrong(*args, **options):
        dx, *rest = right(*args, **options)
        return dx * 1.000001, *rest

    monkeypatch.setattr(engine, "add_layer_norm_backward", wrong)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "gradients"])
    assert check.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert all("WRONG" in line for line in lines if "float64" in line or "complex steps" in line)


def test_without_a_card_it_says_so(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    with pytest.raises(SystemExit, match="cupy"):
        check.main()
