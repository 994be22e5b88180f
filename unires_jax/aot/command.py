"""`unires aot`: whether a config fits a TPU slice, and what bounds its speed there."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from unires_jax.aot.topology import CHIPS, chip_of, described_devices
from unires_jax.config import Config, to_dict
from unires_jax.errors import ConfigError
from unires_jax.files import write_whole

PLATFORM = "tpu"
ITEMSIZE = {"float32": 4, "bfloat16": 2}


def main(
    argv: Sequence[str], read_config: Callable[[list[str]], tuple[Config, list[str]]]
) -> int:
    """Compile the steps of the config, print the table, write the JSON.

    `read_config` is `app.parse_config`. 1 if a step does not fit the chip, else 0.
    Raises ConfigError for a topology or a length that is none, for settings that cannot
    work there, and without the TPU compiler.
    """
    args, settings = _parser().parse_known_args(argv)
    config, others = read_config(["unires aot", *settings])
    if others[1:]:
        raise ConfigError(f"unexpected arguments {others[1:]}")
    chip, lengths = chip_of(args.topology), config.data.lengths
    length = args.length or lengths[-1]
    if length not in lengths:
        raise ConfigError(f"--length {length} must be one of data.lengths={lengths}")
    devices = described_devices(args.topology)

    from unires_jax.aot.report import measure
    from unires_jax.aot.steps import evaluation_steps, train_step
    from unires_jax.aot.table import as_json, table

    steps = []
    if args.steps in ("all", "train"):
        steps.append(train_step(config, devices, length, PLATFORM))
    if args.steps in ("all", "evaluation"):
        steps += evaluation_steps(config, devices, length, PLATFORM)
    print(_head(config, args.topology, len(devices), length), flush=True)
    reports = [measure(step, ITEMSIZE[config.model.dtype]) for step in steps]
    print(table(reports, chip))
    content = {
        "topology": args.topology,
        "chips": len(devices),
        "chip": dataclasses.asdict(chip),
        "length": length,
        "config": to_dict(config),
        "steps": as_json(reports, chip),
    }
    write_whole(Path(args.out), json.dumps(content, indent=1) + "\n")
    return 0 if all(report.fits(chip) for report in reports) else 1


def _head(config: Config, topology: str, chips: int, length: int) -> str:
    rounds = config.train.accumulation
    return (
        f"{config.name} on {topology}, {chips} chips, fsdp "
        f"{min(config.mesh.fsdp, chips) if config.mesh.fsdp > 0 else chips}; "
        f"{config.train.batch} pictures x {config.data.expressions} expressions x "
        f"{length} tokens in {rounds} round{'s'[: rounds > 1]}; {config.model.dtype}, "
        f"remat {config.model.remat}; evaluation on one chip, {config.eval.batch} "
        f"pictures, {config.eval.expressions} expressions"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unires aot",
        allow_abbrev=False,
        description="Compile a config's training and evaluation steps for a TPU slice, "
        "on a machine without one: bytes of a chip against its memory, FLOPs, bytes "
        "accessed, traffic. Exit code 1 if a step does not fit. Settings are given as "
        "to train.py: --config=file.py[:argument] --config.train.batch=1024.",
    )
    kinds = ", ".join(CHIPS)
    parser.add_argument(
        "--topology", required=True, help=f"a slice of {kinds}, such as v5e:16x16"
    )
    parser.add_argument(
        "--length",
        type=int,
        default=0,
        help="tokens of a sentence, one of data.lengths; default: the longest",
    )
    parser.add_argument(
        "--steps", choices=("all", "train", "evaluation"), default="all"
    )
    parser.add_argument("--out", default="aot.json", help="the JSON")
    return parser
