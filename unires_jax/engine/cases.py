"""A case: one picture, region or text as a person looks at it, kept or dropped."""

import dataclasses
from collections.abc import Iterator

from unires_jax.engine.record import Picture, Region, Text

KEPT = "kept"  # strata are "kept <form>", "kept <level>", and codes


@dataclasses.dataclass(frozen=True)
class Case:
    """What is judged: the text, or the region where there is none, or the picture."""

    key: str  # unique in a run: "12/o3/p1#2", "12/o3/p1", "12"
    picture: Picture
    region: Region | None = None
    text: Text | None = None

    @property
    def strata(self) -> tuple[str, ...]:
        """Where it counts: KEPT and what it is, or its codes; none if it went along."""
        if self.region is None:
            failed = ("E1",) if self.picture.errors else ()
            return tuple(dict.fromkeys((*self.picture.codes, *failed)))
        thing = self.text or self.region
        what = self.text.form if self.text else self.region.level
        return (f"{KEPT} {what}",) if thing.keep else thing.codes

    @property
    def targets(self) -> tuple[Region, ...]:
        """The regions that it is about."""
        if self.text is None:
            return (self.region,) if self.region else ()
        return tuple(r for r in self.picture.regions if r.id in self.text.targets)

    def slim(self) -> "Case":
        """The case with no more of its picture than it needs."""
        names = {r.id for r in (self.region, *self.targets) if r}
        names |= {r.parent for r in self.picture.regions if r.id in names}
        regions = tuple(r for r in self.picture.regions if r.id in names)
        picture = dataclasses.replace(self.picture, regions=regions)
        return dataclasses.replace(self, picture=picture)


def cases(picture: Picture) -> Iterator[Case]:
    """All cases of a picture: itself, its regions, their texts."""
    yield Case(f"{picture.image_id}", picture)
    for region in picture.regions:
        yield Case(f"{picture.image_id}/{region.id}", picture, region)
        for i, text in enumerate(region.texts):
            key = f"{picture.image_id}/{region.id}#{i}"
            yield Case(key, picture, region, text)
