"""Pickles, read without running them.

A pickle is a program for a small stack machine. Most of its instructions push a value or gather values into a tuple,
list or dict; GLOBAL pushes anything importable by its name, and REDUCE calls it. `pickle.load` does as it is told, so
that whoever writes a file decides what runs on the reader's computer.

The machine here knows only the instructions that weight files need, imports nothing, and calls nothing but the
functions of this package that its caller lists for a few exact names. Any other name is an error as soon as it occurs.
There is no switch to loosen this: what is refused stays refused.

It is bounded, too. Every instruction costs one unit of a fixed budget, texts and arguments of calls more by their
length; long texts and byte strings, which no name of a tensor is, are stepped over. Nothing recurses, whatever the
depth of nesting, and what the file shares stays shared.

Instructions: Lib/pickletools.py of CPython documents each.
"""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Callable, Mapping

from ...errors import LoadError
from ..files import quote
from .values import Dict, Inert, OrderedDict, Refused, Symbol, describe

__all__ = ["unpickle"]

BUDGET = 2**18  # instructions, done in a second; BERT-large with both moments of Adam takes about 40 000
TEXT_LIMIT = 4096  # bytes; longer ones are stepped over
MEMO_LIMIT = BUDGET
PROTOCOLS = range(6)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_HINT = "the file is damaged, or made to harm; nothing of it was run"
_OLD_PROTOCOL = "nothing of it was run. If PyTorch wrote it, save it again with pickle_protocol=2, the default"
_WHOLE_OBJECT = (
    "nothing of it was run. If this is a whole model or a training state, save only its weights where it was made: "
    "torch.save(model.state_dict(), PATH)"
)

Symbols = Mapping[tuple[str, str], Symbol]  # by module and name


def unpickle(
    data: memoryview,
    start: int,
    where: str,
    symbols: Symbols,
    persistent: Callable[[object], object] | None = None,
) -> tuple[object, int]:
    """Runs the pickle that begins at `data[start]`; returns its value, and where it ends.

    symbols: all names that may occur. persistent: what stands for an object that is kept outside the pickle, given the
    id that the pickle has for it. Functions of both raise Refused. Values are None, bool, int, float, str, tuple, list,
    Dict, OrderedDict, Symbol, Inert, and what those functions return.

    Raises LoadError that begins with `where` and names the byte and the instruction.
    """
    machine = _Machine(data, start, symbols, persistent)
    begin, name = start, ""
    try:
        while name != "STOP":
            begin, name = machine.at, ""
            opcode = machine.byte()
            if opcode not in _INSTRUCTIONS:
                known = (info.name for info in pickletools.opcodes if info.code == chr(opcode))
                raise Refused(f"opcode not allowed: {next(known, hex(opcode))}", _OLD_PROTOCOL)
            name, effect = _INSTRUCTIONS[opcode]
            machine.spend(1)
            effect(machine)
            if begin < machine.frame_end < machine.at:  # CPython's own two readers differ there
                raise Refused(f"straddles the end of a frame at {machine.frame_end}", _HINT)
    except Refused as error:
        instruction = f"{name}: " if name else ""
        raise LoadError(f"{where}: byte {begin}: {instruction}{error}", error.hint) from None
    return machine.stack[0], machine.at


class _Machine:
    """The stack, the memo, and what the instructions do to them."""

    def __init__(
        self, data: memoryview, at: int, symbols: Symbols, persistent: Callable[[object], object] | None
    ) -> None:
        self.data, self.at = data, at
        self.symbols, self.persistent = symbols, persistent
        self.stack: list[object] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, object] = {}
        self.budget = BUDGET
        self.frame_end = at

    def spend(self, units: int) -> None:
        self.budget -= units
        if self.budget < 0:
            raise Refused(f"more than {BUDGET} instructions, too many for a file of weights")

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        raw = self.data[self.at : self.at + count]
        if len(raw) < count:
            raise Refused(f"expected {count} bytes, got {len(raw)}: the pickle is cut off")
        self.at += count
        return raw

    def byte(self) -> int:
        """What `number(1)` would be, faster: most of a pickle is read like this."""
        if self.at >= len(self.data):
            raise Refused("expected 1 byte, got 0: the pickle is cut off")
        self.at += 1
        return self.data[self.at - 1]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def signed(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little", signed=True)

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        value = self.top()
        self.stack.pop()
        return value

    def top(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refused("nothing on the stack")
        return self.stack[-1]

    def pop_mark(self) -> list[object]:
        """Everything above the last mark."""
        if not self.marks:
            raise Refused("no mark on the stack")
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def tuple_of(self, count: int) -> None:
        self.marks.append(max(self.marks[-1] if self.marks else 0, len(self.stack) - count))
        items = self.pop_mark()
        if len(items) < count:
            raise Refused(f"nothing on the stack but {len(items)} of {count}")
        self.push(tuple(items))

    def text(self, length: int, strict: bool = True) -> None:
        """Pushes text in UTF-8; what Python 2 called a string may be other bytes, if not `strict`."""
        raw = self.take(length)
        if length > TEXT_LIMIT:
            return self.push(Inert("long text"))
        self.spend(length // 16)
        try:
            self.push(str(raw, "utf-8"))
        except UnicodeDecodeError:
            if strict:
                raise Refused("expected UTF-8, got other bytes") from None
            self.push(Inert("bytes"))

    def skip_bytes(self, length: int) -> None:
        self.take(length)
        self.push(Inert("bytes"))

    def line(self) -> str:
        """The next line, without its end; ASCII, and no longer than a name can be."""
        raw = bytes(self.data[self.at : self.at + 256])
        end = raw.find(b"\n")
        if end < 0:
            raise Refused("expected a line of at most 255 bytes, got none")
        self.at += end + 1
        return raw[:end].decode("latin-1")

    def find(self, module: object, name: object) -> None:
        """Pushes the symbol of that name; the only place where names are looked up."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused(f"expected two texts, got {describe(module)} and {describe(name)}", _HINT)
        if (module, name) not in self.symbols:
            plain = _NAME.fullmatch(module) and _NAME.fullmatch(name)
            full = f"{module}.{name}" if plain and len(module + name) < 200 else f"{quote(module)}, {quote(name)}"
            raise Refused(f"{full} is not among the names that may stand in a file of weights", _WHOLE_OBJECT)
        self.push(self.symbols[module, name])

    def global_(self) -> None:
        module = self.line()
        self.find(module, self.line())

    def stack_global(self) -> None:
        name = self.pop()
        self.find(self.pop(), name)

    def call(self) -> None:
        arguments, symbol = self.pop(), self.pop()
        if not isinstance(symbol, Symbol) or symbol.call is None:
            raise Refused(f"expected a name that can be called, got {describe(symbol)}", _HINT)
        if type(arguments) is not tuple:
            raise Refused(f"{symbol.name}: expected a tuple of arguments, got {describe(arguments)}", _HINT)
        self.spend(len(arguments))  # the memo could hand the same long arguments to many calls
        self.spend(sum(len(argument) for argument in arguments if isinstance(argument, list | tuple)))
        self.push(symbol.call(arguments))

    def build(self) -> None:
        """Drops the attributes of an object: an OrderedDict may have one, `_metadata`, which torch gives it."""
        state, target = self.pop(), self.top()
        metadata_only = type(state) is Dict and len(state) == 1 and state[0][0] == "_metadata"
        if not isinstance(target, Inert) and not (isinstance(target, OrderedDict) and metadata_only):
            keys = ", ".join(describe(key) for key, _ in state[:4]) if isinstance(state, Dict) else describe(state)
            raise Refused(
                f"attributes for {describe(target)}: expected _metadata for an OrderedDict, got {keys}", _HINT
            )

    def append(self, items: list[object]) -> None:
        target = self.top()
        if type(target) is not list:
            raise Refused(f"expected a list below, got {describe(target)}", _HINT)
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, Dict):
            raise Refused(f"expected a dict below, got {describe(target)}", _HINT)
        if len(items) % 2:
            raise Refused("expected keys and values in turn, got an odd number of them", _HINT)
        target.extend(zip(items[::2], items[1::2], strict=True))

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def put(self, slot: int) -> None:
        if slot >= MEMO_LIMIT:
            raise Refused(f"memo: expected a slot below {MEMO_LIMIT}, got {slot}")
        self.memo[slot] = self.top()

    def get(self, slot: int) -> None:
        if slot not in self.memo:
            raise Refused(f"memo: nothing in slot {slot}")
        self.push(self.memo[slot])

    def persistent_id(self) -> None:
        if self.persistent is None:
            raise Refused("no object is kept outside this pickle", _HINT)
        self.push(self.persistent(self.pop()))

    def protocol(self) -> None:
        version = self.byte()
        if version not in PROTOCOLS:
            raise Refused(f"expected a protocol of at most {PROTOCOLS[-1]}, got {version}")

    def frame(self) -> None:
        """Protocol 4 announces how many bytes of instructions follow; readers may fetch them at once."""
        begin, length = self.at - 1, self.number(8)
        if begin < self.frame_end:
            raise Refused("a frame within a frame", _HINT)
        if length > len(self.data) - self.at:
            raise Refused(f"a frame of {length} bytes, of which {len(self.data) - self.at} are there", _HINT)
        self.frame_end = self.at + length

    def stop(self) -> None:
        if self.at < self.frame_end:
            raise Refused(f"before the end of the frame at {self.frame_end}", _HINT)
        if len(self.stack) != 1 or self.marks:
            raise Refused(f"expected one value on the stack, got {len(self.stack)} and {len(self.marks)} marks", _HINT)


_INSTRUCTIONS: dict[int, tuple[str, Callable[[_Machine], None]]] = {
    byte[0]: (name, effect)
    for byte, name, effect in (
        (b"\x80", "PROTO", _Machine.protocol),
        (b"\x95", "FRAME", _Machine.frame),
        (b".", "STOP", _Machine.stop),
        (b"(", "MARK", _Machine.mark),
        (b"N", "NONE", lambda machine: machine.push(None)),
        (b"\x88", "NEWTRUE", lambda machine: machine.push(True)),
        (b"\x89", "NEWFALSE", lambda machine: machine.push(False)),
        (b"J", "BININT", lambda machine: machine.push(machine.signed(4))),
        (b"K", "BININT1", lambda machine: machine.push(machine.byte())),
        (b"M", "BININT2", lambda machine: machine.push(machine.number(2))),
        (b"\x8a", "LONG1", lambda machine: machine.push(machine.signed(machine.byte()))),
        (b"G", "BINFLOAT", lambda machine: machine.push(struct.unpack(">d", machine.take(8))[0])),
        (b"X", "BINUNICODE", lambda machine: machine.text(machine.number(4))),
        (b"\x8c", "SHORT_BINUNICODE", lambda machine: machine.text(machine.byte())),
        (b"\x8d", "BINUNICODE8", lambda machine: machine.text(machine.number(8))),
        (b"U", "SHORT_BINSTRING", lambda machine: machine.text(machine.byte(), strict=False)),
        (b"T", "BINSTRING", lambda machine: machine.text(machine.number(4), strict=False)),
        (b"C", "SHORT_BINBYTES", lambda machine: machine.skip_bytes(machine.byte())),
        (b"B", "BINBYTES", lambda machine: machine.skip_bytes(machine.number(4))),
        (b"\x8e", "BINBYTES8", lambda machine: machine.skip_bytes(machine.number(8))),
        (b")", "EMPTY_TUPLE", lambda machine: machine.push(())),
        (b"t", "TUPLE", lambda machine: machine.push(tuple(machine.pop_mark()))),
        (b"\x85", "TUPLE1", lambda machine: machine.tuple_of(1)),
        (b"\x86", "TUPLE2", lambda machine: machine.tuple_of(2)),
        (b"\x87", "TUPLE3", lambda machine: machine.tuple_of(3)),
        (b"]", "EMPTY_LIST", lambda machine: machine.push([])),
        (b"a", "APPEND", lambda machine: machine.append([machine.pop()])),
        (b"e", "APPENDS", lambda machine: machine.append(machine.pop_mark())),
        (b"}", "EMPTY_DICT", lambda machine: machine.push(Dict())),
        (b"s", "SETITEM", _Machine.set_item),
        (b"u", "SETITEMS", lambda machine: machine.set_items(machine.pop_mark())),
        (b"c", "GLOBAL", _Machine.global_),
        (b"\x93", "STACK_GLOBAL", _Machine.stack_global),
        (b"R", "REDUCE", _Machine.call),
        (b"\x81", "NEWOBJ", _Machine.call),
        (b"b", "BUILD", _Machine.build),
        (b"Q", "BINPERSID", _Machine.persistent_id),
        (b"q", "BINPUT", lambda machine: machine.put(machine.byte())),
        (b"r", "LONG_BINPUT", lambda machine: machine.put(machine.number(4))),
        (b"\x94", "MEMOIZE", lambda machine: machine.put(len(machine.memo))),
        (b"h", "BINGET", lambda machine: machine.get(machine.byte())),
        (b"j", "LONG_BINGET", lambda machine: machine.get(machine.number(4))),
    )
}
