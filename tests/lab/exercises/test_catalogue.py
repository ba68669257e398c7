"""The exercises: each is complete, unsolved as it is started, and solved by what `reveal` shows."""

import ast
import inspect
import re

import numpy as np
import pytest

from minibert.lab import chunked
from minibert.lab.exercises import EXERCISES, LEVELS, hints, solution, solved, started
from minibert.lab.exercises.judging import judge_file
from minibert.lab.exercises.operators import OPERATORS
from minibert.lab.exercises.reading import excesses, function_in, names_used, unread
from minibert.lab.exercises.sources import bug_of, step_form
from minibert.lab.mutants import MUTANTS

each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
FINDS = [exercise for exercise in EXERCISES if exercise.level == "find"]
DERIVES = [exercise for exercise in EXERCISES if exercise.level == "derive"]
each_derived = pytest.mark.parametrize("exercise", DERIVES, ids=lambda exercise: exercise.name)


def verdict(exercise, folder, text):
    path = folder / f"{exercise.name}.py"
    path.write_text(text, encoding="utf-8")
    return judge_file(exercise, path)


@each
def test_each_is_unsolved_as_it_is_started_and_solved_by_the_reference(exercise, tmp_path):
    before = verdict(exercise, tmp_path, started(exercise))
    assert not before.solved
    if exercise.level == "find":  # it runs, and some gradient is far off
        assert not before.trouble
        wrong = [line for one in before.judged for line in one.lines if not line.ok]
        assert max(line.error / line.tolerance for line in wrong) > 1e5
        assert all(one.notes for one in before.judged)
    else:
        assert all("nothing is written here yet" in one.trouble for one in before.judged)
    after = verdict(exercise, tmp_path, solved(exercise))
    assert after.solved, after
    assert max(line.error / line.tolerance for one in after.judged for line in one.lines) < 1e-4


@each
def test_what_reveal_prints_solves_it(exercise, tmp_path):
    shown = solution(exercise)
    if exercise.level != "find":
        text = f"{started(exercise)}\n\n" + re.sub(r"\n\nminibert explain \w+ derives it\.$", "\n", shown)
    else:  # a difference: the file's own lines are replaced
        text = started(exercise)
        difference = shown.split("\n\n")[0].split("\n")[2:]
        for block in re.split(r"^@@.*\n", "\n".join(difference) + "\n", flags=re.MULTILINE)[1:]:
            lines = block.rstrip("\n").split("\n")
            old = "\n".join(line[1:] for line in lines if line[:1] in " -")
            assert text.count(old) == 1
            text = text.replace(old, "\n".join(line[1:] for line in lines if line[:1] in " +"))
    assert verdict(exercise, tmp_path, text).solved


@each
def test_each_says_what_to_do_in_lines_that_fit(exercise):
    assert exercise.level in LEVELS
    assert re.fullmatch(r"(fill|find|derive|train)_[a-z_]+\d*", exercise.name)
    assert len(exercise.name) <= 21
    assert len(exercise.title) <= 45
    assert 2 <= len(hints(exercise)) <= 3
    doc = ast.get_docstring(ast.parse(started(exercise)))
    for action in ("check", "hint", "reveal"):
        assert f"minibert exercise {action} {exercise.name} " in doc
    assert f"there are {len(hints(exercise))}," in doc
    for name in exercise.operators:
        assert f"`{name}_backward`" in doc or exercise.level == "model"
    assert max(map(len, doc.split("\n"))) <= 96


@each
def test_a_started_file_does_not_tell(exercise):
    text = started(exercise)
    for name in exercise.operators:
        given = function_in(text, f"{name}_backward")
        assert ast.get_docstring(given) == OPERATORS[name].shapes
        source = inspect.getsource(OPERATORS[name].backward)
        assert ast.dump(given) != ast.dump(ast.parse(source).body[0])
        for line in source.split("\n"):
            if line.startswith("    return ") and exercise.level in ("fill in", "model"):
                assert line not in text
    assert "ommon mistake" not in text
    if exercise.level == "find":
        telling = exercise.name + exercise.title + ast.get_docstring(ast.parse(text))
        assert bug_of(exercise).why not in telling
        assert exercise.bug not in telling


@pytest.mark.parametrize("exercise", FINDS, ids=lambda exercise: exercise.name)
def test_a_linter_or_formatter_does_not_find_the_bug(exercise):
    """What ruff says of unused names, long lines and parentheses, without it."""
    text = started(exercise)
    lines, tree = text.split("\n"), ast.parse(text)
    assert max(map(len, lines)) <= 120
    assert not re.search(r"[ \t]$|\n\n\n\n", text, re.MULTILINE)
    read = names_used([tree])
    begins = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    assert len(set(begins)) == len(begins)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
            assert {alias.asname or alias.name for alias in node.names} <= read
        elif isinstance(node, ast.FunctionDef):
            assert unread(ast.unparse(node)) == set()
            assert node.name in read | {exercise.operators[0], f"{exercise.operators[0]}_backward"}
        elif isinstance(node, ast.ClassDef):
            assert node.name in read
        if isinstance(node, ast.Assign | ast.Return):  # a parenthesis before the value belongs to a tuple, or to a part
            line = lines[node.value.lineno - 1]
            assert re.search(r"(= |return )$", line.encode()[: node.value.col_offset].decode()), line


@each
def test_imports_are_sorted_and_an_answer_finds_what_it_needs(exercise):
    tree = ast.parse(solved(exercise))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [[alias.asname or alias.name for alias in node.names] for node in imports]
    assert {name for group in names[1:] for name in group} <= names_used([tree]) | {"np"}
    order = [
        (not isinstance(node, ast.Import), node.names[0].name if isinstance(node, ast.Import) else node.module)
        for node in imports[1:]
    ]
    ours = [place for place in order if place[1].partition(".")[0] in ("numpy", "minibert")]
    assert order == sorted(set(order) - set(ours)) + sorted(ours)
    for group in names:
        assert group == sorted(group, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_names_differ_and_every_family_of_bugs_is_there():
    assert len({exercise.name for exercise in EXERCISES}) == len(EXERCISES)
    assert len({exercise.bug for exercise in FINDS}) == len(FINDS) >= 20
    assert {bug_of(exercise).family for exercise in FINDS} == {mutant.family for mutant in MUTANTS}
    grades = [re.search(r"\((\w+)\)$", exercise.title)[1] for exercise in FINDS]
    assert grades == sorted(grades, key=["easy", "medium", "hard"].index)


@pytest.mark.parametrize("exercise", FINDS, ids=lambda exercise: exercise.name)
def test_a_planted_bug_is_the_catalogues_and_its_hint_comes_first(exercise):
    bug = bug_of(exercise)
    assert bug.operator == f"{exercise.operators[0]}_backward"
    first, second, third = hints(exercise)
    assert first == bug.hint
    assert bug.why in second
    assert third.split("\n")[1] in started(exercise)
    right = inspect.getsource(OPERATORS[exercise.operators[0]].backward).split("\n")
    assert third.split("\n")[1].strip() not in [line.strip() for line in right]


# ---- steps, and the limits of their fused form -----------------------------------------------------------------------


@each_derived
def test_steps_compute_what_the_fused_form_does(exercise):
    operator = OPERATORS[exercise.operators[0]]
    for args in operator.cases():
        y, cache = operator.forward(*args)
        dy = np.random.default_rng(0).standard_normal(np.shape(y))
        right = operator.backward(dy, cache)
        if operator.name == "layer_norm":
            centred = args[0] - args[0].mean(axis=-1, keepdims=True)
            found, right = chunked.layer_norm_backward_in_steps(dy, centred, cache)["dx"], right[0]
        else:
            found = step_form(exercise)(dy, cache)
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-12 * max(1.0, abs(right).max()))


@each_derived
def test_the_fused_form_keeps_to_the_limits_and_the_steps_do_not(exercise):
    operator = OPERATORS[exercise.operators[0]]
    sources = [inspect.getsource(f) for f in (operator.backward, step_form(exercise))]
    fused, steps = (excesses(ast.parse(source).body[0]) for source in sources)
    limits = exercise.limits
    assert fused <= (limits.statements, limits.loops)
    assert fused[1] <= limits.loops
    if exercise.name != "derive_layer_norm":  # whose steps leave two gradients out
        assert steps[0] > limits.statements


def test_steps_for_a_fused_form_are_turned_down(tmp_path):
    for exercise in DERIVES:
        name = exercise.operators[0]
        if name == "layer_norm":
            continue
        code = f"def {name}_backward(dy, cache):\n    return {name}_backward_in_steps(dy, cache)\n"
        outcome = verdict(exercise, tmp_path, f"{started(exercise)}\n\n{code}")
        assert all(one.ok for one in outcome.judged)
        assert not outcome.solved
        assert f"uses {name}_backward_in_steps" in outcome.failures[0]


@pytest.mark.parametrize("name", OPERATORS)
def test_drawn_arguments_are_the_same_each_time_and_of_several_sizes(name):
    first, again = OPERATORS[name].cases(), OPERATORS[name].cases()
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert len({args[0].shape for args in first}) > 1
