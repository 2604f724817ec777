"""Measures the seam of tiles: the step across it, against the steps between neighbours inside.

    python -m benchmarks.seam RUN [--seeds=20]

Prints a line for each direction: the mean absolute difference of the last and the first row (or
column) of tiles, divided by that of all neighbouring rows (or columns) inside, over all seeds; then
the same ratio of plain samples, which are not made to repeat.
"""

import numpy as np
from absl import app, flags

import consingan_jax

_SEEDS = flags.DEFINE_integer("seeds", 20, "Number of tiles.")


def seam_ratio(images: np.ndarray, axis: int) -> float:
    """Returns the ratio for images `[N, H, W, C]`, of rows for axis 0 and of columns for axis 1."""
    inside = np.abs(np.diff(images, axis=axis + 1)).mean()
    seam = np.abs(images.take(0, axis + 1) - images.take(-1, axis + 1)).mean()
    return float(seam / inside)


def main(arguments: list[str]) -> None:
    """Prints the table."""
    model, seeds = consingan_jax.load(arguments[1]), _SEEDS.value
    plain = model.sample(0, seeds)
    print(f"{model.describe()}; seeds 0 to {seeds - 1}")
    for axis, (tile, lines) in enumerate((("vertical", "rows"), ("horizontal", "columns"))):
        for name in (tile, "both"):
            ratio = seam_ratio(model.sample(0, seeds, tile=name), axis)
            print(f"{lines}, tile={name}: {ratio:.3f}")
        print(f"{lines}, no tile: {seam_ratio(plain, axis):.3f}")


if __name__ == "__main__":
    app.run(main)
