"""JSON lines with several endings."""

import json

import pytest

from minibert.errors import LoadError, NotFound
from minibert.training.readers import ChoiceExample, read_choices

GOOD = {"text": "A", "choices": ["b", "c"], "label": 1}


def write(path, *records):
    path.write_text("\n\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


def test_it_reads_what_was_written_under_any_keys(tmp_path):
    expected = ChoiceExample("A", ("b", "c"), 1)
    assert read_choices(write(tmp_path / "a", GOOD, GOOD)) == [expected, expected]
    other = write(tmp_path / "b", {"premise": "A", "endings": ["b", "c"], "right": 1})
    assert read_choices(other, "premise", "endings", "right") == [expected]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": 1}, "line 3: text: expected a text, got 1"),
        ({"choices": ["b"]}, "line 3: choices: expected a list of two texts or more"),
        ({"choices": ["b", 1]}, "line 3: choices: expected a list of two texts or more"),
        ({"label": 2}, "line 3: label: expected an integer from 0 to 1, got 2"),
        ({"label": True}, "line 3: label: expected an integer from 0 to 1, got True"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, change, message):
    path = write(tmp_path / "a", GOOD, {**GOOD, **change})
    with pytest.raises(LoadError, match=message):
        read_choices(path)


def test_missing_keys_and_empty_files(tmp_path):
    with pytest.raises(LoadError, match="line 1: expected a key 'choices'; there are 'text'"):
        read_choices(write(tmp_path / "a", {"text": "A"}))
    (tmp_path / "empty").touch()
    with pytest.raises(LoadError, match="expected at least one row, got none"):
        read_choices(tmp_path / "empty")
    with pytest.raises(NotFound):
        read_choices(tmp_path / "none")
