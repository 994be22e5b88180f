"""evaluate.py as a cluster starts it: the files do not tell how many took part."""

import json
from pathlib import Path

import pytest
from helpers import cluster, small_data
from helpers.coloured_boxes import make_record
from helpers.exporting import write_run
from helpers.tiny import make_loaded, tiny_config

from unires_jax.config import to_dict

FILES = ("metrics.json", "predictions.jsonl", "report.html")


class Evaluation:
    """Evaluates one run, whose programs are compiled once, on so many processes."""

    def __init__(self, folder: Path) -> None:
        records = [make_record(i) for i in range(8)]
        # Batches of two: three of val, one of testA. More processes have no share.
        small_data.write(folder / "data", "boxes", val=records[:5], testA=records[5:7])
        config = tiny_config(eval__batch=2, eval__expressions=4)
        self.folder = folder
        self.run = write_run(folder / "run", make_loaded(folder, config))
        (self.run / "config.json").write_text(json.dumps(to_dict(config)))

    def __call__(
        self, processes: int, *flags: str, model: str = "--workdir="
    ) -> dict[str, bytes]:
        """The content of what they wrote."""
        out = self.folder / f"{processes}{model}{''.join(flags)}"
        argv = [f"--data_dir={self.folder / 'data'}", "--splits=boxes:val,boxes:testA"]
        cluster.run(
            "evaluate.py",
            [*argv, f"{model}{self.run}", f"--out={out}", *flags],
            processes,
            cache=self.folder / "cache",
            logs=out.with_name(f"{out.name}-logs"),
        )
        said = (out.with_name(f"{out.name}-logs") / "0.log").read_text()
        assert "boxes:testA, protocol" in said
        return {name: (out / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return Evaluation(tmp_path_factory.mktemp("evaluation"))


def test_two_processes_write_what_one_does(evaluation: Evaluation) -> None:
    alone = evaluation(1)
    assert alone["predictions.jsonl"].count(b"\n") > 20
    assert evaluation(2) == alone


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--derange",),
        ("--images=1",),
        ("--predict=ground_truth",),
        ("--protocol=rela",),
    ],
)
def test_any_number_of_processes(
    evaluation: Evaluation, flags: tuple[str, ...]
) -> None:
    alone = evaluation(1, *flags)
    assert evaluation(2, *flags) == alone
    assert evaluation(4, *flags) == alone


@pytest.mark.slow
def test_a_baseline_of_several_processes(evaluation: Evaluation) -> None:
    model = "--baseline=predictor:"
    assert evaluation(2, model=model) == evaluation(1, model=model)
