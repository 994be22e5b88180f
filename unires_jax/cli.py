"""The command `unires`: thin doors to the package.

unires build NAME    prepare a data set (datasets/NAME)
unires doctor DIR    what a folder of data holds, lacks and has wrong
unires train         train a model (python train.py)
unires evaluate      score a model, or masks (python evaluate.py)
unires calibrate     what its numbers are worth: a score that is a probability
unires show DATA     a page of training batches as the model sees them
unires predict PICTURE SENTENCE...    masks for your own pictures
unires demo          the same as a page in the browser
unires serve         the same over HTTP, for programs
unires export        a trained model for other systems
unires push          a trained model to the Hugging Face Hub
unires aot           does a config fit a TPU slice, and how fast can it be there
unires engine        pictures with boxes in, masks with sentences out
unires import        masks of annotation tools as a data set's lines

Each has its own --help.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Callable, Sequence

from unires_jax import disk, extras, process, terminal
from unires_jax.errors import NO_MEMORY, UserError

COMMANDS = (
    *("build", "doctor", "train", "evaluate", "show", "predict", "demo", "export"),
    *("serve", "push", "calibrate", "aot", "engine", "import"),
)


def _show(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="unires show",
        description="A page of training batches as the model sees them: the augmented "
        "picture, its masks and sentences; a JSON of the same beside it.",
    )
    parser.add_argument("data", help="<data set>:<split> or <folder>:<split>")
    parser.add_argument("--config", help="file.py[:argument]; default: no file")
    parser.add_argument("--data_dir", default="data", help="folder of data sets")
    parser.add_argument("--out", default="show.html", help="the page")
    parser.add_argument(
        "--tokenizer",
        default="",
        help="tokenizer.json, its folder or a hub id; default: the config's or the "
        "data's own",
    )
    parser.add_argument("--batches", type=int, default=1, help="how many batches")
    args = parser.parse_args(argv)
    from unires_jax import app
    from unires_jax.config import Config
    from unires_jax.data.show import show

    config = app.load_config(args.config) if args.config else Config()
    config.data.train, config.data.dir = (args.data,), args.data_dir
    config.data.workers = 0
    config.data.tokenizer = args.tokenizer or config.data.tokenizer
    print(show(config, args.out, args.batches))
    return 0


def _aot(argv: Sequence[str]) -> int:
    from unires_jax import app
    from unires_jax.aot import command

    return command.main(argv, app.parse_config)


def _train(argv: Sequence[str]) -> int:
    return _script("train", argv)


def _evaluate(argv: Sequence[str]) -> int:
    return _script("evaluate", argv)


def _script(name: str, argv: Sequence[str]) -> int:
    """Run a script, which takes its arguments and ends by itself."""
    sys.argv = [f"unires {name}", *argv]
    importlib.import_module(f"unires_jax.scripts.{name}").run()
    return 0


def _engine(argv: Sequence[str]) -> int:
    from unires_jax import app
    from unires_jax.engine import command

    return command.main(argv, app.parse_settings)


def _doctor(argv: Sequence[str]) -> int:
    from unires_jax.engine import convertible
    from unires_jax.prepare.doctor import command

    return command.main(argv, convertible.commands)


def _imported(command: str) -> Callable[[Sequence[str]], int]:
    """A command's function, imported alone: `unires build` needs no jax."""
    match command:
        case "build":
            from unires_jax.prepare.build import main as run
        case "doctor":
            run = _doctor
        case "predict":
            from unires_jax.serving.predict import main as run
        case "demo":
            from unires_jax.serving.page.command import main as run
        case "serve":
            from unires_jax.serving.api.command import main as run
        case "export":
            from unires_jax.export.command import main as run
        case "push":
            from unires_jax.export.hub import main as run
        case "aot":
            run = _aot
        case "calibrate":
            from unires_jax.evaluation.calibrate_command import main as run
        case "train":
            run = _train
        case "evaluate":
            run = _evaluate
        case "engine":
            run = _engine
        case "import":
            from unires_jax.engine.importers.command import main as run
        case _:
            run = _show
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Errors in what the user gave print one line and return 1."""
    terminal.guard()
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["--version"]:
        from unires_jax import __version__

        print(f"unires_jax {__version__}")
        return 0
    if not args or args[0] not in COMMANDS:
        return _usage(args[0] if args else "")
    process.start()
    try:
        return _imported(args[0])(args[1:])
    except UserError as error:
        terminal.say_error(error)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130  # as of SIGINT
    except BrokenPipeError:  # whoever read the output has enough: `| head`
        terminal.say_no_more()
        return 141  # as of SIGPIPE
    except Exception as error:
        told = disk.explain(error) or extras.explain(error)
        if told is None:
            raise
        terminal.say_error(told)
        return 1
    except MemoryError as error:
        print(f"error: {NO_MEMORY} ({error})", file=sys.stderr)
        return 1


def _usage(word: str) -> int:
    """Print what the commands are; 0 if the word asks for it, 2 if it is none."""
    helps = word in ("-h", "--help")
    print((__doc__ or "").strip(), file=sys.stdout if helps else sys.stderr)
    if helps:
        return 0
    if word:
        nearest = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f", did you mean {nearest[0]!r}" if nearest else ""
        print(f"error: no command {word!r}{hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
