"""Whether a thing is beside, behind or above another, so that people would say it.

Three-valued: None is where some would say it and some not. Source: ours.
"""

from unires_jax.data.predicates import RELATIONS, Truth
from unires_jax.engine.scene import Scene

WIDE = 0.25  # share of the picture's longer side between two things, at most
ALIKE = 0.15  # area of the smaller of two things, one in front of or beside the other
LANDMARK = (0.002, 0.1)  # area of what others are beside: of the picture, of the other


def related(name: str, scene: Scene, subject: int, anchor: int) -> Truth:
    """Whether a relation holds and is worth saying; nothing is beside itself."""
    if subject == anchor:
        return False
    truth = RELATIONS[name](scene, subject, anchor)
    truth = _worth_saying(scene, subject, anchor, truth)
    return _CHECKS.get(name, _alike)(scene, subject, anchor, truth)


def _worth_saying(scene: Scene, subject: int, anchor: int, truth: Truth) -> Truth:
    """None for what is true of things far apart, one in the other, or hard to see."""
    a, b = (scene.objects[i].whole.box for i in (subject, anchor))
    gap_x = max(a[0], b[0]) - min(a[0] + a[2], b[0] + b[2])
    gap_y = max(a[1], b[1]) - min(a[1] + a[3], b[1] + b[3])
    within = max(0.0, -gap_x) * max(0.0, -gap_y)
    areas = a[2] * a[3], b[2] * b[3]
    height, width = scene.size
    plain = (
        max(gap_x, gap_y) <= WIDE * max(scene.size)
        and within <= 0.5 * min(areas)
        and areas[1] >= max(LANDMARK[0] * height * width, LANDMARK[1] * areas[0])
    )
    return truth if plain or not truth else None


def _lateral(scene: Scene, subject: int, anchor: int, truth: Truth) -> Truth:
    """None for things of which neither is wholly to one side of the other."""
    a, b = (scene.objects[i].whole.box for i in (subject, anchor))
    overlap = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    return None if truth and overlap > 0.1 * min(a[2], b[2]) else truth


def _alike(scene: Scene, subject: int, anchor: int, truth: Truth) -> Truth:
    """None for things of very different size: a knife in the hand is not behind it."""
    areas = [a * b for i in (subject, anchor) for a, b in [scene.objects[i].extent]]
    return None if truth and min(areas) < ALIKE * max(areas) else truth


def _stacked(scene: Scene, subject: int, anchor: int, truth: Truth) -> Truth:
    """None for things of which neither is wholly above the other, and over it."""
    a, b = (scene.objects[i].whole.box for i in (subject, anchor))
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    along = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    plain = across >= 0.5 * min(a[2], b[2]) and along <= 0.1 * min(a[3], b[3])
    return truth if plain or not truth else None


_CHECKS = {
    "left of": _lateral,
    "right of": _lateral,
    "above": _stacked,
    "below": _stacked,
}
