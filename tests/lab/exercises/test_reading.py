"""What an answer does, and whose it is: what it calls counts, and the package's own backward passes are no answers."""

import re

import pytest

from minibert.lab.exercises import solved
from minibert.lab.exercises.judging import judge_file
from minibert.lab.exercises.reading import borrowed, definitions, excesses, function_in, unread
from tests.lab.exercises.files import BY_NAME, outcome_of

GOOD = "dy * (cache.cdf + cache.x * np.exp(-cache.x**2 / 2) / math.sqrt(2 * math.pi))"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def helper(dy, cache):\n" + "    a = 1\n" * 5 + "    return GOOD\n"
         "def gelu_backward(dy, cache):\n    return helper(dy, cache)", "7 statements, at most 5"),
        ("def inner(a):\n" + "    a = 1\n" * 5 + "    return a\n"
         "def outer(a):\n    return inner(a)\n"
         "def gelu_backward(dy, cache):\n    outer(dy)\n    return GOOD", "9 statements, at most 5"),
        ("def helper(a):\n    for _ in a:\n        pass\n"
         "def gelu_backward(dy, cache):\n    helper(dy)\n    return GOOD", "loops 1 deep, at most 0"),
        ("def helper(n):\n    return n and helper(n - 1)\n"
         "def gelu_backward(dy, cache):\n    helper(3)\n    return GOOD", "loops 1 deep, at most 0"),
        ("helper = lambda dy: np.vectorize(lambda a: a)(dy)\n"
         "def gelu_backward(dy, cache):\n    helper(dy)\n    return GOOD", "loops 1 deep, at most 0"),
        ("def gelu_backward(dy, cache):\n    list(map(abs, dy))\n    return GOOD", "loops 1 deep, at most 0"),
        ("class Helper:\n    def run(self):\n" + "        a = 1\n" * 5 +
         "def gelu_backward(dy, cache):\n    Helper().run()\n    return GOOD", "7 statements, at most 5"),
        ("def gelu_backward(dy, cache):\n    return [" + "a := 1, " * 5 + "GOOD][-1]", "6 statements, at most 5"),
        ("slow = gelu_backward_in_steps\n"
         "def gelu_backward(dy, cache):\n    return slow(dy, cache)", "uses gelu_backward_in_steps, which it is"),
    ],
)  # fmt: skip
def test_what_an_answer_calls_counts_as_the_answer(code, words, tmp_path):
    outcome = outcome_of(tmp_path, "derive_gelu", "import math\n" + code.replace("GOOD", GOOD))
    assert all(one.ok for one in outcome.judged), outcome
    assert words in outcome.failures[0], outcome.failures


@pytest.mark.parametrize(
    "code",
    [
        "ROOT = math.sqrt(2 * math.pi)\ndef unused():\n" + "    a = 1\n" * 9
        + "def gelu_backward(dy, cache):\n    return GOOD + 0 * ROOT",
        "def density(x):\n    '''The normal density.'''\n    return np.exp(-x**2 / 2) / math.sqrt(2 * math.pi)\n"
        "def gelu_backward(dy, cache):\n    x, cdf = cache\n    a = x * density(x)\n    b = a + cdf\n    return dy * b",
        "def x():\n" + "    a = 1\n" * 9 + "def gelu_backward(dy, cache):\n    return GOOD",  # cache.x is no call of it
    ],
)  # fmt: skip
def test_constants_and_short_helpers_are_welcome(code, tmp_path):
    outcome = outcome_of(tmp_path, "derive_gelu", "import math\n" + code.replace("GOOD", GOOD))
    assert outcome.solved, outcome


def test_helpers_that_are_given_do_not_count(tmp_path):
    exercise = BY_NAME["derive_attention"]
    path = tmp_path / "derive_attention.py"
    path.write_text(solved(exercise))
    assert "17 statements, at most 19" in judge_file(exercise, path).remarks
    text = solved(exercise).replace(
        "    return x.reshape(x.shape[0]", "    y = x\n    y = y\n    return y.reshape(x.shape[0]"
    )
    path.write_text(text)
    assert judge_file(exercise, path).failures == ("attention_backward: 20 statements, at most 19",)


def test_another_file_is_no_place_to_hide_statements(tmp_path):
    (tmp_path / "derive_help.py").write_text(f"import math\nimport numpy as np\ndef f(dy, cache):\n    return {GOOD}\n")
    code = "from derive_help import f\ndef gelu_backward(dy, cache):\n    return f(dy, cache)"
    outcome = outcome_of(tmp_path, "derive_gelu", code)
    assert outcome.failures == ("derive_gelu.py imports derive_help: what is counted is one file, so write it here",)


@pytest.mark.parametrize(
    ("text", "alone", "together"),
    [
        ("def f(x):\n    '''doc'''\n    for i in x:\n        while i:\n            i -= 1\n    return [y for y in x]\n",
         (4, 2), (4, 2)),
        ("def f(x): return 1", (1, 0), (1, 0)),
        ("def f(x):\n    return [[g(z) for z in y] for y in x], [0 for y in x for z in y]\n"
         "def g(z):\n    return map(abs, z)\n", (1, 2), (2, 3)),
        ("def f(x):\n    def g(y):\n        return g(y - 1)\n    for y in x:\n        g(y)\n", (3, 1), (3, 2)),
        ("A = 3\nh = lambda x: x\ndef f(x):\n    return h(x) + A", (1, 0), (2, 0)),
    ],
)  # fmt: skip
def test_statements_and_loops_are_counted(text, alone, together):
    assert excesses(function_in(text, "f")) == alone
    assert excesses(function_in(text, "f"), definitions(text, "")) == together


# ---- whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("from minibert.ops import layer_norm_backward", 1),
        ("from minibert.ops.layer_norm import layer_norm_backward as mine\nlayer_norm_backward = mine", 1),
        ("from minibert.ops.layer_norm import *", None),
        ("from minibert import ops\nlayer_norm_backward = ops.layer_norm_backward", 2),
        ("def layer_norm_backward(dy, cache):\n    from minibert import ops as o\n"
         "    return o.layer_norm_backward(dy, cache)", 3),
        ("import minibert.ops\ndef layer_norm_backward(dy, cache):\n"
         "    return minibert.ops.layer_norm_backward(dy, cache)", 3),
        ("import minibert.ops as m\nagain = also = m\ndef layer_norm_backward(dy, cache):\n"
         "    return again.layer_norm_backward(dy, cache)", 4),
        ("from minibert import engines\ndef layer_norm_backward(dy, cache):\n"
         "    return engines.get('reference').layer_norm_backward(dy, cache)", 3),
        ("layer_norm_backward = __import__('minibert.ops').ops.layer_norm_backward", None),
    ],
)  # fmt: skip
def test_miniberts_own_backward_is_no_answer(code, line, tmp_path):
    outcome = outcome_of(tmp_path, "fill_layer_norm", code)
    assert all(one.ok for one in outcome.judged), outcome
    assert not outcome.solved
    (failure,) = outcome.failures
    assert "layer_norm_backward is minibert's own. It is right, and nothing of yours would be checked" in failure
    text = (tmp_path / "fill_layer_norm.py").read_text()
    where = f", line {text[: text.rindex(code)].count(chr(10)) + line}" if line else ""
    assert failure.startswith(f"fill_layer_norm.py{where}: ")


@pytest.mark.parametrize("name", ["find_layer_norm_1", "derive_layer_norm"])
def test_that_goes_for_every_level(name, tmp_path):
    outcome = outcome_of(tmp_path, name, "from minibert.ops import layer_norm_backward")
    assert [one.ok for one in outcome.judged] == [True]
    assert "layer_norm_backward is minibert's own" in outcome.failures[0]


def test_steps_are_no_answer_where_they_are_not_given(tmp_path):
    code = "from minibert.lab.exercises.steps import softmax_backward_in_steps as softmax_backward"
    assert "softmax_backward_in_steps is minibert's own" in outcome_of(tmp_path, "fill_softmax", code).failures[0]


def test_what_a_composed_operator_is_given_may_be_used_by_any_name(tmp_path):
    code = solved(BY_NAME["fill_add_layer_norm"]).replace("from __future__ import annotations", "")
    code = "from minibert import ops\n" + code.replace(" layer_norm_backward(dy", " ops.layer_norm_backward(dy")
    assert "ops.layer_norm_backward" in code
    outcome = outcome_of(tmp_path, "fill_add_layer_norm", code)
    assert outcome.solved, outcome


def test_a_students_other_files_are_no_loan(tmp_path):
    for name in ("linear", "tanh", "cross_entropy"):
        (tmp_path / f"fill_{name}.py").write_text(solved(BY_NAME[f"fill_{name}"]))
    code = (
        "import fill_linear, fill_tanh as t\nfrom fill_cross_entropy import cross_entropy_backward\n"
        "linear_backward, tanh_backward = fill_linear.linear_backward, t.tanh_backward\n"
        "def gather_rows_backward(dy, cache):\n"
        "    return np.array([dy[cache.rows == r].sum(0) for r in range(cache.num_rows)])\n"
    )
    outcome = outcome_of(tmp_path, "train_head", code)
    assert outcome.solved, outcome
    outcome = outcome_of(tmp_path, "train_head", code + "from minibert.ops import tanh_backward, linear_backward")
    assert re.search(", line .*: tanh_backward, linear_backward are minibert's own. They are", outcome.failures[0])


def test_names_are_told_apart():
    text = (
        "import fill_tanh\nfrom minibert import ops\nx = fill_tanh.tanh_backward\ny = ops.tanh\nz = ops.gelu_backward\n"
    )
    assert borrowed(text, set()) == {"gelu_backward": 5}
    assert borrowed(text, {"gelu_backward"}) == {}
    assert unread("def f(a):\n    b, _ = a\n    c = a\n    return c\n") == {"b"}
