"""How vehicles, houses, trees and chairs are drawn.

Each function fills a sketch facing right; `r` draws the variation; y points down.
"""

from random import Random

from unires_jax.partworld.sketch import Sketch, box, ellipse, limb, poly, smooth, xy


def _wheel(s: Sketch, x: float, y: float, radius: float) -> None:
    s.add("wheel", "tyre", ellipse(x, y, radius, radius))
    s.detail("wheel", "metal", ellipse(x, y, radius * 0.5, radius * 0.5, n=16))


def car(s: Sketch, r: Random) -> None:
    """A car from the side, with a flat or a sloping back."""
    slope = r.choice([0.06, 0.16])
    s.add("bumper", "metal", box(-0.02, 0.4, 0.14, 0.56, round=0.03))
    s.add("bumper", "metal", box(0.88, 0.4, 1.03, 0.56, round=0.03))
    outline = poly((0.1, 0.28), (0.1 + slope, 0.02), (0.62, 0.02), (0.78, 0.28))
    s.add("", "main", outline)
    window = poly((0.16, 0.26), (0.14 + slope, 0.07), (0.38, 0.07), (0.38, 0.26))
    s.add("window", "glass", window)
    window = poly((0.43, 0.26), (0.43, 0.07), (0.6, 0.07), (0.71, 0.26))
    s.add("window", "glass", window)
    outline = smooth(*xy("0.0,0.26 0.74,0.26 1.0,0.32 1.0,0.54 0.0,0.54"), rounds=1)
    s.add("", "main", outline)
    s.add("door", "dark", box(0.37, 0.28, 0.6, 0.52, round=0.03))
    s.detail("door", "metal", box(0.4, 0.33, 0.46, 0.36))
    for x in (0.22, 0.77):
        _wheel(s, x, 0.54, 0.125)


def truck(s: Sketch, r: Random) -> None:
    """A truck from the side: a trailer behind a cab."""
    front = r.uniform(0.94, 1.0)
    s.add("bumper", "metal", box(front - 0.08, 0.46, front + 0.07, 0.64, round=0.02))
    s.add("bumper", "metal", box(-0.06, 0.46, 0.1, 0.64, round=0.02))
    s.add("", "ink", box(0.05, 0.5, 0.92, 0.58))
    s.add("trailer", "light", box(0.0, 0.0, 0.64, 0.52, round=0.02))
    for x in (0.16, 0.32, 0.48):
        s.detail("trailer", "main", box(x - 0.02, 0.05, x + 0.02, 0.47))
    cab = smooth(
        (0.66, 0.12), (0.86, 0.12), (front, 0.34), (front, 0.58), (0.66, 0.58), rounds=1
    )
    s.add("cab", "main", cab)
    window = poly((0.73, 0.17), (0.85, 0.17), (front - 0.03, 0.36), (0.73, 0.36))
    s.add("window", "glass", window)
    for x in (0.14, 0.4, 0.8):
        _wheel(s, x, 0.58, 0.115)


def bus(s: Sketch, r: Random) -> None:
    """A bus from the side: a row of windows, a door at the front."""
    s.add("bumper", "metal", box(0.93, 0.42, 1.06, 0.6, round=0.02))
    s.add("bumper", "metal", box(-0.06, 0.42, 0.07, 0.6, round=0.02))
    s.add("", "main", box(0.0, 0.0, 1.0, 0.58, round=0.06))
    s.add("", "light", box(0.01, 0.34, 0.99, 0.4))
    for i in range(r.choice([2, 3, 3])):
        window = box(0.06 + 0.22 * i, 0.08, 0.24 + 0.22 * i, 0.3, round=0.02)
        s.add("window", "glass", window)
    s.add("door", "dark", box(0.74, 0.09, 0.93, 0.56, round=0.02))
    s.detail("door", "sky", box(0.77, 0.13, 0.9, 0.33, round=0.01))
    for x in (0.2, 0.6):
        _wheel(s, x, 0.58, 0.11)


def bicycle(s: Sketch, r: Random) -> None:
    """A bicycle from the side."""
    for x in (0.2, 0.8):
        s.add("wheel", "tyre", ellipse(x, 0.5, 0.2, 0.2))
        s.detail("wheel", "pale", ellipse(x, 0.5, 0.15, 0.15))
        for angle in (0, 60, 120):
            spoke = ellipse(x, 0.5, 0.15, 0.008, angle + r.uniform(0, 30), n=8)
            s.detail("wheel", "metal", spoke)
    w = 0.032
    bars = [
        (0.2, 0.5, 0.36, 0.2),
        (0.2, 0.5, 0.46, 0.5),
        (0.36, 0.2, 0.46, 0.5),
        (0.37, 0.22, 0.68, 0.2),
        (0.46, 0.5, 0.68, 0.22),
        (0.66, 0.16, 0.8, 0.5),
    ]
    s.add("frame", "main", *(limb(*bar, w) for bar in bars))
    s.add("", "ink", limb(0.36, 0.2, 0.34, 0.12, 0.018))
    seat = smooth((0.16, 0.0), (0.48, 0.0), (0.52, 0.1), (0.38, 0.22), (0.18, 0.22))
    s.add("seat", "brown", seat)
    s.add(
        "handlebar",
        "steel",
        limb(0.66, 0.16, 0.62, 0.03, 0.026),
        limb(0.62, 0.03, 0.78, 0.02, 0.035),
        limb(0.78, 0.02, 0.8, 0.12, 0.035),
    )


def plane(s: Sketch, r: Random) -> None:
    """A passenger plane from the side."""
    s.add("tail", "darker", poly((0.02, 0.0), (0.16, 0.0), (0.3, 0.26), (0.08, 0.3)))
    s.add("wing", "dark", poly((0.44, 0.3), (0.3, 0.04), (0.42, 0.04), (0.66, 0.3)))
    outline = smooth(
        *xy("0.0,0.22 0.2,0.21 0.84,0.2 0.9,0.46 0.24,0.48 0.06,0.36"), rounds=3
    )
    s.add("", "main", outline)
    nose = smooth((0.8, 0.2), (0.9, 0.22), (1.02, 0.34), (0.9, 0.46), (0.8, 0.47))
    s.add("nose", "accent", nose)
    for i in range(3):
        s.add("window", "glass", ellipse(0.36 + 0.17 * i, 0.3, 0.072, 0.08, n=16))
    s.add("wing", "dark", poly((0.6, 0.4), (0.36, 0.42), (0.1, 0.68), (0.26, 0.68)))
    s.add("engine", "metal", box(0.36, 0.45, 0.62, 0.66, round=0.06))
    s.detail("engine", "ink", ellipse(0.6, 0.56, 0.025, 0.06, n=12))


def boat(s: Sketch, r: Random) -> None:
    """A sailing boat: hull, one or two sails, a flag on the mast."""
    s.add("", "wood", box(0.475, -0.04, 0.515, 0.76))
    s.add("flag", "accent", poly((0.5, -0.04), (0.2, 0.07), (0.5, 0.18)))
    s.add("sail", "cream", poly((0.54, 0.06), (0.54, 0.66), (0.92, 0.66)))
    if r.random() < 0.6:
        s.add("sail", "pale", poly((0.45, 0.2), (0.45, 0.66), (0.14, 0.66)))
    hull = smooth((0.0, 0.71), (1.0, 0.71), (0.84, 1.0), (0.16, 1.0), rounds=1)
    s.add("hull", "main", hull)
    s.detail("hull", "light", box(0.06, 0.77, 0.93, 0.82))


def house(s: Sketch, r: Random) -> None:
    """A house from the front: roof, chimney, walls, door, one or two windows."""
    x = r.choice([0.12, 0.68])
    s.add("chimney", "brick", box(x, -0.05, x + 0.22, 0.4))
    s.add("wall", "main", box(0.08, 0.4, 0.92, 0.98))
    s.add("roof", "roof", poly((-0.03, 0.44), (0.5, 0.04), (1.03, 0.44)))
    wide = r.random() < 0.6
    at, places = (0.5, [0.13, 0.64]) if wide else (0.32, [0.6])
    s.add("door", "wood", box(at - 0.125, 0.58, at + 0.125, 0.98))
    s.detail("door", "cream", ellipse(at + 0.07, 0.79, 0.02, 0.02, n=10))
    for x in places:
        s.add("window", "glass", box(x, 0.54, x + 0.23, 0.79))
        upright = box(x + 0.103, 0.54, x + 0.127, 0.79)
        s.detail("window", "cream", upright, box(x, 0.653, x + 0.23, 0.677))


def tree(s: Sketch, r: Random) -> None:
    """A round tree with fruit in its crown."""
    s.add("trunk", "brown", poly((0.36, 0.5), (0.56, 0.5), (0.62, 1.0), (0.3, 1.0)))
    lean = r.uniform(-0.03, 0.03)
    s.add(
        "crown",
        "main",
        ellipse(0.26, 0.42, 0.24, 0.2),
        ellipse(0.68, 0.42, 0.24, 0.2),
        ellipse(0.47 + lean, 0.26, 0.3, 0.26),
        ellipse(0.47, 0.44, 0.3, 0.18),
    )
    spots = [(0.24, 0.4), (0.44, 0.2), (0.66, 0.42), (0.46, 0.46), (0.64, 0.22)]
    for x, y in r.sample(spots, r.choice([3, 4, 5])):
        s.add("fruit", "accent", ellipse(x, y, 0.065, 0.065, n=16))


def chair(s: Sketch, r: Random) -> None:
    """A chair seen from the front and slightly above."""
    high = r.uniform(0.0, 0.06)
    for x, foot in ((0.16, 0.86), (0.66, 0.86), (0.08, 1.0), (0.74, 1.0)):
        s.add("leg", "wood", box(x - 0.05, 0.5, x + 0.05, foot))
    s.add("back", "main", box(0.08, high, 0.74, 0.5, round=0.06))
    for x in (0.26, 0.41, 0.56):
        slat = box(x - 0.035, high + 0.09, x + 0.035, 0.4, round=0.03)
        s.detail("back", "dark", slat)
    s.add("seat", "light", poly((0.1, 0.48), (0.72, 0.48), (0.82, 0.66), (0.0, 0.66)))
    s.detail("seat", "dark", poly((0.0, 0.66), (0.82, 0.66), (0.82, 0.72), (0.0, 0.72)))
