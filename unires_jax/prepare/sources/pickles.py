"""Pickles of builtin containers and scalars, interpreted here: nothing can run.

The `refer` files are Python 2 pickles. Python's own unpickler calls what a file names;
this one knows no opcode that names, calls or builds anything but lists, dicts, tuples,
numbers, texts, True, False and None, and refuses a file that holds another one.
Source of the opcodes: the standard library's `pickletools`.
"""

import codecs
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from unires_jax import limits
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes
from unires_jax.prepare.sources.fields import is_key, short
from unires_jax.texts import unpacked

_SCALARS = (str, bytes, int, float, bool, type(None))
# Bytes that Python takes for what an opcode makes, its place on the stack included. A
# container counts sevenfold: the collector of garbage passes over them all, often.
_CONTAINER, _REMEMBERED, _VALUE = 512, 112, 64


def load_pickle(path: str | Path) -> Any:
    """The object in a pickle file: builtin containers and scalars, else DataError.

    Protocols 0 to 5, packed with gzip or not; Python 2 strings are read as latin1, as
    all projects read them. The error names the file, the opcode and, where it names a
    global, that global. Also refused: more than limits.DEPTH nested containers,
    containers shared so often that the object is larger than its file, values beyond
    limits.PICKLE_MEMORY, and files above limits.PICKLE_BYTES.
    """
    path = Path(path)
    try:
        packed = read_bytes(path, limits.PICKLE_BYTES)
        data = unpacked(packed, limits.PICKLE_BYTES)
    except DataError as error:
        raise error.at(str(path)) from None
    except FileNotFoundError:
        raise DataError(
            "no such file", place=str(path), kind=Kind.FILE_MISSING
        ) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=str(path)) from None
    return loads(data, str(path))


def loads(data: bytes, place: str = "pickle") -> Any:
    """The object in pickled bytes, under the rules of `load_pickle`."""
    try:
        value = _Machine(data).run()
        _check_extent(value, len(data))
    except DataError as error:
        raise error.at(place) from None
    return value


class _Machine:
    """The unpickling stack machine, without the opcodes that could run anything.

    Python's own, behind a list of opcodes, fails on what this one takes or refuses: a
    memo slot of a high number costs it 16 bytes for each lower one, and a key of nested
    tuples overflows the C stack.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.memory = 0  # bytes that the values so far take, about

    def run(self) -> Any:
        """The object on top of the stack at STOP."""
        data, size, steps = self.data, len(self.data), _STEPS
        while self.at < size:
            code, start = data[self.at], self.at
            self.at += 1
            if code == 0x2E:  # STOP
                if not self.stack:
                    break
                return self.stack.pop()
            step = steps.get(code)
            if step is None:
                self.refuse(code, start)
            self.memory += _COSTS.get(code, _VALUE)
            if self.memory > limits.PICKLE_MEMORY:
                raise DataError(
                    "refused: its values would take more than "
                    f"{limits.PICKLE_MEMORY >> 20} MB of memory"
                )
            try:
                step(self)
            except (IndexError, KeyError, ValueError, struct.error) as error:
                name, is_coded = _name(code), isinstance(error, UnicodeError)
                raise DataError(
                    f"damaged at byte {start} (opcode {name}): "
                    f"{shorten(str(error)) or type(error).__name__}",
                    kind=Kind.ENCODING if is_coded else Kind.UNUSABLE,
                ) from None
        raise DataError(
            "is no whole pickle: it ends without STOP; fetch the file again"
        )

    def refuse(self, code: int, start: int) -> NoReturn:
        """Raise DataError naming an opcode that is not admitted, and its global."""
        name = _name(code)
        module = ""
        if name in ("GLOBAL", "INST"):
            lines = self.data[self.at : self.at + 200].split(b"\n")[:2]
            module = " " + b".".join(lines).decode("latin1")
        elif name == "STACK_GLOBAL":
            module = " " + ".".join(v for v in self.stack[-2:] if isinstance(v, str))
        raise DataError(
            f"refused: opcode {name}{shorten(module)} at byte {start}; "
            "only lists, dicts, tuples, numbers and texts are read from a pickle, and "
            "nothing was run. Get the file from another source"
        )

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise ValueError(
                f"{count} bytes announced, {len(self.data) - self.at} left"
            )
        content = self.data[self.at : end]
        self.at = end
        return content

    def line(self) -> bytes:
        """The bytes up to the next newline."""
        end = self.data.index(b"\n", self.at)
        content = self.data[self.at : end]
        self.at = end + 1
        return content

    def size(self, form: str) -> int:
        """An unsigned little-endian number of `struct` form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def since_mark(self) -> list[Any]:
        """Pop what lies above the last mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def extend(self, items: list[Any]) -> None:
        """Append to the list on top of the stack."""
        if type(self.stack[-1]) is not list:
            raise ValueError(f"appends to {short(self.stack[-1])}")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Set keys and values of the dict on top of the stack."""
        if type(self.stack[-1]) is not dict:
            raise ValueError(f"sets items of {short(self.stack[-1])}")
        self.stack[-1].update(_pairs(items))

    def last(self, count: int) -> list[Any]:
        """Pop the last `count` values."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    keys = items[::2]
    for key in keys:  # hashing a deep tuple would overflow the C stack
        if not isinstance(key, _SCALARS) or (type(key) is int and not is_key(key)):
            raise ValueError(f"{short(key)} as the key of a dict")
    return dict(zip(keys, items[1::2], strict=True))


def _string(raw: bytes) -> str:
    """Protocol 0's quoted string, Python escapes undone."""
    if len(raw) < 2 or raw[0] != raw[-1] or raw[0] not in b"\"'":
        raise ValueError("a string without quotes")
    inner = raw[1:-1]
    return (codecs.escape_decode(inner)[0] if b"\\" in inner else inner).decode(
        "latin1"
    )


def _int(raw: bytes) -> int | bool:
    return {b"00": False, b"01": True}.get(raw, int(raw) if raw else 0)


def _long(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _name(code: int) -> str:
    names = {ord(op.code): op.name for op in pickletools.opcodes}
    return names.get(code, f"0x{code:02x}")


Step = Callable[[_Machine], object]
_BY_NAME: dict[str, Step] = {
    "PROTO": lambda m: m.take(1),
    "FRAME": lambda m: m.take(8),
    "MARK": lambda m: m.marks.append(len(m.stack)),
    "POP": lambda m: m.last(1),
    "POP_MARK": lambda m: m.since_mark(),
    "DUP": lambda m: m.push(m.stack[-1]),
    "NONE": lambda m: m.push(None),
    "NEWTRUE": lambda m: m.push(True),
    "NEWFALSE": lambda m: m.push(False),
    "INT": lambda m: m.push(_int(m.line())),
    "LONG": lambda m: m.push(int(m.line().rstrip(b"L"))),
    "BININT": lambda m: m.push(m.size("<i")),
    "BININT1": lambda m: m.push(m.size("<B")),
    "BININT2": lambda m: m.push(m.size("<H")),
    "LONG1": lambda m: m.push(_long(m.take(m.size("<B")))),
    "LONG4": lambda m: m.push(_long(m.take(m.size("<i")))),
    "FLOAT": lambda m: m.push(float(m.line())),
    "BINFLOAT": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    "STRING": lambda m: m.push(_string(m.line())),
    "BINSTRING": lambda m: m.push(m.take(m.size("<i")).decode("latin1")),
    "SHORT_BINSTRING": lambda m: m.push(m.take(m.size("<B")).decode("latin1")),
    "BINBYTES": lambda m: m.push(m.take(m.size("<I"))),
    "SHORT_BINBYTES": lambda m: m.push(m.take(m.size("<B"))),
    "UNICODE": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    "BINUNICODE": lambda m: m.push(m.take(m.size("<I")).decode("utf-8")),
    "SHORT_BINUNICODE": lambda m: m.push(m.take(m.size("<B")).decode("utf-8")),
    "BINUNICODE8": lambda m: m.push(m.take(m.size("<Q")).decode("utf-8")),
    "EMPTY_LIST": lambda m: m.push([]),
    "EMPTY_DICT": lambda m: m.push({}),
    "EMPTY_TUPLE": lambda m: m.push(()),
    "LIST": lambda m: m.push(m.since_mark()),
    "DICT": lambda m: m.push(_pairs(m.since_mark())),
    "TUPLE": lambda m: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m: m.push(tuple(m.last(1))),
    "TUPLE2": lambda m: m.push(tuple(m.last(2))),
    "TUPLE3": lambda m: m.push(tuple(m.last(3))),
    "APPEND": lambda m: m.extend(m.last(1)),
    "APPENDS": lambda m: m.extend(m.since_mark()),
    "SETITEM": lambda m: m.update(m.last(2)),
    "SETITEMS": lambda m: m.update(m.since_mark()),
    "PUT": lambda m: m.memo.__setitem__(int(m.line()), m.stack[-1]),
    "BINPUT": lambda m: m.memo.__setitem__(m.size("<B"), m.stack[-1]),
    "LONG_BINPUT": lambda m: m.memo.__setitem__(m.size("<I"), m.stack[-1]),
    "MEMOIZE": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "GET": lambda m: m.push(m.memo[int(m.line())]),
    "BINGET": lambda m: m.push(m.memo[m.size("<B")]),
    "LONG_BINGET": lambda m: m.push(m.memo[m.size("<I")]),
}
_STEPS = {
    ord(op.code): _BY_NAME[op.name] for op in pickletools.opcodes if op.name in _BY_NAME
}
_COSTS = {
    code: _CONTAINER if "EMPTY" in name else _REMEMBERED
    for code, name in ((ord(op.code), op.name) for op in pickletools.opcodes)
    if "EMPTY" in name or "PUT" in name or name == "MEMOIZE"
}


def _check_extent(value: Any, size: int) -> None:
    """Raise DataError on deep nesting, or more values than the file spells out."""
    level, count, depth = [value], 0, 0
    while level:
        count += len(level)
        if depth > limits.DEPTH:
            raise DataError(f"refused: nested deeper than {limits.DEPTH}")
        if count > 4 * size + 1000:
            raise DataError("refused: containers shared more than plausible")
        depth, level = depth + 1, _children(level, 4 * size + 1000)


def _children(level: list[Any], limit: int) -> list[Any]:
    children: list[Any] = []
    for item in level:
        if type(item) is dict:
            children.extend(item.values())
        elif type(item) in (list, tuple):
            children.extend(item)
        if len(children) > limit:
            break
    return children
