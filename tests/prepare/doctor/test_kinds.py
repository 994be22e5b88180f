"""Every fault has its kind, by which the doctor counts it; no message is read."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import mres_lines, raw_forms
from helpers.spoilt_forms import BAD, KIND_OF, Change, picture, spoilt

from unires_jax.errors import Kind
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.mres.plan import cut

Line = dict[str, Any]
CAR, WHEEL, FIRST = ("masks", 0), ("masks", 2), ("expressions", 0)
RLE = (*CAR, "rle")

# Where the good line is changed, to what, and the kind of what is wrong then.
LINES: list[tuple[tuple[Any, ...], Any, Kind]] = [
    (("image",), "images/none.jpg", Kind.IMAGE_ABSENT),
    (("image",), "images/A.jpg", Kind.IMAGE_ABSENT),
    (("image",), "../a.jpg", Kind.UNUSABLE),
    (("image",), "images/cut.jpg", Kind.IMAGE_UNREADABLE),
    (("image",), "images/text.jpg", Kind.IMAGE_UNREADABLE),
    (("height",), 41, Kind.SIZE_DIFFERS),
    (("height",), 0, Kind.UNUSABLE),
    (("imag",), "x", Kind.UNUSABLE),
    ((*CAR, "id"), "dog", Kind.ID_TWICE),
    ((*CAR, "id"), "", Kind.UNUSABLE),
    ((*CAR, "category"), "a\x00b", Kind.ENCODING),
    ((*CAR, "bbox"), [50, 2, 20, 4], Kind.SIZE_DIFFERS),
    ((*CAR, "bbox"), [1, 2, 3], Kind.UNUSABLE),
    ((*CAR, "png"), "a.png", Kind.UNUSABLE),
    ((*RLE, "size"), [60, 40], Kind.SIZE_DIFFERS),
    ((*RLE, "counts"), "04", Kind.SIZE_DIFFERS),
    ((*RLE, "counts"), [2401], Kind.SIZE_DIFFERS),
    ((*RLE, "counts"), [2400], Kind.MASK_EMPTY),
    ((*RLE, "counts"), "~", Kind.UNUSABLE),
    ((*RLE, "counts"), None, Kind.UNUSABLE),
    (("masks", 1, "polygons", 0, 0), 99, Kind.SIZE_DIFFERS),
    (("masks", 1, "polygons"), [[1, 1] * 3], Kind.MASK_EMPTY),
    (("masks", 1, "polygons"), [], Kind.UNUSABLE),
    ((*WHEEL, "png"), "images/none.png", Kind.IMAGE_ABSENT),
    ((*WHEEL, "png"), "images/a.jpg", Kind.UNUSABLE),
    ((*WHEEL, "parent"), "wheel", Kind.UNUSABLE),
    ((*FIRST, "text"), " ", Kind.SENTENCE_EMPTY),
    ((*FIRST, "text"), "a\x00b", Kind.ENCODING),
    ((*FIRST, "text"), "a\ud800", Kind.ENCODING),
    ((*FIRST, "targets"), ["cat"], Kind.UNUSABLE),
    (("expressions", 2, "sent_id"), 0, Kind.ID_TWICE),
]
TEXTS = [
    (b'{"image": "\xff"}', Kind.ENCODING),
    (b"\xef\xbb\xbf{}", Kind.ENCODING),
    (b'{"image_id": 1, "image_id": 2}', Kind.ID_TWICE),
    (b'{"image_id": NaN}', Kind.UNUSABLE),
    (b"{", Kind.UNUSABLE),
]


def test_kinds_of_lines(tmp_path: Path) -> None:
    mres_lines.write_files(tmp_path)
    picture = (tmp_path / "images/a.jpg").read_bytes()
    (tmp_path / "images/cut.jpg").write_bytes(picture[:-40])
    (tmp_path / "images/text.jpg").write_bytes(b"<html>")
    texts = []
    for path, value, _ in LINES:
        line: Any = mres_lines.good_line()
        *steps, last = path
        at = line
        for step in steps:
            at = at[step]
        at[last] = value
        texts.append(json.dumps(line).encode())
    file = tmp_path / "train.jsonl"
    file.write_bytes(b"\n".join([*texts, *(text for text, _ in TEXTS)]))
    (lines,) = cut(file, "train", 1 << 30)
    expected = [kind for *_, kind in LINES] + [kind for _, kind in TEXTS]
    faults = [error for _, error in lines.read()]
    for fault, kind in zip(faults, expected, strict=True):
        assert getattr(fault, "kind", None) is kind, str(fault)
    counts = {(f.severity, f.kind): f.count for f in examine(tmp_path).findings}
    assert counts == {("error", k): n for k, n in Counter(expected).items()}


RAW: list[tuple[Change, Kind]] = [
    *((change, KIND_OF.get(name, Kind.UNUSABLE)) for name, (change, _) in BAD.items()),
    (picture(file_name="absent.jpg"), Kind.IMAGE_ABSENT),
    (picture(file_name="../a.jpg"), Kind.UNUSABLE),
    (picture(height=41), Kind.SIZE_DIFFERS),
    (lambda refs, instances: refs.append(refs[0]), Kind.ID_TWICE),
]


@pytest.mark.parametrize(("change", "kind"), RAW)
def test_kinds_of_raw_entries(tmp_path: Path, change: Change, kind: Kind) -> None:
    report = examine(spoilt(tmp_path, change))
    errors = {f.kind for f in report.findings if f.severity == "error"}
    assert kind in errors
    others = errors - {"count differs", kind}
    # A picture of another size does not fit its other masks either.
    assert not others or kind is Kind.SIZE_DIFFERS, others


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"[", Kind.UNUSABLE), (b'["\xff"]', Kind.ENCODING), (b"{}", Kind.UNUSABLE)],
)
def test_kinds_of_whole_files(tmp_path: Path, content: bytes, kind: Kind) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco/refs(unc).p").unlink()
    (tmp_path / "refcoco/refs(unc).json").write_bytes(content)
    faults = [f for f in examine(tmp_path).findings if f.severity == "error"]
    assert [(f.kind, f.where) for f in faults] == [(kind, "refcoco_unc")]
