"""`unires serve`: a trained model over HTTP, for programs.

    unires serve                                       # the model that comes along
    unires serve --checkpoint runs/finetune            # one's own
    curl -F image=@photo.jpg -F "sentences=the truck" http://127.0.0.1:8000/v1/segment

POST /v1/segment takes a picture (a form's file, or base64 in JSON) and sentences, and
gives masks, boxes and scores; POST /v1/encode looks at a picture once and gives a key
to ask about it again. GET /docs shows all with their fields, GET /v1/health says when
the server is ready, GET /metrics is for Prometheus.

Requests of one moment go to the device together, up to --batch of them; one that finds
the device free waits at most --max_wait_ms for others. Above --queue requests further
ones get 429. SIGTERM and Ctrl-C end it: what is asked is answered, within --grace_s.

It answers this machine alone. With --host 0.0.0.0 everyone who reaches the port may
ask: give a token (UNIRES_TOKEN=... unires serve ...), and put it behind a proxy that
speaks TLS. Nothing is fetched from elsewhere, and no picture is written to disk.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Sequence

from unires_jax import extras
from unires_jax.errors import ConfigError
from unires_jax.serving.api.settings import Settings
from unires_jax.serving.command_line import make_parser, start
from unires_jax.serving.listening import address_of, ended_by_signals, listen
from unires_jax.serving.photo import MAX_BYTES

TOKEN = "UNIRES_TOKEN"


def main(argv: Sequence[str]) -> int:
    """Serve until a signal ends it."""
    args = _parser().parse_args(argv)
    settings = _settings(args)
    with ended_by_signals():
        extras.require("serve")
        from unires_jax.serving.api.server import serve

        listener = listen(args.host, args.port)
        if not settings.token and not _is_loopback(listener.getsockname()[0]):
            print(
                "warning: everyone who reaches this port may use it; set "
                f"{TOKEN}, and see unires serve --help",
                file=sys.stderr,
            )
        print("loading the model ...", flush=True)
        model = start(args)
        print(f"serving at {address_of(listener)}  (Ctrl-C ends it)", flush=True)
        serve(model, settings, listener, access_log=args.access_log)
    return 0


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = make_parser("serve", __doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=8000, help="its port; 0 takes a free one"
    )
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN, ""),
        help="requests must carry it (Authorization: Bearer TOKEN); better in the "
        f"environment, as {TOKEN}, where other users of the machine do not see it",
    )
    numbers = {
        "batch": (default.batch, "requests that go to the device together, at most"),
        "max_wait_ms": (
            default.max_wait * 1e3,
            "milliseconds that a request waits for others to join it; 0: none",
        ),
        "queue": (default.requests, "requests in the server; further ones get 429"),
        "max_mb": (default.file_bytes / (1 << 20), "largest picture file, MB"),
        "max_megapixels": (default.pixels / 1e6, "largest picture, million pixels"),
        "keep_mb": (
            default.kept_bytes / (1 << 20),
            "encoded pictures that are kept, MB of the device's memory",
        ),
        "keep_s": (default.kept_seconds, "seconds that one is kept after its last use"),
        "grace_s": (
            default.grace,
            "seconds that answers in the making have at the end",
        ),
    }
    for name, (value, about) in numbers.items():
        kind = int if name in ("batch", "queue") else float
        parser.add_argument(
            f"--{name}", type=kind, default=value, help=f"{about} (default: {value:g})"
        )
    parser.add_argument(
        "--access_log", action="store_true", help="print a line for each request"
    )
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    most = {"batch": 64, "queue": 10_000, "max_mb": MAX_BYTES >> 20}
    for name in (*most, "max_megapixels", "keep_mb", "keep_s", "grace_s"):
        value = getattr(args, name)
        if not 0 < value <= most.get(name, 1e9):
            raise ConfigError(
                f"--{name}={value}: expected more than 0, and at most "
                f"{most.get(name, 1e9):g}"
            )
    if not 0 <= args.max_wait_ms <= 1000:
        raise ConfigError(f"--max_wait_ms={args.max_wait_ms}: expected 0 to 1000")
    if not args.token.isascii():
        raise ConfigError("--token: expected ASCII, which HTTP can carry")
    return Settings(
        file_bytes=int(args.max_mb * (1 << 20)),
        pixels=int(args.max_megapixels * 1e6),
        requests=args.queue,
        batch=args.batch,
        max_wait=args.max_wait_ms / 1e3,
        kept_bytes=int(args.keep_mb * (1 << 20)),
        kept_seconds=args.keep_s,
        grace=args.grace_s,
        token=args.token,
    )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
