"""Intervals of rows (or columns) of a level, and resampling between them.

All layers are local, so some rows of a stage follow exactly from somewhat more rows of the stage
below. How long a span is is static; where it starts is an array, with a place for each of N
windows, so that one compiled program serves them all.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from consingan_jax.nn.conv import pad, widen
from consingan_jax.nn.resize import cubic_weights


@struct.dataclass(eq=False)
class Interval:
    """Neighbouring rows (or columns) of a grid, in each of N windows.

    Attributes:
        start: `[N]`, the first one; numpy integers on the host, where they may be any size, or
            int32 inside a program.
        length: how many.
        whole: how many the whole grid has.
    """

    start: Any
    length: int = struct.field(pytree_node=False)
    whole: int = struct.field(pytree_node=False)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole grid."""
        return self.length == self.whole

    def indices(self) -> jax.Array:
        """Returns the numbers of the rows, `[N, length]`."""
        return _counted(self.start, self.length)

    def before_convolutions(self, layers: int) -> "Interval":
        """Returns the rows that valid 3x3 convolutions make these from."""
        return Interval(self.start, self.length + 2 * layers, self.whole + 2 * layers)

    def within_border(self, border: int) -> "Interval":
        """Returns the rows of the grid that this one is with `border` zeros at both ends.

        Same length as this interval, clamped to the grid, so that the length is static although
        the start is not: near the border some rows are read twice or not needed.
        """
        whole = self.whole - 2 * border
        length = min(whole, self.length)
        return Interval((self.start - border).clip(0, whole - length), length, whole)


@struct.dataclass(eq=False)
class ResampleTaps:
    """Where upsampled rows lie among the rows that they are made from.

    Attributes:
        source: `[N]`, the row at or above the first one's position, counted within the source.
        remainder: `[N]`, how far below it that position is, in units of 1 / (grid - 1).
        length: rows made.
        source_length: rows they are made from.
        step: from one position to the next, in the same units.
        unit: grid - 1.
    """

    source: Any
    remainder: Any
    length: int = struct.field(pytree_node=False)
    source_length: int = struct.field(pytree_node=False)
    step: int = struct.field(pytree_node=False)
    unit: int = struct.field(pytree_node=False)

    def weights(self) -> jax.Array:
        """Returns the share of every source row in every row, `[N, length, source_length]`."""
        # Positions are fractions with the denominator `unit`, kept as whole numbers: in float32 a
        # row beyond 2**24 / unit would have another fraction than the same row of a small image,
        # and windows of one image would not agree where they overlap.
        assert (self.length + 1) * self.step + self.unit < 2**31, "positions overflow int32"
        position = _counted(self.remainder, self.length, self.step)
        row = jnp.asarray(self.source)[:, None] + position // self.unit
        shares = cubic_weights((position % self.unit) / self.unit, a=-0.75)
        # Rows beyond the border repeat the border's, as bicubic interpolation does.
        taps = [(row + tap).clip(0, self.source_length - 1) for tap in (-1, 0, 1, 2)]
        pairs = zip(taps, shares, strict=True)
        return functools.reduce(
            jnp.add,
            (share[..., None] * jax.nn.one_hot(tap, self.source_length) for tap, share in pairs),
        )


def span(length: int, start: Any = 0, whole: int | None = None) -> Interval:
    """Returns rows of a grid: all of them unless `whole` says how many there are.

    Args:
        length: how many rows.
        start: the first one, or `[N]`: on the host any integers, else int32.
        whole: rows of the whole grid.
    """
    if isinstance(start, jax.Array):
        return Interval(jnp.atleast_1d(start), length, whole or length)
    return Interval(np.atleast_1d(np.asarray(start, np.int64)), length, whole or length)


def upsampled_from(target: Interval, whole: int) -> Interval:
    """Returns the rows of a grid of `whole` that upsampled ones are made from."""
    step, unit = _step(target, whole)
    length = min(whole, -(-(target.length - 1) * step // unit) + 4)  # 4: of the cubic kernel
    first, _ = scaled(target.start, step, unit)
    return Interval((first - 1).clip(0, whole - length), length, whole)


def taps(target: Interval, source: Interval) -> ResampleTaps:
    """Returns how upsampled rows are made from rows that contain all they need."""
    step, unit = _step(target, source.whole)
    first, remainder = scaled(target.start, step, unit)
    return ResampleTaps(
        first - source.start,
        remainder,
        length=target.length,
        source_length=source.length,
        step=step,
        unit=unit,
    )


def scaled(number: Any, step: int, unit: int) -> tuple[Any, Any]:
    """Returns `number * step // unit` and what is left, also where int32 cannot hold the product.

    Args:
        number: on the host any integers; in a program int32, hardly beyond `unit`.
        step: a number below 2**22.
        unit: likewise.
    """
    if isinstance(number, jax.Array):
        assert max(step, unit) < 2**22 and step * unit < 2**38, "positions overflow int32"
    high, low = number // 256, number % 256
    whole, left = high * step // unit, high * step % unit
    rest = 256 * left + low * step
    return 256 * whole + rest // unit, rest % unit


def _step(target: Interval, whole: int) -> tuple[int, int]:
    """Returns the distance of upsampled rows on a grid of `whole`, corners on corners, and unit."""
    return (whole - 1, target.whole - 1) if target.whole > 1 else (0, 1)


def _counted(start: Any, length: int, step: int = 1) -> jax.Array:
    """Returns `length` numbers from each of `[N]` starts on, `[N, length]`."""
    return jnp.asarray(start)[:, None] + step * jnp.arange(length)[None]


# What is done to images `[N, h, w, C]` of such rows and columns.


def with_border(x: jax.Array, inner: Sequence[Interval], outer: Sequence[Interval]) -> jax.Array:
    """Puts the zeros around `inner` that make it `outer`, as far as they lie in the window."""
    x = pad(x, (outer[0].whole - inner[0].whole) // 2)
    starts = [o.start - _for_each(i, o) for i, o in zip(inner, outer, strict=True)]
    return _cut(x, starts, outer)


def crop(x: jax.Array, outer: Sequence[Interval], inner: Sequence[Interval]) -> jax.Array:
    """Takes `inner` out of a larger part of the same grid."""
    starts = [i.start - _for_each(o, i) for i, o in zip(inner, outer, strict=True)]
    return _cut(x, starts, inner)


def upsample(x: jax.Array, by: Sequence[ResampleTaps]) -> jax.Array:
    """Resamples features bicubically (a = -0.75), corners on corners, border pixels repeated.

    Args:
        x: `[N, h, w, C]`.
        by: how rows and columns are made.

    Returns:
        `[N, H, W, C]`.
    """
    # In float32: bfloat16 would round the weights, and constant features would not stay constant.
    wide = widen(x)
    rows, columns = (each.weights() for each in by)
    wide = _for_all(wide, len(rows))
    for axis, weights in (("h", rows), ("w", columns)):
        together = len(weights) == 1
        made, matrix = "nhwc".replace(axis, "o"), f"{'' if together else 'n'}o{axis}"
        wide = jnp.einsum(
            f"{matrix},nhwc->{made}",
            weights[0] if together else weights,
            wide,
            precision=jax.lax.Precision.HIGHEST,
        )
    return wide.astype(x.dtype)


def upsample_to(x: jax.Array, target: Sequence[Interval]) -> jax.Array:
    """Resamples whole features `[N, h, w, C]` to some rows and columns, as `upsample` does."""
    axes = zip(target, x.shape[1:3], strict=True)
    return upsample(x, [taps(rows, span(length)) for rows, length in axes])


def _for_all(x, num):
    """Returns images for `num` windows each: what is whole serves all of them."""
    return jnp.repeat(x, num // len(x), axis=0) if len(x) < num else x


def _for_each(shared, own):
    """Returns the starts of rows that several windows may share, for each of these."""
    return shared.start.repeat(len(own.start) // len(shared.start))


def _cut(x, starts, spans):
    """Takes a part of every image, at its own place."""
    num, lengths = len(starts[0]), tuple(span.length for span in spans)
    x = _for_all(x, num)
    if x.shape[1:3] == lengths:
        return x
    parts = [
        jax.lax.dynamic_slice(image, (0, row, column, 0), (len(image), *lengths, x.shape[3]))
        for image, row, column in zip(jnp.split(x, num), *starts, strict=True)
    ]
    return jnp.concatenate(parts)
