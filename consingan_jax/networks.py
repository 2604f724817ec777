"""The generator, a fold over a list of stages, and the patch critic (paper, section 3).

The modules are thin Flax linen layers: their parameters are plain dicts, so the stages are a plain
list that grows by `append`, Orbax returns it as a list, and optax labels it by prefix.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from consingan_jax.conv import add_bias, conv3x3
from consingan_jax.resize import upsample

Params = dict[str, Any]
Size = tuple[int, int]

ACTIVATIONS: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
    "leaky_relu": lambda x, slope: jnp.where(x > 0, x, slope * x),
    "prelu": lambda x, slope: jnp.where(x > 0, x, slope * x),
    "elu": lambda x, _: nn.elu(x),
    "selu": lambda x, _: nn.selu(x),
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What decides the shapes and the arithmetic of both networks.

    Attributes:
        channels: channels C of the image.
        num_filters: features F of every hidden layer.
        num_layers: 3x3 convolutions L in a stage, and between head and tail of the critic.
        activation: a key of `ACTIVATIONS`.
        negative_slope: slope of "leaky_relu" below zero; the others ignore it.
        batch_norm: normalise every block of the generator over each single image.
        border_growing: make the picture's edge from generated content instead of zeros.
    """

    channels: int = 3
    num_filters: int = 64
    num_layers: int = 3
    activation: str = "leaky_relu"
    negative_slope: float = 0.05
    batch_norm: bool = False
    border_growing: bool = True


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
    train_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H - 2, W - 2, features]`."""
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.normal(0.02), (3, 3, channels, self.features))
        bias = self.param("bias", _bias_init, (self.features,), 9 * channels)
        if not self.train_bias:
            bias = jax.lax.stop_gradient(bias)
        return add_bias(conv3x3(x, kernel), bias)


class Norm(nn.Module):
    """Normalises each image by its own statistics.

    The published program trains on one image at a time and never switches batch norm to running
    averages, so this is what its batch norm computes; a batch here does not mix its images.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to the same shape."""
        scale = self.param("scale", _normal_about_one, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        mean = x.mean((1, 2), keepdims=True)
        centred = x - mean
        variance = jnp.square(centred).mean((1, 2), keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-5) * _per_channel(scale) + _per_channel(bias)


class ConvBlock(nn.Module):
    """Convolution, normalisation where asked for, activation."""

    arch: Architecture
    normalise: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H - 2, W - 2, F]`."""
        x = Conv(self.arch.num_filters, name="conv")(x)
        if self.normalise:
            x = Norm(name="norm")(x)
        slope: Any = self.arch.negative_slope
        if self.arch.activation == "prelu":
            slope = self.param("slope", nn.initializers.constant(0.25), ())
        return ACTIVATIONS[self.arch.activation](x, slope)


class Stage(nn.Module):
    """The L blocks that a stage adds to the generator."""

    arch: Architecture

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, F]` to `[N, H - 2L, W - 2L, F]`."""
        for layer in range(self.arch.num_layers):
            x = ConvBlock(self.arch, self.arch.batch_norm, name=f"block{layer}")(x)
        return x


class Critic(nn.Module):
    """Scores every 11x11 patch (for L = 3) of an image."""

    arch: Architecture

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to scores `[N, H - 2L - 4, W - 2L - 4, 1]`."""
        x = ConvBlock(self.arch, False, name="head")(x)
        for layer in range(self.arch.num_layers):
            x = ConvBlock(self.arch, False, name=f"block{layer}")(x)
        # The last bias drops out of every difference of scores. Its gradient is zero, and is made
        # exactly zero here, because Adam would turn its rounding noise into full steps.
        return Conv(1, train_bias=False, name="tail")(x)


def patch_size(num_layers: int) -> int:
    """Returns the side of the patch that one critic score sees, in pixels."""
    return 2 * num_layers + 5


def init_generator(key: jax.Array, arch: Architecture) -> Params:
    """Returns parameters `{"head", "stages": [one stage], "tail"}` of a generator with one stage."""
    head_key, stage_key, tail_key = jax.random.split(key, 3)
    side = patch_size(arch.num_layers)
    image = jnp.zeros((1, side, side, arch.channels))
    features = jnp.zeros((1, side, side, arch.num_filters))
    return {
        "head": _head(arch).init(head_key, image)["params"],
        "stages": [Stage(arch).init(stage_key, features)["params"]],
        "tail": _tail(arch).init(tail_key, features)["params"],
    }


def init_critic(key: jax.Array, arch: Architecture) -> Params:
    """Returns the parameters of a critic."""
    side = patch_size(arch.num_layers)
    return Critic(arch).init(key, jnp.zeros((1, side, side, arch.channels)))["params"]


def grow(params: Params) -> Params:
    """Returns generator parameters with one more stage, a copy of the last one."""
    return {**params, "stages": [*params["stages"], jax.tree.map(jnp.copy, params["stages"][-1])]}


def critic_scores(arch: Architecture, params: Params, images: jax.Array) -> jax.Array:
    """Returns the critic's scores `[N, H - 2L - 4, W - 2L - 4, 1]` of images `[N, H, W, C]`."""
    return Critic(arch).apply({"params": params}, images)


def generator_features(
    arch: Architecture,
    params: Params,
    noise: Sequence[jax.Array],
    noise_amps: jax.Array,
    sizes: Sequence[Size],
    *,
    first: int = 0,
    x: jax.Array | None = None,
) -> jax.Array:
    """Folds the stages `first .. len(noise) - 1` over the features of the stage below.

    Args:
        arch: the architecture.
        params: generator parameters.
        noise: z_0 .. z_d, shapes as `noise.shapes` says; entries below `first` are not read.
        noise_amps: `[>= len(noise)]`, the amplitude of each z_i; entry 0 is not read.
        sizes: (height, width) of every stage's output.
        first: the first stage to run.
        x: features `[N, h, w, F]` of stage `first - 1`; none for `first = 0`.

    Returns:
        Features `[N, *sizes[len(noise) - 1], F]` of the last stage.
    """
    stages = params["stages"]
    for i in range(first, len(noise)):
        if i == 0:
            x = _first_stage(arch, params["head"], stages[0], noise[0], sizes[0])
        else:
            assert x is not None, "stages above 0 continue from the features below"
            x = _next_stage(arch, stages[i], x, noise_amps[i] * noise[i], sizes[i])
    assert x is not None, "no stage was asked for"
    return x


def to_image(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Returns the image `[N, H, W, C]` in [-1, 1] that features `[N, H, W, F]` stand for."""
    return jnp.tanh(_tail(arch).apply({"params": params["tail"]}, _pad(x, 1)))


def generate(
    arch: Architecture,
    params: Params,
    noise: Sequence[jax.Array],
    noise_amps: jax.Array,
    sizes: Sequence[Size],
) -> jax.Array:
    """Returns images `[N, *sizes[-1], C]` in [-1, 1]; arguments as for `generator_features`."""
    return to_image(arch, params, generator_features(arch, params, noise, noise_amps, sizes))


def _head(arch: Architecture) -> ConvBlock:
    return ConvBlock(arch, arch.batch_norm)


def _tail(arch: Architecture) -> Conv:
    return Conv(arch.channels)


def _first_stage(arch, head, stage, z, size):
    x = _head(arch).apply({"params": head}, _pad(z, 1))
    border = arch.num_layers
    if arch.border_growing:
        x = upsample(x, (size[0] + 2, size[1] + 2))
        border -= 1
    return Stage(arch).apply({"params": stage}, _pad(x, border))


def _next_stage(arch, stage, x, scaled_noise, size):
    border = arch.num_layers
    skip = upsample(x, size)
    if arch.border_growing:
        wide = upsample(x, (size[0] + 2 * border, size[1] + 2 * border)) + scaled_noise
    else:
        wide = _pad(skip + scaled_noise, border)
    return skip + Stage(arch).apply({"params": stage}, wide)


def _pad(x: jax.Array, border: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
