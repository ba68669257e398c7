"""read_json takes one strict JSON object of bounded size, and nothing that two readers could read differently."""

from __future__ import annotations

import contextlib
import sys

import pytest

from minibert.errors import LoadError, NotFound
from minibert.formats.jsonfile import read_json, read_json_list


@pytest.fixture
def read(tmp_path):
    def write_and_read(content: str | bytes, **options):
        path = tmp_path / "config.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_json(path, **options)

    return write_and_read


def test_object_is_read(read):
    text = '{"hidden_size": 768, "eps": 1e-12, "é": [null, true, "😀", "\\ud83d\\ude00"], "deep": {"hidden_size": 1}}'
    expected = {"hidden_size": 768, "eps": 1e-12, "é": [None, True, "😀", "😀"], "deep": {"hidden_size": 1}}
    assert read(text) == read("\r\n " + text + "\n") == expected


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "not valid JSON"),
        ("[]", "expected a JSON object, got"),
        ("null", "expected a JSON object, got None"),
        ('{"a": 1, "a": 1}', "duplicate key 'a'"),
        ('{"b": [{"a": 1, "\\u0061": 2}]}', "duplicate key 'a'"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        ('{"a": 1e400}', "'1e400' is too large a number"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"a": 1}}', "not valid JSON"),
        ('{"a": "\n"}', "not valid JSON"),
        ('\ufeff{"a": 1}', "not valid JSON.*BOM"),
        ('{"a": 1}'.encode("utf-16"), "expected UTF-8, got byte 0xff at 0"),
        ('{"a": 1}'.encode("utf-16-le"), "not valid JSON"),
        (b'{"a": "\xed\xa0\x80"}', "expected UTF-8, got byte 0xed at 7"),
        ('{"a": ["\\uD83D"]}', "half of a surrogate pair"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("<!DOCTYPE html><html></html>", "expected JSON, got an HTML page"),
        ("version https://git-lfs.github.com/spec/v1\n", "expected JSON, got a git-lfs pointer"),
    ],
)
def test_refused(read, tmp_path, content, match):
    with pytest.raises(LoadError, match=match) as caught:
        read(content)
    assert str(tmp_path / "config.json") in caught.value.message
    assert len(str(caught.value)) < 500


def test_depth_is_safe_wherever_the_caller_stands(read):
    """Little stack left, or a depth just at the parser's limit: still an object or a LoadError."""
    for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit() + 20, 7):
        with contextlib.suppress(LoadError):
            read('{"\\ud83d\\ude00":' + "[" * depth + "]" * depth + "}")


def test_size_limit(read):
    assert read('{"a": 1}', limit=8) == {"a": 1}
    with pytest.raises(LoadError, match="expected at most 7 bytes of JSON, got more"):
        read('{"a": 1}', limit=7)


def test_nothing_there_or_no_file(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        read_json(tmp_path / "absent")
    with pytest.raises(LoadError, match="expected a file, got a folder"):
        read_json(tmp_path)


def test_a_list_is_read_as_a_list_and_nothing_else(tmp_path):
    path = tmp_path / "modules.json"
    path.write_text('[{"a": 1}, 2]')
    assert read_json_list(path) == [{"a": 1}, 2]
    path.write_text('{"a": 1}')
    with pytest.raises(LoadError, match="expected a JSON array"):
        read_json_list(path)
    path.write_text('[{"a": 1, "a": 2}]')
    with pytest.raises(LoadError, match="duplicate key"):
        read_json_list(path)
