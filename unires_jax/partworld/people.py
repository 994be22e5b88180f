"""How people are drawn, from the front.

Each function fills a sketch; `r` draws the pose; y points down, the ground near y = 1.
"""

from random import Random

from unires_jax.partworld.sketch import Sketch, box, ellipse, limb, smooth


def man(s: Sketch, r: Random) -> None:
    """A man from the front: hat, head, shirt, arms, legs."""
    _legs(s, r, "trousers", top=0.66)
    _arms(s, r, shoulder=0.155, y=0.415, tone="skin", sleeve="dark")
    shirt = smooth((-0.2, 0.36), (0.2, 0.36), (0.19, 0.72), (-0.19, 0.72))
    s.add("shirt", "main", shirt)
    _face(s, 0.22)
    s.add("hat", "accent", box(-0.14, -0.04, 0.14, 0.15, round=0.04))
    s.detail("hat", "accent", box(-0.22, 0.115, 0.22, 0.16, round=0.02))


def woman(s: Sketch, r: Random) -> None:
    """A woman from the front: long hair, head, dress, arms, legs."""
    s.add("hair", "hair", smooth((-0.2, 0.0), (0.2, 0.0), (0.27, 0.44), (-0.27, 0.44)))
    _legs(s, r, "skin", top=0.74)
    _arms(s, r, shoulder=0.13, y=0.42, tone="skin", sleeve="light")
    dress = smooth((-0.15, 0.36), (0.15, 0.36), (0.3, 0.84), (-0.3, 0.84), rounds=1)
    s.add("dress", "main", dress)
    _face(s, 0.22)
    fringe = smooth((-0.19, 0.2), (-0.16, 0.03), (0.16, 0.03), (0.19, 0.2), (0.0, 0.09))
    s.detail("hair", "hair", fringe)


def _face(s: Sketch, y: float) -> None:
    s.add("head", "skin", ellipse(0.0, y, 0.155, 0.165))
    for x in (-0.055, 0.055):
        s.detail("head", "ink", ellipse(x, y + 0.015, 0.016, 0.022, n=10))
    head = smooth(
        (-0.06, y + 0.085), (0.0, y + 0.1), (0.06, y + 0.085), (0.0, y + 0.13)
    )
    s.detail("head", "ink", head)


def _legs(s: Sketch, r: Random, tone: str, top: float) -> None:
    spread = r.uniform(0.09, 0.18)
    for side in (-1, 1):
        foot = side * spread
        s.add("leg", tone, limb(side * 0.095, top, foot, 0.94, 0.07, 0.058))
        s.detail("leg", "ink", ellipse(foot + 0.02 * side, 0.965, 0.085, 0.035))


def _arms(
    s: Sketch, r: Random, shoulder: float, y: float, tone: str, sleeve: str
) -> None:
    raised = r.choice(["none", "none", "one", "both"])
    for side in (-1, 1):
        up = raised == "both" or (raised == "one" and side == 1)
        reach = r.uniform(0.3, 0.36)
        hand_y = y - r.uniform(0.14, 0.24) if up else y + r.uniform(0.2, 0.27)
        x = side * shoulder
        s.add("arm", tone, limb(x, y, side * reach, hand_y, 0.058, 0.05))
        middle = x + 0.45 * (side * reach - x), y + 0.45 * (hand_y - y)
        s.detail("arm", sleeve, limb(x, y, *middle, 0.066, 0.064))
