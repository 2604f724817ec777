"""From parameters and noise to images: pure functions, compiled once per output size."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.data import noise
from consingan_jax.errors import InputError
from consingan_jax.nn import resize
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size

MAX_LENGTH = 32768


class Length(NamedTuple):
    """Height or width of an image wanted, and its ratio to the model's own."""

    pixels: int
    factor: float


def read_length(name: str, value: int | str | None, own: int) -> Length:
    """Returns the length that `value` asks for: None, pixels, or a factor such as "2x".

    Raises:
        InputError: `value` is none of these, or the image would be too small or too large.
    """
    if value is None:
        return Length(own, 1.0)
    text = str(value).strip().lower()
    try:
        factor = float(text[:-1]) if text.endswith("x") else int(text) / own
        pixels = int(own * factor) if text.endswith("x") else int(text)
    except (ValueError, OverflowError):
        raise InputError(
            f"{name}={value}: give pixels such as 600 or a factor such as 2x"
        ) from None
    if not 1 <= pixels <= MAX_LENGTH:
        raise InputError(f"{name}={value} is {pixels} px: give a size from 1 to {MAX_LENGTH} px")
    return Length(pixels, factor)


@functools.partial(jax.jit, static_argnames=("generator", "sizes"))
def generate(
    params: Params, z: list[jax.Array], noise_amps: jax.Array, *, generator: Generator, sizes
) -> jax.Array:
    """Returns the images that a generator makes of z, compiled; `sizes` is a tuple."""
    return generator(params, z, noise_amps, sizes)


@functools.partial(jax.jit, static_argnames=("generator", "sizes", "random_input"))
def draw(
    seed: jax.Array,
    coarsest: jax.Array | None,
    *,
    generator: Generator,
    sizes,
    random_input: str,
) -> list[jax.Array]:
    """Returns the input of the image that `seed` names, compiled; `sizes` is a tuple."""
    key = numerics.key(seed)
    z = noise.draw(key, generator.noise_shapes(sizes))
    if coarsest is not None:
        z[0] = noise.INPUTS[random_input](jax.random.fold_in(key, len(z)), coarsest)
    return z


def target_sizes(sizes: Sequence[Size], height: Length, width: Length) -> tuple[Size, ...]:
    """Returns the sizes of all stages for an image of another size.

    Args:
        sizes: (height, width) of every stage as trained.
        height: of the image wanted.
        width: of the image wanted.

    Returns:
        The lower stages scaled and rounded down, the last exactly as wanted.
    """
    lower = [(int(h * height.factor), int(w * width.factor)) for h, w in sizes[:-1]]
    return (*((max(h, 1), max(w, 1)) for h, w in lower), (height.pixels, width.pixels))


@numerics.independent
def samples(
    params: Params,
    noise_amps: jax.Array,
    seeds: Sequence[int],
    *,
    generator: Generator,
    sizes: Sequence[Size],
    kept: Sequence[jax.Array] = (),
    coarsest: np.ndarray | None = None,
    random_input: str = "gaussian",
) -> Iterator[np.ndarray]:
    """Yields one image `[H, W, C]` in [-1, 1] per seed.

    One compiled program makes one image, so an image depends on its seed alone, and memory does
    not depend on how many are asked for.

    Args:
        params: generator parameters.
        noise_amps: amplitude of every stage's noise.
        seeds: one per image.
        generator: what makes the images.
        sizes: (height, width) of every stage.
        kept: z_0, z_1, ... that are given instead of drawn (see `fit_noise`).
        coarsest: `[1, *sizes[0], C]`, the image that z_0 is made from; None: z_0 is gaussian.
        random_input: how, a key of `noise.INPUTS`.
    """
    sizes = tuple(sizes)
    for seed in seeds:
        z = draw(
            np.uint32(seed), coarsest, generator=generator, sizes=sizes, random_input=random_input
        )
        z = [*kept, *z[len(kept) :]]
        yield np.asarray(generate(params, z, noise_amps, generator=generator, sizes=sizes)[0])


def fit_noise(
    z: Sequence[jax.Array], generator: Generator, sizes: Sequence[Size], *, image_at_0: bool
) -> list[jax.Array]:
    """Returns noise drawn for one output size stretched to another.

    An image is resampled smoothly. Gaussian noise takes its nearest neighbour: interpolation would
    take away its variance.

    Args:
        z: z_0, z_1, ..., each `[1, h, w, C]`.
        generator: what takes it.
        sizes: (height, width) of every stage of the other size.
        image_at_0: whether z_0 is an image.
    """
    shapes = generator.noise_shapes(sizes)
    smooth = [image_at_0, *[False] * len(z)]
    return [
        resize.upsample(one, shape[:2]) if is_image else _nearest(one, shape[:2])
        for one, shape, is_image in zip(z, shapes, smooth, strict=False)
    ]


def _nearest(x: jax.Array, size: Size) -> jax.Array:
    rows = np.arange(size[0]) * x.shape[1] // size[0]
    columns = np.arange(size[1]) * x.shape[2] // size[1]
    return jnp.asarray(x)[:, rows][:, :, columns]
