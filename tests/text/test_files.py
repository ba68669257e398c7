"""Reading and writing tokenizer folders, and refusing what is not one."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from minibert.errors import InputError, LoadError, NotFound
from minibert.text import AddedToken, BertTokenizer, files
from tests.text.reference import VOCAB, small

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "A", "é", "e", "中", "yes"]


@pytest.fixture
def folder(tmp_path):
    """A folder as minibert writes it, to be broken."""
    BertTokenizer(PIECES, model_max_length=64).save_pretrained(tmp_path)
    return tmp_path


def edit(path, **changes):
    data = json.loads(path.read_text("utf-8"))
    for name, value in changes.items():
        *parents, last = name.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(data), "utf-8")


def test_round_trip(tmp_path):
    tokens = [AddedToken("New", lstrip=True, single_word=True, normalized=True), AddedToken("[X]", special=True)]
    before = BertTokenizer(
        PIECES,
        do_lower_case=False,
        strip_accents=True,
        tokenize_chinese_chars=False,
        clean_text=False,
        added_tokens=tokens,
        model_max_length=77,
        padding_side="left",
        max_input_chars_per_word=3,
    )
    written = before.save_pretrained(tmp_path / "new" / "folder")
    assert len(written) == 4
    after = BertTokenizer.from_pretrained(tmp_path / "new" / "folder")
    for text in ("A é a中 New [X]", "aaaa ab x\x00", " New a", "[MASK]"):
        assert after(text) == before(text)
    assert after.get_vocab() == before.get_vocab()
    assert (after.model_max_length, after.padding_side, after._added) == (77, "left", before._added)
    assert not list((tmp_path / "new" / "folder").glob(".*"))


@pytest.mark.parametrize("profile", ["hf-slow", "google"])
def test_round_trip_of_a_profile(tmp_path, profile):
    BertTokenizer.from_pretrained(VOCAB, profile=profile).save_pretrained(tmp_path)
    after = BertTokenizer.from_pretrained(tmp_path)
    assert after.profile.name == profile
    assert after._max_word == after.profile.max_word
    assert BertTokenizer.from_pretrained(tmp_path, profile="hf-fast").profile.name == "hf-fast"


def test_each_single_file(folder):
    expected = BertTokenizer.from_pretrained(folder)("ab é中[MASK]")
    assert BertTokenizer.from_pretrained(folder / "tokenizer.json")("ab é中[MASK]") == expected
    assert BertTokenizer.from_pretrained(folder / "vocab.txt", do_lower_case=True)("ab é中[MASK]") == expected
    (folder / "tokenizer.json").unlink()
    assert BertTokenizer.from_pretrained(folder)("ab é中[MASK]") == expected


def test_the_vocabulary_comes_from_tokenizer_json_first(folder):
    (folder / "vocab.txt").write_text("\n".join(reversed(PIECES)), "utf-8")
    assert BertTokenizer.from_pretrained(folder).get_vocab()["[PAD]"] == 0
    (folder / "tokenizer.json").unlink()
    assert BertTokenizer.from_pretrained(folder).get_vocab()["[PAD]"] == len(PIECES) - 1


def test_the_config_wins_over_the_normalizer(folder):
    assert BertTokenizer.from_pretrained(folder).tokenize("A é") == ["a", "e"]
    edit(folder / "tokenizer_config.json", do_lower_case=False)
    assert BertTokenizer.from_pretrained(folder).tokenize("A é") == ["A", "é"]
    edit(folder / "tokenizer_config.json", strip_accents=True)
    assert BertTokenizer.from_pretrained(folder).tokenize("A é") == ["A", "e"]
    assert BertTokenizer.from_pretrained(folder, do_lower_case=True).tokenize("A") == ["a"]


def test_config_without_a_word_on_lower_case_leaves_it_to_tokenizer_json(folder):
    edit(folder / "tokenizer.json", normalizer__lowercase=False)
    (folder / "tokenizer_config.json").unlink()
    assert BertTokenizer.from_pretrained(folder).tokenize("A") == ["A"]


def test_added_tokens_from_every_file(folder):
    (folder / "added_tokens.json").write_text('{"<one>": 12}', "utf-8")
    (folder / "special_tokens_map.json").write_text(
        '{"mask_token": {"content": "yes", "lstrip": true}, "additional_special_tokens": ["<two>"]}', "utf-8"
    )
    edit(
        folder / "tokenizer_config.json",
        mask_token="yes",
        added_tokens_decoder={"14": {"content": "<three>", "special": True, "rstrip": True}},
    )
    tok = BertTokenizer.from_pretrained(folder)
    assert {name: tok.get_vocab()[name] for name in ("<one>", "<two>", "<three>")} == {
        "<one>": 12,
        "<two>": 13,
        "<three>": 14,
    }
    assert tok.mask_token == "yes"
    enc = tok("a <ONE> yes <three> a", add_special_tokens=False, return_offsets_mapping=True)
    assert enc.tokens() == ["a", "<one>", "yes", "<three>", "a"]
    assert enc.offset_mapping[2:4] == [(8, 11), (12, 20)] or enc.offset_mapping[2:4] == [(7, 11), (12, 20)]


def test_endless_model_max_length(folder):
    edit(folder / "tokenizer_config.json", model_max_length=1000000000000000019884624838656)
    assert len(BertTokenizer.from_pretrained(folder)("a " * 600, truncation=True).input_ids) == 602


def test_c08_equal_lines_of_a_vocabulary(tmp_path):
    """The last counts, as in the reference; ids then have a gap, and vocab.txt cannot be written any more."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\na\nb\n", "utf-8")
    tok = BertTokenizer.from_pretrained(tmp_path)
    assert tok.encode("a b") == [1, 4, 5, 2]
    assert tok.convert_ids_to_tokens(3) is None
    tok.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.txt").exists()
    assert BertTokenizer.from_pretrained(tmp_path).encode("a b") == [1, 4, 5, 2]


def test_c05_a_path_inside_a_config_is_never_opened(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("[UNK]\n[CLS]\n[SEP]\nsecret\n", "utf-8")
    edit(folder / "tokenizer_config.json", vocab_file=str(secret), tokenizer_file=str(secret), name_or_path=str(secret))
    assert "secret" not in BertTokenizer.from_pretrained(folder).get_vocab()


def test_nothing_there(tmp_path):
    for place in (tmp_path / "none", "pkg:no_such_package_here/model"):
        with pytest.raises(NotFound):
            BertTokenizer.from_pretrained(place)
    with pytest.raises(NotFound, match=re.escape("vocab.txt or tokenizer.json")):
        BertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model__type": "BPE"}, "model: expected WordPiece, got 'BPE'"),
        ({"model": None}, "model: expected WordPiece"),
        ({"model__vocab": [["a", 0]]}, "model.vocab: expected an object"),
        ({"model__vocab": {}}, "model.vocab"),
        ({"model__vocab__a": "5"}, "expected a piece and its id"),
        ({"model__vocab__a": 0}, "different ids"),
        ({"model__vocab__a": 1 << 40}, "expected a piece and its id"),
        ({"model__unk_token": "<unk>"}, "unk_token '<unk>'"),
        ({"model__max_input_chars_per_word": "9"}, "max_input_chars_per_word: expected int"),
        ({"normalizer__type": "Lowercase"}, "normalizer: expected BertNormalizer"),
        ({"normalizer": None}, "normalizer: expected BertNormalizer"),
        ({"normalizer__lowercase": 1}, "lowercase: expected bool"),
        ({"pre_tokenizer__type": "ByteLevel"}, "pre_tokenizer: expected BertPreTokenizer"),
        ({"post_processor__type": "RobertaProcessing"}, "post_processor: expected BERT's template"),
        ({"post_processor__pair": []}, "post_processor"),
        ({"post_processor": 3}, "post_processor"),
        ({"added_tokens": [{"id": 1}]}, "content of an added token"),
        ({"added_tokens": [3]}, "added_tokens"),
        ({"added_tokens": [{"id": 99, "content": "\ud800"}]}, "half of a surrogate pair"),
        ({"model__vocab__x\udfff": 99}, "half of a surrogate pair"),
        ({"added_tokens": [{"id": 1, "content": "new"}]}, "its id 1 is that of"),
        ({"added_tokens": [{"id": 1 << 31, "content": "new"}]}, "expected an id from 0"),
        ({"added_tokens": [{"id": -1, "content": "new"}]}, "expected an id from 0"),
        ({"added_tokens": [{"id": 99, "content": "a"}]}, "expected 5, its id"),
    ],
)
def test_tokenizer_json_of_another_kind(folder, changes, match):
    edit(folder / "tokenizer.json", **changes)
    (folder / "special_tokens_map.json").unlink()
    if "model__unk_token" in changes:
        (folder / "tokenizer_config.json").unlink()
    with pytest.raises(LoadError, match=re.escape(match)) as error:
        BertTokenizer.from_pretrained(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": 1e999999',
        b'{"a": 1e999999}',
        b'{"a": NaN}',
        b'{"a": 1, "a": 1}',
        b"<!DOCTYPE html>",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_malformed_json(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(LoadError, match=re.escape(str(folder / name))):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"do_lower_case": "yes"},
        {"strip_accents": 3},
        {"cls_token": 3},
        {"added_tokens_decoder": {"x": {"content": "a"}}},
        {"added_tokens_decoder": {"-1": {"content": "new"}}},
        {"added_tokens_decoder": {"30": "new"}},
        {"added_tokens_decoder": []},
        {"tokenizer_class": "BertJapaneseTokenizer"},
    ],
)
def test_impossible_configs(folder, changes):
    edit(folder / "tokenizer_config.json", **changes)
    with pytest.raises(LoadError, match=r"tokenizer_config\.json"):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"a\nb\n",
        b"\xff\n",
        b"[UNK]\n[CLS]\n",
        b"version https://git-lfs.github.com/spec/v1\n[UNK]\n[CLS]\n[SEP]\n",
        b"<html>\n[UNK]\n[CLS]\n[SEP]\n",
    ],
)
def test_c08_impossible_vocab_files(tmp_path, content):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(LoadError, match=re.escape(str(tmp_path))):
        BertTokenizer.from_pretrained(tmp_path)


def test_files_that_are_too_large(folder, monkeypatch):
    monkeypatch.setattr(files, "_LARGEST_FILE", 20)
    for name in ("tokenizer.json", "vocab.txt"):
        with pytest.raises(LoadError, match="at most 20 bytes"):
            BertTokenizer.from_pretrained(folder / name)


def test_a_tokenizer_json_may_be_large(folder):
    with (folder / "tokenizer.json").open("ab") as file:
        file.write(b" " * (17 << 20))
    assert BertTokenizer.from_pretrained(folder).tokenize("A") == ["a"]


@pytest.mark.parametrize("pieces", [["[UNK]", "[CLS]", "[SEP]", "x\udfff"], {"[UNK]": 0, "\ud800": 1}])
def test_pieces_that_could_not_be_written(pieces):
    with pytest.raises(LoadError, match="lone surrogate"):
        BertTokenizer(pieces)


def test_c08_lines_may_end_as_on_windows(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\r\n[CLS]\r\n[SEP]\r\na")
    for profile in ("hf-fast", "hf-slow", "google"):
        assert BertTokenizer.from_pretrained(tmp_path, profile=profile).encode("a") == [1, 3, 2]


def test_what_cannot_be_saved_leaves_the_old_files(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        small().save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_reading_a_tokenizer_needs_no_numpy(folder):
    code = (
        "import sys; from minibert.text import BertTokenizer\n"
        "BertTokenizer.from_pretrained(sys.argv[1])('a b').input_ids\n"
        "raise SystemExit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0


def test_saving_where_a_file_is(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        small().save_pretrained(tmp_path / "file")


def test_an_unknown_profile_in_a_config(folder):
    edit(folder / "tokenizer_config.json", minibert_profile="fast")
    with pytest.raises(InputError, match="profile"):
        BertTokenizer.from_pretrained(folder)
