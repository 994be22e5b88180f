"""Text files as people have them: marks of byte order, UTF-16, gzip; every reader."""

import codecs
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import mres_lines, raw_forms
from helpers.conversion import convert

from unires_jax import texts
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.evaluation import predictions
from unires_jax.prepare.mres.plan import cut, plan

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "utf-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of utf-16": lambda text: gzip.compress(text.encode("utf-16")),
    "Windows": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
}
every_encoding = pytest.mark.parametrize("name", ENCODINGS)


@every_encoding
def test_raw_json(tmp_path: Path, name: str) -> None:
    raw_forms.write_refer(tmp_path)
    expected = convert(tmp_path)
    folder = tmp_path / "refcoco"
    (folder / "refs(unc).p").unlink()
    refs = json.dumps(raw_forms.refs(), ensure_ascii=False)
    instances = json.dumps(raw_forms.instances(), indent=1)
    end = ".gz" if name.startswith("gzip") else ""
    (folder / "instances.json").unlink()
    (folder / f"instances.json{end}").write_bytes(ENCODINGS[name](instances))
    (folder / f"refs(unc).json{end}").write_bytes(ENCODINGS[name](refs))
    assert convert(tmp_path) == expected


def test_a_packed_pickle(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    expected = convert(tmp_path)
    path = tmp_path / "refcoco/refs(unc).p"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert convert(tmp_path) == expected
    path.rename(tmp_path / "refcoco/refs(unc).p.gz")
    assert convert(tmp_path) == expected


@every_encoding
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])  # which may be wrong
def test_mres_lines(tmp_path: Path, name: str, suffix: str) -> None:
    lines = [mres_lines.small_line(i) for i in range(5)]
    lines[1]["expressions"][0]["text"] = "caf\u00e9 \u72d7 \U0001f600 \u2028 there"
    text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    path = tmp_path / f"train{suffix}"
    path.write_bytes(ENCODINGS[name](text))
    runs = plan({"train": [path]}, shards=3)
    items = [item for run in runs for item in run.read()]
    assert [number for number, _ in items] == [1, 2, 3, 4, 5]
    records = [record for _, record in items if isinstance(record, Record)]
    assert [r.image_id for r in records] == [0, 1, 2, 3, 4]
    assert records[1].expressions[0].raw == lines[1]["expressions"][0]["text"]
    assert (len(runs) > 1) == (name in ("mark", "Windows"))  # what can be cut is


@every_encoding
def test_predictions(tmp_path: Path, name: str) -> None:
    rle = mres_lines.rle(mres_lines.boxed(1, 2, 3, 4))
    rows = [{"key": f"a/val/1/{i}/caf\u00e9", "rle": rle} for i in range(3)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(ENCODINGS[name](text))
    assert list(predictions.read(path).lines) == [row["key"] for row in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe{\0\xd8", "UTF-16|utf-16"),
        (b'{"key": "\xff"}', "utf-8"),
        (b"\x1f\x8b no archive", "damaged"),
        (gzip.compress(b"{}" * 500, mtime=0)[:-9], "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        predictions.read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError) as caught:
        items = [x for run in cut(path, "train", 1 << 20) for _, x in run.read()]
        raise items[0] if isinstance(items[0], DataError) else AssertionError
    assert str(path) in str(caught.value)


def test_an_archive_that_swells_is_refused() -> None:
    with pytest.raises(DataError, match="unpacks to more than 1000 bytes"):
        texts.unpacked(gzip.compress(b" " * 1001), limit=1000)
    assert texts.unpacked(gzip.compress(b" " * 1000), limit=1000) == b" " * 1000
    with pytest.raises(DataError, match="unpacks to more than 16777216 bytes"):
        texts.unpacked(gzip.compress(bytes(1 << 25)))
