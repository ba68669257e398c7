"""What the model is shown of an example, and what its answers are worth."""

import itertools

import numpy as np
import pytest

import minibert as mb
from minibert import InputError
from minibert.errors import InputTooLong
from minibert.training.finetuning import Batches, Choices, Questions, Sentences, Texts, balanced_weights
from minibert.training.readers import Answer, ChoiceExample, QuestionExample, TaggedExample, TextExample
from tests.training.finetuning.toys import TAGS, TASKS, TOKENIZER, WORDS, config, examples

CLS, SEP = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id


def ids(*words):
    return TOKENIZER.convert_tokens_to_ids(list(words))


@pytest.mark.parametrize("task", TASKS)
def test_an_epoch_shows_everything_once_in_an_order_of_its_own(task):
    made = examples(task, 21)
    data = Batches(made, 4, seed=5)
    assert data.per_epoch == -(-len(made.rows) // 4)
    orders = []
    for epoch in (0, 1):
        batches = [data.batch(i) for i in range(epoch * data.per_epoch, (epoch + 1) * data.per_epoch)]
        assert sum(len(batch["input_ids"]) for batch in batches) == len(made.rows)
        expected = np.random.default_rng([5, epoch]).permutation(len(made.rows))
        orders.append(expected.tolist())
        for i, batch in enumerate(batches):
            for name, array in made.batch(expected[4 * i : 4 * i + 4].tolist()).items():
                np.testing.assert_array_equal(batch[name], array)
    assert orders[0] != orders[1]
    backwards = Batches(made, 4, seed=5)
    np.testing.assert_array_equal(backwards.batch(data.per_epoch + 1)["input_ids"], batches[1]["input_ids"])


@pytest.mark.parametrize("task", TASKS)
def test_the_fingerprint_tells_texts_labels_and_order(task):
    one, same, other = examples(task, 20), examples(task, 20), examples(task, 20, seed=1)
    assert Batches(one, 4).fingerprint == Batches(same, 4).fingerprint
    assert len({Batches(one, 4).fingerprint, Batches(one, 5).fingerprint, Batches(one, 4, seed=1).fingerprint}) == 3
    assert one.fingerprint != other.fingerprint
    same.targets = [*same.targets[1:], same.targets[0]]
    assert one.fingerprint != same.fingerprint


def test_pairs_are_read_as_pairs_and_an_empty_second_text_as_none():
    made = Texts(
        [TextExample("good cat", "the dog", 1), TextExample("bad", "", 0)], TOKENIZER, config(), ("bad", "good")
    )
    batch = made.batch([0, 1])
    assert batch["input_ids"][0].tolist() == [CLS, *ids("good", "cat"), SEP, *ids("the", "dog"), SEP]
    assert batch["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert batch["attention_mask"][1].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert batch["labels"].tolist() == [1, 0]


def test_what_is_too_long_is_cut_and_said():
    words = " ".join(["cat"] * 9)
    texts = [TextExample(words, None, 0), TextExample("cat", words, 1), TextExample("cat", None, 0)]
    made = Texts(texts, TOKENIZER, config(), ("no", "yes"), max_length=8)
    assert [len(row.ids) for row in made.rows] == [8, 8, 3]
    assert made.notes == ("2 of 3 texts are longer than 8 tokens and were cut",)
    assert Texts(texts, TOKENIZER, config(), ("no", "yes")).notes == ()
    with pytest.raises(InputTooLong, match=r"max_length: expected at most 24 tokens.* got 25"):
        Texts(texts, TOKENIZER, config(), ("no", "yes"), max_length=25)
    with pytest.raises(InputError, match="max_length: expected at least 5, got 4"):
        Texts(texts, TOKENIZER, config(), ("no", "yes"), max_length=4)


def test_scores_of_classes_numbers_and_sets():
    two = Texts([TextExample("cat", None, label) for label in (0, 1, 1, 0)], TOKENIZER, config(), ("a", "b"))
    found = [np.array(row) for row in ([0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3])]
    assert two.scores(found) == {"accuracy": 0.75, "f1": 2 / 3, "matthews": pytest.approx(2 / 12**0.5)}
    assert next(two.records(found)) == {
        "text": "cat", "label": "a", "prediction": "a", "scores": {"a": 0.9, "b": 0.1},
    }  # fmt: skip
    three = Texts([TextExample("cat", None, i) for i in range(3)], TOKENIZER, config(), ("a", "b", "c"))
    assert three.scores(list(np.eye(3)))["macro_f1"] == 1
    numbers = [TextExample("cat", "dog", label) for label in (1.0, 2.0, 4.0)]
    line = Texts(numbers, TOKENIZER, config(), (), "regression")
    assert line.scores([np.array([x]) for x in (3.0, 5.0, 9.0)]) == {"spearman": 1, "pearson": pytest.approx(1)}
    assert next(line.records([np.array([3.0])] * 3)) == {
        "text": "cat", "text_pair": "dog", "label": 1.0, "prediction": 3.0,
    }  # fmt: skip
    sets = [TextExample("cat", None, (0, 1)), TextExample("cat", None, ())]
    several = Texts(sets, TOKENIZER, config(), ("a", "b"), "multi_label_classification")
    assert several.batch([0, 1])["labels"].tolist() == [[1, 1], [0, 0]]
    found = [np.array([0.9, 0.4]), np.array([0.6, 0.5])]
    assert several.scores(found) == {"micro_f1": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert [row["prediction"] for row in several.records(found)] == [["a"], ["a"]]


def test_only_the_first_piece_of_a_word_has_its_tag():
    example = TaggedExample(("anna", "berlinton", "."), ("B-PER", "B-LOC", "O"))
    made = Sentences([example, TaggedExample(("ben",), ("B-PER",))], TOKENIZER, config(), TAGS)
    batch = made.batch([0, 1])
    assert batch["input_ids"][0].tolist() == [CLS, *ids("anna", "berlin", "##ton", "."), SEP]
    assert batch["labels"].tolist() == [[-100, 1, 3, -100, 0, -100], [-100, 1, -100, -100, -100, -100]]


def test_sentences_are_cut_between_words_and_what_is_not_seen_counts():
    words = ("anna", "in", "berlinton", "sees", "ben")
    tags = ("B-PER", "O", "B-LOC", "O", "B-PER")
    made = Sentences([TaggedExample(words, tags)], TOKENIZER, config(), TAGS, max_length=5)
    assert made.rows[0].ids == [CLS, *ids("anna", "in"), SEP]  # half of berlinton would have had room
    assert made.notes == ("1 of 1 sentences are longer than 5 tokens and were cut between words",)
    model = mb.BertForTokenClassification(config(num_labels=5), seed=0, engine="reference")
    (found,) = made.predict(model)
    assert found[2:] == ["O", "O", "O"]
    perfect = [["B-PER", "O", "O", "O", "O"]]
    assert made.scores(perfect) == {"f1": 0.5, "precision": 1, "recall": 1 / 3, "accuracy": 0.6}
    one = Sentences([TaggedExample(("berlinton",), ("B-LOC",))], TOKENIZER, config(), TAGS, max_length=3)
    assert one.rows[0].ids == [CLS, *ids("berlin"), SEP]


def test_words_without_a_piece_are_no_part_of_the_path():
    example = TaggedExample(("anna", "\u200b", "ben"), ("B-PER", "O", "B-PER"))
    nothing = TaggedExample(("\u200b",), ("O",))
    made = Sentences([example, nothing], TOKENIZER, config(), TAGS)
    assert made.batch([0, 1])["labels"].tolist() == [[-100, 1, 1, -100], [-100] * 4]
    model = mb.BertCrfForTokenClassification(config(num_labels=5), seed=0, engine="reference")
    first, second = made.predict(model)
    assert len(first) == 3
    assert first[1] == "O"
    assert second == ["O"]


def test_tags_of_another_kind_have_an_accuracy():
    made = Sentences([TaggedExample(("the", "cat"), ("DET", "NOUN"))], TOKENIZER, config(), ("DET", "NOUN"))
    assert made.metrics == ("accuracy",)
    assert made.scores([["DET", "DET"]]) == {"accuracy": 0.5}


def question(context, answer, start, **options):
    answers = () if answer is None else (Answer(answer, start),)
    return QuestionExample(**{
        "id": "q", "question": "who ?", "context": context, "answers": answers, "is_impossible": answer is None,
        "title": "", **options,
    })  # fmt: skip


def test_the_answer_is_its_first_and_last_token_in_windows_that_hold_it():
    context = "the cat sees anna berlinton in york . ben lives in berlin ."
    made = Questions([question(context, "Anna Berlinton".lower(), 13)], TOKENIZER, config(), 12, doc_stride=4)
    texts = [TOKENIZER.convert_ids_to_tokens(list(row.ids)) for row in made.rows]
    assert texts[0] == ["[CLS]", "who", "?", "[SEP]", "the", "cat", "sees", "anna", "berlin", "##ton", "in", "[SEP]"]
    assert texts[1][4:8] == ["berlin", "##ton", "in", "york"]
    assert made.targets[0] == (7, 9)
    assert set(made.targets[1:]) == {(0, 0)}
    none = Questions([question(context, None, None)], TOKENIZER, config())
    assert none.targets == [(0, 0)]
    assert none.unanswerable


@pytest.mark.parametrize("decoding", ["hf", "google"])
@pytest.mark.parametrize("longest", [6, 7, 12, 64, 128, 384])
def test_windows_overlap_unless_told_otherwise(longest, decoding):
    context = "the cat sees anna berlinton in york . " * 100
    tokenizer = mb.BertTokenizer(WORDS, model_max_length=384)
    long = config(max_position_embeddings=384)
    made = Questions([question(context, "the cat", 0)], tokenizer, long, longest, decoding=decoding)
    windows = made.readings[0].windows
    room = longest - 5
    assert windows[0] == (0, room)
    for (start, stop), (after, _) in itertools.pairwise(windows):
        assert start < after < stop or room == 1
    if decoding == "google" and longest == 384:
        assert windows[1][0] == 128  # as run_squad.py has it


def test_an_answer_that_is_elsewhere_is_scored_but_not_learnt():
    lost = question("anna sees ben", "ben", None, id="lost")
    made = Questions([lost, question("anna sees ben", "anna", 0)], TOKENIZER, config())
    assert made.targets == [(4, 4)]
    assert made.notes == ("1 of 2 questions have no answer in their text where it should be: not trained on",)
    assert made.scores([{"answer": "Ben"}, {"answer": "the Anna"}]) == {"exact_match": 100, "f1": 100}


def test_scores_are_those_of_squad_2_where_a_question_has_no_answer():
    made = Questions([question("anna sees ben", "ben", 10), question("anna", None, None, id="n")], TOKENIZER, config())
    scores = made.scores([{"answer": "anna"}, {"answer": ""}])
    assert (scores["exact"], scores["HasAns_f1"], scores["NoAns_exact"]) == (50, 0, 100)
    assert not any(name.endswith("total") for name in scores)


@pytest.mark.parametrize("decoding", ["hf", "google"])
def test_answers_are_those_of_the_pipeline(decoding):
    made = Questions(
        [question("the cat sees anna in york .", "anna", 13)], TOKENIZER, config(), decoding=decoding, max_length=10
    )
    model = mb.BertForQuestionAnswering(config(), seed=2)
    answer = mb.pipeline("question-answering", model=model, tokenizer=TOKENIZER, decoding=decoding, max_seq_len=10)
    expected = answer(question="who ?", context="the cat sees anna in york .")
    assert made.predict(model) == [expected]
    assert next(made.records([expected]))["prediction"] == expected["answer"]


def test_every_ending_is_a_pair():
    made = Choices([ChoiceExample("the cat", ("good", "bad dog"), 1)], TOKENIZER, config())
    batch = made.batch([0])
    assert batch["input_ids"].tolist() == [
        [[CLS, *ids("the", "cat"), SEP, *ids("good"), SEP, 0], [CLS, *ids("the", "cat"), SEP, *ids("bad", "dog"), SEP]]
    ]
    assert batch["labels"].tolist() == [1]
    with pytest.raises(InputError, match="choices: expected as many for every text, got 2 and 3"):
        Choices([ChoiceExample("a", ("a", "b"), 1), ChoiceExample("a", ("a", "b", "c"), 1)], TOKENIZER, config())


def test_balanced_weights_need_every_class():
    np.testing.assert_array_equal(balanced_weights([0, 0, 0, 1], 2), [4 / 6, 2])
    with pytest.raises(InputError, match="expected every class among the labels, got none of class 1"):
        balanced_weights([0, 2], 3)


def test_impossible_arguments_are_refused():
    with pytest.raises(InputError, match="problem_type: expected one of"):
        Texts([], TOKENIZER, config(), (), "clustering")
    with pytest.raises(InputError, match="expected a label each"):
        Texts([TextExample("a", None, None)], TOKENIZER, config(), ("a", "b"))
    with pytest.raises(InputError, match="at least one to train on, got none"):
        Batches(Texts([], TOKENIZER, config(), ("a", "b")), 4)
    for options, message in (((0,), "batch_size"), ((1, -1), "seed")):
        with pytest.raises(InputError, match=f"{message}: expected at least"):
            Batches(examples("classify", 2), *options)
    with pytest.raises(InputError, match="batch: expected a number of at least 0"):
        Batches(examples("classify", 2), 1).batch(-1)
