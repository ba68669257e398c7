"""minibert finetune and evaluate: from files to a folder that the other verbs take, and back to numbers."""

import json
import re

import pytest

import minibert as mb
from minibert.cli import main
from minibert.training.runs import read_metrics
from tests.training.finetuning import toys
from tests.training.finetuning.toys import (
    TOKENIZER,
    choices,
    classes,
    config,
    made,
    numbers,
    questions,
    sentences,
)

LABELS = ("bad", "good")

pytestmark = pytest.mark.filterwarnings("default::minibert.checkpoint.MissingWeights")  # they are shown


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """An encoder without a head."""
    folder = tmp_path_factory.mktemp("start")
    mb.BertModel(config(), seed=3).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def table(path, rows, header):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows] if row) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file to learn from and one to measure by for each task: train.tsv, dev.tsv, ..."""
    folder = tmp_path_factory.mktemp("files")
    for name, seed, count in (("train", 0, 96), ("dev", 9, 24)):
        texts = [(each.text, LABELS[each.label]) for each in made(classes, count, seed)]
        table(folder / f"{name}.tsv", texts, ("sentence", "label") if name == "train" else ("content", "label"))
        rows = [("x", each.label, each.text) for each in made(numbers, count, seed)]
        table(folder / f"{name}-numbers.tsv", rows, ())
        several = [{"text": each.text, "label": sorted({*each.text.split()} & {"good", "the"})}
                   for each in made(classes, count, seed)]  # fmt: skip
        lines(folder / f"{name}-several.jsonl", several)
        (folder / f"{name}.conll").write_text(
            "\n".join(
                "".join(f"{w}\t{t}\n" for w, t in zip(*each, strict=True)) for each in made(sentences, count, seed)
            )
        )
        paragraphs = [
            {"context": each.context, "qas": [{
                "id": each.id, "question": each.question, "is_impossible": each.is_impossible,
                "answers": [{"text": answer.text, "answer_start": answer.start} for answer in each.answers],
            }]}
            for each in made(questions, count, seed)
        ]  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
        lines(folder / f"{name}.jsonl", [each._asdict() for each in made(choices, count, seed)])
    return folder


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def run(capsys, *args):
    status = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return status, out, err


def finetune(capsys, task, start, out, *args, steps=4):
    length = ("--steps", steps, *(("--eval-every", 2) if "--dev" in args else ())) if steps else ()
    status, said, err = run(capsys, "finetune", task, "--model", start, "--out", out, "--lr", "5e-3", *length, *args)
    assert status == 0, err
    return said, err


def test_a_classifier_from_files_to_labels(start, files, tmp_path, capsys):
    out = tmp_path / "out"
    train = ("--train", files / "train.tsv", "--dev", files / "dev.tsv", "--text", "sentence")
    said, err = finetune(capsys, "classify", start, out, *train, "--epochs", 8, "--batch-size", 16, steps=None)
    assert "has no column 'sentence'; 'content', in the same place, is taken for it" in err
    assert "2 missing: classifier.weight, classifier.bias" in err
    assert "labels: bad, good" in err
    records = read_metrics(out / "metrics.jsonl")
    assert [r["step"] for r in records if "dev_accuracy" in r] == [6 * epoch for epoch in range(1, 9)]
    assert "best accuracy 1.0000" in said
    status, said, _ = run(capsys, "classify", "--model", out, "--json", "the good cat", "a poor dog")
    assert [json.loads(line)["labels"][0]["label"] for line in said.splitlines()] == ["good", "bad"]
    data = ("--data", files / "dev.tsv", "--text", "content")
    predictions = tmp_path / "predictions.jsonl"
    status, said, err = run(capsys, "evaluate", "classify", "--model", out, *data, "--predictions", predictions)
    assert (status, err) == (0, "")
    assert said.splitlines() == ["accuracy    1.0000", "f1          1.0000", "matthews    1.0000"]
    written = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert len(written) == 24
    assert all(record["prediction"] == record["label"] for record in written)


TASKS = {
    "regress": (("-numbers.tsv", "--no-header", "--text", 3, "--label", 2), "regress", "spearman"),
    "multilabel": (("-several.jsonl",), "multilabel", "micro_f1"),
    "ner": ((".conll",), "tag", "f1"),
    "crf": ((".conll", "--crf", "--label", 2), "tag", "f1"),
    "question-answering": ((".json", "--stride", 8, "--max-length", 20), "answer", "f1"),
    "choose": ((".jsonl",), "choose", "accuracy"),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_and_is_measured_as_it_was_at_the_end(start, files, tmp_path, capsys, name):
    (suffix, *options), task, metric = TASKS[name]
    out = tmp_path / "out"
    given = ("--train", f"{files}/train{suffix}", "--dev", f"{files}/dev{suffix}", *options)
    said, _ = finetune(capsys, "tag" if name == "crf" else name, start, out, *given)
    evaluated = [r for r in read_metrics(out / "metrics.jsonl") if f"dev_{metric}" in r]
    best = max(evaluated, key=lambda record: record[f"dev_{metric}"])
    assert f"best {metric} {best[f'dev_{metric}']:.4f} at step {best['step']}" in said
    options = [option for option in options if option not in ("--crf", "--max-length", 20)]  # the folder tells
    args = ("evaluate", task, "--model", out, "--data", f"{files}/dev{suffix}", *options, "--json")
    status, said, err = run(capsys, *args)
    assert (status, err) == (0, "")
    scores = json.loads(said)
    assert (scores.pop("task"), scores.pop("examples")) == (task, 24)
    assert scores == {k.removeprefix("dev_"): pytest.approx(v) for k, v in best.items() if k != "step"}


def test_a_crf_tags_on_the_command_line(start, files, tmp_path, capsys):
    finetune(capsys, "tag", start, tmp_path / "out", "--train", files / "train.conll", "--crf")
    status, said, _ = run(capsys, "tag", "--model", tmp_path / "out", "anna sees berlinton")
    assert status == 0
    assert [line.split("\t")[0] for line in said.split("\n") if line] == ["anna", "sees", "berlinton"]


def test_a_resumed_run_is_the_straight_one_and_only_on_the_same_data(start, files, tmp_path, capsys, monkeypatch):
    dev = tmp_path / "dev.tsv"
    dev.write_text((files / "dev.tsv").read_text())
    train = ("--train", files / "train.tsv", "--text", "sentence", "--save-every", 1, "--dev", dev)
    finetune(capsys, "classify", start, tmp_path / "straight", *train)
    with monkeypatch.context() as patched:
        patched.setattr("minibert.training.loop.Trainer._one_step", stopping_at(3))
        args = ("finetune", "classify", "--model", start, "--lr", "5e-3", "--steps", 4, "--eval-every", 2, *train)
        assert run(capsys, *args, "--out", tmp_path / "other")[0] == 130
    changed = tmp_path / "changed.tsv"
    for change in ("--seed 1", "--label-smoothing 0.1", "--freeze *embeddings*", f"--train {changed}"):
        changed.write_text((files / "train.tsv").read_text().replace("good ", "fine "))
        status, _, err = run(capsys, *args, "--out", tmp_path / "other", "--resume", *change.split())
        assert status == 4
        assert "not the same run" in err
    dev.write_text((files / "dev.tsv").read_text().replace("good ", "fine "))
    assert "dev data was" in run(capsys, *args, "--out", tmp_path / "other", "--resume")[2]
    dev.write_text((files / "dev.tsv").read_text())
    status, _, err = run(capsys, *args, "--out", tmp_path / "other", "--resume")
    assert status == 0, err
    assert "the run goes on from step 3 of 4" in err
    straight, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "other"))
    assert straight == other


def stopping_at(step):
    from minibert.training.loop import Trainer

    plain = Trainer._one_step

    def one_step(self):
        if self.step == step:
            raise KeyboardInterrupt
        plain(self)

    return one_step


def test_options_change_what_is_learnt(start, files, tmp_path, capsys):
    train = ("--train", files / "train.tsv", "--text", "sentence")
    weights = {}
    for i, options in enumerate((
        "", "--class-weights balanced", "--class-weights 1,3", "--label-smoothing 0.2", "--dropout 0",
        "--layer-decay 0.5", "--freeze bert.embeddings.*", "--max-length 5",
    )):  # fmt: skip
        _, err = finetune(capsys, "classify", start, tmp_path / str(i), *train, *options.split(), steps=2)
        weights[options] = (tmp_path / str(i) / "model.safetensors").read_bytes()
        assert ("were cut" in err) == ("length" in options)
    assert len(set(weights.values())) == len(weights)
    _, _, err = run(capsys, "evaluate", "classify", "--model", tmp_path / "7", "--data", files / "train.tsv",
                    "--text", "sentence")  # fmt: skip
    assert "longer than 5 tokens and were cut" in err
    kept = mb.BertForSequenceClassification.from_pretrained(tmp_path / "6").parameters
    assert (kept["bert.embeddings.word_embeddings.weight"] == mb.BertModel.from_pretrained(start).parameters[
        "embeddings.word_embeddings.weight"]).all()  # fmt: skip


def test_faults_of_a_file_of_questions_are_said(start, files, tmp_path, capsys):
    data = json.loads((files / "train.json").read_text())
    asked = [each["qas"][0] for each in data["data"][0]["paragraphs"]]
    answered = [question for question in asked if question["answers"]]
    for question in answered[:3]:
        question["answers"][0]["answer_start"] += 1
    (tmp_path / "shifted.json").write_text(json.dumps(data))
    _, err = finetune(capsys, "answer", start, tmp_path / "out", "--train", tmp_path / "shifted.json", steps=1)
    assert "at answer_start" in err
    assert "shifted.json: 2 more such faults" in err
    assert "3 of 96 questions have no answer in their text where it should be: not trained on" in err
    status, _, err = run(capsys, "evaluate", "answer", "--model", tmp_path / "out", "--data", tmp_path / "shifted.json")
    assert status == 0
    assert "2 more such faults" in err


def test_a_head_goes_on_with_its_own_ids(files, tmp_path, capsys):
    model = mb.BertForSequenceClassification(config(id2label={0: "good", 1: "bad"}), seed=3)
    model.save_pretrained(tmp_path / "start")
    TOKENIZER.save_pretrained(tmp_path / "start")
    train = ("--train", files / "train.tsv", "--text", "sentence", "--dev", files / "dev.tsv", "--dev-text", "content")
    _, err = finetune(capsys, "classify", tmp_path / "start", tmp_path / "out", *train)
    assert "labels: good, bad" in err
    assert "missing" not in err
    assert "no column" not in err
    assert mb.BertConfig.from_pretrained(tmp_path / "out").id2label == {0: "good", 1: "bad"}


def test_options_may_stand_in_a_file(start, files, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(f'train = "{files / "train.conll"}"\ncrf = true\nlr = 1e-3\n')
    finetune(capsys, "tag", start, tmp_path / "out", "--config", tmp_path / "run.toml", steps=1)
    assert isinstance(mb.pipeline(model=tmp_path / "out").model, mb.BertCrfForTokenClassification)


def test_what_cannot_be_is_said(start, files, tmp_path, capsys):
    model, out = ("--model", start), ("--out", tmp_path / "out")
    train = ("--train", files / "train.tsv", "--text", "sentence")
    other = tmp_path / "other.tsv"
    table(other, [("so so", "neutral")], ("sentence", "label"))
    (tmp_path / "empty.tsv").touch()
    one = tmp_path / "one.tsv"
    table(one, [("cat", "bad"), ("dog", "bad")], ("sentence", "label"))
    mb.BertModel(config(), seed=3).save_pretrained(tmp_path / "bare")
    for args, expected, words in (
        ((*model, *train, "--dev", other), 4, "line 2: expected a label of 'bad', 'good', got 'neutral'"),
        ((*model, "--train", tmp_path / "empty.tsv"), 4, "empty.tsv: expected a header, got an empty file"),
        ((*model, "--train", tmp_path / "none.tsv"), 3, "none.tsv: no such file"),
        ((*model, "--train", files / "train.tsv"), 4, "expected one column 'text', got none"),
        ((*model, "--train", one, "--text", "sentence"), 2, "expected two labels or more, got only 'bad'"),
        ((*model, *train, "--max-length", 99), 4, "max_length: expected at most 24 tokens"),
        (("--model", tmp_path / "bare", *train), 3, "vocab"),
        ((*model, *train, "--crf"), 2, "--crf is for tag, not for classify"),
        ((*model, *train, "--metric", "f1"), 2, "--metric: expected examples to measure by, got none"),
        ((*model, *train, "--dev", files / "dev.tsv", "--metric", "bleu"), 2, "one of accuracy, f1, matthews"),
        ((*model, *train, "--class-weights", "much"), 2, "--class-weights: expected numbers with commas"),
        ((*model, *train, "--class-weights", "1,2,3"), 4, r"class_weights: expected shape (2,)"),
        ((*model, *train, "--no-header"), 2, "column: expected the number of a column"),
        ((*model, *train, "--freeze", "nothing"), 4, "freeze: no tensor is called nothing"),
    ):
        status, _, err = run(capsys, "finetune", "classify", *args, *out)
        assert (status, words in err) == (expected, True), (args, err)
        assert not (tmp_path / "out" / "run.json").exists()


def test_what_cannot_be_measured_is_null(start, files, tmp_path, capsys):
    model = mb.BertForSequenceClassification(config(num_labels=1), seed=0)
    model.parameters["classifier.weight"][...] = 0
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    data = ("--data", files / "dev-numbers.tsv", "--no-header", "--text", 3, "--label", 2)
    status, said, _ = run(capsys, "evaluate", "regress", "--model", tmp_path, *data, "--json")
    assert status == 0
    assert json.loads(said) == {"task": "regress", "examples": 24, "spearman": None, "pearson": None}


def test_a_model_is_measured_at_its_own_task_only(start, files, tmp_path, capsys):
    data = ("--data", files / "dev.tsv", "--text", "content")
    status, _, err = run(capsys, "evaluate", "classify", "--model", start, *data)
    assert status == 4
    assert "classify needs a BertForSequenceClassification that was trained for it, this is none" in err
    assert "hint: minibert finetune classify trains one" in err
    mb.BertForSequenceClassification(config(num_labels=1), seed=0).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    status, _, err = run(capsys, "evaluate", "classify", "--model", tmp_path, *data)
    assert status == 4
    assert "hint: it is for: minibert evaluate regress" in err
    mb.BertForSequenceClassification(config(id2label={0: "no", 1: "yes"}), seed=0).save_pretrained(tmp_path)
    status, _, err = run(capsys, "evaluate", "classify", "--model", tmp_path, *data)
    assert status == 4
    assert "expected a label of 'no', 'yes'" in err
    assert run(capsys, "evaluate", "classify", "--model", tmp_path, *data, "--predictions", "-")[0] == 2


def test_the_tasks_are_listed(capsys):
    for verb in ("finetune", "evaluate"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert "choose which of several endings" in shown
        for task in toys.TASKS.keys() - {"crf"}:
            first, *others = toys.examples(task).metrics
            two = "( \\(of two classes\\) or macro_f1)?"  # behind f1
            assert re.search(rf"{task} {', '.join([first, *others]).replace('f1', 'f1' + two)}", shown), task


@pytest.mark.parametrize(
    ("task", "options", "status", "said"),
    [
        ("classify", {"train": "none.txt"}, 3, "none.txt: no such file"),
        ("classify", {"train": "."}, 3, "expected a file of examples, got a folder"),
        ("classify", {"dev": None, "patience": 2}, 2, "--patience: expected examples to measure by"),
        ("classify", {"dev": None, "dev-text": "content"}, 2, "--dev-text: expected examples to measure by"),
        ("classify", {"dev": None, "eval-every": 5}, 2, "--eval-every: expected examples to measure by"),
        ("classify", {"eval-every": 0, "patience": 2}, 2, "--patience counts evaluations: expected --eval-every"),
        (
            "answer",
            {"train": "squad.json", "dev": "squad.json"},
            4,
            "squad.json: question 'q2' and 1 more: expected answers",
        ),
        ("regress", {"dev": "one.tsv"}, 2, "one.tsv: expected numbers that differ, for correlations, got 1 alike"),
        ("regress", {"dev": "alike.tsv"}, 2, "alike.tsv: expected numbers that differ, for correlations, got 3 alike"),
    ],
)
def test_what_cannot_be_measured_is_said_before_training(start, files, tmp_path, capsys, task, options, status, said):
    for name, count in ("one", 1), ("alike", 3):
        (files / f"{name}.tsv").write_text("text\tlabel\n" + "the cat\t1.5\n" * count)
    (files / "regress.tsv").write_text("text\tlabel\nthe cat\t1.5\nthe dog\t0.5\n")
    answers = {"q1": [{"text": "cat", "answer_start": 4}], "q2": [], "q3": []}
    asked = [{"id": name, "question": "who ?", "answers": found} for name, found in answers.items()]
    squad = {"data": [{"title": "", "paragraphs": [{"context": "the cat sat", "qas": asked}]}]}
    (files / "squad.json").write_text(json.dumps(squad))
    given = {"train": "regress.tsv" if task == "regress" else "train.tsv", "dev": "dev.tsv", **options}
    flags = [f"--{k}={files / v if k in ('train', 'dev') else v}" for k, v in given.items() if v is not None]
    found, _, err = run(capsys, "finetune", task, "--model", start, "--out", tmp_path / "out", *flags)
    assert (found, said in err) == (status, True), err
    assert not (tmp_path / "out").exists()


def test_a_column_that_has_a_part_of_its_own_takes_no_other(start, files, tmp_path, capsys):
    (files / "turned.tsv").write_text("label\tcontent\ngood\tthe cat\nbad\tthe dog\n")
    args = ("--train", files / "train.tsv", "--dev", files / "turned.tsv", "--text", "sentence")
    status, _, err = run(capsys, "finetune", "classify", "--model", start, "--out", tmp_path / "out", *args)
    assert status == 4
    assert "expected one column 'sentence', got none; there are 'label', 'content'" in err


def test_what_is_trained_is_not_written_over(start, files, capsys):
    args = ("--train", files / "train.tsv", "--text", "sentence", "--steps", 1)
    status, _, err = run(capsys, "finetune", "classify", "--model", start, "--out", start, *args)
    assert (status, "a model is here already" in err) == (4, True), err


def test_a_run_is_not_written_over_and_no_data_are_read_to_find_out(start, files, capsys):
    (files / "empty.tsv").write_text("")
    status, _, err = run(
        capsys, "finetune", "classify", "--model", start, "--out", start, "--train", files / "empty.tsv"
    )
    assert (status, "a model is here already" in err) == (4, True), err


def test_dropout_is_said_and_is_everywhere(start, files, tmp_path, capsys):
    mb.BertForSequenceClassification(config(classifier_dropout=0.3), seed=0).save_pretrained(tmp_path / "other")
    TOKENIZER.save_pretrained(tmp_path / "other")
    args = ("--model", tmp_path / "other", "--train", files / "train.tsv", "--text", "sentence", "--steps", 1)
    for options, rate in ((), 0.3), (("--dropout", 0), 0), (("--dropout", 0.2), 0.2):
        out = tmp_path / f"run {rate}"
        status, _, err = run(capsys, "finetune", "classify", *args, "--out", out, *options)
        assert (status, f"an epoch, dropout {rate:g}\n" in err) == (0, True), err
        settings = mb.BertConfig.from_pretrained(out)
        assert (settings.classifier_rate, settings.hidden_dropout_prob) == (rate, rate if options else 0.1)


def test_predictions_without_a_folder_are_refused_at_once(start, files, tmp_path, capsys):
    place = tmp_path / "none" / "predictions.jsonl"
    args = ("evaluate", "classify", "--model", start, "--data", files / "dev.tsv", "--predictions", place)
    status, _, err = run(capsys, *args)
    assert (status, "there is no folder" in err) == (3, True), err


def test_a_file_of_options_gives_way_to_what_is_typed(start, files, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text('task = "classify"\nsteps = 3\nfreeze = ["classifier.bias"]\ntext = "sentence"\n')
    args = ("--config", config, "--model", start, "--train", files / "train.tsv")
    for typed, task, length, frozen in (
        ((), "classify", 3, ["classifier.bias"]),
        (("--epochs", 2, "--freeze", "bert.pooler.*"), "classify", 6, ["bert.pooler.*"]),
        (("multilabel",), "multilabel", 3, ["classifier.bias"]),
    ):
        out = tmp_path / f"run {len(typed)}"
        status, _, err = run(capsys, "finetune", *typed, *args, "--out", out)
        assert status == 0, err
        settings = json.loads((out / "run.json").read_text())["settings"]
        assert (settings["task"], settings["steps"], settings["freeze"]) == (task, length, frozen)
