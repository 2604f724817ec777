"""Builds the noise inputs of a trained generator: of a sample, a composite, the reconstruction."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.data import noise
from consingan_jax.data.noise import NoiseSource
from consingan_jax.errors import InputError
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.nn import resize
from consingan_jax.nn.resize import Size

MAX_SEED = 2**32 - 1
TILES = {"horizontal": (False, True), "vertical": (True, False), "both": (True, True)}
"""Directions in which a tile repeats without a seam: whether its rows wrap, and its columns."""


def check_seed(seed: int, num_samples: int = 1) -> None:
    """Raises an InputError unless `seed` and those of the following samples are in range."""
    if not isinstance(seed, (int, np.integer)):
        raise InputError(f"seed={seed!r}: give a whole number")
    largest = MAX_SEED + 1 - num_samples
    if not 0 <= seed <= largest:
        of = f" of {num_samples} samples" if num_samples > 1 else ""
        raise InputError(f"seed={seed}{of}: give one from 0 to {largest}")


def check_stage(model: TrainedGenerator, start_stage: int) -> None:
    """Raises an InputError unless the model has the stage."""
    last = len(model.sizes) - 1
    if not 0 <= start_stage <= last:
        raise InputError(f"start_stage={start_stage}: this model has the stages 0 to {last}")


def wrapped_axes(
    model: TrainedGenerator, tile: str | None, *, from_z_star: bool
) -> tuple[bool, bool]:
    """Returns whether rows and columns of a tile wrap; neither does if `tile` is None.

    `from_z_star` says whether the image is made from z*, or a part of it.

    Raises:
        InputError: there is no such tile, or the model cannot make it.
    """
    if tile is None:
        return False, False
    if tile not in TILES:
        raise InputError(f"tile={tile}: give {', '.join(TILES)} or leave it out")
    method = model.config.method_spec
    if not method.has_tiles:
        raise InputError(f"tile={tile}: {method.title} has no tiles: train with method=consingan")
    if not model.arch.border_growing:
        raise InputError(
            f"tile={tile}: this model was trained for {model.config.task} and knows the edges of "
            "its image, which a tile does not have: train for generation or animation"
        )
    if not model.per_pixel:
        raise InputError(f"tile={tile}: this model is of format 1, which has no tiles: train again")
    if from_z_star and model.config.fixed_input != "gaussian":
        raise InputError(
            f"tile={tile}: animations and start_stage keep the layout of the training image, whose "
            "edges do not match: give start_stage=0, or a model of the task animation"
        )
    return TILES[tile]


def z_star(model: TrainedGenerator) -> NoiseSource:
    """Returns z*, which reconstructs the training image."""
    image_at_0 = model.config.fixed_input != "gaussian"
    source = model.fixed.source(len(model.sizes), image_at_0=image_at_0)
    zero_below = len(model.sizes) if model.config.method_spec.fixed_is_zero_above else 0
    return dataclasses.replace(source, per_pixel=model.per_pixel, zero_below=zero_below)


def sample_input(
    model: TrainedGenerator, seed: int | jax.Array, coarsest: Size, *, start_stage: int = 0
) -> NoiseSource:
    """Returns the input of one sample.

    Args:
        model: the trained generator.
        seed: seed of the sample; it may be traced.
        coarsest: (height, width) of stage 0.
        start_stage: stages below it take z*.
    """
    num_stages, fixed = len(model.sizes), z_star(model)
    key = noise.sample_key(seed) if model.per_pixel else numerics.key(seed)
    keys, given = noise.stage_keys(key, num_stages), fixed.given[:start_stage]
    if not given and model.task.random_input != "gaussian":
        # Format 1 has a key of its own for z_0, one beyond those of the stages.
        first_key = keys[0] if model.per_pixel else jax.random.fold_in(key, num_stages)
        image = resize.fit(model.real[0], coarsest)[None]
        given = (_first(first_key, image, kind=model.task.random_input),)
    assert fixed.keys is not None, "z* has keys"
    # Below start_stage z* is drawn again from its own keys, as far as it is not stored.
    keys = jnp.concatenate([fixed.keys[:start_stage], keys[start_stage:]])
    zero_below = min(fixed.zero_below, start_stage)
    return dataclasses.replace(fixed, keys=keys, given=given, zero_below=zero_below)


def image_input(
    model: TrainedGenerator, seed: int, image: np.ndarray, coarsest: Size
) -> NoiseSource:
    """Returns the input of a sample with an image `[H, W, C]` as z_0."""
    first = jnp.asarray(resize.fit(image, coarsest))[None]
    return dataclasses.replace(sample_input(model, seed, coarsest), given=(first,))


def composite_input(
    model: TrainedGenerator, seed: int, composite: np.ndarray, coarsest: Size
) -> NoiseSource:
    """Returns z* with z_0 made of a composite `[H, W, C]` (paper, section 4).

    The seed matters only for tasks that add noise to the composite.
    """
    assert model.task.composite_input is not None, "the task takes composites"
    image = jnp.asarray(resize.fit(composite, coarsest))[None]
    first = _first(numerics.key(seed), image, kind=model.task.composite_input)
    fixed = z_star(model)
    return dataclasses.replace(fixed, given=(first, *fixed.given[1:]))


@functools.partial(numerics.jit, static_argnames="kind")
def _first(key: jax.Array, coarsest: jax.Array, *, kind: str) -> jax.Array:
    return noise.INPUTS[kind](key, coarsest)
