"""How animals are drawn, in profile and facing right.

Each function fills a sketch; `r` draws the pose; y points down, the ground near y = 1.
"""

from random import Random

from unires_jax.partworld.sketch import (
    Sketch,
    box,
    curve,
    ellipse,
    limb,
    poly,
    smooth,
    xy,
)


def dog(s: Sketch, r: Random) -> None:
    """A dog in profile, standing or sitting: hanging ears, a raised tail."""
    wag = r.uniform(-0.06, 0.08)
    tail = [(0.16, 0.42), (0.06, 0.3 + wag), (0.05, 0.14 + wag)]
    if r.random() < 0.35:
        _sitting(s)
        x, y = 0.62, 0.2
    else:
        s.add("tail", "light", *curve(tail, 0.065, 0.055))
        _four_legs(s, r, (0.24, 0.62), 0.55, 0.86, 0.062)
        body = smooth(*xy("0.08,0.34 0.4,0.38 0.76,0.28 0.78,0.62 0.45,0.62 0.1,0.66"))
        s.add("body", "main", body)
        x, y = 0.74, 0.24
    s.add(
        "head",
        "main",
        ellipse(x, y, 0.16, 0.15),
        ellipse(x + 0.14, y + 0.06, 0.12, 0.08),
    )
    s.detail("head", "ink", ellipse(x + 0.24, y + 0.02, 0.035, 0.03, n=12))
    s.detail("head", "cream", ellipse(x + 0.07, y - 0.04, 0.033, 0.036, n=12))
    s.detail("head", "ink", ellipse(x + 0.08, y - 0.035, 0.018, 0.022, n=10))
    s.add("ear", "darker", ellipse(x - 0.1, y + 0.05, 0.1, 0.19, r.uniform(0, 18)))


def cat(s: Sketch, r: Random) -> None:
    """A cat in profile with its face to us: pointed ears, a long curled tail."""
    curl = r.uniform(-0.05, 0.05)
    tail = [(0.2, 0.6), (0.06, 0.5), (0.04, 0.3 + curl), (0.14, 0.18 + curl)]
    if r.random() < 0.45:
        _sitting(s)
        x, y = 0.58, 0.24
    else:
        s.add("tail", "light", *curve(tail, 0.06, 0.055))
        _four_legs(s, r, (0.26, 0.62), 0.62, 0.88, 0.052)
        body = smooth(*xy("0.12,0.44 0.4,0.44 0.72,0.38 0.74,0.7 0.42,0.7 0.14,0.74"))
        s.add("body", "main", body)
        x, y = 0.74, 0.32
    for side in (-1, 1):
        tip = (x + side * 0.19, y - 0.27)
        ear = poly((x + side * 0.2, y - 0.02), tip, (x + side * 0.03, y - 0.13))
        s.add("ear", "darker", ear)
    s.add("head", "main", ellipse(x, y, 0.19, 0.16))
    for side in (-1, 1):
        s.detail("head", "lime", ellipse(x + side * 0.075, y - 0.02, 0.036, 0.04, n=12))
        s.detail("head", "ink", ellipse(x + side * 0.075, y - 0.02, 0.014, 0.034, n=10))
    nose = poly((x - 0.03, y + 0.04), (x + 0.03, y + 0.04), (x, y + 0.075))
    s.detail("head", "pink", nose)


def _sitting(s: Sketch) -> None:
    tail = [(0.24, 0.84), (0.04, 0.82), (-0.06, 0.68), (-0.02, 0.54)]
    s.add("tail", "light", *curve(tail, 0.055, 0.045))
    body = smooth((0.44, 0.3), (0.72, 0.3), (0.74, 0.9), (0.14, 0.94), (0.16, 0.62))
    s.add("body", "main", body)
    s.add("leg", "dark", limb(0.66, 0.56, 0.68, 0.9, 0.065, 0.055))
    s.add(
        "leg", "dark", ellipse(0.34, 0.78, 0.16, 0.14), limb(0.34, 0.9, 0.46, 0.9, 0.05)
    )


def _four_legs(
    s: Sketch, r: Random, hips: tuple[float, float], top: float, foot: float, w: float
) -> None:
    swing = r.uniform(-0.06, 0.06)
    for x in hips:
        leg = limb(x + 0.1, top, x + 0.12 - swing, foot - 0.01, w, w * 0.85)
        s.add("leg", "darker", leg)
        s.add("leg", "dark", limb(x, top, x + swing, foot, w * 1.05, w * 0.9))


def horse(s: Sketch, r: Random) -> None:
    """A horse in profile: a mane along its neck, a saddle, a hanging tail."""
    swish = r.uniform(-0.04, 0.06)
    tail = curve(
        [(0.14, 0.42), (0.04 - swish, 0.52), (0.03 - swish, 0.74)], 0.05, 0.065
    )
    s.add("tail", "hair", *tail)
    _four_legs(s, r, (0.22, 0.58), 0.6, 0.95, 0.05)
    s.add(
        "body",
        "main",
        smooth(
            *xy("0.08,0.36 0.4,0.4 0.62,0.32 0.78,0.36 0.74,0.66 0.42,0.66 0.1,0.7")
        ),
        limb(0.68, 0.46, 0.82, 0.2, 0.13, 0.09),
    )
    mane = smooth(*xy("0.52,0.42 0.6,0.24 0.74,0.02 0.84,0.04 0.76,0.22 0.66,0.44"))
    s.add("mane", "hair", mane)
    s.add("head", "main", limb(0.82, 0.16, 0.98, 0.32, 0.095, 0.065))
    s.detail("head", "main", poly((0.77, 0.1), (0.81, -0.04), (0.87, 0.08)))
    s.detail(
        "head",
        "ink",
        ellipse(0.86, 0.16, 0.02, 0.024, n=10),
        ellipse(1.0, 0.31, 0.014, 0.014, n=8),
    )
    saddle = smooth(*xy("0.3,0.34 0.42,0.37 0.54,0.32 0.54,0.54 0.42,0.6 0.3,0.54"))
    s.add("saddle", "accent", saddle)


def elephant(s: Sketch, r: Random) -> None:
    """An elephant in profile: a trunk, a big ear, thick legs."""
    s.add("", "darker", *curve([(0.09, 0.36), (0.03, 0.5), (0.04, 0.62)], 0.022))
    for x, tone in ((0.28, "darker"), (0.6, "darker"), (0.2, "dark"), (0.52, "dark")):
        step = r.uniform(-0.02, 0.02)
        leg = box(x - 0.075 + step, 0.55, x + 0.075 + step, 0.96, round=0.03)
        s.add("leg", tone, leg)
    body = smooth(*xy("0.06,0.2 0.4,0.1 0.74,0.2 0.72,0.7 0.4,0.72 0.06,0.72"))
    s.add("body", "main", body)
    lift = r.choice([0.0, 0.0, 0.28])
    trunk = curve(
        [(0.9, 0.32), (1.02, 0.44), (1.07, 0.6 - lift), (1.15, 0.7 - 1.8 * lift)],
        0.075,
        0.055,
    )
    s.add("trunk", "light", *trunk)
    s.add("head", "main", ellipse(0.82, 0.28, 0.17, 0.17))
    s.detail("head", "ink", ellipse(0.9, 0.25, 0.02, 0.024, n=10))
    s.detail("head", "cream", limb(0.9, 0.42, 1.0, 0.5, 0.03, 0.012))
    ear = smooth((0.55, 0.1), (0.8, 0.1), (0.82, 0.44), (0.66, 0.6), (0.5, 0.4))
    s.add("ear", "darker", ear)


def bird(s: Sketch, r: Random) -> None:
    """A bird in profile, wing folded or raised."""
    tail = poly((0.26, 0.46), (0.0, 0.36), (0.02, 0.5), (0.0, 0.62), (0.26, 0.62))
    s.add("tail", "darker", tail)
    for x in (0.46, 0.56):
        s.add(
            "",
            "orange",
            limb(x, 0.7, x + 0.02, 0.88, 0.018),
            limb(x, 0.88, x + 0.08, 0.88, 0.016),
        )
    body = smooth(
        *xy("0.14,0.46 0.42,0.32 0.74,0.3 0.78,0.6 0.52,0.78 0.26,0.68"), rounds=3
    )
    s.add("body", "main", body)
    s.add("beak", "orange", poly((0.85, 0.1), (1.16, 0.27), (0.85, 0.42)))
    s.add("head", "main", ellipse(0.78, 0.25, 0.165, 0.16))
    s.detail("head", "cream", ellipse(0.83, 0.21, 0.045, 0.048, n=14))
    s.detail("head", "ink", ellipse(0.84, 0.21, 0.025, 0.03, n=10))
    if r.random() < 0.5:
        wing = smooth(*xy("0.66,0.46 0.34,0.38 0.16,0.56 0.3,0.68 0.58,0.64"))
    else:
        wing = smooth(*xy("0.62,0.5 0.6,0.3 0.3,-0.06 0.14,0.0 0.3,0.34 0.38,0.54"))
    s.add("wing", "dark", wing)
