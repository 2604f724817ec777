"""Generator: a fold over a growing list of stages (paper, section 3).

The parameters of linen modules are plain dicts, so the stages are a plain list: it grows by one
entry, Orbax restores it as a list, and optax can label its entries. Only this file knows the
structure of the parameters.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from consingan_jax.nn import intervals, receptive_field
from consingan_jax.nn.conv import widen
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.layers import Architecture, Conv, ConvBlock, Params
from consingan_jax.nn.receptive_field import Crop, StageSpans
from consingan_jax.nn.resize import Size

_Axes = tuple[StageSpans, StageSpans]


class _Stage(nn.Module):
    """The L blocks of a stage: maps `[N, H, W, F]` to `[N, H - 2L, W - 2L, F]`."""

    arch: Architecture

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in range(self.arch.num_layers):
            x = ConvBlock(self.arch, self.arch.batch_norm, name=f"block{layer}")(x)
        return x


@dataclasses.dataclass(frozen=True)
class Generator:
    """The generator of an architecture.

    Its parameters are `{"head", "stages": [...], "tail"}`. Its input is one array z_i for each
    stage: z_0 has the channels of the image, the others those of the features.
    """

    arch: Architecture

    def init(self, key: jax.Array, num_stages: int = 1) -> Params:
        """Returns new parameters, in which all stages are copies of the first."""
        head_key, stage_key, tail_key = jax.random.split(key, 3)
        side = patch_size(self.arch.num_layers)
        image = jnp.zeros((1, side, side, self.arch.channels))
        features = jnp.zeros((1, side, side, self.arch.num_filters))
        params = {
            "head": _head(self.arch).init(head_key, image)["params"],
            "stages": [_Stage(self.arch).init(stage_key, features)["params"]],
            "tail": _tail(self.arch).init(tail_key, features)["params"],
        }
        return functools.reduce(lambda grown, _: self.grow(grown), range(num_stages - 1), params)

    def grow(self, params: Params) -> Params:
        """Returns parameters with one more stage, a copy of the last one."""
        stages = params["stages"]
        return {**params, "stages": [*stages, jax.tree.map(jnp.copy, stages[-1])]}

    def with_stages(self, params: Params, kept: Sequence[int]) -> Params:
        """Returns parameters with those stages only, of which stage 0 must be one."""
        assert kept[0] == 0, "the head belongs to stage 0"
        return {**params, "stages": [params["stages"][i] for i in kept]}

    def groups(self, params: Params) -> tuple[Any, dict[str, int]]:
        """Returns the groups of parameters that share a learning rate, and their ages.

        Returns:
            A prefix tree of `params` whose leaves are group names; the age of every group in
            stages, by name: 0 for the newest stage and for the tail.
        """
        names = [f"stage_{k}" for k in range(len(params["stages"]))]
        ages = {name: len(names) - 1 - k for k, name in enumerate(names)}
        labels = {"head": "head", "stages": names, "tail": "tail"}
        return labels, {"head": len(names) - 1, **ages, "tail": 0}

    def num_params(self, params: Params) -> int:
        """Returns the number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    def view(
        self,
        sizes: Sequence[Size],
        *,
        top: Any = 0,
        left: Any = 0,
        size: Size | None = None,
        wraps: tuple[bool, bool] = (False, False),
    ) -> Crop:
        """Returns windows of the image; see `receptive_field.view`."""
        return receptive_field.view(self.arch, sizes, top=top, left=left, size=size, wraps=wraps)

    def features(
        self,
        params: Params,
        z: Sequence[jax.Array],
        noise_amps: jax.Array,
        view: Crop,
        *,
        first: int = 0,
        x: jax.Array | None = None,
        remat: bool = False,
    ) -> jax.Array:
        """Runs the stages `first .. len(z) - 1` on the features of the stage below.

        Args:
            params: parameters.
            z: z_0 .. z_d, each `[N, h, w, channels]` of the part that `view.noise` names; entries
                below `first` are not read.
            noise_amps: `[>= len(z)]`, the amplitude of each z_i; entry 0 is not read.
            view: N windows, or one window for the whole batch.
            first: the first stage to run.
            x: features of stage `first - 1`; None for `first = 0`.
            remat: recompute the inside of each stage for its gradient instead of keeping it.

        Returns:
            Features `[N, h, w, F]` of stage `len(z) - 1`, on its interval `out` in `view`.
        """
        stages = params["stages"]
        first_stage, next_stage = _first_stage, _next_stage
        if remat:
            first_stage, next_stage = (
                jax.checkpoint(stage, static_argnums=0) for stage in (first_stage, next_stage)
            )
        for i in range(first, len(z)):
            if i == 0:
                x = first_stage(self.arch, params["head"], stages[0], z[0], view.stage(0))
            else:
                assert x is not None, "stages above 0 continue from the features below"
                x = next_stage(self.arch, stages[i], x, noise_amps[i] * z[i], view.stage(i))
        assert x is not None, "there is no stage to run"
        return x

    def image(self, params: Params, x: jax.Array, view: Crop) -> jax.Array:
        """Converts features of the last stage to the image `[N, H, W, C]` in [-1, 1], float32."""
        inner = [axis.stages[-1].out for axis in view.axes]
        wide = intervals.with_border(x, inner, [axis.wide for axis in view.axes])
        pixels = _apply(_tail(self.arch), params["tail"], wide)
        return jnp.tanh(widen(pixels))

    def __call__(
        self, params: Params, z: Sequence[jax.Array], noise_amps: jax.Array, view: Crop
    ) -> jax.Array:
        """Generates images `[N, H, W, C]` in [-1, 1]; arguments as for `features`."""
        return self.image(params, self.features(params, z, noise_amps, view), view)


def _head(arch: Architecture) -> ConvBlock:
    return ConvBlock(arch, arch.batch_norm)


def _tail(arch: Architecture) -> Conv:
    return Conv(arch.channels, arch.dtype)


def _first_stage(
    arch: Architecture, head: Params, stage: Params, z: jax.Array, axes: _Axes
) -> jax.Array:
    noise, source, inner, wide = _spans(axes, "noise", "source", "inner", "wide")
    padded = [span.before_convolutions(1) for span in source]
    x = _apply(_head(arch), head, intervals.with_border(z, noise, padded))
    if arch.border_growing:
        x = intervals.upsample(x, _spans(axes, "to_inner"))
    return _apply(_Stage(arch), stage, intervals.with_border(x, inner, wide))


def _next_stage(
    arch: Architecture, stage: Params, x: jax.Array, scaled_noise: jax.Array, axes: _Axes
) -> jax.Array:
    out, inner, wide = _spans(axes, "out", "inner", "wide")
    lifted = intervals.upsample(x, _spans(axes, "to_inner"))
    # The skip connection: the stage learns a residual of the upsampled features.
    if arch.border_growing:
        skip = intervals.upsample(x, _spans(axes, "to_out"))
    else:
        skip = intervals.crop(lifted, inner, out)
    given = intervals.with_border(lifted + scaled_noise.astype(x.dtype), inner, wide)
    return skip + _apply(_Stage(arch), stage, given)


def _spans(axes: _Axes, *names: str) -> list[Any]:
    """Returns the attributes of both axes, a pair [rows, columns] for each name."""
    pairs = [[getattr(spans, name) for spans in axes] for name in names]
    return pairs if len(names) > 1 else pairs[0]


def _apply(module: nn.Module, params: Params, x: jax.Array) -> jax.Array:
    return cast(jax.Array, module.apply({"params": params}, x))
