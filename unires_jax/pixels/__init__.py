"""All that counts pixels: masks, cells of the grid, the canvas, encoded pictures.

Knows no records and no jax. Only here are numba and pycocotools used.
"""
