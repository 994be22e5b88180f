"""The command `unires engine`: pictures with boxes in, masks with sentences out.

unires engine plan     pictures and boxes -> shards of work
unires engine run      every stage over them, with models; then the filter
unires engine status   how far it is
unires engine filter   what is kept, anew with other thresholds, without a model
unires engine report   a page: what was kept, what was dropped and why; an audit
unires engine pack     MRES JSONL, which `unires build mres32m` takes
unires engine retry    pictures that failed, once more
unires engine verify   are the files what was written?
unires engine vocab    which parts things have: shown, extended
unires engine parts    part annotations that exist -> MRES JSONL; no model
unires engine import   masks of annotation tools -> MRES JSONL: `unires import`

Each has its own --help with an example. From photographs to a data set:

    unires engine plan --pictures photos --boxes boxes.jsonl --out engine
    unires engine run --out engine --config configs/engine.py
    unires engine report --out engine
    unires engine pack --out engine
    unires build mres32m --raw photos

Exit codes: 0, 1 for an error in what was given, 2 for a wrong command line, 3 where
pictures could not be done (`status` counts them, `retry` tries again), 4 for files that
are stale or damaged.
"""

import argparse
import dataclasses
import difflib
import importlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unires_jax import documents
from unires_jax.config import from_dict, settings, to_dict
from unires_jax.engine import options
from unires_jax.engine.markers import StaleError
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.settings import EngineConfig, validate
from unires_jax.engine.stages import FILTER, STAGES, Stage
from unires_jax.errors import ConfigError, UsageError, UserError, printable
from unires_jax.files import local, write_whole
from unires_jax.settings_help import meanings
from unires_jax.terminal import say_error

WRONG, FAILED, STALE = 2, 3, 4  # exit codes
CONFIG = "config.json"  # of a folder's last run
# Commands in modules of their own.
ELSEWHERE = {
    "pack": "pack",
    "report": "report",
    "vocab": "vocabulary",
    "parts": "part_sources.command",
    "import": "importers.command",
}
# `app.parse_settings`.
ReadSettings = Callable[[list[str], EngineConfig], tuple[EngineConfig, list[str], bool]]


def main(argv: Sequence[str], read_settings: ReadSettings) -> int:
    """Run a command of the engine; the exit code.

    Raises UserError for what was given and cannot be used.
    """
    name = argv[0] if argv else ""
    if name not in (*COMMANDS, *ELSEWHERE):
        return _usage(name)
    try:
        if name in COMMANDS:
            return COMMANDS[name](list(argv[1:]), read_settings)
        module = importlib.import_module(f"unires_jax.engine.{ELSEWHERE[name]}")
        return int(module.main(list(argv[1:])))
    except StaleError as error:
        say_error(error)
        return STALE
    except UsageError as error:
        say_error(error)
        return WRONG


def _usage(word: str) -> int:
    """Print what the commands are; 0 if the word asks for it, WRONG if it is none."""
    helps = word in ("-h", "--help")
    print((__doc__ or "").strip(), file=sys.stdout if helps else sys.stderr)
    if helps:
        return 0
    if word:
        names = (*COMMANDS, *ELSEWHERE)
        nearest = difflib.get_close_matches(word, names, n=1)
        hint = f", did you mean {nearest[0]!r}" if nearest else ""
        print(f"error: no command {word!r}{hint}", file=sys.stderr)
    return WRONG


class Parser(argparse.ArgumentParser):
    """Flags of a command, and the settings that it takes beside them."""

    def __init__(
        self, command: str, description: str, example: str, *, configured: bool = True
    ) -> None:
        self._configured = configured
        super().__init__(
            prog=f"unires engine {command}",
            description=description,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        options.add_out(self)

    def format_help(self) -> str:
        """The help, and every setting with its value and meaning."""
        text = super().format_help()
        if not self._configured:
            return text
        lines = ["", "settings (--config=FILE[:ARGUMENT] names a file of them):"]
        texts = meanings(EngineConfig)
        for name, value in settings(EngineConfig()).items():
            lines.append(f"  --config.{name}={value!r}  {texts[name]}".rstrip())
        return text + "\n".join(lines) + "\n"

    def read(
        self, argv: list[str], read_settings: ReadSettings
    ) -> tuple[argparse.Namespace, EngineConfig]:
        """Flags and settings; these begin with those of the folder's last run."""
        args, rest = self.parse_known_args(argv)
        args.out = local(args.out)
        default = _stored(args.out) or EngineConfig()
        config, others, _ = read_settings([self.prog, *rest], default)
        if others[1:]:
            raise UsageError(
                f"unexpected arguments {others[1:]}; see {self.prog} --help"
            )
        validate(config)
        return args, config


def _stored(out: Path) -> EngineConfig | None:
    """The settings of the folder's last run."""
    path = out / CONFIG
    if not path.exists():
        return None
    try:
        stored: EngineConfig = from_dict(documents.read_object(path), EngineConfig)
    except UserError as error:
        raise ConfigError(
            f"{error} Remove {path}: its settings must be named once more then"
        ) from None
    return stored


def _store(out: Path, config: EngineConfig) -> None:
    write_whole(out / CONFIG, json.dumps(to_dict(config), indent=1) + "\n")


def _plan(argv: list[str], read_settings: ReadSettings) -> int:
    from unires_jax.engine import plan

    parser = Parser(
        "plan",
        "Find the pictures that boxes are given for, hash and decode each once, and "
        "cut them into\nshards of work. Boxes are COCO's JSON (Objects365 and LVIS "
        "have it too), or JSONL of lines\n"
        '  {"image": "a.jpg", "boxes": [{"box": [x0, y0, x1, y1], "category": "d"}]}\n'
        "or MRES JSONL, whose object masks give them. Broken off, the same command "
        "goes on.",
        "unires engine plan --pictures photos --boxes boxes.jsonl --out engine",
    )
    parser.add_argument(
        "--boxes",
        nargs="+",
        type=Path,
        required=True,
        help="the file, or files of JSONL",
    )
    parser.add_argument(
        "--pictures", type=Path, help="their folder; default: that of the boxes"
    )
    parser.add_argument(
        "--exhaustive",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="every instance of a category has a box; else a detector looks for more",
    )
    parser.add_argument(
        "--max_bad_share",
        type=float,
        default=plan.MAX_BAD_SHARE,
        help="share of pictures that may be unusable; default: %(default)s",
    )
    parser.add_argument(
        "--follow_links",
        action="store_true",
        help="let links of pictures lead out of their folder",
    )
    args, config = parser.read(argv, read_settings)
    boxes = [local(path) for path in args.boxes]
    beside = boxes[0] if boxes[0].is_dir() else boxes[0].parent
    made = plan.plan(
        args.out,
        boxes,
        local(args.pictures) if args.pictures else beside,
        shard=config.shard,
        exhaustive=args.exhaustive,
        max_bad_share=args.max_bad_share,
        follow_links=args.follow_links,
    )
    _store(args.out, config)
    counts = made.counts
    print(
        f"{counts['pictures']:,} pictures, {counts['regions']:,} boxes in "
        f"{made.shards:,} shards"
    )
    if counts["unusable"]:
        reasons = args.out / "plan" / "rejected.jsonl"
        print(f"{counts['unusable']:,} cannot be used; reasons: {reasons}")
    return 0


def _run(argv: list[str], read_settings: ReadSettings) -> int:
    names = [stage.name for stage in STAGES]
    parser = Parser(
        "run",
        f"Do what is not done of the stages {', '.join(names)},\nthen filter. Killed "
        "at any moment, the same command goes on; the files are the same, bit by\nbit, "
        "from one process, several, parts of the shards on several machines, or Beam.",
        "unires engine run --out engine --config configs/engine.py:small --workers 2\n"
        "on Slurm: unires engine run --out engine --shards "
        "$SLURM_ARRAY_TASK_ID (then --stages filter)",
    )
    parser.add_argument(
        "--recompute",
        choices=("stale",),
        help="do shards again that were made with other settings, models, input or by "
        "another edition of the stage",
    )
    return _work(parser, argv, read_settings, retry=False)


def _retry(argv: list[str], read_settings: ReadSettings) -> int:
    parser = Parser(
        "retry",
        "Do the pictures again that failed, each from the stage on where it did; the "
        "others stay as\nthey are. Pictures that the plan could not read are read anew "
        "by `unires engine plan`.",
        "unires engine retry --out engine --config.models.batch=4",
    )
    return _work(parser, argv, read_settings, retry=True)


def _work(
    parser: Parser, argv: list[str], read_settings: ReadSettings, retry: bool
) -> int:
    """Run stages as flags say; the exit code."""
    from unires_jax.engine import models, runner

    parser.add_argument(
        "--stages",
        default=",".join([*(stage.name for stage in STAGES), FILTER]),
        help="those to do, with commas between; default: all",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes; default: 0, this one"
    )
    parser.add_argument(
        "--shards", default="", help="of this job: a-b, both included, or one number"
    )
    parser.add_argument(
        "--beam",
        default="",
        help="options of Apache Beam, which name the runner: --beam=--runner=...",
    )
    options.add_pictures(parser)
    args, config = parser.read(argv, read_settings)
    if args.workers < 0:
        raise UsageError(f"--workers={args.workers}: expected 0 or more")
    plan = Plan.read(args.out)
    indices = _range(args.shards, plan.shards) if args.shards else None
    stages, filters = _stages(args.stages)
    models.require_named(stages, config.models)
    failed = runner.run(
        args.out,
        config,
        stages,
        runner.Way(args.workers, tuple(args.beam.split()), indices),
        recompute=not retry and args.recompute == "stale",
        retry=retry,
        pictures=args.pictures,
        # Settings that made nothing are not those of the next command.
        begin=lambda: _store(args.out, config),
    )
    if filters and indices is None:
        _print_filter(args.out, config)
    elif filters:
        print(f"when all jobs have ended: unires engine filter --out {args.out}")
    if failed:
        print(
            f"{failed:,} pictures could not be done; `unires engine status --out "
            f"{args.out}` counts them, `unires engine retry --out {args.out}` tries "
            "again"
        )
    return FAILED if failed else 0


def _stages(text: str) -> tuple[list[Stage], bool]:
    """The stages of these names in their order, and whether the filter is among them.

    Raises UsageError for a name that is none, and for no name.
    """
    known = {stage.name: stage for stage in STAGES}
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"--stages={text}: names no stage of {', '.join(known)}")
    for name in names:
        if name not in (*known, FILTER):
            near = difflib.get_close_matches(name, (*known, FILTER), n=1, cutoff=0)
            raise UsageError(
                f"--stages={text}: no stage {name!r}; did you mean {near[0]}?"
            )
    return [stage for stage in STAGES if stage.name in names], FILTER in names


def _range(text: str, count: int) -> range:
    """The shards `a-b`, both included, or one. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not first <= last < count:
        raise UsageError(
            f"--shards={text}: expected a-b or a number, from 0 to {count - 1}"
        )
    return range(first, last + 1)


def _filter(argv: list[str], read_settings: ReadSettings) -> int:
    parser = Parser(
        "filter",
        "Decide anew what is kept, by the scores that are there: seconds, no model. A "
        "preset, or single\nthresholds, which go before it.",
        "unires engine filter --out engine --config.preset=strict "
        "--config.thresholds.stability=0.95",
    )
    args, config = parser.read(argv, read_settings)
    Plan.read(args.out)
    _print_filter(args.out, config)
    return 0


def _print_filter(out: Path, config: EngineConfig) -> None:
    from unires_jax.prepare.shards import hold

    filters = importlib.import_module("unires_jax.engine.filters")
    with hold(out, "run"):
        summary = filters.run(out, config)
        _store(out, config)
    print(_described(summary))


def _described(summary: Any) -> str:
    """A filter's summary in words, a line for each kind of thing."""
    lines = [f"filter, preset {summary.preset}, of what {summary.stage} left:"]
    for kind, kept in summary.kept.items():
        dropped = summary.dropped.get(kind, {})
        of = kept + sum(dropped.values())
        codes = (f"{code or 'with them'} {count:,}" for code, count in dropped.items())
        why = f" ({', '.join(codes)})" if dropped else ""
        lines.append(f"  {kept:,} of {of:,} {kind}s kept{why}")
    return "\n".join(lines)


def _status(argv: list[str], read_settings: ReadSettings) -> int:
    from unires_jax.engine import status

    parser = Parser(
        "status",
        "How many shards of each stage are done, what is in them, how many pictures "
        "failed, and what is\nstale: made with other settings or models, of another "
        "input, or by another edition of the\nstage. Exit code 3 or 4 then.",
        "unires engine status --out engine --json",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    args, config = parser.read(argv, read_settings)
    rows = status.progress(args.out, config, STAGES)
    if args.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    else:
        print(status.table(rows))
    if any(row.stale for row in rows):
        return STALE
    return FAILED if any(row.errors for row in rows[1:]) else 0


def _verify(argv: list[str], read_settings: ReadSettings) -> int:
    from unires_jax.engine import status

    parser = Parser(
        "verify",
        "Hash every shard anew and compare with what its marker says. Exit code 4 if "
        "one is another.",
        "unires engine verify --out engine",
        configured=False,
    )
    args = parser.parse_args(argv)
    faults = status.verify(local(args.out), STAGES)
    for fault in faults:
        print(printable(fault))
    print("nothing wrong" if not faults else f"{len(faults)} faults")
    return STALE if faults else 0


COMMANDS: dict[str, Callable[[list[str], ReadSettings], int]] = {
    "plan": _plan,
    "run": _run,
    "status": _status,
    "filter": _filter,
    "retry": _retry,
    "verify": _verify,
}
