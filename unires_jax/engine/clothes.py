"""What people wear, and whether that makes them "in red". Source: ours."""

from collections.abc import Mapping

from unires_jax.data.predicates import Truth
from unires_jax.engine.colours import Palette
from unires_jax.engine.nouns import part_name
from unires_jax.engine.scene import Scene, Thing
from unires_jax.pixels.masks import RunMask

MOSTLY = 0.5  # share of the marked garments
CLOTHES = "clothes"  # what somebody "in red" wears, of whatever kind


def garments(scene: Scene, wearer: str) -> dict[str, Thing]:
    """What an object wears one of, by name."""
    parts = [p for p in scene.parts if p.region.parent == wearer]
    names = [part_name(p.region.part) for p in parts]
    return {
        n.noun: p
        for n, p in zip(names, parts, strict=True)
        if n.worn and not n.side and [o.noun for o in names].count(n.noun) == 1
    }


def wears(
    palette: Palette,
    colour: str,
    person: RunMask | None,
    wardrobe: Mapping[str, Thing],
) -> Truth:
    """Whether somebody is "in red": half of what they wear is, by area.

    False only where no garment and little of them is; None if no garment is marked.
    """
    worn = [g.mask for g in wardrobe.values() if g.mask is not None]
    if not worn or person is None:
        return None
    agreed = {mask: palette.agree(colour, mask) for mask in (*worn, person)}
    area = sum(mask.area for mask in worn if agreed[mask])
    if area >= MOSTLY * sum(mask.area for mask in worn):
        return True
    return False if {*agreed.values()} == {False} else None
