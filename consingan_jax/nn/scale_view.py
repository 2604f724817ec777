"""The part of every scale of SinGAN that a window of the image depends on.

Like `receptive_field`, with images instead of features between the scales: a scale reads the image
of the scale below, resampled by the factor of the pyramid, and the noise around it. Windows are
positioned on the host, in double precision.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from consingan_jax.nn.intervals import Interval, span
from consingan_jax.nn.receptive_field import NoiseWindow
from consingan_jax.nn.resize import Size, cubic_kernel, kernel_taps


@struct.dataclass(eq=False)
class HostTaps:
    """Source rows and weights of resampled rows, computed on the host.

    Attributes:
        index: `[N, length, taps]`, counted from the source's start.
        weight: `[N, length, taps]`.
        source_length: number of rows of the source.
    """

    index: Any
    weight: Any
    source_length: int = struct.field(pytree_node=False)

    def weights(self) -> jax.Array:
        """Returns the interpolation matrices `[N, length, source_length]`."""
        index, weight = jnp.asarray(self.index), jnp.asarray(self.weight)
        parts = (
            weight[..., tap, None] * jax.nn.one_hot(index[..., tap], self.source_length)
            for tap in range(index.shape[-1])
        )
        return functools.reduce(jnp.add, parts)


@struct.dataclass(eq=False)
class ScaleSpans:
    """Rows (or columns) that one scale reads and computes, in N windows.

    Attributes:
        out: its image.
        wide: input of the convolutions, with the border of zeros.
        inner: `wide` without the border.
        noise: rows of z_i.
        source: rows of the image below.
        raised: rows of that image, resampled and cropped to the size of the scale.
        up: resampling from `source` to `raised`.
        framed: `raised` with its border of zeros.
        stretch: resampling from `framed` to `wide`.
        is_stretched: whether `raised` is too small for the scale, so that `stretch` is needed.
    """

    out: Interval
    wide: Interval
    inner: Interval
    noise: Interval
    source: Interval
    raised: Interval
    up: HostTaps
    framed: Interval
    stretch: HostTaps
    is_stretched: bool = struct.field(pytree_node=False)


@struct.dataclass(eq=False)
class ScaleView:
    """N windows of an image and of everything that they are computed from.

    Attributes:
        rows: those of every scale, coarse to fine.
        columns: likewise.
    """

    rows: tuple[ScaleSpans, ...]
    columns: tuple[ScaleSpans, ...]

    def scale(self, i: int) -> tuple[ScaleSpans, ScaleSpans]:
        """Returns the rows and columns of scale i."""
        return self.rows[i], self.columns[i]

    def noise(self, arch: Any) -> list[NoiseWindow]:
        """Returns the parts of z_0 .. z_d that the windows depend on; z_0 has one channel."""
        return [
            NoiseWindow(rows.noise, columns.noise, arch.channels if i else 1)
            for i, (rows, columns) in enumerate(zip(self.rows, self.columns, strict=True))
        ]


@dataclasses.dataclass(frozen=True)
class ScaleGeometry:
    """What positions depend on.

    Attributes:
        border: rows that the convolutions of a scale take away at each end.
        factor: the size of a level relative to the one above it.
        noise_in_border: whether the noise fills the border, as in animations; else it is zero.
    """

    border: int
    factor: float
    noise_in_border: bool

    def view(
        self, sizes: Sequence[Size], *, top: Any = 0, left: Any = 0, size: Size | None = None
    ) -> ScaleView:
        """Returns windows of the image that scales of the given sizes generate.

        Args:
            sizes: (height, width) of the scales, coarse to fine.
            top: first row of the window, or `[N]` for N windows.
            left: first column, like `top`.
            size: (height, width) of all windows; None: the whole image.
        """
        height, width = size or sizes[-1]
        rows = self._axis([h for h, _ in sizes], span(height, top, sizes[-1][0]))
        columns = self._axis([w for _, w in sizes], span(width, left, sizes[-1][1]))
        return ScaleView(rows, columns)

    def _axis(self, wholes: Sequence[int], out: Interval) -> tuple[ScaleSpans, ...]:
        scales: list[ScaleSpans] = []
        for i in reversed(range(len(wholes))):  # the source of each is the image of the one below
            scales.insert(0, self._scale(out, wholes[i - 1] if i else wholes[0]))
            out = scales[0].source
        return tuple(scales)

    def _scale(self, out: Interval, below: int) -> ScaleSpans:
        wide = out.before_convolutions(self.border)
        inner = wide.within_border(self.border)
        # An image of another size than the training image's may be enlarged to less than the next
        # scale needs. It is then stretched, together with its border.
        whole = min(out.whole, math.ceil(below * (1 / self.factor)))
        framed, stretch = _stretched(wide, whole + 2 * self.border)
        raised = framed.within_border(self.border)
        source, up = _raised(raised, below, 1 / self.factor)
        return ScaleSpans(
            out=out,
            wide=wide,
            inner=inner,
            noise=wide if self.noise_in_border else inner,
            source=source,
            raised=raised,
            up=up,
            framed=framed,
            stretch=stretch,
            is_stretched=whole < out.whole,
        )


def _numbers(rows: Interval) -> np.ndarray:
    return np.asarray(rows.start)[:, None] + np.arange(rows.length)


def _taps(
    index: np.ndarray, weight: np.ndarray, step: float, whole: int
) -> tuple[Interval, HostTaps]:
    """Returns the interval of `whole` rows that the indices `[N, length, taps]` lie in, and taps.

    Its length depends on that of the result alone, so that one program serves windows anywhere.
    """
    length = min(whole, math.ceil(index.shape[1] * step) + index.shape[2] + 1)
    start = index.min((1, 2)).clip(0, whole - length)
    return Interval(start, length, whole), HostTaps(index - start[:, None, None], weight, length)


def _raised(target: Interval, whole: int, scale: float) -> tuple[Interval, HostTaps]:
    """Returns the source of rows that are resampled by a factor, and the resampling."""
    rows = _numbers(target)
    index, centre = kernel_taps(rows.ravel(), scale, 1.0)
    weight = cubic_kernel(centre[:, None] - index, a=-0.5) * (index >= 0)
    weight /= weight.sum(axis=1, keepdims=True)
    index = np.minimum(index, 2 * whole - 1 - index).clip(0, whole - 1)  # mirrored after the last
    index, weight = (array.reshape(*rows.shape, -1) for array in (index, weight))
    return _taps(index, weight, 1 / scale, whole)


def _stretched(target: Interval, whole: int) -> tuple[Interval, HostTaps]:
    """Returns the source of rows that are interpolated linearly, and the interpolation."""
    step = (whole - 1) / (target.whole - 1)
    position = _numbers(target) * step
    low = np.minimum(np.floor(position).astype(int), whole - 2)
    share = position - low
    return _taps(np.stack([low, low + 1], -1), np.stack([1 - share, share], -1), step, whole)
