"""Draws pebbles.png, a texture for tiles without a seam: `python examples/pebbles.py [FILE]`."""

import pathlib
import sys

import numpy as np

from consingan_jax.images import display

SIDE, STEP = 128, 12  # of the picture, and between pebbles, in pixels


def draw():
    """Returns the picture, `[SIDE, SIDE, 3]` in [-1, 1]: rounded stones of a few warm greys."""
    rng = np.random.default_rng(0)
    grid = np.mgrid[-STEP : SIDE + STEP : STEP, -STEP : SIDE + STEP : STEP].reshape(2, -1).T
    centres = grid + rng.uniform(0, 0.8 * STEP, grid.shape)
    grey = rng.uniform(0.25, 0.95, (len(centres), 1))
    colours = grey * [1.0, 0.93, 0.82] + rng.normal(0, 0.02, (len(centres), 3))
    pixels = np.mgrid[:SIDE, :SIDE].transpose(1, 2, 0) + 0.5
    distance = np.linalg.norm(pixels[:, :, None] - centres, axis=-1)
    nearest, second = np.sort(distance, -1)[..., :2].transpose(2, 0, 1)[..., None]
    gap = np.clip((second - nearest) / 3, 0, 1)  # 0 between two stones
    light = np.clip(1.15 - nearest / STEP, 0.3, 1)
    return 2 * np.clip(colours[distance.argmin(-1)] * gap**0.6 * light**0.5 + 0.05, 0, 1) - 1


if __name__ == "__main__":
    here = pathlib.Path(__file__).with_name("pebbles.png")
    display.save(pathlib.Path(sys.argv[1]) if sys.argv[1:] else here, draw())
