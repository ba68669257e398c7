"""A toy of each task, with words of one piece, for models of a few thousand numbers."""

import itertools
import random

from minibert import BertConfig, BertTokenizer
from minibert.training.finetuning import Choices, Questions, Sentences, Texts
from minibert.training.readers import Answer, ChoiceExample, QuestionExample, TaggedExample, TextExample

WORDS = """
    [PAD] [UNK] [CLS] [SEP] [MASK] red green blue good bad fine poor anna ben berlin york lives in sees the a cat dog
    ##ton ##ville who where what ? .
""".split()  # noqa: SIM905
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
COLOURS = ("red", "green", "blue")
TOKENIZER = BertTokenizer(WORDS, model_max_length=24)


def config(**options):
    small = {
        "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 24, "initializer_range": 0.15,
    }  # fmt: skip
    return BertConfig(**{**small, **options})


def classes(count, rng):
    """Is it good?"""
    for _ in range(count):
        label = rng.randrange(2)
        words = [rng.choice([["bad", "poor"], ["good", "fine"]][label]), *rng.choices(["the", "a", "cat", "in"], k=3)]
        rng.shuffle(words)
        yield TextExample(" ".join(words), rng.choice(["the dog", "a cat in"]), label)


def numbers(count, rng):
    """How many cats. No text comes twice: the ranks of equal predictions would hang on their last bits."""
    for words in rng.sample(list(itertools.product(["cat", "dog"], repeat=8)), count):
        yield TextExample(" ".join(words), None, words.count("cat") - 4.0)


def several(count, rng):
    """Which colours are there?"""
    for _ in range(count):
        ids = sorted(rng.sample(range(3), rng.randrange(4)))
        yield TextExample(" ".join(["the", "cat", *(COLOURS[i] for i in ids)]), None, tuple(ids))


def sentences(count, rng):
    """Names of people and of places; the second piece of a word has no tag of its own."""
    kinds = {"anna": "PER", "ben": "PER", "berlin": "LOC", "york": "LOC"}
    for _ in range(count):
        words, tags = [], []
        for _ in range(rng.randrange(2, 4)):
            name = rng.choice(list(kinds))
            words += [name, *rng.choice([[], ["red"]]), rng.choice(["sees", "lives", "in"])]
            tags += [f"B-{kinds[name]}", *([f"I-{kinds[name]}"] if words[-2] == "red" else []), "O"]
        if rng.random() < 0.3:
            words, tags = [*words, "berlinton"], [*tags, "B-LOC"]
        yield TaggedExample(tuple(words), tuple(tags))


def questions(count, rng):
    """Who: a person; where: a place, which may not be there."""
    for number in range(count):
        who, there = rng.choice(["Anna", "Ben"]), rng.choice(["Berlin", "York", ""])
        context = f"The cat sees {who} . " + (f"The dog lives in {there} ." if there else "The dog lives .")
        asked, answer = rng.choice([("who ?", who), ("where ?", there)])
        answers = (Answer(answer, context.index(answer)),) if answer else ()
        yield QuestionExample(str(number), asked, context, answers, not answer, "")


def choices(count, rng):
    """The good ending."""
    for _ in range(count):
        endings = rng.sample(["a good dog", "a bad dog", "the poor cat"], 3)
        yield ChoiceExample(f"the {rng.choice(COLOURS)} cat", tuple(endings), endings.index("a good dog"))


def made(kind, count=128, seed=0):
    return list(kind(count, random.Random(seed)))


TASKS = {
    "classify": (classes, lambda examples, config: Texts(examples, TOKENIZER, config, ("bad", "good"))),
    "regress": (numbers, lambda examples, config: Texts(examples, TOKENIZER, config, (), "regression")),
    "multilabel": (
        several,
        lambda examples, config: Texts(examples, TOKENIZER, config, COLOURS, "multi_label_classification"),
    ),
    "tag": (sentences, lambda examples, config: Sentences(examples, TOKENIZER, config, TAGS)),
    "crf": (sentences, lambda examples, config: Sentences(examples, TOKENIZER, config, TAGS)),
    "answer": (questions, lambda examples, config: Questions(examples, TOKENIZER, config)),
    "choose": (choices, lambda examples, config: Choices(examples, TOKENIZER, config)),
}
OPTIONS = {
    "classify": {"num_labels": 2},
    "regress": {"num_labels": 1, "problem_type": "regression"},
    "multilabel": {"num_labels": 3, "problem_type": "multi_label_classification"},
    "tag": {"num_labels": 5},
    "crf": {"num_labels": 5},
}


def examples(task, count=128, seed=0):
    kind, make = TASKS[task]
    return make(made(kind, count, seed), config())
