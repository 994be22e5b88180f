"""The command `unires`: thin doors to the package.

unires build NAME    prepare a data set (datasets/NAME)
unires show CONFIG   a page of training batches as the model sees them
"""

import sys
from collections.abc import Callable, Sequence

from unires_jax import __version__


def _build(argv: Sequence[str]) -> int:
    from unires_jax.data import build

    return build.main(argv)


def _show(argv: Sequence[str]) -> int:
    from unires_jax.data import show

    return show.main(argv)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"build": _build, "show": _show}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Errors in what the user gave print one line and return 1."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["--version"]:
        print(f"unires_jax {__version__}")
        return 0
    if not args or args[0] not in COMMANDS:
        wanted = args[0] if args else ""
        print(__doc__ and __doc__.strip(), file=sys.stderr)
        if wanted in ("-h", "--help"):
            return 0
        if wanted:
            print(f"error: no command {wanted!r}", file=sys.stderr)
        return 2
    from unires_jax.config import ConfigError
    from unires_jax.data.records import DataError

    try:
        return COMMANDS[args[0]](args[1:])
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
