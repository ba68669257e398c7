"""The cpu engine as a whole: with and without Numba, what is imported when, and what the command line says of it."""

import os
import subprocess
import sys
import textwrap

import pytest

from minibert import engines, ops
from minibert.engines import cpu
from tests.cli.process import COMPILING, minibert
from tests.specimens import tiny_folder

WITHOUT_NUMBA = """
    import sys
    sys.modules["numba"] = None  # an import raises ImportError
    if how == "not installed":
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name.partition(".")[0] == "numba":
                    raise ModuleNotFoundError("No module named 'numba'", name="numba")
        del sys.modules["numba"]
        sys.meta_path.insert(0, Finder)
        import importlib.util
        original = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "numba" else original(name, *rest)
    import warnings
    warnings.simplefilter("ignore")
    import numpy as np
    import minibert as mb
    sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    def model(engine):
        return mb.BertModel(mb.BertConfig(**sizes), dtype="float32", engine=engine, seed=1)
"""


def run(code, how=""):
    program = f"how = {how!r}\n{textwrap.dedent(WITHOUT_NUMBA if how else '')}{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["not installed", "broken"])
def test_without_numba_auto_is_the_reference_and_cpu_an_error(how):
    out = run(
        """
        found = [model(engine)([[1, 2, 3]]).last_hidden_state for engine in ("auto", "reference")]
        print(np.array_equal(*found))
        try:
            model("cpu")([[1]])
        except mb.InputError as error:
            print(error)
        """,
        how,
    )
    same, error = out.split("\n", 1)
    assert same == "True"
    assert error.startswith("engine cpu: ")
    assert "numba" in error
    assert 'engine="reference"' in error


def test_importing_and_converting_need_no_compiler():
    out = run("""
        import sys
        import minibert as mb
        model = mb.BertModel(mb.BertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
        model.state_dict()
        print("numba" in sys.modules)
        model([[1, 2]])
        print("numba" in sys.modules)
    """)
    assert out.split() == ["False", "True"]


def test_what_is_not_made_fast_is_the_references():
    assert cpu.softmax is ops.softmax
    assert set(ops.__all__) <= set(dir(cpu))
    for name in cpu.MADE_FAST:
        assert getattr(cpu, name) is not getattr(ops, name)
    assert engines.get("cpu") is cpu


def test_the_command_line_says_that_it_compiles_and_says_it_once(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    cold = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = ("embed", "--model", folder, "the cat")
    status, out, err = minibert(*command, env=cold, compiling=True)
    assert (status, err) == (0, COMPILING)
    assert minibert(*command, env=cold, compiling=True) == (0, out, "")
    assert os.listdir(tmp_path / "cache")
