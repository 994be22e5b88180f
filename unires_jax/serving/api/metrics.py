"""What the server counts, in Prometheus' text format (version 0.0.4)."""

import bisect
import threading
from collections.abc import Iterator, Mapping

KIND = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Counter:
    """A number for each value of its labels that only grows."""

    kind = "counter"

    def __init__(self, name: str, about: str):
        self.name, self.about = name, about
        self._values: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, value: float | int = 1, **labels: str) -> None:
        """Add to the number of these labels."""
        key = _written(labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + value

    def lines(self) -> Iterator[str]:
        """The samples."""
        with self._lock:
            for labels, value in self._values.items():
                yield f"{self.name}{labels} {value}"


class Gauge:
    """A number of now."""

    kind = "gauge"

    def __init__(self, name: str, about: str):
        self.name, self.about, self._line = name, about, f"{name} 0"

    def set(self, value: float | int, **labels: str) -> None:
        """What it is now."""
        self._line = f"{self.name}{_written(labels)} {value}"

    def lines(self) -> Iterator[str]:
        """The sample."""
        yield self._line


class Histogram:
    """How many values lie below each bound, for each value of its labels."""

    kind = "histogram"

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]):
        self.name, self.about, self._bounds = name, about, bounds
        self._counts: dict[tuple[tuple[str, str], ...], list[int]] = {}
        self._sums: dict[tuple[tuple[str, str], ...], float] = {}
        self._lock = threading.Lock()

    def add(self, value: float | int, **labels: str) -> None:
        """Count a value."""
        key = tuple(labels.items())
        with self._lock:
            counts = self._counts.setdefault(key, [0] * (len(self._bounds) + 1))
            counts[bisect.bisect_left(self._bounds, value)] += 1
            self._sums[key] = self._sums.get(key, 0) + value

    def lines(self) -> Iterator[str]:
        """The samples: cumulative counts, the sum, the count."""
        with self._lock:
            for key, counts in self._counts.items():
                total = 0
                for bound, count in zip((*self._bounds, "+Inf"), counts, strict=True):
                    total += count
                    le = bound if isinstance(bound, str) else f"{bound:g}"
                    labels = _written({**dict(key), "le": le})
                    yield f"{self.name}_bucket{labels} {total}"
                yield f"{self.name}_sum{_written(dict(key))} {self._sums[key]}"
                yield f"{self.name}_count{_written(dict(key))} {total}"


class Metrics:
    """All that a server counts."""

    def __init__(self) -> None:
        self.model = Gauge("unires_model_info", "The model that answers.")
        self.requests = Counter("unires_requests_total", "Requests by path and status.")
        self.seconds = Histogram(
            "unires_request_seconds", "From a request to its answer.", SECONDS
        )
        self.inside = Gauge("unires_requests_inside", "Requests in the server.")
        self.batches = Histogram(
            "unires_batch_requests",
            "Requests that went to the device together.",
            COUNTS,
        )
        self.sentences = Histogram(
            "unires_batch_sentences", "Their sentences.", (0.0, *COUNTS)
        )
        self.device = Histogram(
            "unires_batch_seconds", "What the device needed for a batch.", SECONDS
        )
        self.pictures = Gauge("unires_kept_pictures", "Encoded pictures that are kept.")
        self.nbytes = Gauge("unires_kept_bytes", "Their bytes on the device.")

    def text(self) -> str:
        """All of them, as Prometheus reads them."""
        lines: list[str] = []
        for metric in vars(self).values():
            lines.append(f"# HELP {metric.name} {metric.about}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines += metric.lines()
        return "\n".join(lines) + "\n"


def _written(labels: Mapping[str, str]) -> str:
    """Labels in braces; quotes, backslashes and ends of lines are escaped."""
    if not labels:
        return ""
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    inner = ",".join(f'{k}="{v.translate(escapes)}"' for k, v in labels.items())
    return f"{{{inner}}}"
