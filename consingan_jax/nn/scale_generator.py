"""SinGAN's generator: a network for every scale, each of which adds to the image from below."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from consingan_jax.nn import byte_resize, intervals
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_network import ScaleNetwork, Statistics
from consingan_jax.nn.scale_view import ScaleGeometry, ScaleSpans, ScaleView

PER_DOUBLING = 4  # scales after which the networks are twice as wide
MAX_FILTERS = 128
_Axes = tuple[ScaleSpans, ScaleSpans]


@dataclasses.dataclass(frozen=True)
class ScaleArchitecture:
    """Hyperparameters of all networks.

    Attributes:
        channels: channels C of the image.
        num_filters: features of every hidden layer at scales 0 to 3; twice as many every four.
        num_layers: 3x3 convolutions L between head and tail.
        negative_slope: of LeakyReLU.
        factor: the size of a level relative to the one above it.
        noise_in_border: see `ScaleGeometry`.
        through_bytes: whether images between scales are cut to 8 bits.
    """

    channels: int = 3
    num_filters: int = 32
    num_layers: int = 3
    negative_slope: float = 0.2
    factor: float = 0.75
    noise_in_border: bool = False
    through_bytes: bool = True

    @property
    def needs_whole(self) -> bool:
        """Whether a window of an image depends on all of it: no, its statistics are fixed."""
        return False

    @property
    def border(self) -> int:
        """Rows that the convolutions take away at each end."""
        return self.num_layers + 2

    def of_scale(self, i: int) -> Architecture:
        """Returns the architecture of both networks of scale i."""
        filters = min(self.num_filters * 2 ** (i // PER_DOUBLING), MAX_FILTERS)
        return Architecture(
            channels=self.channels,
            num_filters=filters,
            num_layers=self.num_layers,
            negative_slope=self.negative_slope,
            batch_norm=True,
            border_growing=False,
        )


@dataclasses.dataclass(frozen=True)
class ScaleGenerator:
    """The generator of an architecture.

    Its parameters are `{"stages": [{"params", "statistics"}, ...]}`, with the running statistics of
    the normalisations beside the parameters of each scale. Its input is one array z_i for each
    scale: z_0 has one channel, the others those of the image.
    """

    arch: ScaleArchitecture

    def network(self, i: int) -> ScaleNetwork:
        """Returns the network of scale i."""
        return ScaleNetwork(self.arch.of_scale(i))

    def critic(self, i: int) -> Critic:
        """Returns the critic of scale i."""
        return Critic(self.arch.of_scale(i), normalise=True)

    def init(self, key: jax.Array, num_stages: int = 1) -> Params:
        """Returns new parameters, in which scales of equal width are copies."""
        keys = jax.random.split(key, num_stages)
        return functools.reduce(lambda grown, each: self.grow(grown, each), keys, {"stages": []})

    def grow(self, params: Params, key: jax.Array) -> Params:
        """Returns parameters with one more scale: a copy of the last if it is as wide, else new."""
        stages = params["stages"]
        if self.is_copied(len(stages)):
            newest = jax.tree.map(jnp.copy, stages[-1])
        else:
            own, statistics = self.network(len(stages)).init(key)
            newest = {"params": own, "statistics": statistics}
        return {"stages": [*stages, newest]}

    def is_copied(self, i: int) -> bool:
        """Returns whether scale i starts from the networks of the scale below."""
        return i > 0 and self.arch.of_scale(i) == self.arch.of_scale(i - 1)

    def view(
        self,
        sizes: Sequence[Size],
        *,
        top: Any = 0,
        left: Any = 0,
        size: Size | None = None,
        wraps: tuple[bool, bool] = (False, False),
    ) -> ScaleView:
        """Returns windows of the image; see `ScaleGeometry.view`."""
        assert not any(wraps), "the table of methods says that there are no tiles"
        arch = self.arch
        geometry = ScaleGeometry(arch.border, arch.factor, arch.noise_in_border)
        return geometry.view(sizes, top=top, left=left, size=size)

    def newest(self, params: Params) -> tuple[Params, Statistics]:
        """Returns parameters and running statistics of the last scale."""
        last = params["stages"][-1]
        return last["params"], last["statistics"]

    def with_newest(self, params: Params, own: Params, statistics: Statistics) -> Params:
        """Returns parameters with those of the last scale replaced."""
        return {"stages": [*params["stages"][:-1], {"params": own, "statistics": statistics}]}

    def num_params(self, params: Params) -> int:
        """Returns the number of parameters, without the running statistics."""
        own = [stage["params"] for stage in params["stages"]]
        return sum(leaf.size for leaf in jax.tree.leaves(own))

    def __call__(
        self, params: Params, z: Sequence[jax.Array], noise_amps: jax.Array, view: ScaleView
    ) -> jax.Array:
        """Generates images `[N, H, W, C]` in [-1, 1]; arguments as for `image`."""
        return self.image(params, z, noise_amps, view).clip(-1, 1)

    def image(
        self,
        params: Params,
        z: Sequence[jax.Array],
        noise_amps: jax.Array,
        view: ScaleView,
        *,
        first: int = 0,
        below: jax.Array | None = None,
    ) -> jax.Array:
        """Generates images `[N, H, W, C]`, which may leave [-1, 1] a little, as sums.

        Args:
            params: parameters.
            z: z_0 .. z_d, each `[N, h, w, channels]` of the part that `view.noise` names; entries
                below `first` are not read.
            noise_amps: `[>= len(z)]`, the amplitude of each z_i.
            view: N windows, or one window for the whole batch.
            first: the first scale to run.
            below: the image that it adds to, with its border; None for `first = 0`: zeros.
        """
        x = None
        for i in range(first, len(z)):
            if x is not None:
                below = self.raised(x, view.scale(i))
            elif below is None:
                assert i == 0, "scales above 0 continue from an image"
                below = self.nothing(len(z[0]), view)
            noise = noise_amps[i] * self.framed_noise(z[i], view.scale(i))
            x = self._added(params, i, below, noise)
        assert x is not None, "there is no scale to run"
        return x

    def enlarged(
        self, params: Params, x: jax.Array, z: jax.Array, noise_amp: jax.Array, axes: _Axes
    ) -> jax.Array:
        """Enlarges images `[N, h, w, C]` of any size by the last scale, as `image` does."""
        below = self.raised(x, axes)
        last = len(params["stages"]) - 1
        return self._added(params, last, below, noise_amp * self.framed_noise(z, axes))

    def _added(self, params: Params, i: int, below: jax.Array, noise: jax.Array) -> jax.Array:
        """Returns the image that scale i adds to, without its border, plus what it adds."""
        stage = params["stages"][i]
        made = self.network(i)(stage["params"], stage["statistics"], below + noise)
        return made + self.within_border(below)

    def nothing(self, number: int, view: ScaleView) -> jax.Array:
        """Returns the image that scale 0 adds to, with its border: zeros."""
        lengths = [spans.wide.length for spans in view.scale(0)]
        return jnp.zeros((number, *lengths, self.arch.channels))

    def raised(self, x: jax.Array, axes: _Axes) -> jax.Array:
        """Returns the image of the scale below, at the size of a scale and with a border."""
        levels = byte_resize.to_bytes(x).astype(float) if self.arch.through_bytes else x
        x = intervals.upsample(levels, [spans.up for spans in axes])
        x = byte_resize.from_bytes(x) if self.arch.through_bytes else x.clip(-1, 1)
        raised, framed, wide = (
            [getattr(spans, name) for spans in axes] for name in ("raised", "framed", "wide")
        )
        x = intervals.with_border(x, raised, framed)
        if not any(spans.is_stretched for spans in axes):
            return intervals.crop(x, framed, wide)
        return intervals.upsample(x, [spans.stretch for spans in axes])

    def framed_noise(self, z: jax.Array, axes: _Axes) -> jax.Array:
        """Returns noise of a scale with its border, of zeros unless it is drawn there too."""
        return z if self.arch.noise_in_border else with_border(z, axes)

    def within_border(self, x: jax.Array) -> jax.Array:
        """Cuts the border off."""
        border = self.arch.border
        return x[:, border:-border, border:-border]


def with_border(x: jax.Array, axes: _Axes) -> jax.Array:
    """Returns an image of a scale with its border of zeros."""
    inner, wide = ([getattr(spans, name) for spans in axes] for name in ("inner", "wide"))
    return intervals.with_border(x, inner, wide)
