"""MATLAB's files: what scipy writes is read as scipy reads it; damage gets words."""

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from helpers import part_forms
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.engine.part_sources import mat5, pascal_part
from unires_jax.errors import DataError

scipy_io = pytest.importorskip("scipy.io")
MOST = 1 << 20


def saved(content: dict[str, Any], compressed: bool) -> bytes:
    file = io.BytesIO()
    scipy_io.savemat(file, content, do_compression=compressed)
    return file.getvalue()


def plain(value: Any) -> Any:
    """A value of `mat5.read` as scipy gives it with `simplify_cells`."""
    if isinstance(value, list):
        values = [plain(x) for x in value]
        return values[0] if len(values) == 1 else values
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    return value


@pytest.mark.parametrize("compressed", [True, False])
def test_what_scipy_writes(compressed: bool) -> None:
    parts = [{"name": "head", "mask": np.eye(5, 7, dtype=np.uint8)}] * 2
    content = {
        "text": "a dog",
        "umlaut": "Tür",
        "nothing": np.zeros((0, 0)),
        "whole": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        "real": np.linspace(0, 1, 5)[None],
        "logical": np.eye(3, dtype=bool),
        "one": {"parts": part_forms.structs(parts), "of": "dog", "none": "x" * 4},
    }
    data = saved(content, compressed)
    ours = mat5.read(data, MOST)
    theirs = scipy_io.loadmat(io.BytesIO(data), simplify_cells=True)
    assert [ours[x] for x in ("text", "umlaut")] == ["a dog", "Tür"]
    assert ours["nothing"].size == 0
    for name in ("whole", "real", "logical"):
        np.testing.assert_array_equal(np.squeeze(ours[name]), theirs[name])
    np.testing.assert_equal(plain(ours["one"]), theirs["one"])
    assert ours["one"][0]["of"] == "dog"


def test_a_text_of_several_rows_is_refused() -> None:
    """Its letters lie column by column."""
    with pytest.raises(DataError, match="a text of several rows"):
        mat5.read(saved({"x": np.array(["ab", "cd"])}, True), MOST)


def test_one_struct_is_a_list_too() -> None:
    one = part_forms.structs([{"mask": np.ones((2, 2))}])
    (value,) = mat5.read(saved({"x": one}, True), MOST)["x"]
    assert value["mask"].shape == (2, 2)


def element(kind: int, data: bytes) -> bytes:
    padding = 0 if kind == 15 else -len(data) % 8
    return struct.pack("<II", kind, len(data)) + data + bytes(padding)


def matrix(kind: int, dims: tuple[int, ...], *more: bytes) -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    size = element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, flags + size + element(1, b"x") + b"".join(more))


def file_of(body: bytes) -> bytes:
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + body


NESTED = matrix(9, (1, 1), element(2, b"a"))
for _ in range(20):
    NESTED = matrix(1, (1, 1), NESTED)
FIELD = element(5, struct.pack("<i", 8)), element(1, b"a".ljust(8, b"\0"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (matrix(9, (2, 2), element(2, b"abc")), "3 numbers for a size"),
        (matrix(9, (-1, 2), element(2, b"")), "an array of size"),
        (matrix(9, (2**31 - 1,) * 4, element(2, b"a")), "1 numbers for a size"),
        (matrix(9, (1,) * 70, element(2, b"a")), "70 sides|an array of size"),
        (matrix(9, (1, 1), element(99, b"a")), "1 bytes of type 99"),
        (matrix(6, (1, 1), element(9, b"a")), "1 bytes of type 9"),
        (matrix(9, (1, 1)), "without its end"),
        (matrix(1, (2**31 - 1, 2)), "more than 65536 arrays"),
        (matrix(1, (1, 1), element(2, b"a")), "an element of type 2"),
        (matrix(2, (2**31 - 1, 9), *FIELD), "structs with names"),
        (
            matrix(2, (2**14, 1), FIELD[0], element(1, b"a" * 80)),
            "more than 65536 arrays",
        ),
        (matrix(2, (1, 1), element(5, b""), element(1, b"")), "structs with names"),
        (matrix(4, (1, 1), element(16, b"\xff")), "cannot be decoded"),
        (matrix(17, (1, 1)), "of class 17"),
        (matrix(3, (1, 1)), "of class 3"),
        (NESTED, "nested more than 16 deep"),
        (element(2, b"a"), "an element of type 2"),
        (element(14, b"abc"), "it ends within an element"),
        (struct.pack("<II", 14, 2**32 - 1), "it ends within an element"),
        (struct.pack("<HH", 14, 9) + bytes(4), "it ends within an element"),
        (element(15, b"no stream"), "damaged"),
        (element(15, zlib.compress(bytes(MOST + 1))), "unpacks to more than"),
    ],
)
def test_damage_gets_words(body: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        mat5.read(file_of(body), MOST)


def test_arrays_are_counted_in_all() -> None:
    """Eight bytes each, and some hundred in memory."""
    inner = matrix(1, (2**14, 1), element(14, b"") * 2**14)
    assert len(mat5.read(file_of(inner), MOST)["x"]) == 2**14
    bare = matrix(2, (2**16, 1), FIELD[0], element(1, b""))  # structs without a field
    assert mat5.read(file_of(bare), MOST)["x"] == []
    with pytest.raises(DataError, match="more than 65536 arrays"):
        mat5.read(file_of(matrix(1, (5, 1), inner * 5)), MOST)


def test_many_small_streams_are_bounded_together() -> None:
    array = matrix(9, (1, MOST // 4), element(2, bytes(MOST // 4)))
    one = element(15, zlib.compress(array))
    assert mat5.read(file_of(one), MOST)["x"].size == MOST // 4
    with pytest.raises(DataError, match="unpacks to more"):
        mat5.read(file_of(one * 5), MOST)


@pytest.mark.parametrize("data", [b"", b"x" * 200, b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"MATLAB"):
        mat5.read(data, MOST)


WHOLE = saved(
    {"anno": {"objects": part_forms.structs([{"mask": np.eye(9)}] * 2)}}, False
)


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=9))
def test_any_bytes_anywhere_are_read_or_refused(at: int, patch: bytes) -> None:
    data = (WHOLE[:at] + patch + WHOLE[at + len(patch) :])[: len(WHOLE)]
    with contextlib.suppress(DataError):
        mat5.read(data, MOST)
    with contextlib.suppress(DataError):
        pascal_part.read_mat("1", data)


def test_lengths_beyond_the_file() -> None:
    """In each place where one may stand; scipy's reader ends the process at some."""
    for at in range(128, len(WHOLE) - 8, 4):
        data = WHOLE[:at] + struct.pack("<I", 0x7FFFFFFF) + WHOLE[at + 4 :]
        with contextlib.suppress(DataError):
            mat5.read(data, MOST)
