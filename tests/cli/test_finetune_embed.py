"""minibert finetune embed: from a file of pairs to a folder of sentence vectors."""

import re

import numpy as np
import pytest

import minibert as mb
from minibert.cli import build_parser, finetune, main
from minibert.cli.inputs import UsageError

ROWS = [
    ("4.5", "the cat sat on the mat", "the cat sat on a mat"),
    ("0.5", "the cat sat on the mat", "is it you ?"),
    ("5.0", "you run", "you run !"),
    ("1.0", "you run", "a dog sat"),
    ("4.0", "unaffable dog", "an unaffable dog"),
    ("0.0", "unaffable dog", "running mat"),
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in ROWS))
    return path


def arguments(*words):
    return build_parser().parse_args(["finetune", "embed", *map(str, words)])


def of_columns(pairs, folder, out):
    where = ("--text", 2, "--text-pair", 3, "--label", 1, "--no-header")
    how = ("--steps", 4, "--log-every", 1, "--batch-size", 2)
    return ("--model", folder, "--train", pairs, *where, "--out", out, *how)


@pytest.mark.parametrize("loss", ["cosine", "ranking"])
def test_a_folder_of_sentence_vectors_is_left(loss, pairs, folder, tmp_path, capsys):
    own = ("--max-score", 5) if loss == "cosine" else ("--least-score", 4, "--scale", 10, "--symmetric")
    args = arguments(*of_columns(pairs, folder, tmp_path / "out"), "--loss", loss, "--dev", pairs, *own)
    assert finetune.run(args) == 0
    out, err = capsys.readouterr()
    assert "best spearman" in out
    assert "an epoch, dropout 0.1" in err
    assert ("6 pairs, 3 batches" if loss == "cosine" else "3 pairs, 1 batches") in err
    assert "dev pearson" in err
    assert "step 4/4  loss" in err
    before, after = (mb.SentenceEncoder.from_pretrained(path) for path in (folder, tmp_path / "out"))
    assert (tmp_path / "out" / "modules.json").exists()
    assert not np.array_equal(before.encode("you run"), after.encode("you run"))


def test_a_run_that_was_resumed_is_the_same(pairs, folder, tmp_path):
    whole = of_columns(pairs, folder, tmp_path / "whole")
    finetune.run(arguments(*whole, "--max-score", 5, "--save-every", 2))
    last = tmp_path / "whole" / "checkpoints" / "step-00000004"
    encoders = [mb.SentenceEncoder.from_pretrained(tmp_path / "whole").encode("a dog")]
    (last / "state.json").write_text("{}")  # as after a crash: the one before counts
    finetune.run(arguments(*whole, "--max-score", 5, "--save-every", 2, "--resume"))
    encoders.append(mb.SentenceEncoder.from_pretrained(tmp_path / "whole").encode("a dog"))
    np.testing.assert_array_equal(*encoders)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("--scale", 5), UsageError, "--scale is for --loss ranking"),
        (("--least-score", 4), UsageError, "--least-score is for --loss ranking"),
        (("--symmetric",), UsageError, "--symmetric is for --loss ranking"),
        (("--loss", "ranking", "--max-score", 5), UsageError, "--max-score is for --loss cosine"),
        (("--eval-every", 2), UsageError, "--eval-every: expected examples to measure by, got none"),
        (
            ("--text", "first"),
            UsageError,
            "--text: expected the number of a column, as there is no header, got 'first'",
        ),
        ((), mb.InputError, r"examples\[0\]: expected a score from 0.0 to 1.0, got 4.5"),
        (("--loss", "ranking", "--scale", 0), mb.InputError, "scale: expected a finite number above 0"),
    ],
)
def test_what_cannot_be_is_refused(words, error, message, pairs, folder, tmp_path):
    with pytest.raises(error, match=message):
        finetune.run(arguments(*of_columns(pairs, folder, tmp_path / "out"), *words))
    assert not (tmp_path / "out").exists()


def test_the_verbs_do_all_of_it(pairs, folder, tmp_path, capsys):
    words = [str(word) for word in of_columns(pairs, folder, tmp_path / "out")]
    assert main(["finetune", "embed", *words, "--max-score", "5", "--dev", str(pairs)]) == 0
    assert "best spearman" in capsys.readouterr().out
    where = ["--text", "2", "--text-pair", "3", "--label", "1", "--no-header"]
    assert (
        main(["evaluate", "sentence-similarity", "--model", str(tmp_path / "out"), "--data", str(pairs), *where]) == 0
    )
    assert re.fullmatch(r"spearman +-?[0-9.]+\npearson +-?[0-9.]+\n", capsys.readouterr().out)
    assert main(["finetune", "embed", *words, "--metric", "f1"]) == 2
    assert "--metric is for" in capsys.readouterr().err
    assert main(["finetune", "classify", *words, "--scale", "3"]) == 2
    assert "--scale is for embed, not for classify" in capsys.readouterr().err
