"""The command line: typed overrides, and errors that name the field or the file."""

import subprocess
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax import app
from unires_jax.config import Config, fields
from unires_jax.errors import ConfigError

GOOD = """\
'''A recipe. python train.py --config=good.py. Expected: 0.5 mIoU.'''
from unires_jax.config import Config, fields

def get_config(arg="plain"):
    return Config(name=arg, seed=7)
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    return file


def parse(*flags: str) -> Config:
    return app.parse_config(["train.py", *flags])[0]


def test_overrides_take_the_type_of_their_field(good: Path) -> None:
    config = parse(
        f"--config={good}:named",
        "--config.model.width=192",
        "--config.model.vision.depth",
        "6",
        "--config.optim.rate=1",
        "--config.data.lengths=(8, 16)",
        "--config.eval.splits=partworld:testA",
        "--config.model.remat=full",
        "--config.mesh.gather_in_blocks",
        "--noconfig.model.share_eos",
    )
    assert (config.name, config.seed) == ("named", 7)
    assert (config.model.width, config.model.vision.depth) == (192, 6)
    assert config.optim.rate == 1.0 and type(config.optim.rate) is float
    assert config.data.lengths == (8, 16)
    assert config.eval.splits == ("partworld:testA",)
    assert config.model.remat == "full" and config.model.share_eos is False
    assert config.mesh.gather_in_blocks is True
    assert parse(f"--config={good}").name == "plain"


def test_other_flags_are_left_over(good: Path) -> None:
    script_flags = app.parse_config(
        ["x", "--workdir", "w", f"--config={good}", "--n=3"]
    )[1]
    assert script_flags == ["x", "--workdir", "w", "--n=3"]


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("model.widht=3", "model.width"),
        ("modle.image_size=3", "model.image_size"),
        ("checkpoint_every=3", "train.checkpoint_every"),
        ("modl.vision.pach=3", "model.vision.patch"),
        ("train.chekpoint_evry=3", "train.checkpoint_every"),
    ],
)
def test_a_mistyped_field_names_the_nearest(
    good: Path, override: str, nearest: str
) -> None:
    name = override.partition("=")[0]
    with pytest.raises(ConfigError) as caught:
        parse(f"--config={good}", f"--config.{override}")
    assert f"no setting config.{name}; the nearest is --config.{nearest}" == str(
        caught.value
    ).removeprefix("there is ")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.train.steps=5.5", r"config\.train\.steps=5\.5.*; expected int"),
        ("--config.optim.rate=fast", r"config\.optim\.rate=fast.*; expected float"),
        ("--config.model.gate=3", r"config\.model\.gate=3.*; expected bool"),
        ("--config.model.remat=all", r"model\.remat='all' must be one of \('none'"),
        ("--config.data.lengths=(16,'a')", r"data\.lengths: expected tuple\[int"),
        ("--config.model=3", r"config\.model is a group of settings: model\.backbone"),
        ("--config.optim.rate=nan", r"optim\.rate: expected float, found nan"),
        ("--config.optim.clip=inf", r"optim\.clip: expected float, found inf"),
        ("--config.optim.rate=-1", r"optim\.rate must not be negative"),
        ("--config.optim.b2=1", r"optim\.b2 must lie in \[0, 1\)"),
        ("--config.model.heads=7", r"model\.heads=7 must divide model\.width=256"),
    ],
)
def test_a_value_that_cannot_be_names_its_field(
    good: Path, flag: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(f"--config={good}", flag)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:\n", "line 1: SyntaxError: invalid syntax"),
        (
            "\n\ndef get_config():\n    return Confg()",
            "line 4: NameError: name 'Confg'",
        ),
        ("import nothere", "line 1: ModuleNotFoundError: No module named 'nothere'"),
        ("x = 1", ": has no function get_config()"),
        ("def get_config(): return {}", "returned dict, expected unires_jax.config."),
        ("def get_config(a, b): pass", ": TypeError: get_config() missing 2 req"),
        (
            "from unires_jax.config import *\n"
            "def get_config(): raise ConfigError('choose a or b')",
            "line 2: choose a or b",
        ),
        (
            "from unires_jax.config import *\n"
            "def get_config():\n    config = Config()\n    config.seed = '1'\n"
            "    config.train.steps = 2.5\n    return config",
            "seed: expected int, found '1'\n  train.steps: expected int, found 2.5",
        ),
    ],
)
def test_an_unreadable_config_is_named_with_its_cause(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        parse(f"--config={file}")
    assert message in str(caught.value)
    assert "seed" in message or str(file) in str(caught.value)


def test_a_missing_config_lists_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quick.py").write_text(GOOD)
    for flags in (["--config=configs/quik.py"], []):
        with pytest.raises(ConfigError, match=r"There are: configs/quick\.py"):
            parse(*flags)


def test_one_config_file_does_not_leak_into_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(GOOD)
    (tmp_path / "b.py").write_text("from unires_jax.config import Config\n")
    parse(f"--config={tmp_path / 'a.py'}")
    with pytest.raises(ConfigError, match=r"b\.py: has no function get_config"):
        parse(f"--config={tmp_path / 'b.py'}")


def test_help_tells_every_setting_with_its_value_and_meaning(good: Path) -> None:
    argv = ["train.py", f"--config={good}", "--config.model.width=64", "--help"]
    text = "\n".join(app.help_text(argv))
    assert "Expected: 0.5 mIoU." in text
    assert "--config.seed=7" in text and "--config.model.width=64" in text
    assert "image_size=480  side of the square the picture is letterboxed" in text
    # A field whose comment stands on a line of its own.
    assert "mixer_layers=1  self-attention among patches" in text
    for name, _ in fields():
        assert f"--config.{name}=" in text


def script(*flags: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "train.py", *flags, cwd=ROOT)


def test_the_script_helps_and_explains(good: Path) -> None:
    helped = script("--help")
    assert helped.returncode == 0
    assert "--workdir" in helped.stdout and "--config.train.steps=" in helped.stdout
    wrong = script(f"--config={good}", "--config.train.step=5")
    assert wrong.returncode == 2
    assert "error: there is no setting config.train.step; the" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    wrong = script(f"--config={good}", "--wrokdir=x")
    assert wrong.returncode == 2
    assert "'wrokdir'. Did you mean: workdir" in wrong.stderr


def test_a_cluster_by_halves_is_a_wrong_command_line(good: Path) -> None:
    half = script(f"--config={good}", "--processes=2", "--process=0")
    assert half.returncode == 2
    assert "--coordinator (or JAX_COORDINATOR_ADDRESS) missing" in half.stderr
    slurm = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}
    alone = run(ROOT / "evaluate.py", "--predict=empty", cwd=ROOT, **slurm)
    assert alone.returncode == 2 and "srun did not start" in alone.stderr
    assert "--processes=" in script("--help").stdout


def test_a_users_error_has_no_traceback(good: Path, tmp_path: Path) -> None:
    wrong = script(f"--config={good}", f"--config.data.dir={tmp_path / 'nowhere'}")
    assert wrong.returncode == 1
    assert "no prepared data set 'partworld' under" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_configs_of_the_package_go_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever one is; a file that is there comes first."""
    monkeypatch.chdir(tmp_path)
    named = app.load_config("quickstart:no_groups")
    assert named == app.load_config("configs/quickstart.py:no_groups")
    assert named.model.groups == "none"
    for spec in ("quick", "../quickstart", "_quickstart", "__init__"):
        with pytest.raises(ConfigError, match=r"no such file. There are: .*quickstart"):
            app.load_config(spec)
    (tmp_path / "quickstart").write_text(GOOD)
    assert app.load_config("quickstart") != app.load_config("configs/quickstart.py")
