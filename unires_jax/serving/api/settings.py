"""What a server takes from its clients, keeps for them, and lets wait."""

import dataclasses

from unires_jax.serving.page.desk import Limits

PAGE = Limits()  # the page and the server take the same pictures


@dataclasses.dataclass(frozen=True)
class Settings:
    """The limits and the pace of a server. All defaults are ours."""

    file_bytes: int = PAGE.file_bytes  # of a picture's file
    pixels: int = PAGE.pixels  # of a picture
    sentences: int = PAGE.sentences  # of a request
    requests: int = PAGE.waiting  # in the server at once; further ones get 429
    body_bytes: int = 512 << 20  # of all requests in the server; further ones get 503
    read_seconds: float = 30.0  # in which a request must have arrived
    batch: int = 8  # requests, and pictures, that the device is given together
    max_wait: float = 0.005  # seconds that a request waits for others to join it
    kept_bytes: int = PAGE.kept_bytes  # of encoded pictures, on the device
    kept_seconds: float = PAGE.file_age  # after its last use a picture is forgotten
    grace: float = 20.0  # seconds that answers in the making have at the end
    token: str = ""  # that requests must carry; "": anyone may ask
