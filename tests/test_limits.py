"""Odd and hostile files are refused with words: nothing runs, waits or fills memory.

What takes time or memory without bound on a wrong program does so here: a test that
does not end has failed.
"""

import gzip
import json
import os
import pickle
import signal
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import mres_lines, raw_forms, small_data
from helpers.programs import run

from unires_jax import documents, files, limits
from unires_jax.checkpoint import describe, saved_config
from unires_jax.config import BACKBONES, Config
from unires_jax.data import prepared, stored
from unires_jax.data.descriptions import read_info
from unires_jax.data.tokenizer import Tokenizer, load_tokenizer, train_bpe
from unires_jax.errors import CheckpointError, DataError, UserError
from unires_jax.evaluation import predictions
from unires_jax.models.backbones.files import read_tensors
from unires_jax.pixels.images import decode_image, decode_png_mask, image_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.mres import fields, jsonl, line
from unires_jax.prepare.mres.plan import plan
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import parquet
from unires_jax.prepare.sources.coco import Image, Instances, read_segmentation
from unires_jax.prepare.sources.cris import read_mask
from unires_jax.prepare.sources.fields import read_json
from unires_jax.prepare.sources.grouping import to_records
from unires_jax.prepare.sources.pickles import load_pickle, loads
from unires_jax.prepare.sources.pictures import ImageFolder
from unires_jax.prepare.sources.referent import Referent, Sentence

CLIP = BACKBONES["clip"].text


# What names code.


@pytest.fixture
def data(tmp_path: Path) -> Path:
    scenes = [small_data.scene(i, pairs=1) for i in range(2)]
    return small_data.write(tmp_path / "data", val=scenes)


@pytest.mark.parametrize("field", ["type", "pythonClassName"])
def test_features_that_name_a_module_import_nothing(
    data: Path, tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(prepared.PreparedSplit(str(data), "val")) == 2
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    features = {field: "planted.X", "content": {}}
    (data / "features.json").write_text(json.dumps({"featuresDict": features}))
    with pytest.raises(DataError, match=r"features\.json.*'planted\.X' is no feature"):
        prepared.PreparedSplit(str(data), "val")[0]
    assert examine(data).errors
    assert "planted" not in sys.modules and not (tmp_path / "ran").exists()


def change(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda info: info.update(values)


def change_split(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda info: info["splits"][0].update(values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(name="../../x"), "name: is '../../x'"),
        (change(name="x" * 999), "name: is 'xxx"),
        (change(configName=[]), None),
        (change(configName="/x"), "configName"),
        (change(splits={}), "splits: expected a list"),
        (change(splits=[None]), "name: is None"),
        (change_split(name="**/*"), "name: is"),
        (change_split(shardLengths=["-1"]), "shardLengths"),
        (change_split(shardLengths=[]), "lists no record"),
        (change_split(shardLengths=["0"]), "lists no record"),
        (change_split(shardLengths=["1", "1"]), "no such shard"),
        (change_split(filepathTemplate="/etc/{SPLIT}"), "filepathTemplate"),
    ],
)
def test_descriptions_are_checked(
    data: Path, spoil: Callable[[dict[str, Any]], None], message: str | None
) -> None:
    info = json.loads((data / "dataset_info.json").read_text())
    spoil(info)
    (data / "dataset_info.json").write_text(json.dumps(info))
    if message is None:
        assert read_info(data).config == ""
        return
    with pytest.raises(DataError, match=message):
        len(prepared.PreparedSplit(str(data), "val"))
    assert examine(data).errors


def test_records_of_other_types_are_refused() -> None:
    record = stored.example_message()()
    features = record.features.feature
    for name in stored._COLUMNS:
        features[name].bytes_list.value.append(b"1")
    with pytest.raises(DataError, match="stored record"):
        stored.parse(record.SerializeToString())
    with pytest.raises(DataError, match=r"no tf\.train\.Example"):
        stored.parse(b"\xff" * 9)


def test_a_stored_config_names_no_code_and_has_few_blocks() -> None:
    meta = json.loads(json.dumps(describe(Config(), "{}", {})))
    for value in (10**9, 10**30):
        meta["config"]["model"]["text"]["depth"] = value
        with pytest.raises(
            CheckpointError, match=r"(?s)here: .*(blocks|must be of type)"
        ):
            saved_config(meta, "here")
    meta = json.loads(json.dumps(describe(Config(), "{}", {})))
    meta["config"]["model"]["backbone"] = "os.path"
    with pytest.raises(CheckpointError, match=r"backbone='os\.path' must be one of"):
        saved_config(meta, "here")


def test_shards_of_weights_stay_in_their_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"w": "../../secret.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="lead out of the folder"):
        list(read_tensors(str(tmp_path)))


# What is waited for, or has no end.


def _plan(path: Path) -> object:
    return plan({"train": [path]})


READERS: dict[str, Callable[[Path], object]] = {
    "a.json": read_json,
    "a.p": load_pickle,
    "a.png": read_mask,
    "train.jsonl": _plan,
    "train.jsonl.gz": _plan,
    "predictions.jsonl": predictions.read,
    "a.parquet": parquet.count,
    "b.safetensors": lambda path: list(read_tensors(str(path.parent))),
    "dataset_info.json": lambda path: read_info(path.parent),
    "tokenizer.json": lambda path: load_tokenizer(path, CLIP),
    "a.jpg": lambda path: ImageFolder(path.parent)("a.jpg"),
    "c.json": documents.read,
}


@pytest.fixture
def _alarm() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_read(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if name.startswith("b"):
        path = tmp_path / "model.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    expected = "regular file|no such image|does not exist"
    with pytest.raises(UserError, match=expected) as caught:
        READERS[name](path)
    assert path.name in str(caught.value)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(100))
    assert files.read_bytes(file, 100) == bytes(100)
    with pytest.raises(DataError, match="at most 99 bytes, found 100"):
        files.read_bytes(file, 99)
    with pytest.raises(DataError, match="at most 9 bytes"):  # states a size of 0
        files.read_bytes(Path("/proc/self/status"), 9)
    with pytest.raises(IsADirectoryError):
        files.read_bytes(tmp_path, 9)
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "none", 9)


@pytest.mark.usefixtures("_alarm")
def test_a_name_of_a_million_steps_is_refused(tmp_path: Path) -> None:
    for name in ("a/" * 1_000_000, "./" * 1_000_000 + "a"):
        with pytest.raises(DataError, match="expected a file at a name of at most"):
            files.read_inside(tmp_path, name)
        with pytest.raises(DataError, match="expected a name within"):
            ImageFolder(tmp_path)(name)


# What takes memory or time far beyond its size.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "{}," * 300_000 + "{}]", "they would take about"),
        ("[" + '"a",' * 300_000 + "0]", "they would take about"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 50_000 + "]" * 50_000, "nested too deeply"),
    ],
)
def test_json_beyond_its_limits(tmp_path: Path, text: str, message: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(DataError, match=message):
            documents.load(form, 9 << 20)
    with pytest.raises(DataError, match=message):
        fields.documents.load(text.encode(), 9 << 20)
    assert documents.load('[{"a": "[[["}, 1.5]') == [{"a": "[[["}, 1.5]


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("[" * 100 + "]" * 100, False),
        ("[" * 101 + "]" * 101, True),
        ("[" * 101, True),  # cut short
        ('{"a":[' * 50 + "]}" * 50, False),
        ('[{"a":' * 50 + "[]" + "}]" * 50, True),
        ("[" + "[[]]," * 200 + "0]", False),
        ('["' + "[" * 200 + '"]', False),
        ('["[\\"[\\\\","' + "{" * 200 + '\\\\"]', False),
        ('["\\"","\\\\",' + "[" * 100 + "]" * 101, True),
        ('["' + "\u2200\u5b00" * 200 + '"]', False),  # brackets and quotes by the byte
        ('["\u2200",' + "[" * 100 + "]" * 101, True),
    ],
)
def test_how_deep_json_may_be_nested(text: str, deep: bool) -> None:
    for form in (text, text.encode(), text.encode("utf-16"), text.encode("utf-32-le")):
        if deep:
            with pytest.raises(DataError, match="more than 100 within each other"):
                documents.load(form)
        else:
            assert documents.load(form) == json.loads(text)


def test_doubled_fields_and_chosen_keys_take_no_quadratic_time() -> None:
    names = ",".join(f'"{k}":0' for k in range(150_000))
    with pytest.raises(DataError, match=r"'149999' twice"):
        fields.load_json(f'{{{names},"149999":0}}'.encode())
    same = (k * (2**61 - 1) for k in range(5, 60_000))
    numbers = b"".join(b"\x8a\x0b" + n.to_bytes(11, "little") + b"N" for n in same)
    with pytest.raises(DataError, match="as the key of a dict"):
        loads(b"\x80\x02}(" + numbers + b"u.")
    entries = [{"id": k * (2**61 - 1)} for k in range(60_000)]
    assert Instances({"images": entries, "annotations": []}, "x")._images.keys() == {
        k * (2**61 - 1) for k in range(5)
    }


@pytest.mark.parametrize(
    "data",
    [
        b"(" + b"}" * 10_000 + b"l.",
        b"(" + b"]" * 10_000 + b"l.",
        b"}" + b"\x94" * 10_000,
    ],
)
def test_pickles_that_would_fill_the_memory(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PICKLE_MEMORY", 500_000)
    with pytest.raises(DataError, match="would take more than"):
        loads(data)
    assert loads(pickle.dumps([{"a": [1]}] * 9, 2)) == [{"a": [1]}] * 9


def test_chains_of_parents_and_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mres_lines.write_files(tmp_path)

    def chain(count: int, last: int | None) -> bytes:
        common = {"level": "part", "category": "c", "part": "p"}
        common |= {"rle": {"size": [40, 60], "counts": [0, 2400]}}
        masks: list[dict[str, Any]] = [{"id": str(k)} | common for k in range(count)]
        for k, mask in enumerate(masks[:-1]):
            mask["parent"] = str(k + 1)
        if last is not None:
            masks[-1]["parent"] = str(last)
        row = {"image": "images/a.jpg", "image_id": 1, "height": 40, "width": 60}
        expression = {"text": "it", "level": "part", "targets": ["0"]}
        return json.dumps(row | {"masks": masks, "expressions": [expression]}).encode()

    assert len(line.parse(chain(500, None), tmp_path).masks) == 500
    with pytest.raises(DataError, match="no mask below itself"):
        line.parse(chain(500, 7), tmp_path)
    monkeypatch.setattr(limits, "MASKS", 100)
    with pytest.raises(DataError, match="masks: expected at most 100 "):
        line.parse(chain(101, None), tmp_path)


def test_many_referents_of_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = mres_lines.picture()
    mask = small_data.mask_of(mres_lines.boxed(1, 1, 3, 3))
    image, refused = Image(1, "a.jpg", 40, 60), []

    class Noted(Rejects):
        def add(self, record: str, error: DataError) -> None:
            refused.append(str(error))

    def records(count: int) -> Any:
        referents = (
            Referent(image, "val", i, (mask,), (Sentence(i, "it", "it"),))
            for i in range(count)
        )
        return list(to_records(referents, lambda name: picture, "x", Noted()))

    (record,) = records(5000)
    assert len(record.expressions) == 5000 and not refused
    monkeypatch.setattr(limits, "EXPRESSIONS", 5)
    (record,) = records(7)
    assert len(record.expressions) == 5 and len(refused) == 2
    assert "its picture would have" in refused[0]


@pytest.mark.parametrize(("height", "width"), [(40, 60), (480, 640), (8192, 8192)])
def test_outlines_have_a_limit(height: int, width: int) -> None:
    far = [v for _ in range(5000) for v in (-width, -height, 2 * width, 2 * height)]
    with pytest.raises(DataError, match=r"here: .*pixels long, the limit is"):
        read_segmentation([far], height, width, "here")
    many = [[-width, 0, 2 * width, 0, 0, height]] * (1 + limits.OUTLINE // width)
    with pytest.raises(DataError, match="pixels long, the limit is"):
        RunMask.from_polygons(many, height, width)
    box = [2.0, 2, 12, 2, 12, 14, 2, 14]
    assert RunMask.from_polygon(box, height, width).area == 120


@pytest.mark.parametrize(
    "polygon",
    [[1, 1, 2, 2], [1, 1, 2, 2, 3], [np.nan] * 6, [1e9, 0, 0, 0, 0, 9], [0] * 200_000],
)
def test_what_is_no_polygon(polygon: list[float]) -> None:
    with pytest.raises(DataError):
        RunMask.from_polygon(polygon, 40, 60)


@pytest.mark.parametrize("size", [[10**9, 10**9], [70_000, 70_000], [0, 5], [-1, -1]])
def test_masks_of_no_picture_s_size(size: list[int], tmp_path: Path) -> None:
    for counts in ("1", [size[0] * size[1]]):
        with pytest.raises(DataError, match="no picture has this size"):
            RunMask.of({"size": size, "counts": counts})
    row = {"key": "a/b/1/1/1", "rle": {"size": size, "counts": "1"}}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"predictions\.jsonl line 1: "):
        predictions.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"key": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"key": 1' + "0" * 9999,
    ],
)
def test_predictions_that_no_parser_takes(text: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"predictions\.jsonl line 1: "):
        predictions.read(tmp_path)


def two_faced(height: int, width: int) -> bytes:
    """A JPEG of another size for who reads a length after TEM, which has none."""
    whole = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    real = bytearray(whole)
    at = real.index(b"\xff\xc0")
    real[at + 5 : at + 9] = struct.pack(">HH", height, width)
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 40, 60) + b"\x03" + bytes(9)
    inner = (bytes(4 + 0xFFE5 - 8) + frame).ljust(65533, b"\0")
    segment = b"\xff\xe5" + struct.pack(">H", len(inner) + 2) + inner
    return b"\xff\xd8\xff\x01" + segment + bytes(real[2:])


def test_the_size_of_a_jpeg_is_the_decoder_s() -> None:
    for height, width in ((20_000, 20_000), (65_500, 65_500)):
        for read in (image_size, decode_image):
            with pytest.raises(DataError, match=f"states {height} x {width} pixels"):
                read(two_faced(height, width))
    honest = two_faced(40, 60)
    pixels = cv2.imdecode(np.frombuffer(honest, np.uint8), cv2.IMREAD_COLOR)
    assert image_size(honest) == (40, 60) == pixels.shape[:2]
    with pytest.raises(DataError, match="not a readable picture"):  # of two sizes
        decode_image(honest)
    scans = cv2.imencode(
        ".jpg", np.zeros((40, 60, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    )[1].tobytes()
    assert decode_image(scans).shape == (40, 60, 3)
    with pytest.raises(DataError, match="scans, refused"):
        decode_image(scans[:-2] + b"\xff\xda" * limits.SCANS + scans[-2:])


def test_a_png_of_noise_or_of_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 16, 6, 0, 0, 0)
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b"")
    for read in (decode_image, decode_png_mask):
        with pytest.raises(DataError, match="states 20000 x 20000 pixels"):
            read(large)
    monkeypatch.setattr(limits, "RUNS", 9)
    noise = np.indices((8, 9)).sum(axis=0) % 2
    with pytest.raises(DataError, match="runs, the limit is 9"):
        RunMask.from_pixels(noise)
    assert RunMask.from_pixels(mres_lines.boxed(1, 1, 9, 3)).area == 27


def test_packed_lines_and_lines_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n" * 3_000_000))
    runs = plan({"train": [path]})
    assert sum(lines.count for lines in runs) == 3_000_000
    monkeypatch.setattr(limits, "GZIP_RATIO", 4)
    with pytest.raises(DataError, match=r"train\.jsonl\.gz: \d+ bytes unpack to more"):
        plan({"train": [path]})
    monkeypatch.setattr(limits, "SKIPPED_BYTES", 10_000)
    path = tmp_path / "val.jsonl"
    path.write_bytes(b"{}\n" + bytes(1 << 21))
    with pytest.raises(DataError, match="line 2 has more than"):
        plan({"val": [path]})
    assert jsonl.SUFFIXES


def test_a_value_that_stands_in_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x" * 100_000] * 640}), file)
    assert file.stat().st_size < 300_000
    assert len(list(parquet.rows(file))) == 640
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "_FREE", 9_000_000)
        patch.setattr(limits, "GZIP_RATIO", 4)
        with pytest.raises(DataError, match="take more than 9000000 bytes, 4 times"):
            list(parquet.rows(file))
    monkeypatch.setattr(limits, "ROWS_BYTES", 1 << 20)
    assert len(list(parquet.rows(file))) == 640  # fewer at once
    monkeypatch.setattr(limits, "COLUMN_BYTES", 1000)
    with pytest.raises(DataError, match=r"a\.parquet: a column of"):
        list(parquet.rows(file))


def test_tokenizers_and_sentences_that_grow(tmp_path: Path) -> None:
    good = train_bpe(["a red square", "two dogs"], tmp_path / "tokenizer.json", 560)
    with pytest.raises(DataError, match=f"at most {limits.SENTENCE}"):
        good.ids(["a" * (limits.SENTENCE + 1)])
    assert good.ids(["a" * limits.SENTENCE])
    content = json.loads(good.to_json())
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [step] * 4}
    with pytest.raises(DataError, match="its normalizer makes a text 256 times"):
        Tokenizer(json.dumps(content), CLIP)


# What the two commands say.


def test_doctor_and_build_agree_on_an_empty_list(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path / "raw")
    (refs,) = (tmp_path / "raw").rglob("refs(unc).p")
    refs.write_bytes(pickle.dumps([], 2))
    report = examine(tmp_path / "raw")
    assert any("holds no entry" in e for f in report.findings for e in f.examples)


def test_an_error_in_a_build_is_cheap(tmp_path: Path) -> None:
    """It imports no jax, and names the file of the picture."""
    raw_forms.write_refer(tmp_path / "raw")
    for picture in (tmp_path / "raw").rglob("*.jpg"):
        picture.write_bytes(b"\xff\xd8junk")
    code = (
        "import sys; from unires_jax.cli import main; print(main(sys.argv[1:])); "
        "print([m for m in ('jax', 'flax', 'orbax', 'torch') if m in sys.modules])"
    )
    options = ("--raw", tmp_path / "raw", "--data_dir", tmp_path / "data")
    done = run("-c", code, "build", "refcoco", *options)
    assert done.stdout.splitlines()[-2:] == ["1", "[]"], done.stderr
    assert ".jpg: image: 6 bytes that are no whole" in done.stderr
