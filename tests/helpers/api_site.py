"""A running server for tests, and a model that one can watch and hold."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import httpx

from unires_jax.errors import CheckpointError
from unires_jax.inference.loaded import Loaded
from unires_jax.serving.api.server import make_server
from unires_jax.serving.api.service import Service
from unires_jax.serving.api.settings import Settings
from unires_jax.serving.listening import address_of, listen
from unires_jax.serving.photo import read_photo
from unires_jax.serving.predictor import EncodedImage, ImageLike, Predictor

# Few shapes, so that little is compiled.
SETTINGS = Settings(batch=4, sentences=4, file_bytes=1 << 18)
POISON = (66, 6, 66)  # a first pixel at which the model fails


class Held(Predictor):
    """The Predictor, which looks at pictures once it may, and notes at which."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        self.may = threading.Event()
        self.may.set()
        self.asked = threading.Event()  # set when it is asked
        self.batches: list[list[tuple[int, int]]] = []  # heights and widths

    def encode_images(self, images: Sequence[ImageLike]) -> list[EncodedImage]:
        self.asked.set()
        assert self.may.wait(600)
        photos = [read_photo(image) for image in images]
        self.batches.append([photo.pixels.shape[:2] for photo in photos])
        if any(tuple(photo.pixels[0, 0]) == POISON for photo in photos):
            raise CheckpointError("the model's logits are not finite")
        return super().encode_images(photos)


class ApiSite:
    """A running server."""

    def __init__(self, service: Service, listener: socket.socket):
        self.service, self.address = service, address_of(listener)
        self.service_address = listener.getsockname()
        self.http = httpx.Client(base_url=self.address, timeout=600)

    def wait_until_inside(self, count: int) -> None:
        """Wait until so many requests are in the server."""
        until(lambda: self.service.admission.inside == count)


def until(condition, seconds: float = 600) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


@contextlib.contextmanager
def api_of(
    model: Predictor, settings: Settings = SETTINGS, *, ready: bool = True
) -> Iterator[ApiSite]:
    """A server on this machine, ready; ended at the end."""
    service = Service(model, settings)
    server = make_server(service)
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until(lambda: server.started)
        until(lambda: service.batcher.ready or not ready)
        yield ApiSite(service, listener)
    finally:
        server.should_exit = True
        thread.join()
