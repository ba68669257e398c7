"""CSV, TSV and JSON lines give the examples that were written, and every fault is told with its line."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import InputError, LoadError
from minibert.training.readers import TextExample, column_names, read_table

SEVERAL, NUMBERS = {"problem_type": "multi_label_classification"}, {"problem_type": "regression"}


def found(data):
    return [example.text for example in data.examples], [example.label for example in data.examples], data.labels


def test_csv_quotes_as_the_rfc_says(file):
    data = read_table(file("a.csv", 'label,text\r\nyes,"a ""b"", c"\r\nno,"two\r\nlines"\r\nyes,5" wide\r\nno,""\r\n'))
    assert found(data) == (['a "b", c', "two\r\nlines", '5" wide', ""], [1, 0, 1, 0], ("no", "yes"))


def test_tsv_takes_quotes_as_they_are_unless_asked(file):
    path = file("a.tsv", 'text\tlabel\n"a"\t0\nsay "b\t1\n')
    assert found(read_table(path))[0] == ['"a"', 'say "b']
    assert found(read_table(path, format="quoted-tsv"))[0] == ["a", 'say "b']
    assert found(read_table(file("b.tsv", 'text\tlabel\n"a\tb"\t0\n'), format="quoted-tsv"))[0] == ["a\tb"]


def test_json_lines(file):
    rows = [{"text": "a\u2028b", "label": 1, "n": 0.5}, {"label": "0", "text": 'say "b"', "n": "2"}]
    path = file("a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    assert found(read_table(path)) == (["a\u2028b", 'say "b"'], [1, 0], ("0", "1"))
    assert found(read_table(path, label="n", **NUMBERS))[1:] == ([0.5, 2.0], ())


def test_columns_by_number_and_without_header(file):
    path = file("stsb.tsv", "genre\t5.000\ta\tb\ngenre\t2.5\tc\td\n")
    data = read_table(path, 3, -1, 2, header=False, **NUMBERS)
    assert data.examples == [TextExample("a", "b", 5.0), TextExample("c", "d", 2.5)]
    assert len(read_table(path, 3, 4, 1).examples) == 1  # a first line taken for a header is no example
    assert read_table(path, 3, label=None, header=False).examples[1] == TextExample("c", None, None)


def test_labels_are_sorted_by_value_where_all_are_integers(file):
    rows = "".join(f"x,{label}\n" for label in ("10", "9", "-1"))
    assert read_table(file("a.csv", "text,label\n" + rows)).labels == ("-1", "9", "10")
    assert read_table(file("b.csv", "text,label\n" + rows + "x,a\n")).labels == ("-1", "10", "9", "a")


def test_labels_that_are_given_keep_their_ids(file):
    path = file("a.csv", "text,label\nx, yes \ny,no\n")
    assert found(read_table(path, labels=["yes", "no", "perhaps"]))[1:] == ([0, 1], ("yes", "no", "perhaps"))
    with pytest.raises(
        LoadError, match=r"a.csv, line 2: expected a label of 'no', 'maybe', got 'yes'\n  hint: .*train"
    ):
        read_table(path, labels=["no", "maybe"])


def test_several_classes(file):
    data = read_table(file("a.csv", 'text,label\nx,"b, a"\ny,\nz,c\nw,"a,a"\n'), **SEVERAL)
    assert found(data)[1:] == ([(0, 1), (), (2,), (0,)], ("a", "b", "c"))
    path = file(
        "a.jsonl", '{"text": "x", "label": ["b", 3]}\n{"text": "y", "label": []}\n{"text": "z", "label": "3|b"}'
    )
    assert found(read_table(path, **SEVERAL, separator="|"))[1:] == ([(0, 1), (), (0, 1)], ("3", "b"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_byte_order_marks_and_empty_lines(file, end, mark):
    text = end.join(["text\tlabel", "é\u2028\x85\x0b\x1c\t0", "", "b\t1"]) + end
    for content in (text, text.removesuffix(end)):
        assert found(read_table(file("a.tsv", mark + content.encode()))) == (
            ["é\u2028\x85\x0b\x1c", "b"],
            [0, 1],
            ("0", "1"),
        )


def test_a_field_may_be_huge_and_the_csv_modules_limit_is_left_alone(file):
    before = csv.field_size_limit()
    huge = "x" * (before + 1)
    assert found(read_table(file("a.csv", f"text,label\n{huge},0\n")))[0] == [huge]
    assert found(read_table(file("a.tsv", f"text\tlabel\n{huge}\t0\n")))[0] == [huge]
    with pytest.raises(LoadError):
        read_table(file("b.csv", 'text,label\n"x\n'))
    assert csv.field_size_limit() == before


FIELDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(rows=st.lists(st.tuples(FIELDS, FIELDS, st.integers(0, 12)), min_size=1, max_size=6))
def test_whatever_the_csv_module_writes_is_read_back(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "a"
    expected = [TextExample(a, b, sorted({label for *_, label in rows}).index(label)) for a, b, label in rows]
    for format, delimiter in (("csv", ","), ("quoted-tsv", "\t")):
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter).writerows([("text", "second", "label"), *rows])
        path.write_bytes(out.getvalue().encode())
        assert read_table(path, text_pair="second", format=format).examples == expected
    path.write_text("".join(json.dumps({"a": a, "b": b, "l": label}) + "\n" for a, b, label in rows))
    assert read_table(path, "a", "b", "l", format="jsonl").examples == expected


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "", {}, "a.csv: expected a header, got an empty file"),
        ("a.csv", b"\xef\xbb\xbf", {"header": False}, "a.csv: expected at least one row, got an empty file"),
        ("a.csv", "text,label\n", {}, "a.csv: expected at least one row, got none"),
        ("a.jsonl", "\n", {}, "a.jsonl: expected at least one row, got none"),
        ("a.csv", "text,label\na,0\nb,c,0\n", {}, "a.csv, line 3: expected 2 columns as in the first row, got 3"),
        ("a.csv", 'text,label\n"a\n\n",0\nb\n', {}, "a.csv, line 5: expected 2 columns as in the first row, got 1"),
        ("a.tsv", "text\tlabel\na\t0\t\n", {}, 'a.tsv, line 2: .* got 3\n  hint: .*format="quoted-tsv"'),
        ("a.csv", 'text,label\na,0\n"b,1\nc,1\n', {}, r"a.csv, line 3: unexpected end of data \(line 4\)"),
        ("a.csv", 'text,label\n"a" b,0\n', {}, "a.csv, line 2: ',' expected after '\"'"),
        ("a.tsv", 'text\tlabel\n"a" b\t0\n', {"format": "quoted-tsv"}, 'a.tsv, line 2: .*\n  hint: .*format="tsv"'),
        ("a.csv", b"text,label\na,0\nb\xff,1\n", {}, "a.csv, line 3: byte 0xff at 1 is not UTF-8\n  hint: .*LATIN1"),
        ("a.csv", "text,label\na,0\n".encode("utf-16"), {}, "a.csv, line 1: byte 0xff at 0 is .*\n  hint: .*UTF-16"),
        ("a.csv", b"\x1f\x8b\x08\x00", {}, "a.csv: expected text, got a gzip archive"),
        ("a.csv", "text,label\na,0\nb,\n", {}, "a.csv, line 3: expected a label, got an empty one"),
        ("a.csv", 'text,label\na,"x,,y"\n', SEVERAL, "a.csv, line 2: expected a label, got an empty one"),
        ("a.csv", "text,label\na,1\nb,one\n", NUMBERS, "a.csv, line 3: label: expected a finite number, got 'one'"),
        ("a.csv", "text,label\na,inf\n", NUMBERS, "a.csv, line 2: label: expected a finite number, got 'inf'"),
        ("a.csv", "text,label\na,1_0\n", NUMBERS, "a.csv, line 2: label: expected a finite number, got '1_0'"),
        ("a.csv", "text,label\na,\n", NUMBERS, "a.csv, line 2: label: expected a finite number, got ''"),
        ("a.jsonl", '{"text": "a", "label": true}', NUMBERS, "a.jsonl, line 1: label: expected a finite number"),
        ("a.jsonl", '{"text": "a", "label": null}', {}, "line 1: label: expected a text or an integer, got None"),
        ("a.jsonl", '{"text": "a", "label": true}', {}, "line 1: label: expected a text or an integer, got True"),
        ("a.jsonl", '{"text": 5, "label": 0}', {}, "a.jsonl, line 1: text: expected a text, got 5"),
        ("a.jsonl", '\n{"text": "a", "label": 0', {}, "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '["a", 0]', {}, "a.jsonl, line 1: expected a JSON object"),
        ("a.jsonl", '{"text": "a", "text": "b", "label": 0}', {}, "a.jsonl, line 1: .*duplicate key 'text'"),
    ],
)  # fmt: skip
def test_faults_of_a_table_are_told_with_their_line(file, name, content, options, message):
    with pytest.raises(LoadError, match=message):
        read_table(file(name, content), **options)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "sentence,label\na,0\n", {}, "expected one column 'text', got none; there are 'sentence', 'label'"),
        ("a.csv", "text,label,text\na,0,b\n", {}, "expected one column 'text', got more than one; there are 'text', "),
        ("a.csv", "a,0\n", {"header": False}, "column 'text': expected a number, as there is no header"),
        ("a.csv", "text,label\na,0\n", {"text": 3}, "expected a column from 1 to 2, or -1 for the last, got 3"),
        ("a.csv", "text,label\na,0\n", {"label": 0}, "expected a column from 1 to 2, or -1 for the last, got 0"),
        ("a.jsonl", '{"a": "a", "label": 0}', {}, "a.jsonl, line 1: expected a key 'text'; there are 'a', 'label'"),
        ("a.jsonl", '{"text": "a"}', {"text": 1}, "column 1: expected a key, as these are JSON lines"),
        ("a.txt", "a", {}, "a.txt: format: expected one of csv, tsv, quoted-tsv, jsonl, got ''"),
        ("a.csv", "a", {"problem_type": "ranking"}, "problem_type: expected one of regression, .*got 'ranking'"),
        ("a.csv", "a", {**SEVERAL, "separator": ""}, "separator: expected at least one character"),
        ("a.csv", "a", {"labels": "ab"}, "labels: expected a list of texts, none empty, got 'ab'"),
        ("a.csv", "a", {"labels": []}, "labels: expected a list of texts"),
        ("a.csv", "a", {"labels": ["a", "b", "a"]}, "labels: expected each once, got 'a', 'b', 'a'"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_a_table(file, name, content, options, message):
    with pytest.raises(InputError, match=message):
        read_table(file(name, content), **options)


def test_many_columns_are_not_all_listed(file):
    path = file("a.csv", ",".join(f"c{i}" for i in range(50)) + "\n" + "," * 49)
    with pytest.raises(InputError, match=r"there are 'c0', .*'c19' and 30 more"):
        read_table(path)


def test_the_header_is_named_in_its_order(tmp_path):
    (tmp_path / "a.csv").write_text('label,"the text"\n1,a\n')
    (tmp_path / "a.jsonl").write_text('{"label": 1}\n')
    assert column_names(tmp_path / "a.csv") == ["label", "the text"]
    assert column_names(tmp_path / "a.jsonl") == []
