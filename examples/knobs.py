"""What the knobs do, to look at: `python examples/knobs.py [OUT]`, some 15 minutes on two cores.

Trains the painted scene at 64 px with one setting changed at a time, and draws a row for each:
the training image, then samples with the seeds 0 to 5. Runs lie in OUT, `runs/knobs` unless it is
given, and go on where they were stopped; the picture is OUT/knobs.png.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

import consingan_jax

HERE = pathlib.Path(__file__).parent
BASE = {"num_stages": 5, "min_size": 18, "max_size": 64, "num_filters": 32, "num_iters": 500}
KNOBS = {
    "as it is": {},
    "num_stages=3": {"num_stages": 3},
    "num_stages=8": {"num_stages": 8},
    "min_size=12": {"min_size": 12},
    "min_size=30": {"min_size": 30},
    "max_size=100": {"max_size": 100},
    "lr_scale=0.5": {"lr_scale": 0.5},
    "batch_norm=True": {"batch_norm": True},
    "window=32": {"window": 32},
}
SAMPLES, HEIGHT, GAP, TITLE = 6, 98, 4, 16  # pictures a row, pixels


def row(name, run):
    """Return a titled row: the training image, then samples of a run."""
    model = consingan_jax.train(HERE / "scene.png", run, **{**BASE, **KNOBS[name]})
    images = consingan_jax.to_uint8(np.concatenate([model.real, model.sample(0, SAMPLES)]))
    width = round(HEIGHT * images.shape[2] / images.shape[1])
    strip = Image.new("RGB", ((width + GAP) * len(images), HEIGHT + TITLE + GAP), "white")
    ImageDraw.Draw(strip).text((0, 2), name, "black")
    for number, pixels in enumerate(images):
        picture = Image.fromarray(pixels).resize((width, HEIGHT), Image.Resampling.BICUBIC)
        strip.paste(picture, ((width + GAP) * number, TITLE))
    return strip


def main():
    """Train, and draw all rows."""
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "runs/knobs")
    rows = [row(name, out / name.replace("=", "_")) for name in KNOBS]
    sheet = Image.new("RGB", (max(one.width for one in rows), sum(one.height for one in rows)))
    sheet.paste("white", (0, 0, *sheet.size))
    top = 0
    for one in rows:
        sheet.paste(one, (0, top))
        top += one.height
    sheet.save(out / "knobs.png", optimize=True)
    print(out / "knobs.png")


if __name__ == "__main__":
    main()
