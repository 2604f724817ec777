"""Layers of both networks as Flax linen modules: convolution, normalisation, block."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from consingan_jax.nn.conv import add_bias, conv3x3, widen

ACTIVATIONS: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
    "leaky_relu": lambda x, slope: jnp.where(x > 0, x, slope * x),
    "prelu": lambda x, slope: jnp.where(x > 0, x, slope * x),
    "elu": lambda x, _: nn.elu(x),
    "selu": lambda x, _: nn.selu(x),
}
Params = dict[str, Any]
"""Parameters of a network: nested dicts and lists of arrays."""
NORM_EPS = 1e-5  # added to a variance before its root is divided by
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Hyperparameters of both networks.

    Attributes:
        channels: channels C of the image.
        num_filters: features F of every hidden layer.
        num_layers: 3x3 convolutions L in a stage, and between head and tail of the critic.
        activation: a key of `ACTIVATIONS`.
        negative_slope: slope of "leaky_relu" below zero; the others ignore it.
        batch_norm: normalise in every block of the generator, over each image alone.
        border_growing: upsample the features to a larger size that the valid convolutions shrink
            again, so that the image's edge has generated content around it instead of zeros.
        dtype: of features and convolutions, a key of `DTYPES`; parameters, images, scores and
            losses are always float32.
    """

    channels: int = 3
    num_filters: int = 64
    num_layers: int = 3
    activation: str = "leaky_relu"
    negative_slope: float = 0.05
    batch_norm: bool = False
    border_growing: bool = True
    dtype: str = "float32"

    @property
    def needs_whole(self) -> bool:
        """Whether a window of an image depends on all of it."""
        return self.batch_norm


def _bias_init(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _normal_about_one(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1 + 0.02 * jax.random.normal(key, shape)


def _per_channel(vector: jax.Array) -> jax.Array:
    return vector.reshape(1, 1, 1, -1)


class Conv(nn.Module):
    """A valid 3x3 convolution with bias."""

    features: int
    dtype: str = "float32"
    train_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H - 2, W - 2, features]`."""
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.normal(0.02), (3, 3, channels, self.features))
        bias = self.param("bias", _bias_init, (self.features,), 9 * channels)
        if not self.train_bias:
            bias = jax.lax.stop_gradient(bias)
        dtype = DTYPES[self.dtype]
        if self.is_initializing():  # new parameters need no image; compiling for one takes seconds
            n, height, width, _ = x.shape
            return jnp.zeros((n, height - 2, width - 2, self.features), dtype)
        return add_bias(conv3x3(x.astype(dtype), kernel.astype(dtype)), bias)


def normalised(x: jax.Array) -> jax.Array:
    """Returns images `[N, H, W, C]` with mean 0 and variance 1 in each channel of each image."""
    wide = widen(x)
    centred = wide - wide.mean((1, 2), keepdims=True)
    variance = jnp.square(centred).mean((1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(variance + NORM_EPS)


def scaled(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns `scale * x + bias` for images `[N, H, W, C]` and vectors `[C]`."""
    return x * _per_channel(scale) + _per_channel(bias)


class Norm(nn.Module):
    """Normalises each image by its own mean and variance (instance normalisation).

    The published program trains on one image at a time and never switches its batch norm to running
    averages, so that it computes this. Unlike batch norm this does not mix the images of a batch.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to the same shape."""
        scale = self.param("scale", _normal_about_one, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return scaled(normalised(x), scale, bias).astype(x.dtype)


class ConvBlock(nn.Module):
    """Convolution, optional normalisation, activation."""

    arch: Architecture
    normalise: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H - 2, W - 2, F]`."""
        x = Conv(self.arch.num_filters, self.arch.dtype, name="conv")(x)
        if self.normalise:
            x = Norm(name="norm")(x)
        slope: Any = self.arch.negative_slope
        if self.arch.activation == "prelu":
            slope = self.param("slope", nn.initializers.constant(0.25), ()).astype(x.dtype)
        return ACTIVATIONS[self.arch.activation](x, slope)
