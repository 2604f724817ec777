"""Patch critic: one score for every patch of an image (paper, section 3)."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from consingan_jax.nn.conv import widen
from consingan_jax.nn.layers import Architecture, Conv, ConvBlock, Params


def patch_size(num_layers: int) -> int:
    """Returns the side of a score's receptive field, in pixels."""
    return 2 * num_layers + 5


class _Layers(nn.Module):
    arch: Architecture
    normalise: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ConvBlock(self.arch, self.normalise, name="head")(x)
        for layer in range(self.arch.num_layers):
            x = ConvBlock(self.arch, self.normalise, name=f"block{layer}")(x)
        # The last bias cancels in every difference of scores, so its gradient is zero up to
        # rounding, which Adam would turn into full steps. Stop it exactly.
        return Conv(1, self.arch.dtype, train_bias=False, name="tail")(x)


@dataclasses.dataclass(frozen=True)
class Critic:
    """The critic of an architecture; its parameters are a dict of arrays.

    Attributes:
        arch: the architecture.
        normalise: whether it normalises each image in every block, as SinGAN's does.
    """

    arch: Architecture
    normalise: bool = False

    def init(self, key: jax.Array) -> Params:
        """Returns new parameters."""
        side = patch_size(self.arch.num_layers)
        image = jnp.zeros((1, side, side, self.arch.channels))
        return _Layers(self.arch, self.normalise).init(key, image)["params"]

    def scores(self, params: Params, images: jax.Array) -> jax.Array:
        """Returns scores `[N, H - 2L - 4, W - 2L - 4, 1]` of images `[N, H, W, C]`, float32."""
        scores = _Layers(self.arch, self.normalise).apply({"params": params}, images)
        return widen(cast(jax.Array, scores))
