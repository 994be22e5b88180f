"""What a disk refuses is told in words, by every program, and nothing is left half."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from unires_jax import cli, disk, files
from unires_jax.errors import UserError


def words(error: BaseException) -> str:
    return str(disk.explain(error))


def test_what_is_said() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/a/b")
    assert words(full).startswith("/tmp/a/b: No space left on device (")
    assert "make room there" in words(full)
    quota = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "x")
    assert "in your quota" in words(quota)
    library = RuntimeError("write() failed: No space left on device; writing /x/y; at")
    assert words(library).startswith("/x/y: No space")
    assert "(RuntimeError: No space" in words(RuntimeError(os.strerror(errno.ENOSPC)))
    behind = ValueError("cannot encode")
    behind.__context__ = full
    assert words(behind) == words(full)
    assert "no space" in words(OSError("1000 requested and 24 written")).lower()
    assert "see its permissions" in words(PermissionError(errno.EACCES, "no", "x"))
    assert isinstance(disk.explain(library), disk.DiskFullError)
    assert disk.explain(ValueError("a bug")) is None
    met = ValueError("a bug")
    met.__context__ = FileNotFoundError(errno.ENOENT, "none", "x")  # and answered
    assert disk.explain(met) is None


@pytest.mark.parametrize(
    ("library", "error", "words"),
    [
        ("botocore.exceptions", "NoCredentialsError", "no credentials.*aws configure"),
        (
            "google.auth.exceptions",
            "DefaultCredentialsError",
            "gcloud auth application",
        ),
        ("aiohttp", "ClientConnectionError", "cannot be reached.* network"),
    ],
)
def test_a_bucket_that_refuses(library: str, error: str, words: str) -> None:
    raised = getattr(pytest.importorskip(library), error)()
    wrapped = RuntimeError("reading")
    wrapped.__cause__ = raised
    for fault in (raised, wrapped):
        explained = disk.explain(fault)
        assert explained is not None and re.search(words, str(explained))
    told = UserError("the file is damaged")
    told.__context__ = raised
    assert disk.explain(told) is None


def test_a_damaged_message_is_no_bucket() -> None:
    from google.protobuf.message import DecodeError

    assert disk.explain(DecodeError("Error parsing message")) is None


def test_room_is_asked_for_first(tmp_path: Path) -> None:
    disk.require_room(tmp_path / "not" / "there", 1, "")
    with pytest.raises(UserError, match=r"1e\+06 TB are needed and .* are free; wait"):
        disk.require_room(tmp_path, 10**18, "wait")


def test_a_folder_is_tried_first(tmp_path: Path) -> None:
    disk.require_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: .*a file stands where"):
        disk.require_writable(tmp_path / "file")
    with pytest.raises(UserError, match=r"/proc: .*(exist|permi|there)"):
        disk.require_writable("/proc")


def test_files_that_belong_together_come_together(tmp_path: Path) -> None:
    files.write_together(tmp_path / "new", {"a": "1", "b": b"2"})
    with pytest.raises(OSError, match=r"new/c/d"):
        files.write_together(tmp_path / "new", {"a": "3", "c/d": "4"})
    there = {p.name: p.read_text() for p in (tmp_path / "new").iterdir()}
    assert there == {"a": "1", "b": "2"}


def test_a_name_as_long_as_may_be(tmp_path: Path) -> None:
    files.write_whole(tmp_path / ("ü" * 127), "x")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["x"]
    with pytest.raises(OSError, match="too long"):
        files.write_whole(tmp_path / ("x" * 256), "x")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from unires_jax import cli
sys.exit(cli.main(sys.argv[2:]))
"""


def limited(size: int, *argv: object) -> subprocess.CompletedProcess[str]:
    """A command that may write no file beyond this size."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), *map(str, argv)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        timeout=300,
    )


def test_a_build_that_does_not_fit(tmp_path: Path) -> None:
    data = ("--data_dir", tmp_path / "data")
    done = limited(20000, "build", "partworld", "--scenes", 40, *data)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "File too large" in done.stderr and "nothing of it is kept" in done.stderr
    assert "kB were written" in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


BUNDLED = ROOT / "unires_jax" / "serving" / "bundled"


@pytest.mark.parametrize(
    "kind", ["safetensors", pytest.param("orbax", marks=pytest.mark.slow)]
)
def test_an_export_that_does_not_fit(kind: str, tmp_path: Path) -> None:
    argv = ("--checkpoint", BUNDLED, "--to", kind, "--out", tmp_path / "x")
    done = limited(200_000, "export", *argv)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "Nothing of the export is kept" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("file/x", "a file stands where a folder is expected"),
        ("x" * 300, "name a shorter one"),
        ("/proc/none/x", "see that its folder is there"),
    ],
)
def test_places_that_cannot_be_written(
    out: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / out)
    (tmp_path / "raw").mkdir()
    export = ["export", "--checkpoint", str(BUNDLED), "--to", "orbax"]
    for argv in (
        ["build", "partworld", "--scenes", "2", "--data_dir", place],
        ["doctor", str(tmp_path / "raw"), "--json", place],
        [*export, "--out", place],
    ):
        assert cli.main(argv) == 1, argv
        assert said in capsys.readouterr().err, argv


def test_a_reader_that_has_enough() -> None:
    """`unires build partworld --help | head -1`."""
    argv = [sys.executable, "-m", "unires_jax.cli", "build", "partworld", "--help"]
    command = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.stdout and command.stderr
    command.stdout.close()
    assert b"Traceback" not in command.stderr.read()
    assert command.wait(60) in (0, 141)
