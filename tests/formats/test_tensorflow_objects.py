"""Variables in pieces (T07), object graphs and optimisers' slots (T09) in TensorFlow checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minibert.errors import LoadError
from minibert.formats.tensorflow import objects
from minibert.formats.tensorflow.bundle import open_bundle
from minibert.formats.tensorflow.slices import slice_key
from tests.formats import tensorflow_files as tf

WHOLE = np.arange(24, dtype="<f4").reshape(6, 4)
FULL = (0, -1)


def partitioned(
    folder: Path, pieces: list[tuple[tuple, np.ndarray]], listed: list | None = None, sizes=(6, 4), **changed: int
) -> Path:
    """A checkpoint of "w" in `pieces`, (extents, array); its entry lists `listed`; `changed` goes for all pieces."""
    entries, data = [], b""
    for extents, array in pieces:
        raw = array.tobytes()
        fields = {"dtype": 1, "offset": len(data), "shard": 0, "checksum": tf.masked(raw), **changed}
        entries.append((tf.slice_key("w", extents), tf.entry(sizes=array.shape, size=len(raw), **fields)))
        data += raw
    listed = [[() if e == FULL else e for e in extents] for extents, _ in pieces] if listed is None else listed
    entries = sorted({**dict(entries), b"w": tf.entry(1, sizes, slices=listed)}.items())
    return tf.write_bundle(folder, entries, data)


def refused(path: Path, match: str) -> None:
    with pytest.raises(LoadError, match=match) as caught:
        open_bundle(path)
    assert str(caught.value).startswith(f"{path}: tensor 'w': slice")


ROWS = [(((0, 2), FULL), WHOLE[:2]), (((2, 3), FULL), WHOLE[2:5]), (((5, 1), FULL), WHOLE[5:])]


@pytest.mark.parametrize(
    "pieces",
    [
        ROWS,
        ROWS[::-1],
        [((FULL, (0, 1)), WHOLE[:, :1]), ((FULL, (1, 3)), WHOLE[:, 1:])],
        [((FULL, FULL), WHOLE)],
        [(((0, 6), (0, 4)), WHOLE)],
        [(((0, 0), FULL), WHOLE[:0]), (((0, 6), FULL), WHOLE)],
    ],
)
def test_t07_slices_are_joined(tmp_path, pieces):
    bundle = open_bundle(partitioned(tmp_path, pieces))
    assert dict(bundle.tensors) == {"w": ("F32", (6, 4), 96)}
    array = bundle.read("w")
    assert array.tobytes() == WHOLE.tobytes()
    assert (array.shape, array.flags.writeable, array.flags.c_contiguous) == ((6, 4), False, True)


def test_t07_slices_in_several_shards(tmp_path):
    raws = [WHOLE[:2].tobytes(), WHOLE[2:].tobytes()]
    places = [((0, 2), FULL), ((2, 4), FULL)]
    entries = [
        (tf.slice_key("w", place), tf.entry(1, [place[0][1], 4], len(raw), tf.masked(raw), shard=i))
        for i, (place, raw) in enumerate(zip(places, raws, strict=True))
    ]
    entries.append((b"w", tf.entry(1, [6, 4], slices=[[(0, 2), ()], [(2, 4), ()]])))
    path = tf.write_bundle(tmp_path, entries, raws)
    assert np.array_equal(open_bundle(path).read("w"), WHOLE)
    (tmp_path / "model.ckpt.data-00001-of-00002").write_bytes(b"\1" + raws[1][1:])
    with pytest.raises(LoadError, match="data-00001-of-00002: tensor 'w': checksum"):
        open_bundle(path).read("w")


def test_t07_a_scalar_in_one_piece(tmp_path):
    scalar = np.array(7, "<f4")
    assert open_bundle(partitioned(tmp_path, [((), scalar)], [[]], ())).read("w") == 7
    refused(partitioned(tmp_path, [((), scalar)], [[], []], ()), "expected one from 1 on axis 0, got 0, which overlaps")


@pytest.mark.parametrize(
    ("pieces", "match"),
    [
        (ROWS[1:], "expected one from 0 on axis 0, got 2, which leaves a hole before it"),
        (ROWS[:1] + ROWS[2:], "expected one from 2 on axis 0, got 5, which leaves a hole before it"),
        (ROWS[:2], "expected to reach 6 on axis 0, got 5: the last is missing"),
        ([*ROWS, (((1, 1), FULL), WHOLE[1:2])], "expected one from 2 on axis 0, got 1, which overlaps"),
        ([ROWS[0], (((1, 5), FULL), WHOLE[1:])], "got 1, which overlaps the slice before it"),
        (
            [(((0, 7), FULL), np.zeros((7, 4), "<f4"))],
            r"slice \(\(0, 7\), \(0, -1\)\): expected a part of shape \[6, 4\]",
        ),
        ([(((6, 1), FULL), WHOLE[:1])], "expected a part of shape"),
        ([(((0, 6),), WHOLE)], "expected a part of shape"),
        ([(((0, 6), FULL, FULL), WHOLE)], "expected a part of shape"),
        (
            [(((0, 6), (0, 2)), WHOLE[:, :2]), (((0, 3), (2, 2)), WHOLE[:3, 2:]), (((3, 3), (2, 2)), WHOLE[3:, 2:])],
            r"expected cuts along one axis, got cuts along axes \[0, 1\]",
        ),
    ],
)
def test_t07_slices_that_are_not_the_whole(tmp_path, pieces, match):
    refused(partitioned(tmp_path, pieces), match)


@pytest.mark.parametrize("extent", [(-1, 3), (2**62, 1), (0, -2), (1, -1), (2, 2**62), (-(2**63), 2**63 - 1)])
def test_t07_slices_out_of_range(tmp_path, extent):
    refused(partitioned(tmp_path, ROWS, [[(0, 2), ()], [extent, ()]]), r"expected a part of shape \[6, 4\]")


def test_t07_slice_without_an_entry(tmp_path):
    listed = [[(0, 2), ()], [(2, 3), ()], [(5, 1), ()]]
    refused(partitioned(tmp_path, ROWS[:2], listed), r"slice \(\(5, 1\), \(0, -1\)\): missing from the index")


def test_t07_entry_without_a_tensor(tmp_path):
    path = partitioned(tmp_path, ROWS, [[(0, 2), ()], [(2, 4), ()]])
    refused(path, r"slice \(\(2, 4\), \(0, -1\)\): missing from the index")
    raw = WHOLE.tobytes()
    path = tf.write_bundle(tmp_path, [(tf.slice_key("v", (FULL, FULL)), tf.entry(1, [6, 4], 96, tf.masked(raw)))], raw)
    with pytest.raises(LoadError, match=r"slice b'.*v.*': of a tensor that does not list it"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"dtype": 3}, r"expected F32 of shape \[2, 4\] in one piece, got I32 of shape \[2, 4\]"),
        ({"offset": 0}, "slices: two share the bytes from 0 on in shard 0"),
        ({"slices": [[(0, 1), ()]]}, "in one piece"),
    ],
)
def test_t07_slices_that_do_not_fit(tmp_path, changed, match):
    refused(partitioned(tmp_path, ROWS, **changed), match)


def test_t07_slices_of_another_shape(tmp_path):
    pieces = [(ROWS[0][0], WHOLE[:2].reshape(4, 2)), *ROWS[1:]]
    refused(partitioned(tmp_path, pieces), r"expected F32 of shape \[2, 4\] in one piece, got F32 of shape \[4, 2\]")


def test_t07_texts_in_slices(tmp_path):
    path = tf.write_bundle(tmp_path, [(b"w", tf.entry(tf.TEXT, [1], slices=[[()]]))], b"")
    refused(path, "slices: expected numbers, got TEXT")


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        (((0, -1),), "80 7f"),
        (((63, 64),), "bf c040"),
        (((-64, -65),), "40 3fbf"),
        (((8191, 8192),), "dfff e02000"),
        (((2**20 - 1, 2**20),), "efffff f0100000"),
        (((2**48, 2**55),), "ff01000000000000 ff80800000 00000000"),  # 8 bytes hold 55 bits, 9 bytes 62
        (((2**62 - 1, 2**62),), "ffbfffffffffffffff ffc04000000000000000"),
        (((2**63 - 1, -(2**63)),), "ffc07fffffffffffffff 003f8000000000000000"),
    ],
)
def test_keys_of_slices(extents, expected):
    """As TensorFlow's OrderedCode has them."""
    assert slice_key("w", extents) == b"\0w\0\1\1\1" + bytes.fromhex(expected)


def test_order_of_slice_keys_is_that_of_their_numbers():
    numbers = sorted({sign * (2**i + j) for i in range(62) for j in (-1, 0, 1) for sign in (-1, 1)})
    keys = [slice_key("a\0b", ((number, 0),)) for number in numbers]
    assert keys == sorted(keys)
    assert keys[0].startswith(b"\0a\0\xffb\0\1")


# ---- T09: object graphs, slots --------------------------------------------------------------------------------------

KERNEL = f"model/layer_with_weights-0/kernel{tf.VARIABLE}"
MOMENT = f"model/layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m{tf.VARIABLE}"
UNSAID = f"optimizer/beta{tf.VARIABLE}"
KERAS = f"optimizer/_variables/1{tf.VARIABLE}"
STEP = f"optimizer/_iterations{tf.VARIABLE}"
NODES = [
    {"children": {"model": 1, "optimizer": 2, "keras": 4}},
    {"variable": ("bert/word_embeddings/embeddings", KERNEL)},
    {"slots": [3], "children": {"model": 0}},  # a cycle does no harm
    {"variable": ("Adam/bert/word_embeddings/embeddings/m", MOMENT)},
    {"children": {"_variables": 5, "_iterations": 6}},
    {"children": {"0": 6, "1": 7}},
    {"variable": ("iteration", STEP)},
    {"variable": ("", KERAS)},
    {"variable": ("gone", "not/in/the/file")},
]


def object_based(folder: Path, graph: bytes, name: str = "ckpt-1") -> Path:
    arrays = {key: np.full(2, i, "<f4") for i, key in enumerate([KERNEL, MOMENT, UNSAID, KERAS, STEP])}
    return tf.write_bundle(folder, *tf.entries_and_data({**arrays, tf.GRAPH: [graph]}), name=name)


def test_t09_object_graph_names_variables_and_slots(tmp_path):
    bundle = open_bundle(object_based(tmp_path, tf.graph(NODES)))
    assert bundle.format == "TensorFlow checkpoint, object-based"
    assert bundle.full_names == {
        KERNEL: "bert/word_embeddings/embeddings",
        MOMENT: "Adam/bert/word_embeddings/embeddings/m",
        STEP: "iteration",
    }
    assert bundle.slots == {MOMENT, KERAS, STEP}
    assert bundle.read(KERNEL)[0] == 0


def test_t09_slots_by_their_paths_where_there_is_no_graph(tmp_path):
    path = object_based(tmp_path, tf.graph(NODES))
    (tmp_path / "ckpt-1.data-00000-of-00001").unlink()
    bundle = open_bundle(path)
    assert (bundle.slots, bundle.full_names) == ({MOMENT}, {})
    assert bundle.format == "TensorFlow checkpoint, object-based"
    assert open_bundle(object_based(tmp_path, b"", "empty")).slots == {MOMENT}


def test_t09_names_of_tensorflow_1_are_all_listed(tmp_path):
    names = ["bert/pooler/dense/kernel", "bert/pooler/dense/kernel/adam_m", "global_step", "unknown/thing"]
    path = tf.write_bundle(tmp_path, *tf.entries_and_data({name: np.float32([1]) for name in names}))
    assert (list(open_bundle(path).tensors), open_bundle(path).slots) == (names, set())


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (tf.graph([{"slots": [1]}]), "node: expected 0 to 0, got 1"),
        (tf.graph([{"slots": [-1]}]), "node: expected 0 to 0, got -1"),
        (tf.graph([{"children": {"a": 2**31}}]), "node: expected 0 to 0, got 2147483648"),
        (tf.graph(NODES)[:-1], "field 1: expected .* bytes, .* are left"),
        (tf.field(1, b"\x0f"), "field 1: wire type"),
        (tf.field(1, tf.field(2, tf.field(2, b"\xff"))), "field 2: expected UTF-8"),
        (tf.field(1, b"") * (2**16 + 1), "expected at most 65536 fields"),
    ],
)
def test_t09_malformed_graph(tmp_path, graph, match):
    with pytest.raises(LoadError, match=f"ckpt-1.index: tensor '{tf.GRAPH}': {match}"):
        open_bundle(object_based(tmp_path, graph))


def test_t09_graph_larger_than_any(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "GRAPH_LIMIT", 1000)
    with pytest.raises(LoadError, match=f"tensor '{tf.GRAPH}': expected at most 1000 bytes, got 1001"):
        open_bundle(object_based(tmp_path, bytes(1001)))


def test_t09_graph_that_is_no_text_or_damaged(tmp_path):
    path = tf.write_bundle(tmp_path, *tf.entries_and_data({tf.GRAPH: np.float32([1])}))
    with pytest.raises(LoadError, match=f"tensor '{tf.GRAPH}': dtype: expected TEXT, got F32"):
        open_bundle(path)
    path = object_based(tmp_path, tf.graph(NODES))
    shard = tmp_path / "ckpt-1.data-00000-of-00001"
    content = shard.read_bytes()
    at = content.index(b"word_embeddings")
    shard.write_bytes(content[:at] + b"W" + content[at + 1 :])
    with pytest.raises(LoadError, match=f"tensor '{tf.GRAPH}': checksum"):
        open_bundle(path)


def test_t09_every_optimiser_may_point_at_the_same_large_list(tmp_path):
    """As many steps as nodes and children, not their product."""
    nodes = [{"children": {"_variables": 3000, "_iterations": 0}}] * 3000
    nodes.append({"children": {str(i): i for i in range(3000)}})
    assert open_bundle(object_based(tmp_path, tf.graph(nodes))).slots == {MOMENT}
