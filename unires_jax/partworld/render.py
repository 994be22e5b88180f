"""From plans to a picture and to what can be seen in it: exact visible masks.

All shapes are painted, far to near, as labels on a canvas SCALE times finer than the
picture. Colours are the labels looked up and averaged; masks are the labels at the
pixels' centres, so they never overlap and a part lies inside its object.
"""

import dataclasses
from random import Random

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from unires_jax.partworld import palette
from unires_jax.partworld.backgrounds import Ground, background
from unires_jax.partworld.scene import Plan
from unires_jax.partworld.sketch import Shape

SCALE = 3  # odd: a pixel of the picture has a central canvas pixel
CENTRES = slice(SCALE // 2, None, SCALE)
EDGE = 128  # label offset of the dark line between two surfaces
QUALITY = 92
# A part is referred to if it is at least 10 px across (smaller side of its visible box)
# in a 128 px model picture; pictures are stored with a longer side of 160 px.
MODEL_SIDE, STORED_SIDE = 128, 160
MIN_ACROSS = 10 * STORED_SIDE / MODEL_SIDE
MIN_AREA = 60 * (STORED_SIDE / MODEL_SIDE) ** 2
MIN_VISIBLE = 0.6  # share of an object's own pixels that nothing covers
MIN_COVER = 0.04  # share of an object that must be hidden to call it "behind"
INSTANCE_PIXELS = 12  # fewer visible pixels of a wheel or leg do not count as one


@dataclasses.dataclass(frozen=True)
class VisibleRegion:
    """Visible pixels of an object, or of all its parts of one name."""

    mask: Bool[np.ndarray, "H W"]
    box: tuple[int, int, int, int]  # x, y, width, height
    area: int
    count: int  # visible instances

    @property
    def clear(self) -> bool:
        """Large enough to be referred to."""
        return min(self.box[2:]) >= MIN_ACROSS and self.area >= MIN_AREA


@dataclasses.dataclass(frozen=True)
class VisibleObject:
    """An object in the picture."""

    kind: str
    colour: str
    whole: VisibleRegion
    parts: dict[str, VisibleRegion]  # by name; of each something is visible
    extent: tuple[float, float]  # width and height were nothing in front of it
    hides: frozenset[int]  # indices of the objects it covers a piece of


@dataclasses.dataclass(frozen=True)
class View:
    """A picture and the objects in it, far to near."""

    image: UInt8[np.ndarray, "H W 3"]
    objects: tuple[VisibleObject, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.image.shape[:2]
        return height, width


def render(height: int, width: int, plans: list[Plan], r: Random) -> View | None:
    """Draw the plans. None if an object is too covered to be told."""
    canvas, owners, colours = _paint(height, width, plans, r)
    silhouettes = [_silhouette(height, width, p) for p in plans]
    # Column-major like COCO's RLE, which every mask is then encoded to.
    labels = np.asfortranarray(canvas[CENTRES, CENTRES])
    objects = _see(plans, labels, owners, silhouettes)
    if objects is None:
        return None
    ground = _shade(background(height, width, r), silhouettes)
    return View(_colour(canvas, colours, ground), objects)


_Owner = tuple[int, str, int]  # object, part, instance


def _paint(
    height: int, width: int, plans: list[Plan], r: Random
) -> tuple[UInt8[np.ndarray, "y x"], list[_Owner], UInt8[np.ndarray, "256 4"]]:
    """The label canvas, the owner of each label and its colour (RGBA, edges above)."""
    canvas = np.zeros((height * SCALE, width * SCALE), np.uint8)
    owners: list[_Owner] = [(-1, "", 0)]
    colours = np.zeros((256, 4), np.uint8)
    for index, plan in enumerate(plans):
        tones = palette.tones(plan.colour, r)
        labels: dict[tuple[str, int, str], int] = {}
        for s in plan.shapes:
            key = (s.part, s.instance, s.tone)
            if key not in labels:
                labels[key] = len(owners)
                owners.append((index, s.part, s.instance))
                rgb = np.asarray(tones[s.tone])
                colours[labels[key]] = (*rgb.astype(np.uint8), 255)
                colours[labels[key] + EDGE] = (*(rgb * 0.45).astype(np.uint8), 255)
            _fill(canvas, s, (plan.left, plan.top), labels[key], SCALE)
    if len(owners) > EDGE:
        raise ValueError(f"{len(owners)} surfaces in one scene, at most {EDGE}")
    return canvas, owners, colours


def _fill(
    canvas: UInt8[np.ndarray, "y x"],
    shape: Shape,
    corner: tuple[float, float],
    value: int,
    scale: int,
) -> None:
    for points in shape.outlines:
        # Canvas pixel i covers [i, i + 1), and cv2 draws at its centre.
        corners = np.rint(((points + corner) * scale - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [corners], value, shift=4)


def _silhouette(height: int, width: int, plan: Plan) -> UInt8[np.ndarray, "H W"]:
    """The object's pixels were it alone."""
    alone = np.zeros((height, width), np.uint8)
    for s in plan.shapes:
        _fill(alone, s, (plan.left, plan.top), 1, 1)
    return alone


def _see(
    plans: list[Plan],
    labels: UInt8[np.ndarray, "H W"],
    owners: list[_Owner],
    silhouettes: list[UInt8[np.ndarray, "H W"]],
) -> tuple[VisibleObject, ...] | None:
    counts = np.bincount(labels.ravel("K"), minlength=len(owners))
    owner = np.array([o[0] for o in owners], np.int8)[labels]
    objects = []
    for index, plan in enumerate(plans):
        whole = _region(owner == index, 1)
        if whole.area < MIN_VISIBLE * cv2.countNonZero(silhouettes[index]):
            return None
        hides = frozenset(j for j in range(index) if _covers(whole, silhouettes[j]))
        extent = (plan.width, plan.height)
        parts = _parts(index, labels, owners, counts)
        objects.append(
            VisibleObject(plan.kind, plan.colour, whole, parts, extent, hides)
        )
    return tuple(objects)


def _covers(whole: VisibleRegion, behind: UInt8[np.ndarray, "H W"]) -> bool:
    shared = cv2.countNonZero(behind * whole.mask)
    return shared >= MIN_COVER * cv2.countNonZero(behind)


def _parts(
    index: int,
    labels: UInt8[np.ndarray, "H W"],
    owners: list[_Owner],
    counts: Int[np.ndarray, "c"],
) -> dict[str, VisibleRegion]:
    """The visible parts of one object by name."""
    pixels: dict[str, dict[int, int]] = {}  # by part and instance
    tables: dict[str, Bool[np.ndarray, "256"]] = {}
    for label, (owner, part, instance) in enumerate(owners):
        if owner != index or not part or not counts[label]:
            continue
        tables.setdefault(part, np.zeros(256, bool))[label] = True
        instances = pixels.setdefault(part, {})
        instances[instance] = instances.get(instance, 0) + int(counts[label])
    return {
        part: _region(
            table[labels], sum(n >= INSTANCE_PIXELS for n in pixels[part].values())
        )
        for part, table in tables.items()
    }


def _region(mask: Bool[np.ndarray, "H W"], count: int) -> VisibleRegion:
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return VisibleRegion(mask, (x, y, w, h), int(np.count_nonzero(mask)), count)


def _shade(ground: Ground, silhouettes: list[UInt8[np.ndarray, "H W"]]) -> Ground:
    """The ground with a soft shadow under each object."""
    shadow = np.zeros(ground.shape[:2], np.float32)
    for alone in silhouettes:
        x, y, w, h = cv2.boundingRect(alone)
        centre, axes = (x + w // 2, y + h - 1), (max(w * 11 // 24, 1), max(h // 12, 3))
        cv2.ellipse(shadow, centre, axes, 0, 0, 360, 1.0, -1)
    return ground * (1 - 0.4 * cv2.GaussianBlur(shadow, (0, 0), 2))[..., None]


def _colour(
    canvas: UInt8[np.ndarray, "y x"],
    colours: UInt8[np.ndarray, "256 4"],
    ground: Ground,
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture: labels looked up, dark lines between them, over the ground."""
    edge = cv2.morphologyEx(canvas, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edge &= canvas > 0
    labels = canvas + np.uint8(EDGE) * edge.view(np.uint8)
    packed = colours.view(np.uint32)[:, 0].take(labels)  # 4 bytes at once
    fine = packed.view(np.uint8).reshape(*canvas.shape, 4)
    small = cv2.blur(fine, (SCALE, SCALE))[CENTRES, CENTRES]
    mixed = small[..., :3] + ground * (1 - small[..., 3:] / np.float32(255))
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The picture as JPEG bytes."""
    ok, encoded = cv2.imencode(
        ".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not ok:
        raise ValueError("cv2 could not encode the picture")
    return encoded.tobytes()
