"""Renders images of any size tile by tile, in memory that does not grow with the image."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.data.noise import NoiseSource, Source, Z
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size

Length = int | str | None
"""Height or width of an image: pixels, a factor such as "2x", or None for the model's own."""
Window = tuple[int, int, int, int]
"""(top, left, height, width) of a part of an image, in pixels."""

MAX_LENGTH = 32768  # pixels per side of an image that is returned whole
MAX_PIXELS = 2**28  # of such an image: 3 GiB as float32 RGB
MAX_CANVAS = 2_000_000  # pixels per side of an image rendered in windows; positions are int32
TILE = 512
# Pixels per side of a window rendered by one program. Resampling multiplies the length of a window
# and its receptive field's border by that of the canvas, in int32.
MAX_AT_ONCE = 2**31 // MAX_CANVAS - 128


def stage_sizes(
    sizes: Sequence[Size],
    height: Length,
    width: Length,
    *,
    limit: int = MAX_LENGTH,
    rounding: Callable[[float], int] = int,
) -> tuple[Size, ...]:
    """Returns the sizes of all stages for an image of another size than the trained `sizes`.

    The lower stages are scaled and made whole by `rounding`; the last is exactly as requested.

    Raises:
        InputError: a length is malformed, less than 1 or more than `limit` px, or the image has too
            many pixels.
    """
    if height is None and width is None:
        return tuple(sizes)  # whatever its size, the training image can be reconstructed
    rows, down = _read_length("height", height, sizes[-1][0], limit)
    columns, across = _read_length("width", width, sizes[-1][1], limit)
    if limit == MAX_LENGTH and rows * columns > MAX_PIXELS:
        raise InputError(
            f"height={rows} and width={columns}: an image of so many pixels takes a file .zarr or "
            ".tif as --out; or make parts of it by `Model.window`"
        )
    lower = [(max(1, rounding(h * down)), max(1, rounding(w * across))) for h, w in sizes[:-1]]
    return (*lower, (rows, columns))


def _read_length(name: str, value: Length, own: int, limit: int) -> tuple[int, float]:
    """Returns a length in pixels, and its ratio to the model's own."""
    if value is None:
        return own, 1.0
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
    return pixels, factor


def check_window(
    top: int, left: int, height: int, width: int, *, canvas: Size, limit: int = MAX_LENGTH
) -> None:
    """Raises an InputError unless a window lies in the canvas and its sides are within `limit`."""
    axes = (("top", top, "height", height), ("left", left, "width", width))
    for (name, start, side, length), whole in zip(axes, canvas, strict=True):
        if not 0 <= start < whole or not 1 <= length <= whole - start:
            raise InputError(f"{name}={start} and {side}={length}: the canvas has {whole} px there")
        if length > limit:
            raise InputError(f"{side}={length}: a window has {limit} px at most; make several")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"height={height} and width={width}: a window has {MAX_PIXELS} pixels at most; make "
            "several"
        )


def _check_windowed(model: TrainedGenerator) -> None:
    """Raises an InputError if the model can only generate whole images."""
    if model.arch.needs_whole:
        why = "its normalisation takes statistics of whole images"
    elif model.task.composite_input is not None:
        why = f"the task {model.config.task} takes whole images"
    elif not model.per_pixel:
        why = "it is of format 1, whose noise is drawn for whole images: train it again"
    else:
        return
    raise InputError(f"this model cannot make windows or very large images: {why}")


@functools.partial(numerics.jit, static_argnames="generator")
def generate(
    params: Params, z: Z, noise_amps: jax.Array, view: Crop, *, generator: Generator
) -> jax.Array:
    """Returns the generator's images of some windows."""
    # Compiled apart from the drawing of z: samples, composites and z* share one program.
    return generator(params, z, noise_amps, view)


@dataclasses.dataclass(frozen=True, eq=False)
class TiledRenderer:
    """Renders images of one size, whole or in windows.

    Attributes:
        params: generator parameters.
        noise_amps: amplitude of each stage's noise.
        generator: the generator network.
        sizes: (height, width) of each stage.
        in_one_piece: whether images can only be rendered whole, however large.
        wraps: whether their rows and columns wrap, as for `receptive_field.view`.
    """

    params: Params
    noise_amps: jax.Array
    generator: Generator
    sizes: tuple[Size, ...]
    in_one_piece: bool = False
    wraps: tuple[bool, bool] = (False, False)

    @property
    def tile(self) -> Size:
        """(height, width) of the tiles; all of an image that is small or normalised."""
        # Normalisation takes its statistics over the whole image.
        if self.in_one_piece or self.generator.arch.needs_whole:
            return self.sizes[-1]
        return TileGrid(self.sizes[-1], (TILE, TILE)).size

    @numerics.independent
    def window(self, source: Source, *, top: int, left: int, size: Size) -> jax.Array:
        """Returns a window `[1, *size, C]` in [-1, 1] of an image, rendered by one program.

        `size` is at most `MAX_AT_ONCE` px a side.
        """
        view = self.generator.view(self.sizes, top=top, left=left, size=size, wraps=self.wraps)
        z = source.draw(view.noise(self.generator.arch))
        return generate(self.params, z, self.noise_amps, view, generator=self.generator)

    def memory(self, source: Source) -> int:
        """Returns the bytes that a tile's arrays and intermediate results take."""
        view = self.generator.view(self.sizes, size=self.tile, wraps=self.wraps)
        # Lowered for real arrays, not shapes, so that the first tile finds the program compiled.
        z = source.draw(view.noise(self.generator.arch))
        arguments = (self.params, z, self.noise_amps, view)
        lowered = generate.lower(*arguments, generator=self.generator)
        analysis = lowered.compile().memory_analysis()
        assert analysis is not None, "every backend of XLA has this analysis"
        return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes

    def picture(self, source: Source) -> np.ndarray:
        """Returns an image `[H, W, C]` in [-1, 1], rendered tile by tile."""
        return self.part(source, top=0, left=0, size=self.sizes[-1])

    def part(self, source: Source, *, top: int, left: int, size: Size) -> np.ndarray:
        """Returns a part `[*size, C]` of an image in [-1, 1], rendered tile by tile."""
        image = np.empty((*size, self.generator.arch.channels), np.float32)
        tiles = TileGrid(size, self.tile)
        height, width = tiles.size
        for row, column in tiles.places():
            tile = self.window(source, top=top + row, left=left + column, size=tiles.size)
            image[row : row + height, column : column + width] = np.asarray(tile)[0]
        return image

    @numerics.independent
    def pictures(self, sources: Iterable[Source]) -> Iterator[np.ndarray]:
        """Yields an image for each source, one in memory at a time."""
        for source in sources:
            yield self.picture(source)


def renderer(
    model: TrainedGenerator,
    height: Length = None,
    width: Length = None,
    *,
    windowed: bool = False,
    wraps: tuple[bool, bool] = (False, False),
) -> TiledRenderer:
    """Returns the renderer of a model's images of one size, whose rows and columns may wrap.

    A `windowed` one is for images that are not returned whole, with up to `MAX_CANVAS` px a side.

    Raises:
        InputError: a length is out of range, or the model cannot be `windowed`.
    """
    if windowed:
        _check_windowed(model)
    limit = MAX_CANVAS if windowed else MAX_LENGTH
    rounding = model.config.method_spec.rounding
    sizes = stage_sizes(model.sizes, height, width, limit=limit, rounding=rounding)
    arrays, in_one_piece = (model.params, model.noise_amps), not model.per_pixel
    return TiledRenderer(*arrays, model.generator, sizes, in_one_piece, wraps)


def windowed_sample(
    model: TrainedGenerator,
    seed: int,
    *,
    height: Length = None,
    width: Length = None,
    start_stage: int = 0,
    tile: str | None = None,
) -> tuple[NoiseSource, TiledRenderer]:
    """Returns a sample's input and its renderer, which renders any window of it.

    Arguments are those of `Model.sample`, errors also those of `renderer`.
    """
    inputs.check_seed(seed)
    inputs.check_stage(model, start_stage)
    wraps = inputs.wrapped_axes(model, tile, from_z_star=start_stage > 0)
    canvas = renderer(model, height, width, windowed=True, wraps=wraps)
    return inputs.sample_input(model, seed, canvas.sizes[0], start_stage=start_stage), canvas


def crop(
    model: TrainedGenerator,
    height: Length,
    width: Length,
    window: Window | None = None,
    *,
    wraps: tuple[bool, bool] = (False, False),
) -> Crop:
    """Returns the whole of an image of some size, or a window of it of up to `MAX_AT_ONCE` px.

    Raises:
        InputError: as `renderer` and `check_window` do.
    """
    sizes = renderer(model, height, width, windowed=window is not None).sizes
    if window is None:
        return model.generator.view(sizes, wraps=wraps)
    check_window(*window, canvas=sizes[-1], limit=MAX_AT_ONCE)
    top, left, rows, columns = window
    return model.generator.view(sizes, top=top, left=left, size=(rows, columns), wraps=wraps)
