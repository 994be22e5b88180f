"""Many sentences, shapes and parts of one picture: all of them kept, or refused."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import part_forms

from unires_jax import limits
from unires_jax.engine import convertible
from unires_jax.engine.importers import labelme, tables
from unires_jax.engine.importers.things import Things
from unires_jax.engine.part_sources import texts
from unires_jax.engine.part_sources.form import SourceFiles
from unires_jax.engine.part_sources.regions import (
    AnnotatedPicture,
    Annotation,
    assemble,
)
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask, require_comparable
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image

SIZE = (8, 9)


def column(x: int) -> RunMask:
    pixels = np.zeros(SIZE, bool)
    pixels[:, x] = True
    return RunMask.from_pixels(pixels)


def picture(*annotations: Annotation, **options: Any) -> AnnotatedPicture:
    return AnnotatedPicture(Image(1, "1.jpg", *SIZE), annotations, **options)


def test_a_mask_in_many_rows_has_all_their_sentences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    things = Things()
    for number in range(1000):
        things.add([column(1)], [f"dog {number}", "the dog"], "dog")
        things.add([column(number % 2)], ["it"])
    first, *others = things.annotations
    assert first.captions == ("dog 0", "the dog", *(f"dog {n}" for n in range(1, 1000)))
    assert [(a.key, a.captions) for a in others] == [(1, ("it",)), (2, ("it",))]
    assert first.category == "dog" and [a.mask for a in others] == [
        *map(column, (0, 1))
    ]
    monkeypatch.setattr(limits, "EXPRESSIONS", 3002)
    things.add([column(1)], ["a", "b"])
    with pytest.raises(DataError, match="more than 3002 sentences of one picture"):
        things.add([column(1)], ["c"])


def test_pieces_of_a_part_and_sentences_of_several(tmp_path: Path) -> None:
    whole = Annotation(0, RunMask.from_pixels(np.ones(SIZE, bool)), "dog")
    legs = [Annotation(i, column(i), "dog", "leg", 0, captions=("a",)) for i in (1, 2)]
    dog, leg = assemble(picture(whole, *legs))
    assert leg.mask == RunMask.union([column(1), column(2)], *SIZE)
    assert leg.pieces == 2 and leg.captions == ("a",) and dog.pieces == 1
    cats = [Annotation(i, column(i), "cat", captions=("a", "b")) for i in range(3)]
    said = texts.describe(assemble(picture(*cats)), lambda category: False)
    assert [s.targets for s in said if s.text == "a"] == [(0, 1, 2)]

    shapes = [
        {"label": "dog", "group_id": 1, "description": f"dog {min(i, 1)}"}
        | {"points": [[i, 0], [i + 1, 0], [i + 1, 8], [i, 8]]}
        for i in (1, 3, 5)
    ]
    content = {"shapes": shapes, "imagePath": "1.png", "imageHeight": 8}
    (tmp_path / "1.json").write_text(json.dumps(content | {"imageWidth": 9}))
    (thing,) = labelme.read_picture(
        *(SourceFiles(tmp_path), tmp_path / "1.json", 0, Rejects())
    ).annotations
    assert thing.captions == ("dog 1",)
    assert thing.mask == RunMask.union([column(i) for i in (1, 3, 5)], *SIZE)


def test_too_many_to_compare_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_comparable([10] * 1000, [10] * 1000)
    with pytest.raises(DataError, match="1 parts that name no object, and 1000 obj"):
        require_comparable([limits.COMPARED // 1000], [10] * 1000)
    with pytest.raises(DataError, match="5000 parts that name no object"):
        require_comparable([1] * 5000, [1] * 5000)
    dogs = [Annotation(i, column(i), "dog") for i in range(3)]
    parts = [Annotation(f"p{i}", column(i), "dog", "leg") for i in range(3)]
    named = [Annotation("n", column(1), "dog", "head", 1)] * 1
    assert len(assemble(picture(*dogs, *parts, *named))) == 7
    monkeypatch.setattr(limits, "COMPARED", 4000)
    with pytest.raises(DataError, match="3 parts that name no object, and 3 objects"):
        assemble(picture(*dogs, *parts, *named))
    assert len(assemble(picture(*dogs, *named))) == 4


def test_parts_of_parts_of_parts_end() -> None:
    """Their names would grow without bound, and take quadratic memory."""
    chain = [Annotation(0, column(0), "dog")]
    chain += [
        Annotation(i, column(i % 9), "dog", f"leg{i}", i - 1) for i in range(1, 99)
    ]
    said = texts.describe(assemble(picture(*chain)), lambda category: True)
    assert 10 < len(said) < 60 and max(len(s.text) for s in said) < 2 * texts.LONG


def test_short_rows_below_a_long_heading(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeffimage,b,c\n1.jpg\n\n2.jpg,x\n3.jpg,,z\n", "utf-8")
    rows = [row for _, row in tables.rows(path)]
    assert rows[:2] == [{"image": "1.jpg"}, {"image": "2.jpg", "b": "x"}]
    assert rows[2] == {"image": "3.jpg", "b": "", "c": "z"}
    assert tables.names(path) == ["image", "b", "c"]
    path.write_text("image\n1.jpg,2\n")
    with pytest.raises(DataError, match=r"a.csv:2: has more cells than"):
        list(tables.rows(path))


@pytest.mark.parametrize("name", ["a'b\n\x1b[2J\\n", "zwölf\u202e", "ein $HOME"])
def test_a_command_with_a_foreign_name_is_harmless_and_works(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    part_forms.write_coco(folder)
    (finding,) = examine(folder, convertible=convertible.commands).findings
    (example,) = finding.examples
    assert example.isprintable()
    line = example.split("`")[1]
    place = str(folder / "train.json")
    if shutil.which("bash"):
        word = line.partition(" --form")[0].removeprefix("unires engine parts ")
        echo = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True)
        assert echo.stdout.decode() == place
    if name.isprintable():
        assert place in shlex.split(line)
