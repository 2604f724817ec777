"""The generator, a fold over a list of stages, and the patch critic (paper, section 3).

With linen the parameters are plain dicts, so the stages are a plain list that grows by `append`,
Orbax returns it as a list, and optax labels it by its path.
"""

import functools
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from consingan_jax.nn.conv import pad
from consingan_jax.nn.layers import Architecture, Conv, ConvBlock
from consingan_jax.nn.resize import upsample

Params = dict[str, Any]
Size = tuple[int, int]


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
        # The last bias drops out of every difference of scores, so that its gradient is zero. It is
        # made exactly zero here: Adam would turn rounding noise into full steps.
        return Conv(1, self.arch.dtype, train_bias=False, name="tail")(x)


def patch_size(num_layers: int) -> int:
    """Returns the side of the patch that one critic score sees, in pixels."""
    return 2 * num_layers + 5


def init_generator(key: jax.Array, arch: Architecture, num_stages: int = 1) -> Params:
    """Returns parameters `{"head", "stages": [...], "tail"}`, all stages copies of the first."""
    head_key, stage_key, tail_key = jax.random.split(key, 3)
    side = patch_size(arch.num_layers)
    image = jnp.zeros((1, side, side, arch.channels))
    features = jnp.zeros((1, side, side, arch.num_filters))
    params = {
        "head": _head(arch).init(head_key, image)["params"],
        "stages": [Stage(arch).init(stage_key, features)["params"]],
        "tail": _tail(arch).init(tail_key, features)["params"],
    }
    return functools.reduce(lambda grown, _: grow(grown), range(num_stages - 1), params)


def init_critic(key: jax.Array, arch: Architecture) -> Params:
    """Returns the parameters of a critic."""
    side = patch_size(arch.num_layers)
    return Critic(arch).init(key, jnp.zeros((1, side, side, arch.channels)))["params"]


def grow(params: Params) -> Params:
    """Returns generator parameters with one more stage, a copy of the last one."""
    return {**params, "stages": [*params["stages"], jax.tree.map(jnp.copy, params["stages"][-1])]}


def critic_scores(arch: Architecture, params: Params, images: jax.Array) -> jax.Array:
    """Returns the critic's scores `[N, H - 2L - 4, W - 2L - 4, 1]` of images `[N, H, W, C]`."""
    return _apply(Critic(arch), params, images).astype(jnp.float32)


def generator_features(
    arch: Architecture,
    params: Params,
    noise: Sequence[jax.Array],
    noise_amps: jax.Array,
    sizes: Sequence[Size],
    *,
    first: int = 0,
    x: jax.Array | None = None,
    remat: bool = False,
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
        remat: keep nothing inside a stage for its gradient, but compute it again then.

    Returns:
        Features `[N, *sizes[len(noise) - 1], F]` of the last stage.
    """
    stages = params["stages"]
    first_stage, next_stage = _first_stage, _next_stage
    if remat:
        first_stage, next_stage = (
            jax.checkpoint(stage, static_argnums=(0, 4)) for stage in (first_stage, next_stage)
        )
    for i in range(first, len(noise)):
        if i == 0:
            x = first_stage(arch, params["head"], stages[0], noise[0], sizes[0])
        else:
            assert x is not None, "stages above 0 continue from the features below"
            x = next_stage(arch, stages[i], x, noise_amps[i] * noise[i], sizes[i])
    assert x is not None, "no stage was asked for"
    return x


def to_image(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Returns the image `[N, H, W, C]` in [-1, 1] that features `[N, H, W, F]` stand for."""
    return jnp.tanh(_apply(_tail(arch), params["tail"], pad(x, 1)).astype(jnp.float32))


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
    return Conv(arch.channels, arch.dtype)


def _first_stage(arch, head, stage, z, size):
    x = _apply(_head(arch), head, pad(z, 1))
    border = arch.num_layers
    if arch.border_growing:
        x = upsample(x, (size[0] + 2, size[1] + 2))
        border -= 1
    return _apply(Stage(arch), stage, pad(x, border))


def _next_stage(arch, stage, x, scaled_noise, size):
    border, scaled_noise = arch.num_layers, scaled_noise.astype(x.dtype)
    skip = upsample(x, size)
    if arch.border_growing:
        wide = upsample(x, (size[0] + 2 * border, size[1] + 2 * border)) + scaled_noise
    else:
        wide = pad(skip + scaled_noise, border)
    return skip + _apply(Stage(arch), stage, wide)


def _apply(module: nn.Module, params: Params, x: jax.Array) -> jax.Array:
    return cast(jax.Array, module.apply({"params": params}, x))
