"""The page says what was kept and what was not, and why; an audit, how right it is."""

import csv
import dataclasses
import io
import json
import random
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import browser
from helpers import engine_records as made

from unires_jax.engine import audit, likeness, report
from unires_jax.engine.checks import CODES
from unires_jax.engine.record import Picture, Region, Text
from unires_jax.engine.samples import Sample
from unires_jax.engine.stats import negative_kind
from unires_jax.errors import DataError, UsageError

EVIL = "<script>document.title='run'</script>"


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """Twelve of PartWorld: some things dropped, hostile words in one of them."""
    pictures = made.partworld_engine(tmp_path, 8)
    first = next(r for r in pictures[0].regions if r.level == "object")
    pictures[0] = made.drop(pictures[0], first.id, "M2")
    holder = next(r for r in pictures[1].regions if len(r.texts) > 1)
    pictures[1] = made.drop_text(pictures[1], holder.texts[0], "U1", "T3")
    error = "captions: out of memory for one region"
    pictures[2] = dataclasses.replace(
        pictures[2], keep=False, errors=(error,), codes=("E1",)
    )
    regions = [dataclasses.replace(r, category=EVIL) for r in pictures[3].regions]
    texts = (dataclasses.replace(regions[0].texts[0], text=f"=cmd|' {EVIL}"),)
    regions[0] = dataclasses.replace(regions[0], texts=texts)
    pictures[3] = dataclasses.replace(pictures[3], regions=tuple(regions))
    made.write_engine(tmp_path, pictures)
    return pictures


def stats_of(folder: Path) -> dict:
    return json.loads((folder / "engine/report/stats.json").read_text())


def test_numbers_are_those_of_the_records(
    tmp_path: Path, pictures: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        report.main(["--out", str(tmp_path / "engine"), "--cards", "3", "--looks", "9"])
        == 0
    )
    stats = stats_of(tmp_path)
    regions = [r for p in pictures for r in p.regions]
    texts = [x for r in regions for x in r.texts]
    kept = [x for x in texts if x.keep]
    assert stats["total"] == {
        "picture": 8,
        "object": sum(r.level == "object" for r in regions),
        "part": sum(r.level == "part" for r in regions),
        "text": len(texts),
    }
    assert stats["kept"]["picture"] == 7 and stats["kept"]["text"] == len(kept)
    assert stats["words"]["mean"] == pytest.approx(
        np.mean([len(x.text.split()) for x in kept])
    )
    for kind, rows in stats["funnel"].items():  # every loss has its step
        left = stats["total"][kind]
        for row in rows:
            left -= sum(row["codes"].values())
            assert row["left"] == left
        assert left == stats["kept"][kind]
    dropped = {code: row["dropped"] for code, row in stats["codes"].items()}
    assert {c for c, n in dropped.items() if n} == {"M2", "U1", "T3", "E1"}
    assert dropped["U1"] == dropped["T3"] == 1
    assert set(stats["codes"]) == set(CODES)
    clip = stats["histograms"]["CLIP cosine"]
    assert clip["thresholds"] == [0.2]
    assert sum(clip["kept"]) + sum(clip["dropped"]) == len(texts)
    assert stats["histograms"]["Detector"]["thresholds"] == [0.25]
    assert sum(row["texts"] for row in stats["forms"].values()) == len(texts)
    assert sum(row["texts"] for row in stats["negatives"].values()) == sum(
        not x.targets for x in texts
    )
    assert stats["categories"][EVIL]["objects"] > 0
    assert stats["licences"]["geometry"].startswith("made by unires_jax")
    assert "audit.csv waits" in capsys.readouterr().out


def test_the_page_stands_alone_and_shows_every_code(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    page = Path(report.report(tmp_path / "engine", cards=2, looks=9)).read_text()
    assert EVIL not in page and "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for code in ("M2", "U1", "E1"):
        assert f'<h3 id="{code}">' in page and f'<a href="#{code}">' in page
    assert "out of memory for one region" in page
    sections = re.split(r"<h3[ >]", page)
    (shown,) = [s for s in sections if s.startswith('id="U1"')]
    assert shown.count("<figure") == 1 and shown.count("<img") == 2
    again = Path(report.report(tmp_path / "engine", cards=2, looks=9)).read_text()
    assert again == page
    assert (
        Path(report.report(tmp_path / "engine", cards=2, looks=9, seed=1)).read_text()
        != page
    )


def test_the_colours_lie_where_the_masks_are(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    from unires_jax.engine import overlays
    from unires_jax.engine.cases import Case
    from unires_jax.pixels.masks import RunMask

    picture = pictures[5]
    for region in picture.regions:
        case = Case("", picture, region)
        layer = overlays._layer(case)
        runs = RunMask.from_counts(region.rle, picture.height, picture.width)
        mask = runs.resize(*layer.shape[:2]).pixels()
        colour = overlays.COLOURS[region.level][::-1]
        prompt = overlays.COLOURS["prompt"][::-1]
        is_colour = (layer[..., :3] == colour).all(-1) & (layer[..., 3] > 0)
        is_prompt = (layer[..., :3] == prompt).all(-1)
        np.testing.assert_array_equal(is_colour, mask & ~is_prompt)
        assert overlays.draw(tmp_path / "photos", case).layer.startswith("data:image")
    gone = dataclasses.replace(picture, file="gone.jpg")
    assert not overlays.draw(tmp_path / "photos", Case("", gone)).image


def test_any_stage_and_no_pictures_at_all(
    tmp_path: Path, pictures: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "engine"
    boxes = [
        dataclasses.replace(
            p, regions=tuple(made.bare(r) for r in p.regions if not r.part)
        )
        for p in pictures
    ]
    made.write_engine(tmp_path / "planned", boxes)
    planned = tmp_path / "planned/engine"
    (planned / "filter").rename(planned / "objects")
    page = Path(report.report(planned, pictures=tmp_path / "photos")).read_text()
    assert "No model has scored anything yet" in page
    assert not (planned / "report/audit.csv").exists()  # no mask to look at
    (out / "filter").rename(out / "objects")
    (out / "plan/plan.json").unlink()
    page = Path(report.report(out)).read_text()
    assert "stage objects" in page and "the picture cannot be shown" in page
    assert "--pictures" in capsys.readouterr().err
    with pytest.raises(DataError, match="no such folder"):
        report.report(out, pictures=tmp_path / "nowhere")
    with pytest.raises(DataError, match="unires engine plan"):
        report.report(tmp_path / "empty")
    with pytest.raises(UsageError, match="--cards"):
        report.main(["--out", str(out), "--cards", "-1"])


def test_a_draw_is_even_and_bounded_in_any_order() -> None:
    keys = [str(i) for i in range(1000)]
    draws = []
    for order in (keys, keys[::-1], random.Random(0).sample(keys, 1000)):
        sample = Sample[str](50, seed=7)
        for key in order:
            sample.add("all", key, lambda key=key: key)
        draws.append(sample.drawn("all"))
        assert sample.counts["all"] == 1000
    assert draws[0] == draws[1] == draws[2] and len(set(draws[0])) == 50
    assert 350 < np.mean([int(key) for key in draws[0]]) < 650


def test_pictures_that_are_alike() -> None:
    rng = np.random.default_rng(0)
    pictures = [
        cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (320, 240))
        for _ in range(40)
    ]
    smaller = cv2.resize(pictures[3], (200, 150), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", pictures[9], [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    pictures += [smaller, cv2.imdecode(coded, cv2.IMREAD_COLOR), pictures[3]]
    hashes = np.array([likeness.difference_hash(p) for p in pictures], np.uint64)
    assert likeness.alike(hashes) == [(3, 40), (9, 41), (3, 42)]
    bits = np.array([0, 0b111, 0b111 << 61, 0b1111 << 20], np.uint64)
    assert likeness.alike(bits) == [(0, 1), (0, 2)]
    assert likeness.alike(np.array([], np.uint64)) == []


@pytest.mark.parametrize(
    ("of", "text", "kind"),
    [
        ("the red car", "the blue car", "colour"),
        ("the car on the left", "the car on the right", "side"),
        ("the cars", "the trucks", "category"),
        ("the wheels of the car", "the wings of the car", "part"),
    ],
)
def test_what_was_swapped(of: str, text: str, kind: str) -> None:
    region = Region("o0", "object", "car", (0.0, 0.0, 9.0, 9.0))
    assert negative_kind(Text(text, "negative", (), of=of), region) == kind


def rows_of(folder: Path) -> list[dict[str, str]]:
    text = (folder / "engine/report/audit.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def save(path: Path, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    """A table as a spreadsheet saves it."""
    text = io.StringIO()
    delimiter = ";" if encoding == "utf-8-sig" else ","
    table = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter)
    table.writeheader()
    table.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_verdicts_become_precision(
    tmp_path: Path, pictures: list[Picture], encoding: str
) -> None:
    out = tmp_path / "engine"
    report.report(out, cards=0, looks=60)
    rows = rows_of(tmp_path)
    assert len(rows) == 60 and {row["verdict"] for row in rows} == {""}
    assert {"M2", "U1 T3"} <= {row["code"] for row in rows}
    for row in rows:
        wrong = row["code"] or row["form"] == "place"
        row["verdict"] = "Wrong" if wrong else " right"
    rows[0]["verdict"], rows[1]["verdict"] = "", "unsure"
    path = save(tmp_path / "mine.csv", rows, encoding)
    page = Path(report.report(out, verdicts=path, cards=0)).read_text()
    judged = stats_of(tmp_path)["audit"]
    assert (judged["rows"], judged["judged"], judged["unsure"]) == (60, 59, 1)
    for name, row in judged["kept"].items():
        assert row["share"] == (0.0 if name == "place" else 1.0)
        low, high = row["interval"]
        assert 0 <= low <= row["share"] <= high <= 1 and high - low < 0.8
    assert all(row["share"] == 1.0 for row in judged["dropped"].values())
    forms = stats_of(tmp_path)["forms"]
    kept = {form: forms[form]["kept"] for form in judged["kept"] if form in forms}
    right = 1 - kept["place"] / sum(kept.values())
    assert judged["overall"]["share"] == pytest.approx(right)
    assert 'id="audit"' in page and f"{100 * right:.1f}" in page


def test_verdicts_are_nobodys_to_overwrite(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    out, path = tmp_path / "engine", tmp_path / "engine/report/audit.csv"
    report.report(out, cards=0, looks=5)
    report.report(out, cards=0, looks=6)  # no verdict yet
    rows = rows_of(tmp_path)
    assert len(rows) == 6
    rows[2]["verdict"] = "right"
    before = save(path, rows).read_bytes()
    report.report(out, cards=0, looks=9)
    assert path.read_bytes() == before
    path.write_text("my notes")
    report.report(out, cards=0)
    assert path.read_text() == "my notes"


def test_rows_of_another_filter_are_left_out(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    report.report(tmp_path / "engine", cards=0, looks=60)
    rows = [r | {"verdict": "right"} for r in rows_of(tmp_path) if not r["code"]]
    path = save(tmp_path / "mine.csv", rows)
    harsh = []
    for picture in pictures:
        for region in picture.regions:
            if region.level == "part" and region.keep:
                picture = made.drop(picture, region.id, "P1")
        harsh.append(picture)
    made.write_engine(tmp_path, harsh)
    report.report(tmp_path / "engine", verdicts=path, cards=0)
    judged = stats_of(tmp_path)["audit"]
    assert judged["moved"] > 0 and judged["judged"] + judged["moved"] == len(rows)
    assert "part" not in judged["kept"]


SPOILT = {
    "verdict": (lambda rows: rows[3].update(verdict="maybe"), "row 5, column verdict"),
    "run": (lambda rows: rows[1].update(run="r123"), "row 3, column run"),
    "id": (lambda rows: rows[0].update(id="77/o9#1"), "row 2, column id"),
    "twice": (lambda rows: rows[2].update(id=rows[0]["id"]), "row 4, column id"),
    "column": (lambda rows: [r.pop("verdict") for r in rows], "row 1: .*verdict"),
    "empty": (lambda rows: [r.clear() for r in rows], "row 1|no row"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_table_that_was_spoilt_is_refused(
    tmp_path: Path, pictures: list[Picture], fault: str
) -> None:
    report.report(tmp_path / "engine", cards=0, looks=8)
    rows = rows_of(tmp_path)
    spoil, place = SPOILT[fault]
    spoil(rows)
    path = save(tmp_path / "mine.csv", rows)
    with pytest.raises(DataError, match=place):
        report.report(tmp_path / "engine", verdicts=path, cards=0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no row"),
        (b"a,b\n1,2\n", "row 1: expected one column id"),
        (b"id,run,verdict,form,level,code\n1,2\n", "row 2: expected 6 cells, found 2"),
        (b"\xff\xfe\x00\xd8", "save it as UTF-8"),
        ("id,verdict\n1,gr\xfcn".encode("latin-1"), "save it as UTF-8"),
        (b"id,run,verdict,form,level,code\n", "no row"),
        (b'id,run,verdict,form,level,code\n"' + b"a" * (1 << 18), "is no CSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "audit.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words):
        audit.read(path)
    with pytest.raises(DataError, match="No such file"):
        audit.read(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-2", "@x", " =1", "a;=cmd", "a,\t@b", "\t=1"]
)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    picture = made.partworld_engine(tmp_path, 1)[0]
    region = picture.regions[0]
    said = Text(text, "caption", (region.id,))
    region = dataclasses.replace(region, texts=(said,), category=text)
    case = audit.Case("1/o0#0", picture, region, said)
    table = audit.to_csv([case], "r1").decode("utf-8-sig")
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(table), delimiter=delimiter):
            assert not [c for c in row if c.strip()[:1] in ("=", "+", "-", "@")]


def test_wilson() -> None:
    low, high = audit.wilson(170 / 200, 200.0)
    assert (round(low, 4), round(high, 4)) == (0.7939, 0.8929)
    assert audit.wilson(1.0, 10.0)[1] == 1.0
    assert round(audit.wilson(1.0, 10.0)[0], 4) == 0.7225
    assert audit.wilson(0.0, 1.0)[0] == 0.0


@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
def test_in_a_browser(tmp_path: Path, pictures: list[Picture]) -> None:
    page = report.report(tmp_path / "engine", cards=2, looks=9)
    with browser.Browser(tmp_path) as chromium:
        driver = chromium.driver
        for name in ("report.html", "audit.html"):
            driver.get(Path(page).with_name(name).as_uri())
            assert driver.title != "run"
            for width in (1280, 390):
                size = {"width": width, "height": 844, "deviceScaleFactor": 1}
                driver.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride", size | {"mobile": width < 500}
                )
                wide = "return document.documentElement.scrollWidth"
                assert driver.execute_script(wide) <= width, (name, width)
            broken = "return [...document.images].filter(i => !i.naturalWidth).length"
            assert driver.execute_script(broken) == 0
            assert len(chromium.all("figure")) > 3
        assert chromium.foreign("file://") == set()
