"""`unires demo`: a page in the browser that marks what sentences mean.

    unires demo                                    # the model that comes along
    unires demo --checkpoint runs/finetune         # one's own; then open the address
    unires demo --checkpoint bundled --checkpoint photos=runs/people    # to compare
    unires demo --host 0.0.0.0 --max-mb 8          # for others too; see below
    unires demo --root-path /demo                  # behind a proxy that serves it there

Choose or paste a picture, type sentences (one a line), and each gets a coloured mask
with a score. A picture is looked at once; new sentences and the threshold are fast.
Masks can be downloaded as PNGs and as COCO RLE. Nothing is fetched from elsewhere.

Of several checkpoints the page has a choice: one answers, or some do side by side. All
are read at the start, so that a damaged one is refused, and freed again but for the
first: the others take memory from when somebody first chooses them.

The page answers this machine alone. With --host 0.0.0.0 everyone who reaches the port
may use it: there is no login, so put it behind a proxy that has one. Uploaded files lie
in a private temporary folder, which is removed when the command ends (Ctrl-C).
"""

import argparse
import contextlib
import dataclasses
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from unires_jax import extras
from unires_jax.errors import CheckpointError, ConfigError
from unires_jax.files import locate
from unires_jax.inference.places import BUNDLED_NAME
from unires_jax.serving.command_line import keep_compiled, make_parser
from unires_jax.serving.listening import address_of, ended_by_signals, listen
from unires_jax.serving.page.desk import Limits
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.predictor import Predictor, load

# No reports to its makers, and no summary of all requests after each of them.
GRADIO = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
}


def main(argv: Sequence[str]) -> int:
    """Serve until interrupted."""
    args = _parser().parse_args(argv)
    limits, root = _limits(args), root_path(args.root_path)
    places = by_name(args.checkpoint)
    # All files go to a folder that is gone with the page; gradio reads where to write
    # when it is imported.
    with (
        ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="unires-") as folder,
        writing_to(Path(folder)),
    ):
        extras.require("demo")
        listener = listen(args.host, args.port)
        print("loading the model ...", flush=True)
        keep_compiled(args.cache)
        check(places)
        models = {n: partial(_start, place, args.warmup) for n, place in places.items()}
        serve(Desks(models, limits), Path(folder), listener, root)
    return 0


def by_name(checkpoints: Sequence[str]) -> dict[str, str]:
    """Places of models by the names that the page shows, in the order given.

    Each is a place, which goes by its last part, or NAME=PLACE; none at all is the
    bundled model. Raises ConfigError for a name that occurs twice.
    """
    places: dict[str, str] = {}
    for text in checkpoints or [BUNDLED_NAME]:
        name, given, place = text.partition("=")
        if not given or "/" in name or locate(text).exists():
            name, place = text.rstrip("/").rpartition("/")[2], text
        if not name.strip() or not place:
            raise ConfigError(f"--checkpoint={text!r}: expected NAME=PLACE, or a place")
        if name in places:
            raise ConfigError(
                f"--checkpoint={text!r}: another one is called {name!r} already; give "
                "--checkpoint NAME=PLACE"
            )
        places[name] = place
    return places


def check(places: Mapping[str, str]) -> None:
    """Read each of several models once, and keep none: refuse what cannot be used.

    Raises CheckpointError naming the model.
    """
    from unires_jax.inference import model

    for name, place in list(places.items())[1:]:  # the first is loaded anyway
        try:
            model.load(place)
        except CheckpointError as error:
            raise error.at(f"--checkpoint {name}") from None


def _start(place: str, warmup: int) -> Predictor:
    """A model, loaded; its programs are compiled while it answers."""
    model = load(place)
    model.warmup(warmup, background=True)
    return model


def _parser() -> argparse.ArgumentParser:
    limits = Limits()
    parser = make_parser("demo", __doc__, several=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=7860, help="its port; 0 takes a free one"
    )
    parser.add_argument(
        *("--root-path", "--root_path"),
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        help="path, or address, at which a proxy serves the page: /demo, "
        "/user/me/proxy/7860, https://example.org/demo; default: GRADIO_ROOT_PATH",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=limits.file_bytes / (1 << 20),
        help="largest picture file, MB (default: %(default)g)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=limits.pixels / 1e6,
        help="largest picture, million pixels (default: %(default)g)",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=limits.waiting,
        help="questions that may wait; further ones are told that the page is busy "
        "(default: %(default)d)",
    )
    parser.add_argument(
        "--visitors",
        type=int,
        default=limits.visits,
        help="sessions whose picture is kept; the least recent make room "
        "(default: %(default)d)",
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=4,
        help="compile in the background for up to so many sentences "
        "(default: %(default)d)",
    )
    return parser


def _limits(args: argparse.Namespace) -> Limits:
    for name in ("max_mb", "max_megapixels", "queue", "visitors", "warmup"):
        if not 0 < getattr(args, name) < 1e6:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag}={getattr(args, name)}: expected more than 0")
    return dataclasses.replace(
        Limits(),
        file_bytes=int(args.max_mb * (1 << 20)),
        pixels=int(args.max_megapixels * 1e6),
        waiting=args.queue,
        visits=args.visitors,
    )


def root_path(text: str) -> str:
    """Where a proxy serves the page, without a last slash; "" at the top.

    Raises ConfigError for what is neither a path from / on nor an address.
    """
    root = text.rstrip("/")
    if root and not re.fullmatch(r"(https?://[^/\s]+)?(/[^\s?#]+)?", root):
        raise ConfigError(
            f"--root-path={text!r}: expected a path such as /demo, or an address such "
            "as https://example.org/demo"
        )
    return root


def serve(desks: Desks, folder: Path, listener: socket.socket, root: str = "") -> None:
    """Serve the page until a signal ends it. Call it inside `writing_to(folder)`."""
    from unires_jax.serving.page.server import make_server

    server = make_server(desks, folder, root)
    print(f"open {address_of(listener)}  (Ctrl-C ends it)", flush=True)
    server.run(sockets=[listener])


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Inside, gradio and what it uses write their files to `folder`."""
    before = dict(os.environ)
    temporary, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ.update(GRADIO, GRADIO_TEMP_DIR=str(folder))
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for name in (*GRADIO, "GRADIO_TEMP_DIR"):
            os.environ.pop(name)
            os.environ.update({name: before[name]} if name in before else {})
