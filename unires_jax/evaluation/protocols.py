"""How each project of the field scores: a protocol is a row of data.

One accumulation over (intersection, union) serves all of them (`metrics.score`). What
differs, and moves published numbers by points, is written here: which expressions are
scored and how they are read, the grid and the resampling of prediction and ground
truth, the threshold, the epsilon, empty unions, ties, no-target expressions, and the
names the two means go by. Source: each project's evaluation code; `native` is ours.
"""

import dataclasses
from typing import Literal, NamedTuple

from unires_jax.data.records import Expression, Record
from unires_jax.errors import ConfigError

TENTHS = (0.5, 0.6, 0.7, 0.8, 0.9)
BOUNDARY = "boundary_mIoU"  # our name of the mean Boundary IoU

Resample = Literal["bilinear", "bicubic", "cris"]

# What becomes of an expression without a target.
NoTarget = Literal["apart", "scored", "decision"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules of one project. Defaults are those of `native`."""

    name: str
    project: str  # whose evaluation this is
    # What is asked.
    text: Literal["sent", "raw"] = "sent"  # the field that is read
    lower: bool = False  # lower-cased before it is read
    # "first": the first sentence of an annotation's last referent, the others unseen.
    sentences: Literal["all", "first"] = "all"
    # Masks.
    grid: int | None = None  # side of the square both are squashed to; None = original
    resample: Resample = "bilinear"  # of the model's logits (`resample.mask`)
    threshold: float = 0.5  # of the probability, which must exceed it
    polygons: bool = False  # ground truth: polygons scaled to the grid, then filled
    # Pixels in two polygons of one annotation: in the mask ("union"), or counted twice
    # and so outside ("background"; LISA drops them, the same for foreground counts).
    overlap: Literal["union", "background"] = "union"
    # Arithmetic.
    epsilon: float = 0.0  # added to each union
    empty: float = 0.0  # IoU where the union is empty
    mean_epsilon: float = 0.0  # added to the count that the sum of IoUs is divided by
    single: bool = False  # IoU in float32
    precision: tuple[float, ...] = TENTHS
    ties: bool = True  # IoU equal to a precision threshold passes
    single_thresholds: bool = False  # thresholds rounded to float32 (.7 and .9 fall)
    # Expressions without a target: N-acc and T-acc alone ("apart"); a sample like any
    # other, of no intersection and of the prediction's pixels as union, so that its IoU
    # is 0, or `empty` where nothing is predicted ("scored"); a sample of both means by
    # the model's decision that nothing is meant ("decision").
    no_target: NoTarget = "apart"
    boundary: bool = False  # mean Boundary IoU beside the mean of IoUs; `native` alone
    # What the project calls the mean of IoUs, the ratio of sums, and precision.
    names: tuple[str, str, str] = ("mIoU", "oIoU", "P@")

    def without_target(self) -> str:
        """What becomes of an expression without a target, in words."""
        empty = ", 1 where nothing is predicted" if self.empty else ""
        return {
            "apart": "left out of the means, they count in N-acc and T-acc",
            "scored": f"scored like any other, IoU 0{empty}; the predicted pixels "
            "count in the unions",
            "decision": "scored by the model's decision: IoU 1 where it says that "
            "nothing is meant, else 0",
        }[self.no_target]

    def columns(self) -> dict[str, str]:
        """Our name of each number (mIoU, oIoU, P@0.5, ...) and the project's."""
        mean, overall, precision = self.names
        boundary = {BOUNDARY: "bIoU"} if self.boundary else {}
        means = {"mIoU": mean, **boundary, "oIoU": overall}
        return means | {f"P@{t}": f"{precision}{t}" for t in self.precision}


_TABLE = (
    Protocol("native", "unires_jax", boundary=True),
    Protocol(
        "cris",
        "CRIS",
        resample="cris",
        threshold=0.35,
        epsilon=1e-6,
        ties=False,
        single_thresholds=True,
        no_target="scored",
        names=("IoU", "oIoU (ours)", "Pr@"),
    ),
    Protocol(
        "lavt",
        "LAVT",
        text="raw",
        grid=480,
        overlap="background",
        no_target="scored",
    ),
    Protocol(
        "rela",
        "ReLA / gRefCOCO",
        text="raw",
        grid=480,
        polygons=True,
        precision=(0.7, 0.8, 0.9),
        no_target="decision",
        names=("gIoU", "cIoU", "Pr@"),
    ),
    Protocol(
        "xdecoder",
        "X-Decoder / SEEM",
        text="raw",
        lower=True,
        sentences="first",
        resample="bicubic",
        epsilon=1e-6,
        single=True,
        no_target="scored",
        names=("mIoU", "cIoU", "precision@"),
    ),
    Protocol(
        "mmdet",
        "mmdet RefSegMetric 3.3",
        text="raw",
        lower=True,
        sentences="first",
        resample="bicubic",
        single=True,
        precision=(),
        no_target="scored",
        names=("mIoU", "cIoU", ""),
    ),
    Protocol(
        "lisa",
        "LISA",
        lower=True,
        overlap="background",
        epsilon=1e-5,
        empty=1.0,
        mean_epsilon=1e-5,
        precision=(),
        no_target="scored",
        names=("gIoU", "cIoU", ""),
    ),
)

PROTOCOLS = {protocol.name: protocol for protocol in _TABLE}
NATIVE = PROTOCOLS["native"]


def get(protocol: str | Protocol) -> Protocol:
    """The protocol of a name. Raises ConfigError naming those that there are."""
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        names = ", ".join(PROTOCOLS)
        raise ConfigError(f"there is no protocol {protocol!r}; there are: {names}")
    return PROTOCOLS[protocol]


class Question(NamedTuple):
    """What a protocol asks about a picture."""

    record: Record
    indices: list[int]  # of the record's expressions, those that are scored
    sentences: list[str]  # each as the protocol hands it to the model

    @property
    def expressions(self) -> list[Expression]:
        """The scored expressions."""
        return [self.record.expressions[i] for i in self.indices]


def ask(protocol: Protocol, record: Record) -> Question:
    """The scored expressions of a record, and their sentences as they are read."""
    indices = scored(protocol, record)
    sentences = [text(protocol, record.expressions[i]) for i in indices]
    return Question(record, indices, sentences)


def text(protocol: Protocol, expression: Expression) -> str:
    """The sentence as the protocol hands it to the model.

    Sources without the annotator's own spelling leave `raw` empty: `sent` stands in.
    """
    raw = protocol.text == "raw" and expression.raw
    sentence = raw or expression.sent
    return sentence.lower() if protocol.lower else sentence


def scored(protocol: Protocol, record: Record) -> list[int]:
    """Indices of the record's expressions that the protocol scores, in order.

    For "first", referents are keyed by their annotation: of several on one the last
    stays, with the first of its sentences. Referents without a target stay apart.
    """
    if protocol.sentences == "all":
        return list(range(len(record.expressions)))
    last: dict[tuple[int, ...], int] = {}  # annotation -> referent
    for x in record.expressions:
        last[_annotation(record, x)] = x.ref_id
    first: dict[tuple[int, ...], int] = {}
    for i, x in enumerate(record.expressions):
        key = _annotation(record, x)
        if x.ref_id != last[key]:
            continue
        best = first.setdefault(key, i)
        if x.sent_index < record.expressions[best].sent_index:
            first[key] = i
    return sorted(first.values())


def _annotation(record: Record, x: Expression) -> tuple[int, ...]:
    ids = tuple(record.masks[i].ann_id for i in x.targets)
    return ids or (-1, x.ref_id)
