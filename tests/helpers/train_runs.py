"""Real processes of train.py on the tiny run."""

import subprocess
import sys
from pathlib import Path

from helpers.paths import HELPERS, ROOT
from helpers.programs import compiling_once, free_port
from helpers.tiny_run import config_file, run_config, write_data

KILLER = HELPERS / "killed_train.py"


class Runs:
    """Starts processes of one config; they share compiled programs."""

    def __init__(self, folder: Path) -> None:
        data = write_data(folder / "data")
        self.config = run_config(data, train__log_every=1)
        self.file = config_file(folder, self.config)
        self.env = compiling_once(folder / "cache")

    def __call__(
        self, workdir: Path, moment: str = "", *flags: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, or to the moment of a signal (`KILL feed:3`)."""
        return wait(self.start(workdir, moment, *flags))

    def together(
        self, workdirs: list[Path], moments: list[str], *flags: str
    ) -> list[subprocess.CompletedProcess[str]]:
        """One cluster, a process for each workdir and its moment, all to their end."""
        cluster = self.cluster(len(workdirs))
        processes = [
            self.start(workdir, moment, *flags, *cluster, f"--process={i}")
            for i, (workdir, moment) in enumerate(zip(workdirs, moments, strict=True))
        ]
        return [wait(process) for process in processes]

    @staticmethod
    def cluster(count: int) -> tuple[str, str]:
        """The flags that all processes of one share."""
        return f"--processes={count}", f"--coordinator=localhost:{free_port()}"

    def start(
        self, workdir: Path, moment: str = "", *flags: str
    ) -> subprocess.Popen[str]:
        """The process, as it starts."""
        program = [str(KILLER), *moment.split()] if moment else [str(ROOT / "train.py")]
        command = [sys.executable, *program, f"--config={self.file}", *flags]
        return subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            env=self.env,
            cwd=workdir.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def wait(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What a process said and how it ended."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
