"""The object graph of a TensorFlow 2 checkpoint: which variable is which, and which are an optimiser's.

tf.train.Checkpoint names a variable by the path of attributes that leads to it from the saved object, which may be no
more than numbers. Under "_CHECKPOINTABLE_OBJECT_GRAPH" it adds a protobuf message that knows more:

    graph = 1 node ...
    node  = 1 child {1 node | 2 local name} ... | 3 slot variable {1 of node | 2 slot name | 3 node} ...
            2 attribute {1 name | 2 full name | 3 key in the checkpoint} ...

Nodes go by their place in the list. A variable's values are an attribute of its node, and its full name is the one that
it was made with. What an optimiser keeps beside each variable, such as Adam's moments, its node lists as slot
variables; Keras since 2.11 has them, and the counter of steps, in a child `_variables` instead.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ...errors import LoadError
from .protobuf import Message

__all__ = ["GRAPH_KEY", "ObjectGraph", "is_slot_path", "parse_object_graph"]

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
GRAPH_LIMIT = 2**22  # bytes, taken apart in some seconds at most; BERT with Adam has a few hundred thousand


class ObjectGraph(NamedTuple):
    """full_names: tensor -> the name its variable was made with; slots: the tensors that are an optimiser's own."""

    full_names: dict[str, str]
    slots: set[str]


def is_slot_path(name: str) -> bool:
    """Whether the path `name` itself says that it is a slot variable."""
    return "/.OPTIMIZER_SLOT/" in name


def parse_object_graph(graph: bytes, tensors: Collection[str], where: str) -> ObjectGraph:
    """What the message `graph` says about `tensors`, the names in the checkpoint.

    Raises LoadError that begins with `where` if it is malformed, or speaks of nodes that it does not have.
    """
    if len(graph) > GRAPH_LIMIT:
        raise LoadError(f"{where}: expected at most {GRAPH_LIMIT} bytes, got {len(graph)}")
    nodes = Message(graph, where).contents(1)
    optimiser_nodes = _optimiser_nodes(nodes, where)
    found = ObjectGraph({}, set())
    for number, content in enumerate(nodes):
        for part in Message(content, where).contents(2):
            attribute = Message(part, where)
            full_name, key = attribute.text(2), attribute.text(3)
            if key in tensors and full_name:
                found.full_names[key] = full_name
            if key in tensors and number in optimiser_nodes:
                found.slots.add(key)
    return found


def _optimiser_nodes(nodes: list[bytes], where: str) -> set[int]:
    """The nodes that optimisers keep beside the variables of the model."""
    slots: set[int] = set()
    lists: set[int] = set()
    for content in nodes:
        node = Message(content, where)
        slots.update(_number(Message(slot, where).integer(3), nodes, where) for slot in node.contents(3))
        children = _children(node, nodes, where)
        if "_iterations" in children and "_variables" in children:
            lists.add(children["_variables"])
    for number in lists:
        slots.update(_children(Message(nodes[number], where), nodes, where).values())
    return slots


def _children(node: Message, nodes: list[bytes], where: str) -> dict[str, int]:
    children = (Message(child, where) for child in node.contents(1))
    return {child.text(2): _number(child.integer(1), nodes, where) for child in children}


def _number(number: int, nodes: list[bytes], where: str) -> int:
    if not 0 <= number < len(nodes):
        raise LoadError(f"{where}: node: expected 0 to {len(nodes) - 1}, got {number}")
    return number
