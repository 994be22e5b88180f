"""Colours of surfaces: an object's tones from its main colour, and muted grounds."""

from random import Random

from unires_jax.partworld.kinds import COLOURS

RGB = tuple[int | float, int | float, int | float]

_FIXED: dict[str, RGB] = {
    "ink": (32, 32, 36),
    "cream": (250, 244, 226),
    "pale": (222, 224, 222),
    "glass": (160, 206, 228),
    "sky": (160, 206, 228),
    "tyre": (58, 58, 62),
    "metal": (176, 180, 186),
    "steel": (110, 114, 124),
    "wood": (160, 110, 66),
    "brown": (118, 80, 52),
    "brick": (168, 92, 74),
    "orange": (244, 160, 40),
    "lime": (196, 222, 110),
    "pink": (226, 130, 140),
}
_SKINS = ((246, 210, 178), (226, 180, 142), (190, 136, 98), (134, 92, 66))
_HAIRS = ((58, 42, 34), (108, 70, 42), (34, 32, 34), (196, 158, 88))
_TROUSERS = ((70, 78, 98), (96, 88, 78), (120, 124, 132))
_ROOFS = ((134, 74, 60), (92, 84, 92), (112, 92, 70))
_ACCENTS = ((52, 160, 158), (206, 172, 126), (232, 146, 172), (128, 58, 66))


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """A colour `share` of the way from a to b."""
    return (
        a[0] + share * (b[0] - a[0]),
        a[1] + share * (b[1] - a[1]),
        a[2] + share * (b[2] - a[2]),
    )


def tones(colour: str, r: Random) -> dict[str, RGB]:
    """Every tone of one object, RGB in 0..255: its main colour, shades, materials."""
    main = mix(COLOURS[colour], (r.uniform(0, 255),) * 3, r.uniform(0, 0.06))
    # Black cannot be shaded darker: its shades go up instead.
    shade = (255.0,) * 3 if colour == "black" else (0.0,) * 3
    steps = (0.14, 0.24) if colour == "black" else (0.2, 0.34)
    return _FIXED | {
        "main": main,
        "dark": mix(main, shade, steps[0]),
        "darker": mix(main, shade, steps[1]),
        "light": mix(main, (128.0,) * 3 if colour == "white" else (255.0,) * 3, 0.34),
        "skin": r.choice(_SKINS),
        "hair": r.choice(_HAIRS),
        "trousers": r.choice(_TROUSERS),
        "roof": r.choice(_ROOFS),
        "accent": r.choice(_ACCENTS),
    }


def ground(r: Random) -> RGB:
    """A muted background colour, neither near white nor near black."""
    grey = r.uniform(120, 190)
    tint = (r.uniform(-22, 22), r.uniform(-16, 16), r.uniform(-22, 22))
    return (grey + tint[0], grey + tint[1], grey + tint[2])
