"""Computes which part of every stage a window of the image depends on.

All layers are local, so a window of a stage's output follows exactly from a somewhat larger window
of the stage below, down to the noise (docs/windows.md). `view` goes this way along each axis, from
the image to z_0, and records the interval that every step reads:

    image <- tail <- stage d <- upsampling <- stage d - 1 <- ... <- stage 0 <- head <- z_0

A stage of L layers reads L rows more at each end. The generator then runs forward and pads, crops
and upsamples to exactly these intervals. The whole image is the largest window.

An axis that wraps has neither borders nor padding: every level is one period of an endless one, and
the levels are upsampled by the ratio of their lengths. All parts of such an image are made as the
middle of a very large one is.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from consingan_jax.nn.intervals import Interval, ResampleTaps, span, taps, upsampled_from
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.resize import Size


@struct.dataclass(eq=False)
class StageSpans:
    """Rows (or columns) that one stage reads and computes, in N windows.

    Attributes:
        out: output.
        wide: input of the convolutions, zero padding included.
        inner: `wide` without the zero padding.
        source: rows that `inner` is upsampled from, of the stage below or of the head.
        noise: rows of z_i.
        to_inner: upsampling from `source` to `inner`; None if they are equal.
        to_out: upsampling from `source` to `out` for the skip connection; None if the skip
            connection is cropped from `inner` instead.
    """

    out: Interval
    wide: Interval
    inner: Interval
    source: Interval
    noise: Interval
    to_inner: ResampleTaps | None
    to_out: ResampleTaps | None


@struct.dataclass(eq=False)
class AxisSpans:
    """Rows (or columns) of the image and of everything that it is computed from, in N windows.

    Attributes:
        image: rows of the image.
        wide: features that the tail reads, zero padding included.
        stages: coarse to fine.
    """

    image: Interval
    wide: Interval
    stages: tuple[StageSpans, ...]


class NoiseWindow(NamedTuple):
    """Rows, columns and number of channels of the part of z_i that windows depend on."""

    rows: Interval
    columns: Interval
    channels: int


@struct.dataclass(eq=False)
class Crop:
    """N windows of an image and of everything that they are computed from: rows and columns."""

    axes: tuple[AxisSpans, AxisSpans]

    def stage(self, i: int) -> tuple[StageSpans, StageSpans]:
        """Returns the rows and columns of stage i."""
        rows, columns = (axis.stages[i] for axis in self.axes)
        return rows, columns

    def is_whole(self, i: int) -> bool:
        """Returns whether the windows depend on all of stage i."""
        return all(spans.out.is_whole for spans in self.stage(i))

    def noise(self, arch: Architecture) -> list[NoiseWindow]:
        """Returns the parts of z_0 .. z_d that the windows depend on."""
        channels = [arch.channels, *[arch.num_filters] * (len(self.axes[0].stages) - 1)]
        stages = [self.stage(i) for i in range(len(channels))]
        return [
            NoiseWindow(rows.noise, columns.noise, count)
            for (rows, columns), count in zip(stages, channels, strict=True)
        ]

    def repeated(self, times: int) -> "Crop":
        """Repeats the windows, for a batch of `times` images."""
        return jax.tree.map(lambda starts: jnp.tile(jnp.asarray(starts), times), self)


def view(
    arch: Architecture,
    sizes: Sequence[Size],
    *,
    top: Any = 0,
    left: Any = 0,
    size: Any = None,
    wraps: tuple[bool, bool] = (False, False),
) -> Crop:
    """Returns windows of the image that stages of the given sizes generate.

    Args:
        arch: the architecture.
        sizes: (height, width) of the stages, coarse to fine.
        top: first row of the window, or `[N]` for N windows: any integers on the host, int32 in a
            program.
        left: first column, like `top`.
        size: (height, width) of all windows, at most that of the image; None: the whole image.
        wraps: whether rows wrap, so that the last is followed by the first; and whether columns do.
    """
    height, width = size or sizes[-1]
    in_height = span(height, top, sizes[-1][0], wraps=wraps[0])
    in_width = span(width, left, sizes[-1][1], wraps=wraps[1])
    rows = _axis(arch, [h for h, _ in sizes], in_height)
    columns = _axis(arch, [w for _, w in sizes], in_width)
    return Crop((_shared(rows, columns), _shared(columns, rows)))


def _shared(axis: AxisSpans, other: AxisSpans) -> AxisSpans:
    """Returns `axis` with one start instead of N for stages that all windows need whole."""
    # Coarse stages are so small that every window depends on the whole level. One start gives such
    # a stage a batch of one, which saves N - 1 equal copies. The other axis decides too: a stage
    # that is whole in height alone still differs between windows.
    stages = tuple(
        jax.tree.map(lambda starts: starts[:1], stage)
        if stage.out.is_whole and across.out.is_whole
        else stage
        for stage, across in zip(axis.stages, other.stages, strict=True)
    )
    return dataclasses.replace(axis, stages=stages)


def _axis(arch: Architecture, wholes: Sequence[int], image: Interval) -> AxisSpans:
    fits = image.wraps or image.length <= image.whole
    assert image.length > 0 and fits, "a window is at most as large as the image"
    wide = image.before_convolutions(1)
    # From the finest stage to the coarsest: the source of each is the output of the one below.
    stages: list[StageSpans] = []
    out = wide.within_border(1)
    for i in reversed(range(len(wholes))):
        stages.insert(0, _next_stage(arch, out, wholes[i - 1]) if i else _first_stage(arch, out))
        out = stages[0].source
    return AxisSpans(image, wide, tuple(stages))


def _next_stage(arch: Architecture, out: Interval, below: int) -> StageSpans:
    wide = out.before_convolutions(arch.num_layers)
    # With growing borders the features below are upsampled to a larger size, which the valid
    # convolutions shrink again; otherwise zeros are padded around the level.
    inner = wide if arch.border_growing else wide.within_border(arch.num_layers)
    source = upsampled_from(inner, below)
    # The skip connection is upsampled by another factor than `inner`, unless the axis wraps.
    to_out = taps(out, source) if arch.border_growing else None
    return StageSpans(out, wide, inner, source, inner, taps(inner, source), to_out)


def _first_stage(arch: Architecture, out: Interval) -> StageSpans:
    wide = out.before_convolutions(arch.num_layers)
    # With growing borders the published program upsamples the head's features by only one pixel at
    # each end, and pads the other L - 1 with zeros; otherwise all L are zeros.
    inner = wide.within_border(arch.num_layers - arch.border_growing)
    head, to_inner = inner, None
    if arch.border_growing:
        head = upsampled_from(inner, out.whole)
        to_inner = taps(inner, head)
    # The head's convolution pads z_0 with zeros, so that z_0 has the size of the level.
    noise = head.before_convolutions(1).within_border(1)
    return StageSpans(out, wide, inner, head, noise, to_inner, None)
