"""From parameters and noise to images of any size, in flat memory."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from consingan_jax.data import noise
from consingan_jax.data.noise import Source
from consingan_jax.errors import InputError
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size
from consingan_jax.nn.windows import View

MAX_LENGTH = 32768  # pixels of an image that is returned
MAX_CANVAS = 2_000_000  # of one that is made in windows; positions must fit into int32
TILE = 512


class Length(NamedTuple):
    """Height or width of an image wanted, and its ratio to the model's own."""

    pixels: int
    factor: float


def read_length(name: str, value: int | str | None, own: int, *, limit: int = MAX_LENGTH) -> Length:
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
    if not 1 <= pixels <= limit:
        raise InputError(f"{name}={value} is {pixels} px: give a size from 1 to {limit} px")
    return Length(pixels, factor)


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


@functools.partial(jax.jit, static_argnames="generator")
def render(
    params: Params, noise_amps: jax.Array, source: Source, view: View, *, generator: Generator
) -> jax.Array:
    """Returns the images that a generator makes of windows of a source, compiled."""
    return generator(params, source.draw(view.noise(generator.arch)), noise_amps, view)


@functools.partial(jax.jit, static_argnames="kind")
def first_input(key: jax.Array, coarsest: jax.Array, *, kind: str) -> jax.Array:
    """Returns z_0 of a kind, a key of `noise.INPUTS`, compiled."""
    return noise.INPUTS[kind](key, coarsest)


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """All images of one size that a generator makes, whole or by windows.

    Attributes:
        params: generator parameters.
        noise_amps: amplitude of every stage's noise.
        generator: what makes the images.
        sizes: (height, width) of every stage.
    """

    params: Params
    noise_amps: jax.Array
    generator: Generator
    sizes: tuple[Size, ...]

    @property
    def tile(self) -> Size:
        """Height and width of the windows that an image is made of; all of it if it is small.

        Normalisation takes statistics of whole images, so that these are made in one piece.
        """
        height, width = self.sizes[-1]
        if self.generator.arch.batch_norm:
            return height, width
        return min(height, TILE), min(width, TILE)

    def window(self, source: Source, top: int, left: int, size: Size) -> jax.Array:
        """Returns a part of an image, `[1, *size, C]` in [-1, 1], made without the rest."""
        view = self.generator.view(self.sizes, top=top, left=left, size=size)
        return render(self.params, self.noise_amps, source, view, generator=self.generator)

    def picture(self, source: Source) -> np.ndarray:
        """Returns an image `[H, W, C]` in [-1, 1], made tile by tile."""
        image = np.empty((*self.sizes[-1], self.generator.arch.channels), np.float32)
        for top, left in corners(self.sizes[-1], self.tile):
            made = self.window(source, top, left, self.tile)[0]
            image[top : top + made.shape[0], left : left + made.shape[1]] = made
        return image


def corners(canvas: Size, tile: Size) -> list[tuple[int, int]]:
    """Returns where the tiles of a canvas begin, row by row; the last ones are moved inside."""
    starts = (
        [*range(0, whole - length, length), whole - length]
        for whole, length in zip(canvas, tile, strict=True)
    )
    return list(itertools.product(*starts))
