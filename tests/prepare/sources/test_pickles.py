"""Pickles: what is admitted reads as Python reads it; nothing else ever runs."""

import collections
import os
import pickle
import pickletools
import struct
from pathlib import Path

import pytest

from unires_jax.errors import DataError
from unires_jax.prepare.sources.pickles import load_pickle, loads

PLAIN = [
    {"sent_ids": [1, 2**31, -5, 2**70], "bbox": (1.5, -2.0), "none": None},
    {"yes": True, "no": False, "empty": [[], {}, ()], 3: "café naïve ☃ 'quoted' \n"},
    (1,),
    (1, 2),
    (1, 2, 3),
    (1, 2, 3, 4),
    [b"bytes" * 100, "long" * 1000],
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_builtins_read_as_python_reads_them(protocol: int) -> None:
    value = PLAIN if protocol > 2 else PLAIN[:-1]  # bytes: py3 names a global for them
    assert loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"(lp0\nS'caf\\xe9'\np1\naI5\naI01\naL7L\na.", ["café", 5, True, 7]),
        (b'(dp0\nS"it\'s"\np1\nF2.5\nsV\\u2603\np2\nNs.', {"it's": 2.5, "☃": None}),
        (b"\x80\x02U\x04caf\xe9.", "café"),
        (b"\x80\x02T\x03\x00\x00\x00abc.", "abc"),
    ],
)
def test_python_2_strings_are_latin1(data: bytes, value: object) -> None:
    assert loads(data) == value == pickle.loads(data, encoding="latin1")


class Payload:
    """Runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_payload_is_named_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([{"a": Payload(mark)}], protocol))
    opcode = "STACK_GLOBAL" if protocol > 3 else "GLOBAL"
    with pytest.raises(DataError, match=rf"refs\(unc\)\.p.*{opcode} posix.system"):
        load_pickle(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # it was a real one
    assert mark.exists()


ADMITTED = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE"),
    *("NEWFALSE", "INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4"),
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES"),
    *("SHORT_BINBYTES", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE", "LIST", "DICT", "TUPLE", "TUPLE1"),
    *("TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "PUT", "BINPUT"),
    *("LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
}


@pytest.mark.parametrize(
    "op",
    [o for o in pickletools.opcodes if o.name not in ADMITTED],
    ids=lambda o: o.name,
)
def test_every_other_opcode_is_refused_by_name(op: pickletools.OpcodeInfo) -> None:
    data = b"(" + op.code.encode("latin1") + b"os\nsystem\n(tR."
    with pytest.raises(DataError, match=rf"refused: opcode {op.name}\b"):
        loads(data)


def test_other_classes_are_refused() -> None:
    for value in (collections.OrderedDict(a=1), {1, 2}, bytearray(b"x"), 1j, range(3)):
        with pytest.raises(DataError, match="refused: opcode"):
            loads(pickle.dumps(value, 5))


def nested(depth: int) -> bytes:
    return b"]" * depth + b"a" * (depth - 1) + b"."


def laughing(depth: int) -> bytes:
    """Ten references to the one before, `depth` times: 10 ** depth values."""
    data = b"]q\x00"
    for i in range(depth):
        get = b"h" + bytes([i])
        data += b"(" + get * 10 + b"lq" + bytes([i + 1])
    return data + b"."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (nested(1000), "nested deeper"),
        (b")" + b"\x85" * 100_000 + b".", "nested deeper"),
        (laughing(9), "shared more than plausible"),
        (b"]q\x00h\x00a.", "nested deeper"),  # a list within itself
        (b"}" + b")" + b"\x85" * 10_000 + b"Ns.", "tuple of 1 as the key"),
        (b"]r\xff\xff\xff\xff.", None),  # a memo slot of four thousand million
        (b"T\xff\xff\xff\x7fabc.", "2147483647 bytes announced, 4 left"),
        (b"\x8d" + struct.pack("<Q", 2**62) + b".", "bytes announced"),
        (b"\x8b\xff\xff\xff\x7f.", "bytes announced"),
        (b"T\xff\xff\xff\xff.", "-1 bytes announced"),
        (b"I" + b"9" * 5000 + b"\n.", "opcode INT"),
        (b"a.", "opcode APPEND"),
        (b"(lh\x05.", "opcode BINGET"),
        (b"t.", "opcode TUPLE"),
        (b"]]u.", "opcode SETITEMS"),
        (b"(I1\nd.", "a key without a value"),
        (b"S'open\n.", "without quotes"),
        (b"]", "without STOP"),
        (b"", "without STOP"),
        (b".", "without STOP"),
        (b"<html>", "refused: opcode 0x3c"),
    ],
)
def test_bombs_and_damage_are_refused_at_once(data: bytes, message: str | None) -> None:
    if message is None:
        assert loads(data) == []
        return
    with pytest.raises(DataError, match=message):
        loads(data)


def test_files_that_are_not_there_or_too_large(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(DataError, match=r"nothing\.p: no such file"):
        load_pickle(tmp_path / "nothing.p")
    with pytest.raises(DataError, match="cannot be read"):
        load_pickle(tmp_path)
    monkeypatch.setattr("unires_jax.limits.PICKLE_BYTES", 3)
    (tmp_path / "large.p").write_bytes(b"].  ")
    with pytest.raises(DataError, match="at most 3 bytes"):
        load_pickle(tmp_path / "large.p")
