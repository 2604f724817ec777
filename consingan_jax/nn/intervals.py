"""Intervals of rows (or columns) of a grid, and resampling between them.

Rows and columns are treated alike, one axis at a time. The length of an interval is static, because
it decides shapes; its start is an array with an entry for each of N windows, so that one compiled
program serves windows anywhere. Near a border an interval is moved inside the grid instead of being
shortened.

Positions must be exact on grids of any size (a canvas may have 10^6 rows), for which float32 and
products in int32 are too small. On the host positions are numpy integers; a program gets the first
row of an interval and the remainder of its position, and counts on from there.
Rows of a grid that wraps count modulo its length, and its intervals may start anywhere.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from consingan_jax.nn.conv import widen
from consingan_jax.nn.resize import cubic_weights


@struct.dataclass(eq=False)
class Interval:
    """Consecutive rows (or columns) of a grid, one interval for each of N windows.

    Attributes:
        start: `[N]`, the first row: numpy integers of any size on the host, int32 in a program.
        length: number of rows.
        whole: number of rows of the whole grid.
        wraps: whether the first row of the grid follows its last.
    """

    start: Any
    length: int = struct.field(pytree_node=False)
    whole: int = struct.field(pytree_node=False)
    wraps: bool = struct.field(pytree_node=False, default=False)

    @property
    def is_whole(self) -> bool:
        """Whether the interval is the whole grid."""
        return self.length == self.whole and not self.wraps

    def indices(self) -> jax.Array:
        """Returns the row numbers `[N, length]`."""
        rows = _counted(self.start, self.length)
        return rows % self.whole if self.wraps else rows

    def before_convolutions(self, layers: int) -> "Interval":
        """Returns the rows that `layers` valid 3x3 convolutions compute these from."""
        # A valid convolution removes a row at each end, so row r of its output is computed from the
        # rows r to r + 2 of its input: the start keeps its number, unless the grid wraps.
        length = self.length + 2 * layers
        if self.wraps:
            return Interval(self.start - layers, length, self.whole, wraps=True)
        return Interval(self.start, length, self.whole + 2 * layers)

    def within_border(self, border: int) -> "Interval":
        """Returns the rows of the grid without the `border` zeros that pad it at both ends.

        The result has the length of this interval (at most that of the grid), moved inside the grid
        where the interval reaches into the zeros. It contains all rows that the interval needs, and
        near a border a few that it does not.
        """
        if self.wraps:  # it has no border
            return self
        whole = self.whole - 2 * border
        length = min(whole, self.length)
        return Interval((self.start - border).clip(0, whole - length), length, whole)


class Taps(Protocol):
    """How rows of a grid are resampled."""

    def weights(self) -> jax.Array:
        """Returns matrices `[N, length, source_length]`."""


@struct.dataclass(eq=False)
class ResampleTaps:
    """Positions of upsampled rows among the source rows.

    Row i of the result lies at the source position `source + (remainder + i * step) / unit`.

    Attributes:
        source: `[N]`, integer part of the first row's position, counted from the source's start.
        remainder: `[N]`, its fraction, in units of 1 / `unit`.
        length: number of rows of the result.
        source_length: number of rows of the source.
        step: distance between rows, in units of 1 / `unit`; the source grid's length - 1.
        unit: the upsampled grid's length - 1. Where grids wrap, both are their lengths.
    """

    source: Any
    remainder: Any
    length: int = struct.field(pytree_node=False)
    source_length: int = struct.field(pytree_node=False)
    step: int = struct.field(pytree_node=False)
    unit: int = struct.field(pytree_node=False)

    def weights(self) -> jax.Array:
        """Returns the interpolation matrices `[N, length, source_length]`."""
        # Positions are integers over the denominator `unit`. In float32 the fraction of a row would
        # depend on where its window starts, and windows would not agree where they overlap.
        assert (self.length + 1) * self.step + self.unit < 2**31, "positions overflow int32"
        position = _counted(self.remainder, self.length, self.step)
        row = jnp.asarray(self.source)[:, None] + position // self.unit
        shares = cubic_weights((position % self.unit) / self.unit, a=-0.75)
        # Bicubic interpolation repeats the border rows beyond the border.
        taps = [(row + tap).clip(0, self.source_length - 1) for tap in (-1, 0, 1, 2)]
        pairs = zip(taps, shares, strict=True)
        return functools.reduce(
            jnp.add,
            (share[..., None] * jax.nn.one_hot(tap, self.source_length) for tap, share in pairs),
        )


def span(length: int, start: Any = 0, whole: int | None = None, *, wraps: bool = False) -> Interval:
    """Returns an interval of a grid, of a whole one unless `whole` is given.

    `start` is a number, or `[N]`; see `Interval`.
    """
    is_traced = isinstance(start, jax.Array)
    first = jnp.atleast_1d(start) if is_traced else np.atleast_1d(np.asarray(start, np.int64))
    return Interval(first, length, whole or length, wraps)


def upsampled_from(target: Interval, whole: int) -> Interval:
    """Returns the rows of a grid of `whole` rows that `target` is upsampled from."""
    step, unit = _step(target, whole)
    length = -(-(target.length - 1) * step // unit) + 4  # 4 taps of the cubic kernel
    start = scaled(target.start, step, unit)[0] - 1
    if target.wraps:
        return Interval(start, length, whole, wraps=True)
    length = min(whole, length)
    return Interval(start.clip(0, whole - length), length, whole)


def taps(target: Interval, source: Interval) -> ResampleTaps:
    """Returns the positions of `target`'s rows in `source`, which contains all that they need."""
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
    """Returns `divmod(number * step, unit)`, also where int32 cannot hold the product.

    Args:
        number: any integers on the host; in a program int32, about `unit` at most.
        step: in a program below 2**22.
        unit: in a program below 2**22.
    """
    if isinstance(number, jax.Array):
        assert max(step, unit) < 2**22 and step * unit < 2**38, "positions overflow int32"
    # Long division in base 256: divide the high digits first, and carry their remainder.
    high, low = number // 256, number % 256
    whole, left = high * step // unit, high * step % unit
    rest = 256 * left + low * step
    return 256 * whole + rest // unit, rest % unit


def _step(target: Interval, whole: int) -> tuple[int, int]:
    """Returns `step` and `unit` of `ResampleTaps` for a source grid of `whole` rows."""
    # Corners are aligned: the first and last rows of both grids coincide. Where the grids wrap, the
    # first rows coincide, and the first of the next period.
    ends = 0 if target.wraps else 1
    return (whole - ends, target.whole - ends) if target.whole > ends else (0, 1)


def _counted(start: Any, length: int, step: int = 1) -> jax.Array:
    """Returns `start + step * i` for i below `length`, `[N, length]`."""
    return jnp.asarray(start)[:, None] + step * jnp.arange(length)[None]


# Operations on features `[N, h, w, C]`, whose rows and columns are a pair of intervals.


def with_border(x: jax.Array, inner: Sequence[Interval], outer: Sequence[Interval]) -> jax.Array:
    """Pads features on `inner` to features on `outer`, whose grid has zeros around `inner`'s.

    Inverts `Interval.within_border`: an interval inside the grid gets features only.
    """
    # Pad on all sides, and cut `outer` out: whether zeros are visible depends on the start alone.
    rows, columns = ((o.whole - i.whole) // 2 for i, o in zip(inner, outer, strict=True))
    x = jnp.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    starts = [o.start - _for_each(i, o) for i, o in zip(inner, outer, strict=True)]
    return _cut(x, starts, outer)


def crop(x: jax.Array, outer: Sequence[Interval], inner: Sequence[Interval]) -> jax.Array:
    """Cuts `inner` out of features on `outer`, an interval of the same grid that contains it."""
    starts = [i.start - _for_each(o, i) for i, o in zip(inner, outer, strict=True)]
    return _cut(x, starts, inner)


def upsample(x: jax.Array, by: Sequence[Taps]) -> jax.Array:
    """Resamples features, by `ResampleTaps` bicubically (a = -0.75) and with aligned corners.

    Maps `[N, h, w, C]` to `[N, H, W, C]`, for the positions of rows and columns.
    """
    # In float32, because bfloat16 rounds the weights and constant features would not stay constant.
    wide = widen(x)
    rows, columns = (each.weights() for each in by)
    wide = _for_all(wide, len(rows))
    for axis, weights in (("h", rows), ("w", columns)):
        together = len(weights) == 1  # one matrix for the whole batch
        made, matrix = "nhwc".replace(axis, "o"), f"{'' if together else 'n'}o{axis}"
        wide = jnp.einsum(
            f"{matrix},nhwc->{made}",
            weights[0] if together else weights,
            wide,
            precision=jax.lax.Precision.HIGHEST,
        )
    return wide.astype(x.dtype)


def upsample_to(x: jax.Array, target: Sequence[Interval]) -> jax.Array:
    """Upsamples whole features `[N, h, w, C]` to the given rows and columns; see `upsample`."""
    axes = zip(target, x.shape[1:3], strict=True)
    return upsample(x, [taps(rows, span(length)) for rows, length in axes])


def _for_all(x: jax.Array, num: int) -> jax.Array:
    """Repeats features that several windows share, up to a batch of `num`."""
    return jnp.repeat(x, num // len(x), axis=0) if len(x) < num else x


def _for_each(shared: Interval, own: Interval) -> Any:
    """Repeats the starts of `shared`, which several windows may share, for each window of `own`."""
    return shared.start.repeat(len(own.start) // len(shared.start))


def _cut(x: jax.Array, starts: Sequence[Any], spans: Sequence[Interval]) -> jax.Array:
    """Cuts a part of equal size out of the features of every window, each at its own start."""
    num, lengths = len(starts[0]), tuple(span.length for span in spans)
    x = _for_all(x, num)
    if x.shape[1:3] == lengths:
        return x
    # Slices one by one: a batched slice is a gather, and its gradient a scatter.
    parts = [
        jax.lax.dynamic_slice(image, (0, row, column, 0), (len(image), *lengths, x.shape[3]))
        for image, row, column in zip(jnp.split(x, num), *starts, strict=True)
    ]
    return jnp.concatenate(parts)
