"""minibert classify, tag and answer, and fill-mask for several masks together."""

import io
import json

import pytest

import minibert as mb
from minibert.cli import main
from tests.cli.process import minibert
from tests.tasks.tiny_models import SIZES, TAGS, WORDS, config

TEXT = "Wolfgang lives in Berlin."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("heads")
    heads = {"SequenceClassification": ["bad", "good", "so so"], "TokenClassification": TAGS, "QuestionAnswering": None}
    for head, labels in heads.items():
        getattr(mb, f"BertFor{head}")(mb.BertConfig(**config(labels=labels)), seed=1).save_pretrained(root / head)
        mb.BertTokenizer(WORDS, model_max_length=SIZES["max_position_embeddings"]).save_pretrained(root / head)
    return root


def run(capsys, *args):
    status = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def test_classify_prints_score_label_and_text(folders, capsys):
    verb = ("classify", "--model", folders / "SequenceClassification")
    expected = mb.pipeline("text-classification", model=folders / "SequenceClassification")(["good", "a\tcat"], top_k=2)
    lines = run(capsys, *verb, "--top-k", 2, "good", "a\tcat").splitlines()
    assert lines[:2] == [f"{each['score']:.4f}  {each['label']}  good" for each in expected[0]]
    assert lines[3].endswith("  a�cat")
    rows = [json.loads(line) for line in run(capsys, *verb, "--json", "--pair", "the cat", "good").splitlines()]
    assert rows[0]["text_pair"] == "the cat"
    pair = {"text": "good", "text_pair": "the cat"}
    assert rows[0]["labels"] == mb.pipeline(model=folders / "SequenceClassification")(pair, top_k=1)


def test_classify_cuts_only_when_told(folders, capsys):
    verb = ("classify", "--model", str(folders / "SequenceClassification"))
    assert main([*verb, "cat " * 60]) == 4
    assert "62 tokens, the model has 40 positions" in capsys.readouterr().err
    assert run(capsys, *verb, "--truncate", "cat " * 60)


def test_tag_prints_a_line_a_word_where_nobody_looks(folders, capsys):
    out = run(capsys, "tag", "--model", folders / "TokenClassification", TEXT, "the cat")
    first, second, rest = out.split("\n\n")
    assert [line.split("\t")[0] for line in first.splitlines()] == ["Wolfgang", "lives", "in", "Berlin", "."]
    assert [line.split("\t")[0] for line in second.splitlines()] == ["the", "cat"]
    assert {line.split("\t")[1] for line in first.splitlines()} <= set(TAGS)
    assert rest == ""
    pieces = run(capsys, "tag", "--model", folders / "TokenClassification", "--aggregation", "none", "Wolfgang")
    assert [line.split("\t")[0] for line in pieces.strip().splitlines()] == ["wolf", "##gang"]


def test_tag_reads_texts_of_any_length(folders, capsys):
    out = run(capsys, "tag", "--model", folders / "TokenClassification", "the cat sat " * 40)
    assert len(out.strip().splitlines()) == 120


def test_tag_as_json_gives_the_entities(folders, capsys):
    path = folders / "TokenClassification"
    (line,) = run(capsys, "tag", "--model", path, "--json", "--aggregation", "max", TEXT).splitlines()
    expected = mb.pipeline("ner", model=path, aggregation_strategy="max")(TEXT)
    assert json.loads(line) == {"text": TEXT, "entities": expected}


def test_tag_underlines_entities_on_a_terminal(monkeypatch):
    from minibert.cli import tag

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    entities = [{"entity_group": "PER", "start": 0, "end": 8}, {"entity_group": "LOC", "start": 18, "end": 24}]
    tag._show([TEXT], [entities], dict(enumerate(TAGS)))
    shown = screen.getvalue()
    assert "\x1b[4;35mWolfgang\x1b[0m" in shown
    assert "\x1b[4;33mBerlin\x1b[0m" in shown
    assert shown.replace("\x1b[0m", "").count("[PER]") == 1


def test_answer_reads_arguments_files_and_stdin(folders, capsys, tmp_path):
    path = folders / "QuestionAnswering"
    context = "Wolfgang lives in Berlin.\nThe cat sat on the mat. " * 10
    verb = ("answer", "--model", path, "--question", "Where does Wolfgang live?")
    (tmp_path / "letter.txt").write_text(context, encoding="utf-8")
    out = run(capsys, *verb, "--context-file", tmp_path / "letter.txt")
    found = mb.pipeline(model=path)(question="Where does Wolfgang live?", context=context)
    assert out == f"{found['score']:.4f}  {' '.join(found['answer'].split())}  {found['start']}:{found['end']}\n"
    assert minibert(*verb, stdin=context)[1] == out
    lines = run(capsys, *verb, "--top-k", 2, "--json", "--google", TEXT, "the cat").splitlines()
    expected = mb.pipeline(model=path, decoding="google", top_k=2)
    for line, text in zip(lines, (TEXT, "the cat"), strict=True):
        assert json.loads(line)["answers"] == expected(question="Where does Wolfgang live?", context=text)
    assert "(no answer)" in run(capsys, *verb, "--no-answer", "--top-k", 50, "the cat")


def test_fill_mask_fills_masks_together(folder, capsys):
    out = run(capsys, "fill-mask", "--model", folder, "--joint", "--top-k", 2, "the [MASK] sat on [MASK]")
    pipe = mb.pipeline("fill-mask", model=folder, joint=True, top_k=2)
    found = pipe("the [MASK] sat on [MASK]")
    assert [line.split()[1:3] for line in out.strip().splitlines()] == [each["token_str"] for each in found]
    (line,) = run(capsys, "fill-mask", "--model", folder, "--joint", "--top-k", 2, "--json", "a [MASK]").splitlines()
    assert len(json.loads(line)["joint"]) == 2


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("classify", "--model", "TokenClassification", "a"), 4, "this is a BertForTokenClassification"),
        (("tag", "--model", "QuestionAnswering", "a"), 4, "this is a BertForQuestionAnswering"),
        (("answer", "--model", "SequenceClassification", "--question", "who?", "a"), 4, "minibert classify"),
        (("fill-mask", "--model", "SequenceClassification", "a"), 4, "needs a BertForMaskedLM"),
        (("answer", "--model", "QuestionAnswering", "a"), 2, "--question"),
        (("answer", "--model", "QuestionAnswering", "--question", "who?", "--context-file", "x"), 3, "no such file"),
        (("answer", "--model", "QuestionAnswering", "--question", "", "a"), 4, "expected some words"),
        (("answer", "--model", "M", "--question", "who?", "--context-file", "x", "a"), 2, "give one of the two"),
        (("tag", "--model", "TokenClassification", "--stride", "38", "a"), 4, "stride: expected less than 38"),
        (("tag", "--model", "TokenClassification", "--aggregation", "mean", "a"), 2, "invalid choice"),
    ],
)
def test_errors_say_what_is_wrong(folders, capsys, args, status, words):
    given = [str(folders / arg) if (folders / arg).is_dir() and arg else arg for arg in args]
    try:
        got = main(given)
    except SystemExit as stopped:  # of the parser
        got = stopped.code
    out, err = capsys.readouterr()
    assert (got, out) == (status, "")
    assert words in err
    assert len(err.strip().splitlines()) <= 2
