"""Images per second of a model with random parameters, one at a time as sample.py makes them.

    python -m benchmarks.sample [--height=188] [--width=250]

At once and twice the model's size. The first image, which compiles, does not count.
"""

import json
import time

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from consingan_jax import device, numerics
from consingan_jax.config import Config
from consingan_jax.data import noise, pyramid
from consingan_jax.generation import sampling
from consingan_jax.generation.architecture import architecture
from consingan_jax.nn.generator import Generator

_SECONDS = flags.DEFINE_float("seconds", 20.0, "Time for each size.")
_HEIGHT = flags.DEFINE_integer("height", 188, "Of the training image.")
_WIDTH = flags.DEFINE_integer("width", 250, "Of the training image.")


def main(_):
    """Prints a line per size."""
    config = Config()
    own = pyramid.level_sizes(config, (_HEIGHT.value, _WIDTH.value))
    generator = Generator(architecture(config, channels=3))
    params = generator.init(numerics.key(0), len(own))
    amps = jnp.ones(len(own))
    print(device.describe())
    for factor in ("1x", "2x"):
        sizes = sampling.stage_sizes(own, factor, factor)
        canvas = sampling.TiledRenderer(params, amps, generator, sizes)
        times: list[float] = []
        while sum(times[1:]) < _SECONDS.value:
            start = time.perf_counter()
            keys = noise.stage_keys(noise.sample_key(len(times)), len(sizes))
            canvas.picture(noise.NoiseSource(keys))
            times.append(time.perf_counter() - start)
        row = {
            "size": "{}x{}".format(*sizes[-1]),
            "first_s": round(times[0], 1),
            "images_per_s": round(1 / float(np.median(times[1:])), 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main)
