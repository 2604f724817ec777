"""Renders images of any size tile by tile, in memory that does not grow with the image."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.data.noise import NoiseSource, Z
from consingan_jax.errors import InputError
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size

MAX_LENGTH = 32768  # pixels of an image that is returned
MAX_PIXELS = 2**28  # of such an image altogether: 3 GiB as numbers
MAX_CANVAS = 2_000_000  # of one that is made in windows; positions must fit into int32
TILE = 512
MAX_AT_ONCE = 2**31 // MAX_CANVAS - 128  # of a side of what one program makes; likewise


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
        raise InputError(
            f"{name}={value} is {pixels} px: give a size from 1 to {limit} px"
            + ("; a file .zarr or .tif may be larger" if limit < pixels <= MAX_CANVAS else "")
        )
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


def checked_window(
    top: int, left: int, height: int, width: int, *, canvas: Size, limit: int = MAX_LENGTH
) -> dict[str, Any]:
    """Returns a window as arguments `top`, `left` and `size`.

    Raises:
        InputError: it does not lie in the canvas, or a side of it is longer than `limit`.
    """
    for names, start, length, whole in (
        (("top", "height"), top, height, canvas[0]),
        (("left", "width"), left, width, canvas[1]),
    ):
        if not 0 <= start < whole or not 1 <= length <= whole - start:
            raise InputError(
                f"{names[0]}={start} and {names[1]}={length}: the canvas has {whole} px there"
            )
        if length > limit:
            raise InputError(f"{names[1]}={length}: a window has {limit} px at most; make several")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"height={height} and width={width}: a window has {MAX_PIXELS} pixels at most; make "
            "several"
        )
    return {"top": top, "left": left, "size": (height, width)}


@functools.partial(numerics.jit, static_argnames="generator")
def generate(
    params: Params, z: Z, noise_amps: jax.Array, view: Crop, *, generator: Generator
) -> jax.Array:
    """Returns the images that a generator makes of z on some windows, compiled.

    However z comes about, the same program makes images of it.
    """
    return generator(params, z, noise_amps, view)


@dataclasses.dataclass(frozen=True, eq=False)
class TiledRenderer:
    """All images of one size that a generator makes, whole or by windows.

    Attributes:
        params: generator parameters.
        noise_amps: amplitude of every stage's noise.
        generator: what makes the images.
        sizes: (height, width) of every stage.
        in_one_piece: whether an image can only be made whole, however large it is.
    """

    params: Params
    noise_amps: jax.Array
    generator: Generator
    sizes: tuple[Size, ...]
    in_one_piece: bool = False

    @property
    def tile(self) -> Size:
        """Height and width of the windows that an image is made of; all of it if it is small.

        Normalisation takes statistics of whole images, so that these are made in one piece.
        """
        if self.in_one_piece or self.generator.arch.batch_norm:
            return self.sizes[-1]
        return TileGrid(self.sizes[-1], (TILE, TILE)).size

    @numerics.independent
    def window(self, source: NoiseSource, *, top: int, left: int, size: Size) -> jax.Array:
        """Returns a part of an image, `[1, *size, C]` in [-1, 1], made at once, without the rest.

        `size` is at most `MAX_AT_ONCE` px a side.
        """
        view = self.generator.view(self.sizes, top=top, left=left, size=size)
        z = source.draw(view.noise(self.generator.arch))
        return generate(self.params, z, self.noise_amps, view, generator=self.generator)

    def memory(self, source: NoiseSource) -> int:
        """Returns the bytes that it takes to make a tile, besides this program's own."""
        view = self.generator.view(self.sizes, size=self.tile)
        # Of real arrays, so that the first tile finds this program compiled.
        z = source.draw(view.noise(self.generator.arch))
        arguments = (self.params, z, self.noise_amps, view)
        lowered = generate.lower(*arguments, generator=self.generator)
        analysis = lowered.compile().memory_analysis()
        assert analysis is not None, "every backend of XLA has this analysis"
        return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes

    def picture(self, source: NoiseSource) -> np.ndarray:
        """Returns an image `[H, W, C]` in [-1, 1], made tile by tile."""
        return self.part(source, top=0, left=0, size=self.sizes[-1])

    def part(self, source: NoiseSource, *, top: int, left: int, size: Size) -> np.ndarray:
        """Returns a part of an image, `[*size, C]` in [-1, 1], made tile by tile."""
        image = np.empty((*size, self.generator.arch.channels), np.float32)
        tiles = TileGrid(size, self.tile)
        height, width = tiles.size
        for row, column in tiles.places():
            made = self.window(source, top=top + row, left=left + column, size=tiles.size)[0]
            image[row : row + height, column : column + width] = made
        return image

    @numerics.independent
    def pictures(self, sources: Iterable[NoiseSource]) -> Iterator[np.ndarray]:
        """Yields the images of some sources, one in memory at a time."""
        for source in sources:
            yield self.picture(source)
