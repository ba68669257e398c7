"""What a student may write, and how mistakes are told: in words, with the student's own line."""

import re

import pytest

from minibert.lab.exercises import solved
from minibert.lab.exercises.judging import judge_function
from minibert.lab.exercises.operators import OPERATORS
from minibert.lab.exercises.telling import likeness
from minibert.lab.exercises.training import engine_of, judge_model, losses
from tests.lab.exercises.files import BY_NAME, outcome_of

RIGHT = {
    "fill_tanh": "def tanh_backward(dy, cache):\n    return [dy - dy * cache.y ** 2]",
    "fill_linear": """
def linear_backward(dy, cache, totals=None):
    dx = np.einsum("no,oi->ni", dy, cache.weight)
    dweight, dbias = np.einsum("no,ni->oi", dy, cache.x), np.add.reduce(dy)
    return dx, *added(totals, dweight, dbias)
""",
    # np.vectorize(math.exp) takes no complex numbers: the backward pass is not asked to
    "fill_gelu": """
import math
def gelu_backward(dy, cache):
    density = np.vectorize(math.exp)(-cache.x**2 / 2) / math.sqrt(2 * math.pi)
    return dy * cache.cdf + dy * cache.x * density
""",
    "fill_softmax": """
def softmax_backward(dprobs, cache):
    p = cache.probs
    jacobians = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
    return np.einsum("tij,ti->tj", jacobians, dprobs)
""",
    "fill_embedding": """
def embedding_backward(dy, cache, total=None):
    dtable = np.zeros((cache.num_rows, dy.shape[1])) if total is None else total
    np.add.at(dtable, cache.ids, dy)
    return dtable
""",
    "fill_layer_norm": """
def layer_norm_backward(dy, cache):
    h = dy.shape[1]
    d = dy * cache.gamma
    drstd = (d * cache.xhat / cache.rstd).sum(axis=1, keepdims=True)
    dcentred = d * cache.rstd - cache.xhat / h * drstd * cache.rstd**2
    return dcentred - dcentred.mean(axis=1, keepdims=True), (dy * cache.xhat).sum(0), dy.sum(0)
""",
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_students_own_way_is_as_good(name, tmp_path):
    outcome = outcome_of(tmp_path, name, RIGHT[name])
    assert outcome.solved, outcome


LINEAR = "def linear_backward(dy, cache, totals=None):\n    x, weight = cache\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("    return dy @ weight, dy.T @ x", "linear_backward returned 2 values; expected 3 gradients: dx, dweight,"),
        ("    dx = dy @ weight", "linear_backward returned None; expected 3 gradients"),
        ("    return 1.5, dy.T @ x, dy.sum(0)", "linear_backward returned a float for dx; expected an array"),
        ("    return dy @ weight, 'dW', dy.sum(0)", "returned a str for dweight"),
        ("    return dy @ weight, np.array([None]), dy.sum(0)", "returned an array of object for dweight"),
        ("    return dy @ x, dy.T @ x, dy.sum(0)", "line LAST: ValueError: matmul"),
        ("    dy *= 2\n    return dy", "write d = dy * 2 where you would write dy *= 2"),
        ("    x[0] = 1\n    return dy", "line LAST-1: ValueError: assignment destination is read-only"),
        ("    return helper(dy)", "line LAST: NameError: name 'helper' is not defined\n    return helper(dy)"),
        ("    return linear_backward(dy, cache)", "The function calls itself without an end"),
        ("    exit()", "line LAST: the program was ended here, by exit() or sys.exit()"),
        ("    input()", "Nothing"),
    ],
)
def test_what_returns_no_gradients_is_told_with_its_line(code, words, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda: (_ for _ in ()).throw(EOFError("EOF when reading a line")))
    words = "There is no keyboard behind a check" if words == "Nothing" else words
    outcome = outcome_of(tmp_path, "fill_linear", LINEAR + code)
    (one,) = outcome.judged
    assert not outcome.solved
    last = len((tmp_path / "fill_linear.py").read_text().rstrip("\n").split("\n"))
    words = words.replace("LAST-1", str(last - 1)).replace("LAST", str(last))
    assert words in one.trouble


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n    pass\n", "fill_tanh.py, line 1: invalid syntax\n    def f(:"),
        ("x = 1\n  y = 2\n", "fill_tanh.py, line 2: unexpected indent"),
        ("x = 'ab", "fill_tanh.py, line 1: unterminated string literal"),
        ("\x00", "null bytes"),
        ("", "fill_tanh.py defines no function tanh_backward"),
        ("tanh_backward = 3", "fill_tanh.py defines no function tanh_backward"),
        ("import sys\nsys.exit(0)\n", "fill_tanh.py, line 2: the program was ended here"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def a():\n    1 / 0\na()\n", "line 2: ZeroDivisionError: division by zero\n    1 / 0"),
    ],
)
def test_a_file_that_does_not_run_is_told_with_its_line(text, words, tmp_path):
    from minibert.lab.exercises.judging import judge_file

    path = tmp_path / "fill_tanh.py"
    path.write_text(text)
    outcome = judge_file(BY_NAME["fill_tanh"], path)
    assert not outcome.solved
    assert words in outcome.trouble


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    from minibert.lab.exercises.judging import judge_file

    path = tmp_path / "fill_tanh.py"
    path.write_bytes(b"x = 'caf\xe9'\n")
    assert "utf-8" in judge_file(BY_NAME["fill_tanh"], path).trouble.lower()


def test_ctrl_c_is_not_the_students_mistake(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        outcome_of(tmp_path, "fill_tanh", "def tanh_backward(dy, cache):\n    raise KeyboardInterrupt")


@pytest.mark.parametrize(
    ("last", "right", "words"),
    [
        ("dy @ weight, dy.T @ x, dy.mean(0)", 2, r"dbias is 0\.1\d* times the right one, everywhere"),
        ("-dy @ weight, dy.T @ x, dy.sum(0)", 2, "dx is -1 times the right one"),
        ("0 * dy @ weight, dy.T @ x, dy.sum(0)", 2, "dx is 0 everywhere"),
        ("dy @ weight, x.T @ dy, dy.sum(0)", 2, "dweight is transposed: its shape is"),
        ("dy @ weight, dy.T @ x, dy[0]", 2, r"dbias is wrong in 4 of its 4 numbers\. dbias\[\d\] is"),
        ("dy @ weight, dy.T @ x, dy.sum()", 2, r"dbias has the shape \(\), its argument \(4,\)"),
        ("dy @ weight, dy.T @ x / 0, dy.sum(0)", 2, "dweight holds 24 numbers that are inf or nan, of 24"),
        ("(dy @ weight).astype(int), dy.T @ x, dy.sum(0)", 2, "dx holds int64 numbers, its argument float64"),
        ("dy @ weight, dy.T @ x, dy.sum(0)", 3, "dbias, added: totals, after the call, is not"),
        ("np.r_[dy[:2] @ weight, 0 * x[2:]], dy.T @ x, dy.sum(0)", 2, "dx is wrong in rows 2 to 8 of 9 only"),
        ("dy @ weight, np.c_[dy.T @ x[:, :-1], 0 * dy[0]], dy.sum(0)", 2, "dweight is wrong in column 5 of 6 only"),
    ],
)
def test_what_a_wrong_gradient_looks_like_is_said(last, right, words, tmp_path):
    code = f"{LINEAR}    with np.errstate(all='ignore'):\n        return {last}"
    outcome = outcome_of(tmp_path, "fill_linear", code)
    (one,) = outcome.judged
    assert one.right == right
    assert any(re.search(words, note) for note in one.notes), one.notes


def test_backward_that_remembers_is_told(tmp_path):
    code = "n = 0\ndef tanh_backward(dy, cache):\n    global n\n    n += 1\n    return dy * (1 - cache.y**2) * n"
    (one,) = outcome_of(tmp_path, "fill_tanh", code).judged
    assert any("differs when called again" in note for note in one.notes)


def test_the_parts_of_a_projection_are_judged_one_by_one(tmp_path):
    outcome = outcome_of(tmp_path, "fill_attention", "def attention_backward(d, cache):\n    return 0 * cache.qkv")
    assert [line.name for line in outcome.judged[0].lines] == ["dq", "dk", "dv"]
    outcome = outcome_of(tmp_path, "fill_attention", "def attention_backward(d, cache):\n    return d")
    assert "attention_backward returned dqkv of the shape" in outcome.judged[0].trouble


def test_what_is_exchanged_is_called_by_its_name(tmp_path):
    code = (
        "from minibert import ops\ndef layer_norm_backward(dy, cache):\n"
        "    a, b, c = ops.layer_norm_backward(dy, cache)\n    return a, c, b"
    )
    (one,) = outcome_of(tmp_path, "fill_layer_norm", code).judged
    assert one.notes == ("dgamma is what dbeta should be.", "dbeta is what dgamma should be.")


def test_likeness_of_a_gradient_of_zero_is_found():
    import numpy as np

    right = {"dx": np.zeros((3, 2)), "dy": np.ones((3, 2))}
    assert likeness("dx", np.ones((3, 2)) * 2, right).startswith("dx is wrong in 6 of its 6 numbers")


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("derive_gelu", "def gelu_backward(dy, cache):\n" + "    a = 1\n" * 5 + "    return GOOD",
         "gelu_backward: 6 statements, at most 5"),
        ("derive_gelu", "def gelu_backward(dy, cache):\n    [0 for _ in dy]\n    return GOOD",
         "gelu_backward: loops 1 deep, at most 0"),
        ("derive_gelu", "from minibert import ops\ndef gelu_backward(dy, cache):\n"
         "    return ops.gelu_backward(dy, cache)", "gelu_backward is minibert's own"),
        ("derive_gelu", "gelu_backward = lambda dy, cache: GOOD", "must be a function that the file defines with"),
        ("derive_softmax", "def softmax_backward(dy, cache):\n    p = cache.probs\n"
         "    return np.einsum('tij,tj->ti', p[:, :, None] * (np.eye(p.shape[1]) - p[:, None]), dy)",
         r"softmax_backward: memory for \d{4}\.\d arrays like the input, at most 12"),
    ],
)  # fmt: skip
def test_a_fused_form_beyond_its_limits_is_not_accepted(name, code, words, tmp_path):
    good = "dy * (cache.cdf + cache.x * np.exp(-cache.x**2 / 2) / math.sqrt(2 * math.pi))"
    outcome = outcome_of(tmp_path, name, "import math\n" + code.replace("GOOD", good))
    assert all(one.ok for one in outcome.judged)
    assert not outcome.solved
    assert re.search(words, outcome.failures[0]), outcome.failures


# ---- the model -------------------------------------------------------------------------------------------------------


def spoilt(name, after):
    """The reference's backward, wrong from a certain call on: what drawn inputs alone would not show."""
    right, calls = OPERATORS[name].backward, iter(range(10**9))

    def backward(*args):
        result = right(*args)
        return result * (1 + 1e-3 * (next(calls) > after))

    return backward


def test_a_model_is_checked_tensor_by_tensor(tmp_path):
    remarks, failures = judge_model({"tanh": spoilt("tanh", -1)}, tmp_path / "x.py")
    assert remarks == []
    assert re.match(r"\d+ of 46 tensors of a BERT of 2 layers are right; wrong: .* and \d+ more", failures[0])


def test_ten_steps_must_end_at_the_references_loss(tmp_path):
    remarks, failures = judge_model({"tanh": spoilt("tanh", 4)}, tmp_path / "x.py")
    assert remarks == ["46 of 46 tensors of a BERT of 2 layers are right"]
    assert re.match(r"10 AdamW steps: loss 3\.\d+, the reference's 3\.\d+", failures[0])


def test_the_students_functions_are_what_the_model_learns_by(tmp_path):
    called = set()

    def spied(name):
        right = OPERATORS[name].backward

        def backward(*args):
            called.add(name)
            return right(*args)

        return backward

    for name in ("train_head", "train_bert"):
        called.clear()
        operators = BY_NAME[name].operators
        engine = engine_of({operator: spied(operator) for operator in operators}, tmp_path / "x.py")
        found = losses(engine)
        assert len(found) == 11
        assert found[-1] < found[0] - 1
        assert called == set(operators)


def test_a_mistake_in_the_model_is_told_with_its_line(tmp_path):
    code = """

def tanh_backward(dy, cache):
    if dy.shape[1] == 48:
        raise RuntimeError("too wide")
    return dy * (1 - cache.y * cache.y)
"""
    right = solved(BY_NAME["train_head"]).replace("from __future__ import annotations", "")
    outcome = outcome_of(tmp_path, "train_head", right + code)
    assert all(one.ok for one in outcome.judged)
    assert "RuntimeError: too wide" in outcome.failures[0]
    assert "train_head.py, line " in outcome.failures[0]


def test_every_operator_of_the_catalogue_passes_its_own_check(tmp_path):
    for operator in OPERATORS.values():
        judged = judge_function(operator, operator.backward, tmp_path / "x.py")
        assert judged.ok, judged
