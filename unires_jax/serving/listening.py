"""What `unires demo` and `unires serve` share: where they listen, how they end."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any

from unires_jax.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises ConfigError if it cannot be had."""
    try:
        if not 0 <= port < 1 << 16:
            raise OSError("ports are numbers from 0 to 65535")
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ConfigError(
            f"--host={host} --port={port}: cannot listen there: {error}; --port=0 "
            "takes a free port"
        ) from None


def address_of(listener: socket.socket) -> str:
    """The address to open, e.g. http://127.0.0.1:8000."""
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end what is inside, cleaning up, without an error."""

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    # SIGINT too: what a script starts in the background begins with it ignored.
    before = {n: signal.signal(n, end) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        print("ended", flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
