"""One run in a workdir: the kernel's lock, and a lease where there is none."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unires_jax import lock
from unires_jax.errors import ConfigError

HOLDER = """
import sys, time
from unires_jax import lock
with lock.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_held_workdir_is_refused_until_its_holder_is_killed(tmp_path: Path) -> None:
    workdir = tmp_path / "new" / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, workdir], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        message = rf"run is in use by process {holder.pid} on .* since 2.*--workdir"
        with pytest.raises(ConfigError, match=message), lock.hold(str(workdir)):
            pass
        holder.kill()
    with lock.hold(str(workdir)):
        pass


def test_a_workdir_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(ConfigError, match="cannot be written")
    with refused, lock.hold(str(tmp_path / "file")):
        pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "EXPIRE_SECONDS", 20.0)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


def test_a_renewed_lease_is_refused(quick: None, tmp_path: Path) -> None:
    with lock._lease(str(tmp_path)):
        threading.Event().wait(0.2)  # renewed at least once
        refused = pytest.raises(ConfigError, match="in use by process")
        with refused, lock._lease(str(tmp_path)):
            pass
    assert not (tmp_path / lock.FILE).exists()
    with lock._lease(str(tmp_path)):  # at once
        pass


def test_a_lease_left_behind_is_taken_over(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "EXPIRE_SECONDS", 0.3)
    left = json.dumps({"host": "gone", "process": 1, "since": "then"})
    (tmp_path / lock.FILE).write_text(left)
    with lock._lease(str(tmp_path)):
        assert "gone" not in (tmp_path / lock.FILE).read_text()
