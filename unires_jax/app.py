"""How a script starts: its flags, its config, and errors that a user can act on.

    if __name__ == "__main__":
        app.run(main)

jax is not imported here before the command line is known to be right.
"""

import ast
import contextlib
import difflib
import functools
import os
import re
import runpy
import sys
import tempfile
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from unires_jax import cluster, disk, ending, extras, process, terminal
from unires_jax.config import Config, fields, fits, settings, validate
from unires_jax.errors import NO_MEMORY, ConfigError, UsageError, UserError
from unires_jax.files import locate
from unires_jax.settings_help import meanings

T = typing.TypeVar("T")
# A run that was asked to stop, and saved: EX_TEMPFAIL of sysexits.h.
STOPPED = 75

COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "<host>:<port> of process 0; or JAX_COORDINATOR_ADDRESS"
)
PROCESSES = flags.DEFINE_integer(
    "processes", None, "how many processes the run has; or JAX_NUM_PROCESSES"
)
PROCESS = flags.DEFINE_integer(
    "process", None, "which of them this is, from 0; or JAX_PROCESS_ID"
)

JOIN_SECONDS = flags.DEFINE_integer(
    "join_seconds",
    cluster.JOIN_SECONDS,
    "how long to wait at the start until all processes have come",
    lower_bound=1,
)

CONFIGS = Path(__file__).parent / "configs"

OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")
# file[:argument]; a folder may have a colon in its name.
SPEC = re.compile(r"(.*?\.py|(?:\w+://)?[^:]*)(?::(.*))?", re.DOTALL)
HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort"}


def run(main: Callable[..., int | None], *, takes_config: bool = True) -> None:
    """Parse the command line and call `main`, with the validated config if it wants it.

    The exit code is what `main` returns, None being 0. A wrong command line ends with
    exit code 2, an error in what the user gave (data, weights, checkpoints, settings)
    with 1 and its message; anything else is a bug and keeps its traceback. In a cluster
    an error in one process ends all (`watch`).
    """
    terminal.guard()
    if HELP & set(sys.argv[1:]):
        place = main.__module__
        about = help_text(sys.argv, place) if takes_config else _about(sys.argv, place)
        print("\n".join(about))
        return
    arguments, script_flags = [], sys.argv
    try:
        if takes_config:
            config, script_flags = parse_config(sys.argv)
            arguments.append(config)
        _, *others = flags.FLAGS(script_flags)
        if others:
            raise flags.Error(f"unexpected arguments {others}; flags start with --")
    except (ConfigError, flags.Error) as error:
        _fail(error, 2)
    except UnicodeDecodeError as error:
        _fail(ConfigError(f"a --flagfile is no text in UTF-8 ({error})"), 2)
    process.start()
    ending.watch_over()
    try:
        code = main(*arguments) or 0
        _finish()
    except UsageError as error:
        _fail(error, 2)
    except BaseException as error:
        _end(error)
        if isinstance(error, KeyboardInterrupt):
            print("\nstopped", file=sys.stderr)
            sys.exit(130)  # as of SIGINT
        raise
    finally:
        ending.part()
    sys.exit(code)


def _fail(error: Exception, code: int) -> typing.NoReturn:
    terminal.say_error(error)
    if code == 2:
        program = sys.argv[0] if sys.argv[0].startswith("unires ") else None
        program = program or f"python {sys.argv[0]}"
        print(f"What it takes: {program} --help", file=sys.stderr)
    sys.exit(code)


def join_cluster() -> None:
    """Join the cluster that flags or environment describe. First statement of a main.

    Raises UsageError, before jax is imported, for one that they describe by halves.
    """
    described = cluster.describe(
        os.environ, COORDINATOR.value, PROCESSES.value, PROCESS.value
    )
    from unires_jax import hosts, watch

    hosts.join_cluster(described, JOIN_SECONDS.value)
    watch.start()


def _in_cluster() -> bool:
    hosts = sys.modules.get("unires_jax.hosts")  # imported by whoever joined one
    return hosts is not None and hosts.member_count() > 1


def _finish() -> None:
    if _in_cluster():
        from unires_jax import watch

        watch.finish()


def _end(error: BaseException) -> None:
    """Say what ended `main`, and end; returns where Python is to print a traceback."""
    error = disk.explain(error) or extras.explain(error) or error
    together = _in_cluster()
    if together:
        from unires_jax import watch

        if watch.is_echo(error):
            watch.await_culprit()
    told = isinstance(error, (UserError, MemoryError))
    if told:
        no_memory = isinstance(error, MemoryError)
        cause = f"{NO_MEMORY} ({error})" if no_memory else str(error)
        place = f"{ending.name()}: " if together else ""
        words = f"error: {terminal.indented(place + cause)}"
    else:
        cause = "".join(traceback.format_exception_only(error)).strip()
        words = "".join(traceback.format_exception(error)).rstrip()
    saved = ending.last_good()
    if together:
        watch.fail(cause, f"{words}\n{saved}".rstrip())
    if told:
        print(f"{words}\n{saved}".rstrip(), file=sys.stderr)
        sys.exit(1)
    if saved:
        print(saved, file=sys.stderr)


def parse_config(argv: list[str]) -> tuple[Config, list[str]]:
    """The config of `--config=file.py[:argument]` and its overrides; the other flags.

    Overrides take the type of their field: `--config.model.width=192`,
    `--config.data.lengths="(16, 32)"`, `--noconfig.model.gate`. Raises ConfigError
    for a field that does not exist (naming the nearest), a value of another type, a
    file that cannot be loaded (naming the cause), and settings that cannot work.
    """
    config, script_flags, named = parse_settings(argv, Config())
    if not named:
        raise ConfigError(f"--config=<file> is missing. {_config_files()}")
    validate(config)
    return config, script_flags


def parse_settings(argv: list[str], default: T) -> tuple[T, list[str], bool]:
    """Settings of the dataclass of `default`, which they begin with, as `parse_config`.

    With them the other flags, and whether a file was named. Raises as `parse_config`,
    but for what cannot work together.
    """
    cls = type(default)
    for arg in argv[1:]:
        if match := OVERRIDE.match(arg):
            _check_field(match[1], cls)
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_dataclass(
        "config",
        default,
        flag_values=values,
        sys_argv=argv,
        parse_fn=functools.partial(load_config, cls=cls),
    )
    try:
        script_flags = values(argv, known_only=True)
    except flags.Error as error:
        if isinstance(error.__context__, ConfigError):
            raise error.__context__ from None
        raise ConfigError(_explain(error, cls)) from error
    check_types(holder.value)
    return holder.value, script_flags, bool(values["config"].present)


def _explain(error: flags.Error, cls: type) -> str:
    setting = re.search(r"config\.([\w.]+)=", str(error))
    kind = dict(fields(cls)).get(setting[1]) if setting else None
    return f"{error}; expected {_kind_name(kind)}" if kind else str(error)


def load_config(spec: str, cls: type[T] = Config) -> T:  # type: ignore[assignment]
    """What `get_config` of a config file returns: `file.py`, or `file.py:argument`.

    Those of the package go by their names: `quickstart`, `unires:l14`. The file may lie
    in a bucket. Raises ConfigError naming it, and why it cannot be used, also where it
    returns another thing than a `cls`.
    """
    path, argument = _parts(spec)
    path = _config_file(path)
    if not locate(path).is_file():
        raise ConfigError(f"{path}: no such file. {_config_files()}")
    with _on_this_machine(path) as file:
        try:
            get_config = runpy.run_path(file).get("get_config")
            if get_config is None:
                raise ConfigError("has no function get_config()")
            config = get_config(*([] if argument is None else [argument]))
        except Exception as error:  # a config file is a program and may raise anything
            raise ConfigError(f"{path}{_line(error, file)}: {_cause(error)}") from error
    if not isinstance(config, cls):
        kind = type(config).__name__
        expected = f"expected {cls.__module__}.{cls.__qualname__}"
        raise ConfigError(f"{path}: get_config() returned {kind}, {expected}")
    return config


def _config_file(path: str) -> str:
    """The path, or that of the package's config which is called so.

    `configs/unires.py` names it too where no such file is here.
    """
    name = path.removeprefix("configs/").removesuffix(".py")
    if "/" in name or name.startswith(("_", ".")) or locate(path).is_file():
        return path
    packaged = CONFIGS / f"{name}.py"
    return str(packaged) if packaged.is_file() else path


def _parts(spec: str) -> tuple[str, str | None]:
    """The file and the argument of `file.py[:argument]`."""
    with contextlib.suppress(OSError, ValueError):  # too long for a name
        if Path(spec).is_file():
            return spec, None
    match = SPEC.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, None)


@contextlib.contextmanager
def _on_this_machine(path: str) -> Iterator[str]:
    """The file, or a copy of a bucket's with its neighbours, which it may read."""
    source = locate(path)
    if isinstance(source, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="unires-") as folder:
        for file in source.parent.glob("*.py"):
            (Path(folder) / file.name).write_bytes(file.read_bytes())
        yield str(Path(folder) / source.name)


def _line(error: Exception, path: str) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""


def _cause(error: Exception) -> str:
    kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    return f"{kind}{error.msg if isinstance(error, SyntaxError) else error}"


def _config_files() -> str:
    files = sorted(map(str, Path("configs").glob("[!_]*.py")))
    files = files or sorted(p.stem for p in CONFIGS.glob("[!_]*.py"))
    return f"There are: {', '.join(files)}" if files else ""


def _check_field(name: str, cls: type) -> None:
    """Raise ConfigError naming the nearest setting unless there is one of this name."""
    names = [n for n, _ in fields(cls)]
    if name in names:
        return
    inside = [n for n in names if n.startswith(name + ".")]
    if inside:
        raise ConfigError(f"config.{name} is a group of settings: {', '.join(inside)}")
    same_end = [n for n in names if n.rpartition(".")[2] == name.rpartition(".")[2]]
    nearest = difflib.get_close_matches(name, same_end or names, n=1, cutoff=0)[0]
    raise ConfigError(
        f"there is no setting config.{name}; the nearest is --config.{nearest}"
    )


def check_types(config: Any) -> None:
    """Raise ConfigError listing every setting whose value is of another type."""
    values = settings(config)
    faults = [
        f"{name}: expected {_kind_name(kind)}, found {values[name]!r}"
        for name, kind in fields(type(config))
        if not fits(values[name], kind)
    ]
    if faults:
        raise ConfigError("Settings of the wrong type:\n  " + "\n  ".join(faults))


def _kind_name(kind: Any) -> str:
    return kind.__name__ if typing.get_origin(kind) is None else str(kind)


def help_text(argv: list[str], place: str = "__main__") -> list[str]:
    """What the script does, its flags, and every setting with its value and meaning.

    `place` is the module that has its docstring and flags. With `--config=...` among
    the arguments: that file's docstring and values.
    """
    try:
        config = parse_config([a for a in argv if a not in HELP])[0]
    except ConfigError:
        config = Config()
    lines = _about(argv, place)
    for spec in [m[1] for a in argv if (m := re.match(r"--?config=(.+)", a))]:
        with contextlib.suppress(ConfigError):  # no place that is known
            file = locate(_config_file(_parts(spec)[0]))
            if file.is_file():
                text = ast.get_docstring(ast.parse(file.read_text())) or ""
                lines += ["", f"{file}: {text}"]
    lines += ["", "Settings (add --config=FILE to see what it sets):"]
    lines += [f"  --config=FILE[:ARGUMENT]  {_config_files()}"]
    texts = meanings(Config)
    for name, value in settings(config).items():
        lines.append(f"  --config.{name}={value!r}  {texts[name]}".rstrip())
    return lines


def _about(argv: list[str], place: str) -> list[str]:
    """The script's docstring and its own flags."""
    lines = [(sys.modules[place].__doc__ or "").strip(), "", "Flags:"]
    place = argv[0] if place == "__main__" else place  # as absl calls it
    return lines + [
        f"  --{flag.name}={flag.default if flag.default is not None else ''}  "
        f"{flag.help}"
        for module in (place, __name__)
        for flag in flags.FLAGS.get_key_flags_for_module(module)
    ]
