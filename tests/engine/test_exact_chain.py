"""PartWorld through the stages with the truth behind every role."""

import dataclasses
from pathlib import Path

import pytest
from helpers.engine_truth import (
    advance,
    config,
    counting,
    planned,
    records,
    truth,
    write_shards,
)

from unires_jax.data.records import Record, runs_of
from unires_jax.engine import filters, shard_files
from unires_jax.engine.backends.exact import FAULTS
from unires_jax.engine.record import Picture, Text
from unires_jax.engine.stages import FILTER

MODELS = ("objects", "parts", "captions")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return truth(tmp_path_factory.mktemp("truth"), records(2))


def chain(file: Path, query: str, out: Path) -> list[Picture]:
    """Two pictures through all stages and the filter."""
    settings = config(f"exact:{file}{query}")
    images = [record.image for record in records(2)]
    pictures = [planned(record) for record in records(2)]
    pictures = advance(pictures, images, settings, MODELS)
    pictures = list(map(with_texts, pictures, records(2)))
    pictures = advance(pictures, images, settings, ("scores",))
    write_shards(out, "scores", pictures, 2)
    filters.run(out, settings)
    return [p for s in shard_files.paths(out, FILTER) for p in shard_files.read(s)]


def with_texts(picture: Picture, record: Record) -> Picture:
    """The last object has a text that counts, and one that denotes nothing."""
    region = [r for r in picture.regions if r.level == "object"][-1]
    texts = (
        Text(counting(record), "ordinal", (region.id,)),
        Text("a transparent elephant", "negative", ()),
    )
    spoken = dataclasses.replace(region, texts=region.texts + texts)
    regions = (spoken if r.id == region.id else r for r in picture.regions)
    return dataclasses.replace(picture, exhaustive=False, regions=tuple(regions))


def codes(pictures: list[Picture]) -> set[str]:
    """All codes of the pictures, their regions and texts."""
    things = [*pictures, *(r for p in pictures for r in p.regions)]
    things += [t for p in pictures for r in p.regions for t in r.texts]
    assert all(thing.keep for thing in things) or any(thing.codes for thing in things)
    return {code for thing in things for code in thing.codes}


@pytest.mark.parametrize("query", ["", "?boxes=1", "?faults=narrow"])
def test_masks_and_texts_equal_the_truth(
    query: str, file: Path, tmp_path: Path
) -> None:
    pictures = chain(file, query, tmp_path)
    assert not codes(pictures)
    for picture, record in zip(pictures, records(2), strict=True):
        masks = {(r.category, r.part, r.rle): r for r in picture.regions}
        assert len(masks) == len(picture.regions) == len(record.masks)
        for i, mask in enumerate(record.masks):
            region = masks[mask.category, mask.part, runs_of(record, mask).counts]
            assert region.texts[0].text == record.expressions[i].raw
            assert region.area == mask.area


@pytest.mark.parametrize(("fault", "code"), FAULTS.items())
def test_a_planted_fault_yields_its_code_and_no_other(
    fault: str, code: str, file: Path, tmp_path: Path
) -> None:
    pictures = chain(file, f"?faults={fault}", tmp_path)
    assert codes(pictures) == {code} - {""}
    if code:
        assert all(codes([picture]) == {code} for picture in pictures)


def test_an_answer_does_not_depend_on_what_was_asked_before(file: Path) -> None:
    settings = config(f"exact:{file}")
    stages = (*MODELS, "scores")
    pictures = [planned(record) for record in records(2)]
    images = [record.image for record in records(2)]
    forth = advance(pictures, images, settings, stages)
    back = advance(pictures[::-1], images[::-1], settings, stages)
    assert forth == back[::-1]
