"""The filter: every code by its threshold, monotone in each, by presets too."""

import dataclasses
import itertools
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.engine_truth import write_shards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unires_jax.engine import filters, shard_files
from unires_jax.engine.checks import CODES
from unires_jax.engine.record import (
    FORMS,
    REGION_SCORES,
    TEXT_SCORES,
    Picture,
    Region,
    Text,
)
from unires_jax.engine.settings import EngineConfig, Thresholds
from unires_jax.engine.stages import FILTER
from unires_jax.engine.thresholds import PRESETS, resolve
from unires_jax.errors import ConfigError, DataError

MASK = {"pred_iou": 0.9, "stability": 0.97, "box_iou": 0.9, "in_box": 1.0}
OBJECT = Region(
    "o0",
    "object",
    "car",
    (10.0, 10.0, 60.0, 60.0),
    rle="x",
    area=2000,
    scores={**MASK, "largest": 1.0},
    texts=(Text("the red car", "caption", ("o0",), scores={"clip": 0.3}),),
)
PART = dataclasses.replace(
    OBJECT,
    id="o0/p0",
    level="part",
    parent="o0",
    part="wheel",
    area=200,
    scores={**MASK, "detector": 0.6, "contain": 1.0, "area_ratio": 0.1, "rank": 0.0},
    src={"box": "owlv2@0"},
    texts=(Text("wheel of the red car", "compose", ("o0/p0",), scores={"clip": 0.3}),),
)
PICTURE = Picture(1, "a.jpg", "aa", 100, 100, (OBJECT, PART))


def judged(out: Path, pictures: list[Picture], **changes: Any) -> list[Picture]:
    """What the filter writes; `changes` are of the config, or of its thresholds."""
    config = EngineConfig(preset=changes.pop("preset", "default"))
    config.thresholds = Thresholds(**changes)
    write_shards(out, "scores", pictures, 2)
    filters.run(out, config)
    shards = [list(shard_files.read(p)) for p in shard_files.paths(out, FILTER)]
    return [s[i] for i in range(len(shards[0])) for s in shards if i < len(s)]


def all_codes(pictures: list[Picture]) -> list[tuple[str, str]]:
    """Whose code, and the code, of all that has one."""
    things: list[tuple[str, Any]] = []
    for p in pictures:
        things.append((f"i{p.image_id}", p))
        for r in p.regions:
            things.append((r.id, r))
            things += [(f"{r.id}:{t.form}", t) for t in r.texts]
    return [(name, code) for name, thing in things for code in thing.codes]


def kept(pictures: list[Picture]) -> set[tuple[Any, ...]]:
    """Names of all that is kept."""
    names: set[tuple[Any, ...]] = {(p.image_id,) for p in pictures if p.keep}
    for p in pictures:
        names |= {(p.image_id, r.id) for r in p.regions if r.keep}
        names |= {
            (p.image_id, r.id, i)
            for r in p.regions
            for i, t in enumerate(r.texts)
            if t.keep
        }
    return names


def with_scores(thing: Any, **scores: Any) -> Any:
    return dataclasses.replace(thing, scores={**thing.scores, **scores})


def of_object(**changes: Any) -> list[Picture]:
    scores = changes.pop("scores", {})
    region = with_scores(dataclasses.replace(OBJECT, **changes), **scores)
    return [dataclasses.replace(PICTURE, regions=(region, PART))]


def of_part(**changes: Any) -> list[Picture]:
    scores = changes.pop("scores", {})
    region = with_scores(dataclasses.replace(PART, **changes), **scores)
    return [dataclasses.replace(PICTURE, regions=(OBJECT, region))]


def of_text(text: str = "the red car", form: str = "caption", **scores: Any):
    targets = () if form == "negative" else ("o0",)
    return of_object(texts=(Text(text, form, targets, scores=scores),))


def of_part_text(text: str, **scores: Any) -> list[Picture]:
    return of_part(texts=(Text(text, "caption", ("o0/p0",), scores=scores),))


def of_picture(**changes: Any) -> list[Picture]:
    return [dataclasses.replace(PICTURE, **changes)]


ABSENT = Text("the red car", "negative", ())
TWIN = dataclasses.replace(OBJECT, id="o1", texts=())
CASES: list[tuple[str, list[Picture], str]] = [
    ("I1", of_picture(height=60), "i1"),
    ("I1", of_picture(height=0, width=0), "i1"),
    ("I1", of_picture(height=1 << 14, width=1 << 14), "i1"),
    ("I2", [PICTURE, dataclasses.replace(PICTURE, image_id=2)], "i2"),
    ("E1", of_picture(errors=("parts: out of memory",)), "i1"),
    ("B1", of_object(codes=("B1",), box=(0.0, 0.0, 0.0, 0.0), rle="", area=0), "o0"),
    ("B2", of_object(box=(10.0, 10.0, 17.0, 60.0)), "o0"),
    ("B2", of_object(box=(10.0, 10.0, 10.0, 60.0)), "o0"),
    ("B3", of_object(crowd=True), "o0"),
    ("B3", of_picture(regions=(OBJECT, TWIN)), "o1"),
    ("M1", of_object(scores={"pred_iou": 0.79}), "o0"),
    ("M1", of_object(scores={"pred_iou": float("nan")}), "o0"),
    ("M2", of_object(scores={"stability": 0.89}), "o0"),
    ("M3", of_object(area=9600), "o0"),
    ("M3", of_object(area=0, rle=""), "o0"),
    ("M3", of_object(area=31), "o0"),
    ("M4", of_object(scores={"box_iou": 0.59}), "o0"),
    ("M4", of_object(scores={"in_box": 0.89}), "o0"),
    ("M5", of_object(scores={"largest": 0.69}), "o0"),
    ("P1", of_part(scores={"detector": 0.14}), "o0/p0"),
    ("P1", of_part(scores={"detector": 0.24}, src={"box": "sam3@0"}), "o0/p0"),
    ("P1", of_part(scores={"detector": 0.2}, src={"box": "clipseg@0"}), "o0/p0"),
    ("P2", of_part(scores={"contain": 0.79}), "o0/p0"),
    ("M1", of_part(scores={"pred_iou": 0.79}), "o0/p0"),
    ("M3", of_part(area=31), "o0/p0"),
    ("P3", of_part(scores={"area_ratio": 0.86}), "o0/p0"),
    ("P3", of_part(scores={"area_ratio": 0.002}), "o0/p0"),
    ("P4", of_part(scores={"same_name": 0.51}), "o0/p0"),
    ("P4", of_part(scores={"same_place": 0.86}), "o0/p0"),
    ("P4", of_part(scores={"rank": 12.0}), "o0/p0"),
    ("T1", of_text(""), "o0:caption"),
    ("T1", of_text("car"), "o0:caption"),
    ("T1", of_text("a car" + " and so on" * 4), "o0:caption"),
    ("T1", of_text(" ".join(map(str, range(21)))), "o0:caption"),
    ("T1", of_text("the car <loc_3>"), "o0:caption"),
    ("T1", of_text("the red\x1b[31m car"), "o0:caption"),
    ("T1", of_text("The image shows a car"), "o0:caption"),
    ("T1", of_text("As an AI I see a car"), "o0:caption"),
    ("T1", of_text("car car"), "o0:caption"),
    ("T2", of_part_text("round black thing"), "o0/p0:caption"),
    ("T3", of_object(texts=2 * OBJECT.texts), "o0:caption"),
    ("T3", of_object(texts=(ABSENT, *OBJECT.texts)), "o0:negative"),
    ("T4", of_text("the car", detector=0.3), "o0:caption"),
    ("C1", of_text(clip=0.19), "o0:caption"),
    ("C1", of_text(clip=float("nan")), "o0:caption"),
    ("C2", of_text(clip=0.3, clip_margin=-0.03), "o0:caption"),
    ("U1", of_text(own_iou=0.49, best_other_iou=0.0), "o0:caption"),
    ("U1", of_text(own_iou=0.7, best_other_iou=0.51), "o0:caption"),
    (
        "U2",
        of_part_text("a wheel", own_iou=0.1, answer_parent_iou=0.9),
        "o0/p0:caption",
    ),
    ("U3", of_text("a blue car", "negative", detector=0.1), "o0:negative"),
]


@pytest.mark.parametrize(
    ("code", "pictures", "owner"),
    CASES,
    ids=[f"{c}-{i}" for i, (c, _, _) in enumerate(CASES)],
)
def test_a_thing_has_the_code_of_its_fault(
    code: str, pictures: list[Picture], owner: str, tmp_path: Path
) -> None:
    assert all_codes(judged(tmp_path, pictures)) == [(owner, code)]


@pytest.mark.parametrize("text", ["", "the red\x1b[31m car", "car \x01"])
def test_what_no_line_can_hold_is_never_kept(text: str, tmp_path: Path) -> None:
    """Whatever a model says, `unires build` reads the pack."""
    assert all_codes(judged(tmp_path, of_text(text), preset="none")) == [
        ("o0:caption", "T1")
    ]
    assert not all_codes(judged(tmp_path, of_text("car"), preset="none"))


def test_what_is_on_the_threshold_is_kept(tmp_path: Path) -> None:
    assert {code for code, _, _ in CASES} | {"C3"} == set(CODES)
    regions = (
        with_scores(OBJECT, pred_iou=0.8, stability=0.9, box_iou=0.6, largest=0.7),
        with_scores(PART, detector=0.15, contain=0.8, area_ratio=0.85, rank=11.0),
    )
    assert not all_codes(judged(tmp_path, of_picture(regions=regions)))


def test_what_belongs_to_a_dropped_thing_goes_with_it(tmp_path: Path) -> None:
    both = Text("both cars", "plural", ("o0", "o1"))
    other = dataclasses.replace(
        TWIN, box=(70.0, 70.0, 99.0, 99.0), texts=(both,), scores={"pred_iou": 0.9}
    )
    bad = with_scores(OBJECT, pred_iou=0.1)
    (picture,) = judged(tmp_path, of_picture(regions=(bad, PART, other)))
    assert all_codes([picture]) == [("o0", "M1")]
    assert kept([picture]) == {(1,), (1, "o1")}
    summary = filters.read(tmp_path)
    assert summary.kept == {"picture": 1, "object": 1, "part": 0, "text": 0}
    assert summary.dropped["object"] == {"M1": 1}
    assert summary.dropped["part"] == {"": 1} and summary.dropped["text"] == {"": 3}
    assert summary.forms["plural"] == {"kept": 0, "dropped": 1}


def test_two_codes_of_a_text_are_one_text_that_was_dropped(tmp_path: Path) -> None:
    """The stage `expressions` gives some texts two; the first is why they went."""
    said = Text("a car", "caption", ("o0",), keep=False, codes=("T4", "T3"))
    region = dataclasses.replace(OBJECT, texts=(*OBJECT.texts, said))
    (picture,) = judged(tmp_path, of_picture(regions=(region,)))
    assert all_codes([picture]) == [("o0:caption", "T4")]
    summary = filters.read(tmp_path)
    assert summary.kept["text"] == 1 and summary.dropped["text"] == {"T4": 1}


def test_the_lowest_share_of_each_category_goes(tmp_path: Path) -> None:
    """Exactly: of 20 cars 2, of 20 dogs with equal scores none, of 9 cats none."""
    pictures = []
    for category, count in (("car", 20), ("dog", 20), ("cat", 9)):
        for i in range(count):
            clip = 0.5 if category == "dog" else 0.3 + 0.01 * i
            text = Text(f"a red {category}", "caption", ("o0",), scores={"clip": clip})
            region = dataclasses.replace(OBJECT, category=category, texts=(text,))
            number = len(pictures)
            pictures.append(
                Picture(number, "a.jpg", f"{number:02x}", 100, 100, (region,))
            )
    judged_ = judged(tmp_path, pictures)
    dropped = [p.image_id for p in judged_ if not p.regions[0].texts[0].keep]
    assert dropped == [0, 1]
    assert {code for _, code in all_codes(judged_)} == {"C3"}
    assert not all_codes(judged(tmp_path, pictures, clip_share=0.04))
    everything = all_codes(judged(tmp_path, pictures, clip_share=1.0))
    assert [code for _, code in everything] == ["C3"] * len(pictures)


def some_scores(r: Random, names: tuple[str, ...]) -> dict[str, float | None]:
    values = (None, -1.0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 1.0)
    return {name: r.choice(values) for name in names if r.random() < 0.4}


def some_pictures(seed: int) -> list[Picture]:
    """Two objects and two parts in each of two pictures, with any scores."""
    r, pictures = Random(seed), []
    for number in range(2):
        regions = []
        for name, parent in (("o0", ""), ("o1", ""), ("p0", "o0"), ("p1", "o1")):
            texts = tuple(
                Text(
                    r.choice(("a car", "the red wheel of a car")),
                    form,
                    () if form == "negative" else (name,),
                    scores=some_scores(r, TEXT_SCORES),
                )
                for form in r.choices(FORMS, k=r.randrange(3))
            )
            left, side = r.choice((0.0, 1.0, 50.0)), r.choice((4.0, 10.0, 40.0))
            regions.append(
                Region(
                    name,
                    "part" if parent else "object",
                    "car",
                    (left, 0.0, left + side, side),
                    parent=parent,
                    part="wheel" if parent else "",
                    area=r.choice((0, 20, 100, 5000, 9900)),
                    scores=some_scores(r, REGION_SCORES),
                    texts=texts,
                )
            )
        sha = r.choice(("aa", "bb"))
        pictures.append(Picture(number, "a.jpg", sha, 100, 100, tuple(regions)))
    return pictures


LAXEST = dataclasses.asdict(PRESETS["none"])
SEEDS = st.integers(0, 1 << 32)
AT_MOST = ("twin", "mask_area", "part_area_max", "same_name", "same_place", "parts")
AT_MOST += ("absent", "extra")
WHOLE = {"mask_pixels", "parts"}
FIELDS = [field.name for field in dataclasses.fields(Thresholds)]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=SEEDS,
    field=st.sampled_from(FIELDS),
    values=st.tuples(*[st.sampled_from((0.0, 0.1, 0.3, 0.6, 0.95, 1.0))] * 2),
)
def test_a_stricter_threshold_keeps_no_more(
    tmp_path: Path, seed: int, field: str, values: tuple[float, float]
) -> None:
    pictures = some_pictures(seed)
    lax, strict = sorted(values, reverse=field in AT_MOST)
    sizes = [int(100 * v) if field in WHOLE else v for v in (lax, strict)]
    loose, tight = (
        judged(tmp_path, pictures, **LAXEST | {field: size}) for size in sizes
    )
    assert kept(tight) <= kept(loose)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=SEEDS)
def test_each_preset_keeps_what_the_next_one_keeps(tmp_path: Path, seed: int) -> None:
    pictures = some_pictures(seed)
    sets = [kept(judged(tmp_path, pictures, preset=name)) for name in PRESETS]
    assert all(b <= a for a, b in itertools.pairwise(sets))
    areas = {(p.image_id, r.id): r.area for p in pictures for r in p.regions}
    present = {
        (i, name) for i, name in areas if areas[i, name] and areas[i, f"o{name[1]}"]
    }
    assert {key[:2] for key in sets[0] if len(key) > 1} == present


def test_a_threshold_that_is_set_beats_the_preset() -> None:
    config = EngineConfig(preset="strict", thresholds=Thresholds(stability=0.5))
    values = dataclasses.asdict(resolve(config))
    expected = dataclasses.asdict(PRESETS["strict"]) | {"stability": 0.5}
    assert values == expected
    config.preset = "strickt"
    with pytest.raises(ConfigError, match="none, lenient, default, strict"):
        resolve(config)


def test_the_filter_can_be_run_again_and_its_input_must_be_whole(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="unires engine run"):
        filters.run(tmp_path, EngineConfig())
    pictures = [dataclasses.replace(PICTURE, image_id=i, sha256=str(i)) for i in (1, 2)]
    first = judged(tmp_path, pictures)
    bytes_of = {p.name: p.read_bytes() for p in (tmp_path / FILTER).iterdir()}
    judged(tmp_path, pictures, preset="strict")
    (tmp_path / FILTER / shard_files.name(0, 9)).write_bytes(b"of an older plan")
    assert judged(tmp_path, pictures) == first
    again = {p.name: p.read_bytes() for p in (tmp_path / FILTER).iterdir()}
    assert again == bytes_of
    shard = shard_files.paths(tmp_path, "scores")[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9])
    with pytest.raises(DataError, match=f"{shard.name}.*cannot be read"):
        filters.run(tmp_path, EngineConfig())
    (tmp_path / FILTER / filters.COUNTS).unlink()
    with pytest.raises(DataError, match="has not run to its end"):
        filters.read(tmp_path)
    shard.unlink()
    with pytest.raises(DataError, match="lacks 1 of 2 shards, number 1"):
        filters.run(tmp_path, EngineConfig())
