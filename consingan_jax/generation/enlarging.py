"""Enlarges the training image of a model: super-resolution."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics, tasks
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs, sampling
from consingan_jax.generation.sampling import MAX_LENGTH, MAX_PIXELS
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.nn import byte_resize, resize
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import NoiseWindow
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_generator import ScaleGenerator
from consingan_jax.nn.scale_view import ScaleView

MAX_SCALE = 16
PER_DOUBLING = 3  # steps of SinGAN, each by about its pyramid's factor
MIN_GROWTH = 1.2  # of a step of ConSinGAN, whose pyramid may grow by less
PROJECTIONS = 5  # more only where clipping moves the image away again

DrawFn = Callable[[int, NoiseWindow], jax.Array]
"""Draws the noise `[1, h, w, channels]` of a step."""


def check(config: Config, scale: float, size: Size) -> None:
    """Raises an InputError unless models of this configuration enlarge, and by this factor."""
    if not config.task_spec.can_enlarge:
        raise InputError(
            f"this model was trained for {config.task}: enlarging needs the task "
            f"{tasks.names(can_enlarge=True)}"
        )
    if not 1 < scale <= MAX_SCALE:
        raise InputError(f"scale={scale:g}: give a factor above 1, up to {MAX_SCALE}")
    height, width = enlarged_size(size, scale)
    if max(height, width) > MAX_LENGTH or height * width > MAX_PIXELS:
        raise InputError(f"scale={scale:g}: {height}x{width} px are too many: give less")


def enlarged_size(size: Size, scale: float) -> Size:
    """Returns the (height, width) of an image that is enlarged by a factor."""
    return int(scale * size[0]), int(scale * size[1])


def enlarged(model: TrainedGenerator, scale: float, seed: int, *, faithful: bool) -> np.ndarray:
    """Returns the training image `[H, W, C]` of a model enlarged; see `Model.enlarge`."""
    check(model.config, scale, model.size)
    inputs.check_seed(seed)
    height, width = enlarged_size(model.size, scale)
    image = ENLARGERS[model.config.method](model, scale, seed)[:height, :width].clip(-1, 1)
    return back_projected(image, model.real[0]) if faithful else image


def back_projected(image: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Returns the image nearest to `image` that `resize.fit` shrinks to `small`.

    Where this would leave [-1, 1] it is clipped, and only comes close to such an image.

    Args:
        image: `[H, W, C]` in [-1, 1].
        small: `[h, w, C]`, likewise.
    """
    rows, columns = (
        resize.resize_matrix(large, length / large, length)
        for large, length in zip(image.shape[:2], small.shape[:2], strict=True)
    )
    inverses = np.linalg.pinv(rows), np.linalg.pinv(columns)
    for _ in range(PROJECTIONS):
        lacking = small - resize.resample(rows, columns, image)
        image = (image + resize.resample(*inverses, lacking)).clip(-1, 1)
    return image.astype(np.float32)


def _by_last_scale(model: TrainedGenerator, scale: float, seed: int) -> np.ndarray:
    """Enlarges by SinGAN's last scale."""
    keys = noise.sample_key(seed)

    def draw(step: int, wanted: NoiseWindow) -> jax.Array:
        (z,) = noise.NoiseSource(jax.random.fold_in(keys, step)[None]).draw([wanted])
        return z

    *_, image = by_last_scale(
        model.generator, model.params, jnp.asarray(model.real), model.noise_amps[-1], scale, draw
    )
    return np.asarray(image[0])


def by_last_scale(
    generator: ScaleGenerator,
    params: Params,
    image: jax.Array,
    noise_amp: jax.Array,
    scale: float,
    draw: DrawFn,
) -> Iterator[jax.Array]:
    """Yields ever larger images `[1, H, W, C]`: SinGAN's last scale is applied again and again.

    Each step enlarges by the same factor, near that of the pyramid, so that the network sees what
    it has learned to add to. The last image is `scale` times as large as `image`, or a little more.

    Args:
        generator: SinGAN's generator.
        params: its parameters.
        image: `[1, h, w, C]` in [-1, 1].
        noise_amp: the amplitude of the last scale's noise.
        scale: the factor, above 1.
        draw: draws the noise of a step.
    """
    steps = max(1, round(PER_DOUBLING * math.log2(scale)))
    step_scale = scale ** (1 / steps)
    generator = ScaleGenerator(dataclasses.replace(generator.arch, factor=1 / step_scale))
    for step in range(steps):
        size = image.shape[1], image.shape[2]
        view = generator.view([size, byte_resize.scaled_size(size, step_scale)])
        wanted = view.noise(generator.arch)[1]
        # The first has one channel, as at scale 0, in the published program.
        z = draw(step, wanted if step else wanted._replace(channels=1))
        image = _enlarged(params, image, z, noise_amp, view, generator=generator)
        yield image


@functools.partial(numerics.jit, static_argnames="generator")
def _enlarged(
    params: Params,
    image: jax.Array,
    z: jax.Array,
    noise_amp: jax.Array,
    view: ScaleView,
    *,
    generator: ScaleGenerator,
) -> jax.Array:
    return generator.enlarged(params, image, z, noise_amp, view.scale(1))


def _by_generator(model: TrainedGenerator, scale: float, seed: int) -> np.ndarray:
    """Enlarges by all of ConSinGAN's generator, which takes the image itself as z_0.

    It has learned to make the training image of a small one. Its last stage alone, again and again,
    adds to the contrast each time.
    """
    growth = max(model.size[0] / model.sizes[0][0], MIN_GROWTH)
    steps = max(1, round(math.log(scale) / math.log(growth)))
    image = model.real[0]
    for step in range(1, steps + 1):
        factor = scale if step == steps else scale ** (step / steps)
        renderer = sampling.renderer(model, *enlarged_size(model.size, factor))
        image = renderer.picture(inputs.image_input(model, seed, image, renderer.sizes[0]))
    return image


ENLARGERS: dict[str, Callable[[Any, float, int], np.ndarray]] = {
    "consingan": _by_generator,
    "singan": _by_last_scale,
}
"""How each method enlarges: of a model, a factor and a seed, `[>= H, >= W, C]`."""
