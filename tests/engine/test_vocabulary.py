"""The shipped vocabulary, a team's own, and the command."""

import json
from pathlib import Path

import pytest

from unires_jax.engine import shard_files, vocabulary
from unires_jax.engine.backends import load
from unires_jax.engine.record import Picture, Region
from unires_jax.errors import DataError, UsageError


def test_what_is_shipped_is_what_its_sources_list() -> None:
    """The published counts: 456 pairs of PACO, 234 of ADE20K-Part-234."""
    assert len(vocabulary.pairs(vocabulary.PACO)) == 456
    assert len(vocabulary.pairs(vocabulary.ADE20K)) == 234
    assert len(vocabulary.pairs(vocabulary.PASCAL_PART)) >= 116
    known = vocabulary.entries()
    assert known["car"]["wheel"] == "paco pascal_part ade20k"
    assert "left arm" not in known["person"] and "hand" in known["person"]
    assert vocabulary.pairs(vocabulary.ADE20K)[0] == ("person", "arm")  # its number 0


def test_it_answers_in_the_role_of_a_model(tmp_path: Path) -> None:
    shipped = load("shipped", "vocabulary")
    assert "wheel" in shipped.parts("car_(automobile)")
    assert shipped.parts("Television receiver") == shipped.parts("television_set") != []
    assert shipped.parts("zeppelin") == shipped.parts("hot dog") == []
    assert (
        shipped.parts("Fire Truck") == shipped.parts("trucks") == shipped.parts("truck")
    )
    assert shipped.parts("Couch") == shipped.parts("sofa") and not shipped.parts(
        "Glasses"
    )
    assert "gaze" not in shipped.parts("person")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"zeppelin": ["gondola"]}))
    mine = load(f"shipped:{file}", "vocabulary")
    assert mine.parts("Zeppelin") == ["gondola"]
    assert mine.fingerprint != shipped.fingerprint


def test_a_team_adds_its_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "mine.json"
    for line in ("zeppelin: gondola, fin", "zeppelin: hull", "kite: tail"):
        assert vocabulary.main(["--add", line, "--file", str(file)]) == 0
    assert json.loads(file.read_text()) == {
        "zeppelin": ["gondola", "fin", "hull"],
        "kite": ["tail"],
    }
    other = tmp_path / "other.json"
    other.write_text('{"kite": ["string"], "boat": ["mast"]}')
    edits = ["--merge", str(other), "--remove", "zeppelin: fin", "--remove", "boat"]
    assert vocabulary.main([*edits, "--file", str(file)]) == 0
    assert json.loads(file.read_text()) == {
        "zeppelin": ["gondola", "hull"],
        "kite": ["tail", "string"],
    }
    with pytest.raises(UsageError):
        vocabulary.main(["--remove", "boat", "--file", str(file)])
    assert vocabulary.main(["zeppelin", "unicorn", "--file", str(file)]) == 0
    out = capsys.readouterr().out
    assert "gondola" in out and "mine" in out and "unicorn: no entry" in out
    assert vocabulary.main(["--list"]) == 0
    assert "zeppelin" not in capsys.readouterr().out


@pytest.mark.parametrize("line", ["kettle", "kettle: lid,", ": lid", "a: b: c"])
def test_what_is_no_line_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        vocabulary.main(["--add", line, "--file", str(tmp_path / "x.json")])


@pytest.mark.parametrize("text", ['["car"]', '{"car": "wheel"}', '{"a": ["\\u001b"]}'])
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError):
        vocabulary.main(["car", "--file", str(tmp_path / "x.json")])


def test_coverage_names_what_a_plan_has_and_nobody_described(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    categories = ["car", "burrito", "burrito"]
    regions = tuple(
        Region(f"o{i}", "object", c, (0.0, 0.0, 9.0, 9.0))
        for i, c in enumerate(categories)
    )
    picture = Picture(1, "1.jpg", "", 20, 20, regions)
    shard_files.write(tmp_path / "plan" / shard_files.name(0, 1), [picture])
    assert vocabulary.main(["--coverage", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 categories have an entry, with 1 of 3 boxes" in out
    assert "no entry: burrito (2 boxes)" in out
