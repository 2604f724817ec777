"""Computes which part of every stage a window of the image depends on.

A rectangle of a stage's output follows exactly from a somewhat larger one of the stage below, down
to the noise. A whole image is the largest window.
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
    """One axis of one stage.

    Attributes:
        out: the rows that it makes.
        wide: what its convolutions read.
        inner: `wide` without the zeros around it.
        source: the rows that `inner` is upsampled from: of the stage below, or of the head.
        noise: the rows of z_i.
        to_inner: from `source` to `inner`; None where they are the same.
        to_out: from `source` to `out`, the skip connection; None where `inner` is used.
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
    """One axis of an image and of all that it is made from.

    Attributes:
        image: its rows.
        wide: the features' rows that the tail reads, zeros outside the level.
        stages: every stage, coarse to fine.
    """

    image: Interval
    wide: Interval
    stages: tuple[StageSpans, ...]


class NoiseWindow(NamedTuple):
    """What is needed of one z_i: its rows, its columns, and how many channels it has."""

    rows: Interval
    columns: Interval
    channels: int


@struct.dataclass(eq=False)
class Crop:
    """N windows of an image, and of everything that they are made from: rows and columns."""

    axes: tuple[AxisSpans, AxisSpans]

    def stage(self, i: int) -> tuple[StageSpans, StageSpans]:
        """Returns rows and columns of stage i."""
        rows, columns = (axis.stages[i] for axis in self.axes)
        return rows, columns

    def is_whole(self, i: int) -> bool:
        """Returns whether the windows need all of stage i."""
        return all(spans.out.is_whole for spans in self.stage(i))

    def noise(self, arch: Architecture) -> list[NoiseWindow]:
        """Returns what is needed of z_0 .. z_d."""
        channels = [arch.channels, *[arch.num_filters] * (len(self.axes[0].stages) - 1)]
        stages = [self.stage(i) for i in range(len(channels))]
        return [
            NoiseWindow(rows.noise, columns.noise, count)
            for (rows, columns), count in zip(stages, channels, strict=True)
        ]

    def repeated(self, times: int) -> "Crop":
        """Returns the same windows several times, for the images of a batch."""
        return jax.tree.map(lambda starts: jnp.tile(jnp.asarray(starts), times), self)


def view(
    arch: Architecture, sizes: Sequence[Size], *, top: Any = 0, left: Any = 0, size: Any = None
) -> Crop:
    """Returns windows of the image that the last of some stages makes.

    Args:
        arch: the architecture.
        sizes: (height, width) of the stages.
        top: first row of the window, or `[N]`, of each of N windows. Integers; on the host they
            may be any size.
        left: first column, likewise.
        size: (height, width) of a window, within the image; None: the whole image.
    """
    height, width = size or sizes[-1]
    rows = _axis(arch, [h for h, _ in sizes], span(height, top, sizes[-1][0]))
    columns = _axis(arch, [w for _, w in sizes], span(width, left, sizes[-1][1]))
    return Crop((_shared(rows, columns), _shared(columns, rows)))


def _shared(axis: AxisSpans, other: AxisSpans) -> AxisSpans:
    """Returns an axis on which stages that all windows need whole are made once for all."""
    # Coarse stages are so small that every window's receptive field is the whole level. Keeping one
    # start instead of N gives these stages a batch of one, and saves the N - 1 equal copies. The
    # other axis decides too: a stage that is whole in height alone still differs between windows.
    stages = tuple(
        jax.tree.map(lambda starts: starts[:1], stage)
        if stage.out.is_whole and across.out.is_whole
        else stage
        for stage, across in zip(axis.stages, other.stages, strict=True)
    )
    return dataclasses.replace(axis, stages=stages)


def _axis(arch: Architecture, wholes: Sequence[int], image: Interval) -> AxisSpans:
    assert 0 < image.length <= image.whole, "a window lies within its image"
    wide = image.before_convolutions(1)
    # From the image down to the noise: each stage says which rows of the one below it needs.
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
    to_out = taps(out, source) if arch.border_growing else None
    return StageSpans(out, wide, inner, source, inner, taps(inner, source), to_out)


def _first_stage(arch: Architecture, out: Interval) -> StageSpans:
    wide = out.before_convolutions(arch.num_layers)
    inner = wide.within_border(arch.num_layers - arch.border_growing)
    head, to_inner = inner, None
    if arch.border_growing:
        head = upsampled_from(inner, out.whole)
        to_inner = taps(inner, head)
    noise = head.before_convolutions(1).within_border(1)
    return StageSpans(out, wide, inner, head, noise, to_inner, None)
