"""The random input of an iteration of SinGAN."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from consingan_jax.data import noise
from consingan_jax.nn.receptive_field import NoiseWindow


class Draws(NamedTuple):
    """The random input of an iteration.

    Attributes:
        own: `[1, h, w, channels]`, the noise of the scale.
        below: `[d_steps, h, w, channels]` for each lower scale, other noise at every critic step.
        fixed: `[1, h, w, 1]`, z*_0, at scale 0 only.
    """

    own: jax.Array
    below: list[jax.Array]
    fixed: jax.Array | None


def draw(
    key: jax.Array, wanted: Sequence[NoiseWindow], d_steps: int, kept: noise.NoiseSource | None
) -> tuple[Draws, jax.Array]:
    """Draws the random input of one iteration.

    Args:
        key: of the iteration.
        wanted: z_0 .. z_d.
        d_steps: number of critic steps.
        kept: z*, if z*_0 is not drawn anew.

    Returns:
        The noise, and `[d_steps]`, the share of the real image in each gradient penalty.
    """
    own_key, below_key, mix_key, _ = jax.random.split(key, 4)
    # Of all scales, though only the last is read: what is not read is not computed.
    *_, own = _drawn(own_key, wanted)
    each = [_drawn(k, wanted[:-1]) for k in jax.random.split(below_key, d_steps)]
    below = [jnp.concatenate(zs) for zs in zip(*each, strict=True)]
    fixed = None
    if len(wanted) == 1:
        fixed = z_star(key, wanted) if kept is None else kept.draw(wanted)[0]
    return Draws(own, below, fixed), jax.random.uniform(mix_key, (d_steps,))


def z_star(key: jax.Array, wanted: Sequence[NoiseWindow]) -> jax.Array:
    """Returns z*_0 of the iteration with this key."""
    *_, fixed_key = jax.random.split(key, 4)
    return _drawn(fixed_key, wanted[:1])[0]


def _drawn(key: jax.Array, wanted: Sequence[NoiseWindow]) -> noise.Z:
    return noise.NoiseSource(noise.stage_keys(key, len(wanted))).draw(wanted)
