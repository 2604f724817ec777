"""Noise inputs of the generator: per-pixel noise, and the variants of z_0.

z_i is a function of a key, i, row and column alone. So any part of any canvas can be drawn without
the rest, on any device, and two windows agree where they overlap.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from consingan_jax import numerics
from consingan_jax.data import augment
from consingan_jax.nn.intervals import Interval, crop, scaled, span, upsample_to
from consingan_jax.nn.receptive_field import NoiseWindow

Z = list[jax.Array]
# Folded into the key of a seed. A run folds in its stage numbers, which never get that far, so that
# neither samples nor z* share a key with the training.
_SAMPLE, _FIXED = 2**32 - 1, 2**32 - 2


@struct.dataclass(eq=False)
class NoiseSource:
    """The source of z_0, z_1, ...

    Attributes:
        keys: `[stages]`, the random key of every z_i that is drawn; None if all are given.
        given: stored z_i, each `[1, h, w, channels]`; None for a z_i that is drawn.
        image_at_0: whether the given z_0 is an image rather than noise.
        per_pixel: whether each pixel is drawn by its position; if not, all of z_i at once, as
            models of format 1 do.
        zero_below: a stage; z_i below it that is not given is zero instead of drawn.
    """

    keys: jax.Array | None
    given: tuple[Any, ...] = ()
    image_at_0: bool = struct.field(pytree_node=False, default=False)
    per_pixel: bool = struct.field(pytree_node=False, default=True)
    zero_below: int = struct.field(pytree_node=False, default=0)

    def draw(self, wanted: Sequence[NoiseWindow]) -> Z:
        """Returns z_0 .. z_d of windows, each `[N, h, w, channels]`.

        A given z_i of another size is resampled: an image bicubically, noise by nearest neighbour,
        as interpolation would reduce its variance.
        """
        return [self._stage(i, window) for i, window in enumerate(wanted)]

    def _stage(self, i: int, window: NoiseWindow) -> jax.Array:
        given = self.given[i] if i < len(self.given) else None
        if given is not None:
            return _part(given, window.rows, window.columns, smooth=self.image_at_0 and i == 0)
        if i < self.zero_below:
            rows, columns, channels = window
            return jnp.zeros((len(rows.start), rows.length, columns.length, channels))
        assert self.keys is not None, "what is not given is drawn"
        if self.per_pixel:
            return _draw(self.keys[i], *window)
        rows, columns, channels = window
        assert rows.is_whole and columns.is_whole, "format 1 draws whole images only"
        return jax.random.normal(self.keys[i], (1, rows.length, columns.length, channels))


@struct.dataclass(eq=False)
class HoleNoise:
    """The source of z* with other noise in a hole of the image.

    Attributes:
        fixed: z*.
        other: the noise in the hole.
        holes: `[1, h, w, 1]` for each stage, 1 in the hole.
    """

    fixed: NoiseSource
    other: NoiseSource
    holes: Sequence[jax.Array]

    def draw(self, wanted: Sequence[NoiseWindow]) -> Z:
        """Returns z_0 .. z_d of windows, as `NoiseSource.draw` does."""
        return in_hole(self.holes, wanted, self.other.draw(wanted), self.fixed.draw(wanted))


Source = NoiseSource | HoleNoise


def in_hole(holes: Sequence[jax.Array], wanted: Sequence[NoiseWindow], inside: Z, outside: Z) -> Z:
    """Returns z_0 .. z_d of windows: `inside` in the holes `[1, h, w, 1]`, `outside` elsewhere."""
    parts = [
        _part(hole, rows, columns, smooth=False)
        for hole, (rows, columns, _) in zip(holes, wanted, strict=True)
    ]
    return [
        jnp.where(*three) for three in zip([p > 0.5 for p in parts], inside, outside, strict=True)
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class ReconstructionNoise:
    """z*, the fixed input that reconstructs the training image, as a model stores it.

    Attributes:
        stored: z*_0, z*_1, ..., each `[1, h, w, channels]`; z*_0 at least.
        seed: from which the others are drawn.
    """

    stored: list[jax.Array]
    seed: int

    def source(self, num_stages: int, *, image_at_0: bool = False) -> NoiseSource:
        """Returns z* as a noise source; `image_at_0` decides how z*_0 is resampled."""
        keys = stage_keys(fixed_key(self.seed), num_stages)
        return NoiseSource(keys, tuple(self.stored), image_at_0=image_at_0)


def stage_keys(key: jax.Array, num_stages: int) -> jax.Array:
    """Returns the keys of z_0 .. z_d for the key of an image."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_stages))


def sample_key(seed: int | jax.Array) -> jax.Array:
    """Returns the key of the sample with this seed."""
    return jax.random.fold_in(numerics.key(seed), _SAMPLE)


def fixed_key(seed: int | jax.Array) -> jax.Array:
    """Returns the key of z* in a run with this seed; no sample has this key."""
    return jax.random.fold_in(numerics.key(seed), _FIXED)


def _draw(key: jax.Array, rows: Interval, columns: Interval, channels: int) -> jax.Array:
    # The size of the grid matters only where it wraps. Without it the programs are compiled by the
    # size of the part alone: all stages of a run, samples and z* share them.
    rows, columns = (
        each if each.wraps else span(each.length, each.start) for each in (rows, columns)
    )
    return _grid(key, rows, columns, channels=channels)


@functools.partial(numerics.jit, static_argnames="channels")
def _grid(key: jax.Array, rows: Interval, columns: Interval, *, channels: int) -> jax.Array:
    """Draws every pixel with a key of its own: the row is folded in, then the column."""
    fold_in_each = jax.vmap(jax.random.fold_in, (None, 0))

    def pixel(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (channels,))

    def window(rows: jax.Array, columns: jax.Array) -> jax.Array:
        row_keys = fold_in_each(key, rows)
        return jax.vmap(lambda row_key: jax.vmap(pixel)(fold_in_each(row_key, columns)))(row_keys)

    return jax.vmap(window)(rows.indices(), columns.indices())


@functools.partial(numerics.jit, static_argnames="smooth")
def _part(grid: jax.Array, rows: Interval, columns: Interval, *, smooth: bool) -> jax.Array:
    target = (rows, columns)
    source = [span(length) for length in grid.shape[1:3]]
    if not (rows.wraps or columns.wraps) and grid.shape[1:3] == (rows.whole, columns.whole):
        return crop(grid, source, target)
    if smooth:
        assert not (rows.wraps or columns.wraps), "an image has borders"
        return upsample_to(grid, target)
    pairs = zip(target, source, strict=True)
    # `scaled` stays exact where int32 would overflow, on canvases of a million pixels a side.
    nearest = (scaled(t.indices(), s.whole, t.whole)[0] for t, s in pairs)
    return jax.vmap(lambda r, c: grid[0, r][:, c])(*nearest)


def _gaussian(key: jax.Array, real: jax.Array) -> jax.Array:
    _, height, width, channels = real.shape
    return _draw(key, span(height), span(width), channels)


def _noisy_real(key: jax.Array, real: jax.Array) -> jax.Array:
    return real + 0.1 * jax.random.normal(key, real.shape)


def _shuffled(key: jax.Array, real: jax.Array) -> jax.Array:
    shuffle_key, noise_key = jax.random.split(key)
    return _noisy_real(noise_key, augment.shuffle(shuffle_key, real))


INPUTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "gaussian": _gaussian,
    "real": lambda _, real: real,
    "noisy_real": _noisy_real,
    "augmented": augment.harmonization,
    "shuffled": _shuffled,
}
"""The variants of z_0: functions of a key and the coarsest real image `[1, h, w, C]`."""
