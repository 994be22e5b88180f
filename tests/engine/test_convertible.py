"""`unires doctor` names the command that converts what it cannot use as it is."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import part_forms, tool_exports

from unires_jax import cli
from unires_jax.engine import convertible
from unires_jax.prepare.doctor.command import examine

SOURCES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "paco": ("unires engine parts", part_forms.write_paco),
    "ade20k": ("unires engine parts", part_forms.write_ade20k),
    "pascal_part": ("unires engine parts", part_forms.write_pascal_mat),
    "partimagenet": ("unires engine parts", part_forms.write_partimagenet),
    "coco": ("unires engine parts", part_forms.write_coco),
    "coco ": ("unires import", tool_exports.write_coco),
    "labelme": ("unires import", tool_exports.write_labelme),
    "label_studio": ("unires import", tool_exports.write_label_studio),
    "lisa": ("unires import", tool_exports.write_lisa),
    "masks": ("unires import", tool_exports.write_masks),
    "masks ": ("unires import", tool_exports.write_mask_table),
    "parquet": ("unires import", tool_exports.write_parquet),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_command_that_doctor_names_does_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, write = SOURCES[name]
    if name == "parquet":
        pytest.importorskip("pyarrow")
    write(tmp_path / "a b")
    assert cli.main(["doctor", str(tmp_path)]) == 1
    assert "to be converted" in capsys.readouterr().out
    (finding,) = examine(tmp_path, convertible=convertible.commands).findings
    (example,) = finding.examples
    line = example.split("`")[1]
    assert line.startswith(start) and f"--form {name.strip()} " in line
    photos, out = tmp_path / "a b" / "photos", tmp_path / "out"
    argv = shlex.split(line)[1:]
    if "--pictures" in argv:
        place = photos if photos.is_dir() else tmp_path
        argv[argv.index("--pictures") + 1] = str(place)
    argv[argv.index("--out") + 1] = str(out)
    assert cli.main(argv) == 0
    assert not examine(out).findings


def test_files_of_no_form_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": []}')
    (tmp_path / "b.json").write_text("[")
    assert not list(convertible.commands(tmp_path))
    (finding,) = examine(tmp_path, convertible=convertible.commands).findings
    assert finding.kind == "nothing known"
