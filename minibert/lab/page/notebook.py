"""A tensor and a trace in a notebook: HTML without scripts, from the parts of the page."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape

import numpy as np

from ...ops.xp import Array
from ..heat import coloured
from ..tensors import Tensor, Tensors
from .document import Summaries, axis_words
from .layout import placed
from .mathml import mathml, symbol
from .static import digits, tensor_table

HIGH, WIDE = 32, 64  # cells of a picture at most; where there are more, one is the mean of several
ASIDE = "display:flex;gap:1.5em;align-items:center"  # equations at the left, where a block would be centred
STATISTICS = "min", "max", "mean", "rms", "norm"


def card(tensor: Tensor) -> str:
    """Name, axes, equations, code lines and statistics of one tensor, and pictures of its first sequence."""
    entry, (value, gradient) = tensor.entry, Summaries(tensor.trace).statistics(tensor.name)
    shapes = " and ".join("×".join(map(str, part.shape)) or "a number" for part in tensor.trace.parts(entry))
    axes = ", ".join(f"{axis} {words}" for axis, words in zip(entry.axes, axis_words(entry), strict=True))
    lines = ""
    for equation, line in (entry.forward, tensor.code), (entry.backward, tensor.backward_code):
        lines += f'<div style="{ASIDE}">{mathml(equation) if equation else ""}'
        lines += f"{f'<code>{escape(str(line))}</code>' if line else ''}</div>"
    rows = "".join(
        f"<tr><th>{what}</th>{''.join(f'<td>{digits(found[key], 4)}</td>' for key in STATISTICS)}"
        f"<td>{_pictures(parts[0])}</td></tr>"
        for what, found, parts in (
            ("value", value, tensor.trace.parts(entry)),
            ("gradient", gradient, tensor.trace.gradient_parts(entry) if gradient else []),
        )
        if found
    )
    heads = "".join(
        f"<th>{key}</th>"
        for key in ("", *STATISTICS, "blue below 0, orange above; the deepest colour is the largest of a picture")
    )
    return (
        f"<div><div>{symbol(entry.symbol)} <b><code>{escape(entry.name)}</code></b></div>"
        f"<div>{escape(entry.meaning)}, {shapes}{f' ({escape(axes)})' if axes else ''}</div>{lines}"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def table(trace: Tensors) -> str:
    """The map as tables, one for each part of the model; all but the first two are folded."""
    summaries = Summaries(trace)
    blocks = ""
    for number, (title, block) in enumerate(placed(trace.entries).items()):
        start = '<details open="open">' if number < 2 else "<details>"
        blocks += f"{start}<summary>{escape(title)}, {len(block)} tensors</summary>"
        blocks += f"{tensor_table(trace, block, summaries)}</details>"
    words = " ".join(f"<code>{escape(token)}</code>" for token in trace.tokens or [])
    return (
        f"<div><div><b>{escape(trace.about)}</b></div><div>{words}</div>"
        f"<div>loss {escape(digits(trace.loss, 6))}, {escape(trace.aim)}</div>{blocks}</div>"
    )


def _pictures(array: Array) -> str:
    """Of a matrix; of all heads one each."""
    return " ".join(map(_picture, array if array.ndim == 3 else [array]))


def _picture(array: Array) -> str:
    """An <img> of a matrix in the colours of the terminal."""
    pixels = coloured(np.atleast_2d(array), HIGH, WIDE)
    high, wide, _ = pixels.shape
    lines = np.concatenate([np.zeros((high, 1), np.uint8), pixels.reshape(high, -1)], axis=1)  # 0: no filter
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    size = f"width:{max(4 * wide, 16)}px;height:{max(4 * high, 12)}px"
    return (
        f'<img alt="heat map, {" by ".join(map(str, array.shape)) or "one number"}" style="{size};'
        f'image-rendering:pixelated" src="data:image/png;base64,{base64.b64encode(png).decode()}"/>'
    )
