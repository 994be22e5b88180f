"""PIL's NEAREST resize, pixel by pixel."""


def nearest(source: int, target: int) -> list[int]:
    """Source pixel of each target pixel, as PIL steps through them."""
    at, pixels = source / target / 2, []
    for _ in range(target):
        pixels.append(int(at))
        at += source / target
    return pixels
