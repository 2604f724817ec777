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
from consingan_jax.nn.resize import Size

Z = list[jax.Array]
# Folded into the key of a seed; a run folds the numbers of its stages and never comes that far.
_SAMPLE, _FIXED = 2**32 - 1, 2**32 - 2


@struct.dataclass(eq=False)
class NoiseSource:
    """Where z_0, z_1, ... come from.

    Attributes:
        keys: `[stages]`, the random key of every z_i that is drawn; None if all are given.
        given: z_i that are stored instead, `[1, h, w, channels]`, whole; None where one is drawn.
        image_at_0: whether a given z_0 is an image, and no noise.
        per_pixel: whether z_i is drawn pixel by pixel; else whole, as models of format 1 do.
    """

    keys: jax.Array | None
    given: tuple[Any, ...] = ()
    image_at_0: bool = struct.field(pytree_node=False, default=False)
    per_pixel: bool = struct.field(pytree_node=False, default=True)

    def draw(self, wanted: Sequence[NoiseWindow]) -> Z:
        """Returns z_0 .. z_d of some windows, each `[N, h, w, channels]`.

        What is given for another size is stretched: an image smoothly, noise by taking its nearest
        neighbour, since interpolation would take away its variance.
        """
        return [self._stage(i, window) for i, window in enumerate(wanted)]

    def _stage(self, i: int, window: NoiseWindow) -> jax.Array:
        grid = self.given[i] if i < len(self.given) else None
        if grid is not None:
            return _part(grid, window.rows, window.columns, smooth=self.image_at_0 and i == 0)
        assert self.keys is not None, "what is not given is drawn"
        if self.per_pixel:
            return _by_place(self.keys[i], *window)
        rows, columns, channels = window
        assert rows.is_whole and columns.is_whole, "the old draw knows whole images only"
        return jax.random.normal(self.keys[i], (1, rows.length, columns.length, channels))


@dataclasses.dataclass(frozen=True, eq=False)
class ReconstructionNoise:
    """z*, the input that gives the training image back: what a model keeps of it.

    Attributes:
        stored: z*_0, z*_1, ..., each `[1, h, w, channels]`, as many as are stored; at least z*_0.
        seed: the others follow from it.
    """

    stored: list[jax.Array]
    seed: int

    def source(self, num_stages: int, *, image_at_0: bool = False) -> NoiseSource:
        """Returns z* as an input; `image_at_0` counts where it is taken to another size."""
        keys = stage_keys(fixed_key(self.seed), num_stages)
        return NoiseSource(keys, tuple(self.stored), image_at_0=image_at_0)


def stage_keys(key: jax.Array, num_stages: int) -> jax.Array:
    """Returns the keys of z_0 .. z_d that belong to the key of an image."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_stages))


def sample_key(seed: int | jax.Array) -> jax.Array:
    """Returns the key of the sample that a seed names."""
    return jax.random.fold_in(numerics.key(seed), _SAMPLE)


def fixed_key(seed: int | jax.Array) -> jax.Array:
    """Returns the key of z* in a run of this seed; no sample has it."""
    return jax.random.fold_in(numerics.key(seed), _FIXED)


# Compiled grid by grid: the same programs serve all stages of a run, samples and z*.


def _by_place(key: jax.Array, rows: Interval, columns: Interval, channels: int) -> jax.Array:
    size = (rows.length, columns.length)
    return _grid(key, rows.start, columns.start, size=size, channels=channels)


@functools.partial(numerics.jit, static_argnames=("size", "channels"))
def _grid(key, top, left, *, size: Size, channels: int):
    def pixel(key):
        return jax.random.normal(key, (channels,))

    def one(rows, columns):
        each_row = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
        along = jax.vmap(jax.random.fold_in, (None, 0))
        return jax.vmap(lambda row: jax.vmap(pixel)(along(row, columns)))(each_row)

    height, width = size
    rows, columns = span(height, jnp.asarray(top)), span(width, jnp.asarray(left))
    return jax.vmap(one)(rows.indices(), columns.indices())


@functools.partial(numerics.jit, static_argnames="smooth")
def _part(grid: jax.Array, rows: Interval, columns: Interval, *, smooth: bool) -> jax.Array:
    target = (rows, columns)
    source = [span(length) for length in grid.shape[1:3]]
    if all(t.whole == s.whole for t, s in zip(target, source, strict=True)):
        return crop(grid, source, target)
    if smooth:
        return upsample_to(grid, target)
    pairs = zip(target, source, strict=True)
    nearest = (scaled(wanted.indices(), own.whole, wanted.whole)[0] for wanted, own in pairs)
    return jax.vmap(lambda r, c: grid[0, r][:, c])(*nearest)


# Every kind of z_0.


def _gaussian(key: jax.Array, real: jax.Array) -> jax.Array:
    _, height, width, channels = real.shape
    return _by_place(key, span(height), span(width), channels)


def _real(key: jax.Array, real: jax.Array) -> jax.Array:
    del key
    return real


def _noisy_real(key: jax.Array, real: jax.Array) -> jax.Array:
    return real + 0.1 * jax.random.normal(key, real.shape)


def _shuffled(key: jax.Array, real: jax.Array) -> jax.Array:
    shuffle_key, noise_key = jax.random.split(key)
    return _noisy_real(noise_key, augment.shuffle(shuffle_key, real))


INPUTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "gaussian": _gaussian,
    "real": _real,
    "noisy_real": _noisy_real,
    "augmented": augment.harmonization,
    "shuffled": _shuffled,
}
"""Every kind of z_0: a function of a key and the coarsest real image `[1, h, w, C]`."""
