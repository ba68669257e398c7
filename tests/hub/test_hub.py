"""Names on the hub: what is fetched, when the cache is enough, and what people read when it is not."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import hf_hub_download

import minibert as mb
from minibert.cli import download as verb
from minibert.errors import InputError, LoadError, NotFound
from minibert.hub import download, fetch
from minibert.locate import is_hub_name, locate
from tests.cli.process import minibert
from tests.hub.conftest import NAME
from tests.hub.server import Model

TOKENIZER = ["added_tokens.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
SENTENCE = ["1_Pooling/config.json", "config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"]
FETCHED = ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


# --- what is fetched ------------------------------------------------------------------------------------------------


def test_a_name_on_the_hub_is_a_model(hub, folder):
    found = locate(NAME)
    assert names(found) == FETCHED
    assert hub.transferred() == FETCHED
    ours, theirs = mb.BertModel.from_pretrained(found), mb.BertModel.from_pretrained(folder)
    np.testing.assert_array_equal(ours.parameters.flat, theirs.parameters.flat)
    assert mb.BertTokenizer.from_pretrained(NAME)("the cat").input_ids == [2, 5, 7, 3]
    assert mb.SentenceEncoder.from_pretrained(NAME).encode("the cat").shape == (16,)


def test_a_name_without_an_organisation_is_one_too(hub):
    hub.models["tiny-bert"] = hub.models[NAME]
    assert names(locate("tiny-bert")) == FETCHED


def test_only_the_parts_asked_for_are_fetched(hub):
    assert names(fetch(NAME, parts=("tokenizer",))) == ["tokenizer_config.json", "vocab.txt"]
    assert names(fetch(NAME, parts=("config", "tokenizer"))) == ["config.json", "tokenizer_config.json", "vocab.txt"]
    assert hub.transferred() == ["config.json", "tokenizer_config.json", "vocab.txt"]


def test_the_first_of_several_vocabularies_or_configurations_is_enough(hub, files):
    hub.models[NAME] = Model(files | {"tokenizer.json": b"{}", "bert_config.json": b"{}"})
    assert names(locate(NAME)) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_the_files_of_sentence_transformers_come_with_what_they_say(hub, files):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True}
    more = {"modules.json": modules, "1_Pooling/config.json": pooling, "sentence_bert_config.json": {}}
    hub.models[NAME] = Model(files | {name: json.dumps(value).encode() for name, value in more.items()})
    encoder = mb.SentenceEncoder.from_pretrained(NAME)
    assert encoder.pooling == ("cls",)
    assert set(more) <= set(hub.transferred())


INDEX = json.dumps({"weight_map": {"a": "shard-1.bin", "b": "shard-2.bin", "c": "shard-1.bin"}}).encode()
SHARDS = {"shard-1.bin": b"1", "shard-2.bin": b"2"}
TF = {"bert.index": b"i", "bert.data-00000-of-00002": b"0", "bert.data-00001-of-00002": b"1"}
SETS = [
    {"model.safetensors": b"s"},
    {"model.safetensors.index.json": INDEX, **SHARDS},
    {"pytorch_model.bin": b"p"},
    {"pytorch_model.bin.index.json": INDEX, **SHARDS},
    TF,
    {"tf_model.h5": b"h"},
    {"flax_model.msgpack": b"f"},
    {"model.npz": b"n"},
    {"variables/variables.index": b"i", "variables/variables.data-00000-of-00001": b"0"},
]


@pytest.mark.parametrize("first", range(len(SETS)), ids=[next(iter(weights)) for weights in SETS])
def test_of_all_weights_the_first_set_that_there_is_is_fetched(hub, no_socket, first):
    there = {name: content for weights in SETS[first:] for name, content in weights.items()}
    there |= {"bert.meta": b"m", "checkpoint": b"c", "model.onnx": b"o", "other.safetensors": b"x", "sub/b.index": b"i"}
    hub.models[NAME] = Model(there)
    folder = fetch(NAME, parts=("weights",))
    assert names(folder) == sorted(SETS[first])
    no_socket()
    assert fetch(NAME, parts=("weights",)) == folder


def test_a_set_that_the_hub_has_but_in_part_is_left_to_its_reader(hub):
    hub.models[NAME] = Model({"model.safetensors.index.json": INDEX, "shard-1.bin": b"1"})
    folder = fetch(NAME, parts=("weights",))
    assert names(folder) == ["model.safetensors.index.json", "shard-1.bin"]
    assert not [
        path for path in hub.paths("HEAD") if path.endswith("shard-2.bin")
    ]  # nor is what is not listed asked for
    hub.models[NAME] = Model({"bert.index": b"i", "bert.data-00007-of-99999": b"7"})
    assert names(download(NAME, parts=("weights",)).folder) == ["bert.data-00007-of-99999", "bert.index"]
    hub.models[NAME] = Model({"model.safetensors.index.json": b'{"weight_map": 5}'})
    assert names(download(NAME, parts=("weights",)).folder) == ["model.safetensors.index.json"]
    hub.models[NAME] = Model({"model.safetensors.index.json": b"{"})
    with pytest.raises(LoadError, match="not valid JSON"):
        download(NAME, parts=("weights",))


def test_of_several_tensorflow_checkpoints_none_is_the_model(hub):
    several = {f"ckpt-{step}{name.removeprefix('bert')}": content for step in (1, 2) for name, content in TF.items()}
    hub.models[NAME] = Model(several)
    with pytest.raises(NotFound, match="has no weights that are read here"):
        locate(NAME)


def test_a_model_without_anything_readable_is_not_found(hub):
    hub.models[NAME] = Model({"config.json": b"{}", "model.onnx": b"o"})
    with pytest.raises(NotFound, match=rf"{NAME} has no weights that are read here \(model.safetensors, "):
        locate(NAME)
    hub.models[NAME] = Model({"README.md": b"#"})
    with pytest.raises(NotFound, match=f"{NAME} has no files of the parts tokenizer"):
        locate(NAME, parts=("tokenizer",))


# --- when the cache is enough ---------------------------------------------------------------------------------------


def test_a_complete_cached_revision_opens_no_socket(hub, no_socket):
    encoder = mb.SentenceEncoder.from_pretrained(NAME)
    before = len(hub.asked)
    no_socket()
    assert mb.BertTokenizer.from_pretrained(NAME)("the cat").input_ids == [2, 5, 7, 3]
    again = mb.SentenceEncoder.from_pretrained(NAME)
    np.testing.assert_array_equal(again.encode("the cat"), encoder.encode("the cat"))
    assert len(hub.asked) == before


def test_files_that_do_not_exist_are_asked_for_once(hub):
    fetch(NAME)
    absent = {path.partition("/resolve/")[2].partition("/")[2] for path in hub.paths("HEAD")} - set(FETCHED)
    assert sorted(absent) == sorted(set(TOKENIZER + SENTENCE) - set(FETCHED))
    hub.asked.clear()
    download(NAME)
    assert len(hub.paths("HEAD")) == 1  # for the branch


def test_what_another_program_has_cached_is_used_and_the_rest_asked_for(hub, no_socket):
    for name in ("config.json", "model.safetensors"):
        hf_hub_download(NAME, name)
    hub.asked.clear()
    assert names(locate(NAME, parts=("config", "weights"))) == ["config.json", "model.safetensors"]
    assert not hub.asked
    assert names(locate(NAME)) == FETCHED  # whether there is a tokenizer.json nobody has asked yet
    assert hub.transferred() == ["tokenizer_config.json", "vocab.txt"]
    no_socket()
    assert names(locate(NAME)) == FETCHED


def test_weights_that_another_program_chose_will_do(hub):
    for name in ("config.json", "pytorch_model.bin"):
        hf_hub_download(NAME, name)
    assert names(locate(NAME, parts=("config", "weights"))) == ["config.json", "pytorch_model.bin"]
    hub.models[NAME] = Model(TF)
    hf_hub_download(NAME, "bert.index")
    hf_hub_download(NAME, "bert.data-00000-of-00002")
    assert names(locate(NAME, parts=("weights",))) == sorted(TF)  # one of the two was missing


# --- revisions ------------------------------------------------------------------------------------------------------


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, files):
    model = hub.models[NAME]
    old = model.names["main"]
    new = model.commit(files | {"config.json": b"new"}, "refs/pr/1", "v1.0")
    model.names["main"] = old
    for revision, commit in ((None, old), ("refs/pr/1", new), ("v1.0", new), (new, new), (old, old), ("main", old)):
        assert locate(NAME, revision).name == commit
    with pytest.raises(NotFound, match=f"{NAME} has no revision v2(.|\n)*minibert download {NAME}$"):
        locate(NAME, "v2")


@pytest.mark.parametrize("revision", ["", "../main", "a/../../b", "/etc", "a\0b", "a b", 5, "v1\n"])
def test_an_impossible_revision_is_refused(hub, revision):
    with pytest.raises(InputError, match="revision: expected a branch, a tag or a commit, got "):
        locate(NAME, revision)
    assert not hub.asked


def test_a_branch_stays_as_it_is_until_news_are_asked_for(hub, files, no_socket):
    first = locate(NAME)
    new = hub.models[NAME].commit(files | {"config.json": b"new"})
    assert locate(NAME) == first
    hub.asked.clear()
    done = download(NAME)
    assert done.folder.name == new
    assert done.fetched == ["config.json"]
    assert done.files == {name: len((files | {"config.json": b"new"})[name]) for name in FETCHED}
    assert hub.transferred() == ["config.json"]  # the others have not changed
    no_socket()
    assert locate(NAME) == done.folder
    assert locate(NAME, first.name) == first


def test_an_update_that_fails_leaves_the_old_state_in_use(hub, files, no_socket):
    first = locate(NAME)
    hub.models[NAME].commit(files | {"model.safetensors": b"new weights", "config.json": b"{ }"})
    hub.faults.append(lambda request: "/large/" in request.path and request.send(b"", status=500))
    with pytest.raises(NotFound, match="HTTP 500"):
        download(NAME)
    no_socket()
    assert locate(NAME) == first


def test_two_states_of_a_branch_are_never_mixed(hub, files):
    """The branch moves while its files are fetched."""

    def move(request):
        if "/large/" in request.path:
            hub.models[NAME].commit(files | {"config.json": b"new", "vocab.txt": b"new"})

    hub.faults.append(move)
    old = hub.models[NAME].names["main"]
    done = download(NAME)
    assert done.folder.name == old
    assert (done.folder / "vocab.txt").read_bytes() == files["vocab.txt"]


# --- the places of a model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["google-bert/bert-base-uncased", "bert-base-uncased", "a/b", "a", "A.b_c-d/e.f_g-h", "x" * 96, "org/" + "x" * 96],
)
def test_names_on_the_hub(text):
    assert is_hub_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *("./a", "../a", "/a/b", "~/a", "a/b/c", "a/", "/a", "a//b", "a\\b", "a b", "a--b", "a..b", ".a", "-a", "a-"),
        *("a.", "a./b", "a-/b", "a.git", "x" * 97, "é/b", "a\n", "pkg:a/b", "C:a", "", "org/" + "x" * 97),
        *("model.safetensors", "x/pytorch_model.bin", "bert_model.ckpt", "bert_model.ckpt.index", "vocab.txt"),
        "bert_model.ckpt.data-00000-of-00001",
    ],
)
def test_what_is_no_name_on_the_hub_is_looked_for_on_disk_alone(hub, text, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # where ".." has nothing either
    assert not is_hub_name(text)
    with pytest.raises((NotFound, InputError)):
        locate(text)
    assert not hub.asked


def test_the_rule_for_names_is_the_librarys():
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for text in (
        "a/b",
        "_a/b_",
        "a.b",
        "a--b",
        "a..b",
        "a.git",
        "-a",
        "a-",
        "a.",
        "a./b",
        "a-/b",
        ".a/b",
        "é",
        "x" * 97,
    ):
        try:
            validate_repo_id(text)
        except HFValidationError:
            assert not is_hub_name(text), text
        else:
            assert is_hub_name(text), text


def test_local_places_come_first(hub, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some-org").mkdir()
    (tmp_path / NAME).symlink_to(folder)
    assert locate(NAME) == Path(NAME)
    (tmp_path / "ckpt.index").touch()
    assert locate("ckpt") == Path("ckpt")  # the prefix of a TensorFlow checkpoint
    assert not hub.asked


def test_a_path_is_no_name_on_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no such file or folder"):
        locate(Path(NAME))
    assert not hub.asked


def test_only_models_of_the_hub_have_revisions(hub, folder, monkeypatch):
    with pytest.raises(InputError, match=r"only a model of the hub has revisions; .* got 'main'"):
        locate(folder, "main")
    with pytest.raises(InputError, match="only a model of the hub has revisions"):
        mb.BertTokenizer.from_pretrained(folder, revision="main")
    with pytest.raises(InputError, match="only a model of the hub has revisions"):
        mb.SentenceEncoder.from_pretrained(folder, revision="main")
    with pytest.raises(InputError, match="only a model of the hub has revisions"):
        locate("pkg:json", "main")


# --- the command line -----------------------------------------------------------------------------------------------


def test_the_verb_download_prints_the_folder_and_says_what_it_did(hub, environment, files, cache):
    status, out, err = minibert("download", NAME, env=environment)
    commit = hub.models[NAME].names["main"]
    assert (status, out) == (0, f"{cache / 'models--some-org--tiny-bert' / 'snapshots' / commit}\n")
    assert f"{len(files['vocab.txt']):14,}  vocab.txt\n" in err
    assert f"{sum(len(files[name]) for name in FETCHED):14,}  bytes fetched, in 4 of 4 files\n" in err
    status, out, err = minibert("download", NAME, "--revision", commit, env=environment)
    assert (status, out.strip().rpartition("/")[2]) == (0, commit)
    assert f"{len(files['vocab.txt']):14,}  vocab.txt  (was there)\n" in err
    assert f"{0:14,}  bytes fetched, in 0 of 4 files\n" in err


@pytest.mark.parametrize("name", ["./folder", "model.safetensors", "a/b/c", ""])
def test_the_verb_download_wants_a_name(name):
    status, _, err = minibert("download", name)
    assert status == 2
    assert f"expected the name of a model on the hub, org/name, got {name!r}" in err


def test_without_the_library_people_are_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "minibert.hub")
    monkeypatch.delattr(mb, "hub")
    with pytest.raises(NotFound) as caught:
        locate(NAME)
    assert caught.value.message.startswith(
        f"{NAME}: no such file or folder (looked at {tmp_path / NAME}); models of the Hugging Face hub, in its cache "
        "or not, need the library huggingface_hub ("
    )
    assert caught.value.hint == "pip install 'minibert-numpy[hub]', then: minibert download NAME"
    with pytest.raises(NotFound, match="need the library huggingface_hub"):
        verb.run(SimpleNamespace(name=NAME, revision=None))
