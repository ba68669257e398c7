"""Tensors and traces in a notebook: well-formed, without scripts, and with the numbers of the run."""

import base64
import re
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from minibert.lab.heat import BLUE, ORANGE, WHITE
from minibert.lab.page.static import digits
from minibert.lab.tensors import load_trace
from tests.lab.traces import CASES, traced

PROBS = "encoder.layer.0.attention.self.probs"


def parsed(thing):
    html = thing._repr_html_()
    assert not re.search(r"<script|<style|javascript:|\son\w+=|https?://", html)
    return ElementTree.fromstring(html)


def pixels(image):
    """The pixels of an <img> of this package, (height, width, 3)."""
    data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + body),)
        chunks[kind], at = body, at + 12 + size
    wide, high, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]  # eight bits, red green blue
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(high, 1 + 3 * wide)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(high, wide, 3)


@pytest.mark.parametrize("case", CASES)
def test_every_card_is_well_formed(case):
    trace = traced(case)
    for name, tensor in trace.items():
        root = parsed(tensor)
        assert name in "".join(root.itertext())
        assert len(list(root.iter("math"))) == 1 + bool(tensor.equation) + bool(tensor.backward_equation)
        heads = len(tensor.value[0] if isinstance(tensor.value, list) else tensor.value) if len(tensor.axes) == 3 else 1
        assert len(list(root.iter("img"))) == 2 * heads
        assert len(tensor._repr_html_()) < 60_000


def test_a_card_has_the_numbers_of_the_run():
    tensor = traced("masked LM")[PROBS]
    root = parsed(tensor)
    text = "".join(root.itertext())
    assert "how much a token attends to each, 4×6×6 (A head, T token of the sequence, T′ token" in text
    assert str(tensor.code) in text
    assert str(tensor.backward_code) in text
    value, gradient = ([cell.text for cell in row.iter("td")] for row in root.find("table/tbody"))
    x = tensor.value
    numbers = x.min(), x.max(), x.mean(), np.sqrt(np.mean(x**2)), np.linalg.norm(x)
    assert value[:5] == [digits(number, 4) for number in numbers]
    assert gradient[4] == digits(np.linalg.norm(tensor.grad), 4)


def test_a_picture_has_the_colours_of_the_terminal():
    tensor = traced("masked LM")["encoder.layer.0.attention.output.LayerNorm.mean"]
    picture = pixels(next(parsed(tensor).iter("img")))[0]
    assert len(picture) == tensor.value.size
    largest = np.abs(tensor.value).argmax()
    assert picture[largest].tolist() == (ORANGE if tensor.value[largest] > 0 else BLUE).tolist()
    share = tensor.value / np.abs(tensor.value).max()
    expected = [WHITE + abs(x) * ((ORANGE if x > 0 else BLUE) - WHITE) for x in share]
    np.testing.assert_allclose(picture, expected, atol=1)
    assert pixels(next(parsed(traced("masked LM")[PROBS]).iter("img"))).shape == (6, 6, 3)
    assert pixels(next(parsed(traced("pre-training")["cls.predictions.decoder"]).iter("img"))).shape == (13, 64, 3)


@pytest.mark.parametrize("case", CASES)
def test_the_map_is_a_table_of_every_tensor(case):
    trace = traced(case)
    root = parsed(trace)
    assert sorted(code.text for code in root.iter("code")) == sorted(trace)
    assert trace.about in "".join(root.itertext())
    blocks = root.findall("details")
    assert [block.get("open") for block in blocks] == ["open"] * 2 + [None] * (len(blocks) - 2)
    rows = {
        next(row.iter("code")).text: [cell.text for cell in row.iter("td")]
        for row in root.iter("tr")
        if row.find("td") is not None
    }
    for name, tensor in trace.items():
        parts = tensor.value if isinstance(tensor.value, list) else [tensor.value]
        finite = np.concatenate([part[np.isfinite(part)].reshape(-1) for part in parts])
        assert rows[name][3] == digits(np.sqrt(np.mean(finite**2)), 3)


def test_a_trace_of_a_file_and_one_with_something_replaced(tmp_path):
    trace = traced("masked LM")
    trace.save(tmp_path / "trace.npz", parameters=True)
    assert load_trace(tmp_path / "trace.npz")._repr_html_() == trace._repr_html_()
    changed = trace.replace({PROBS: lambda probs: 0 * probs})
    cells = [row for row in parsed(changed).iter("tr") if PROBS in "".join(row.itertext())]
    assert [cell.text for cell in cells[0].iter("td")][3:] == ["0", "none"]
    assert len(list(parsed(changed[PROBS]).iter("img"))) == 4  # heads, of the value alone
