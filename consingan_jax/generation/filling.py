"""Fills the hole of a training image, the part that was not learned (`config.exclude`)."""

from collections.abc import Iterator

import numpy as np

from consingan_jax.data import exclusion, pyramid
from consingan_jax.data.noise import HoleNoise
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs, sampling
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.images import loading
from consingan_jax.nn import resize

SAME = 0.01  # on [-1, 1], the largest difference between two readings of one image
Picture = tuple[np.ndarray, np.ndarray]
"""An image `[H, W, C]` in [-1, 1], and its hole `[H, W]`."""


def fillings(
    model: TrainedGenerator,
    seed: int,
    num_samples: int,
    *,
    start_stage: int = 0,
    picture: Picture | None = None,
) -> Iterator[np.ndarray]:
    """Returns an iterator over fillings `[H, W, C]` of the model's image, or of a larger `picture`.

    Raises:
        InputError: the model has learned the whole image, or an argument is out of range.
    """
    if model.hole is None:
        raise InputError(
            "this model has learned its whole image: train one with config.exclude=MASK to fill "
            "what the mask covers"
        )
    if num_samples < 1:
        raise InputError(f"num_samples={num_samples}: give 1 or more")
    inputs.check_seed(seed, num_samples)
    inputs.check_stage(model, start_stage)
    image, hole = picture or (model.real[0], model.hole)
    renderer = sampling.renderer(model)
    sources = (noise_of(model, seed + j, start_stage=start_stage) for j in range(num_samples))
    return (blend(made, image, hole) for made in renderer.pictures(sources))


def noise_of(model: TrainedGenerator, seed: int, *, start_stage: int = 0) -> HoleNoise:
    """Returns the input of a filling: noise in the hole, z* around it and below `start_stage`."""
    assert model.hole is not None, "`fillings` has checked it"
    other = inputs.sample_input(model, seed, model.sizes[0], start_stage=start_stage)
    holes = exclusion.as_images(exclusion.touched(model.hole, size) for size in model.sizes)
    return HoleNoise(inputs.z_star(model), other, holes)


def blend(made: np.ndarray, picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W, C]` with what a model made in its hole `[H, W]`.

    What was made is resized to the image, and corrected by its difference to the image around the
    hole, which is continued smoothly into it. So there is no seam, and nothing changes outside.
    """
    if made.shape != picture.shape:
        made = resize.fit(made, (picture.shape[0], picture.shape[1]))
    corrected = made + exclusion.fill(picture - made, hole)
    return np.where(hole[..., None], corrected.clip(-1, 1), picture)


def full_size(model: TrainedGenerator) -> Picture:
    """Reads the training image of a model again, and the mask of its hole.

    Raises:
        InputError: a file is gone, or is another one.
    """
    image = loading.read(model.config)
    pixels = np.asarray(image.pixels)
    hole, _ = exclusion.read(model.config, image.pixels.shape[:2], turn=image.orientation)
    levels = pyramid.build(exclusion.fill(pixels, hole), **pyramid.arguments(model.config))
    level = levels[len(model.sizes) - 1]
    if level.shape != model.real.shape or np.abs(level - model.real).max() > SAME:
        raise InputError(
            f"full_size: {model.config.image} or {model.config.exclude} is not what the model was "
            "trained with"
        )
    return pixels, hole
