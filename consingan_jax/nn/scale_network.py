"""The generator of one scale of SinGAN: five layers with batch norm, as plain functions.

The network is a list of pieces, functions of its parameters and an image. Those that have
parameters are linear in them, so what the backward pass needs of a piece is its input in the
forward pass and the parameters, which may have changed since: see `pullback`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from consingan_jax.nn.conv import widen
from consingan_jax.nn.layers import (
    ACTIVATIONS,
    NORM_EPS,
    Architecture,
    Conv,
    ConvBlock,
    Params,
    normalised,
    scaled,
)

MOMENTUM = 0.1  # share of an image's statistics in the running ones
Piece = Callable[[Params, jax.Array], jax.Array]
Statistics = dict[str, dict[str, jax.Array]]
"""The running mean and variance `[C]` of every block."""


class Pass(NamedTuple):
    """A forward pass in training: its result `[N, H, W, C]`, and the input of every piece."""

    result: jax.Array
    inputs: list[jax.Array]


@dataclasses.dataclass(frozen=True)
class ScaleNetwork:
    """The layers of one scale: `{"head", "block0", ..., "tail"}` are its parameters."""

    arch: Architecture

    @property
    def blocks(self) -> list[str]:
        """The names of the blocks: a convolution, a normalisation and an activation each."""
        return ["head", *(f"block{layer}" for layer in range(self.arch.num_layers))]

    def init(self, key: jax.Array) -> tuple[Params, Statistics]:
        """Returns new parameters and running statistics."""
        side, filters, channels = 3, self.arch.num_filters, self.arch.channels
        params, block = {}, ConvBlock(self.arch, True)
        keys = jax.random.split(key, len(self.blocks) + 1)
        for number, name in enumerate(self.blocks):
            x = jnp.zeros((1, side, side, filters if number else channels))
            params[name] = block.init(keys[number], x)["params"]
        x = jnp.zeros((1, side, side, filters))
        params["tail"] = Conv(channels).init(keys[-1], x)["params"]
        # An array of its own for each, as the training loop takes over the memory of every one.
        return params, {
            name: {"mean": jnp.zeros(filters), "variance": jnp.ones(filters)}
            for name in self.blocks
        }

    def __call__(self, params: Params, statistics: Statistics, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H - 2L - 4, W - 2L - 4, C]`, by the running statistics."""
        for piece in self._pieces(lambda name: functools.partial(_normalised_by, statistics[name])):
            x = piece(params, x)
        return x

    def train(self, params: Params, x: jax.Array) -> Pass:
        """Does the same with the statistics of each image."""
        inputs = []
        for piece in self._pieces(lambda _: normalised):
            inputs.append(x)
            x = piece(params, x)
        return Pass(x, inputs)

    def pullback(self, params: Params, inputs: list[jax.Array], gradient: jax.Array) -> Params:
        """Returns the gradient of the parameters, given that of the result.

        Args:
            params: parameters, perhaps others than those of the forward pass. Where they differ
                this is no function's gradient, but what the published program computes.
            inputs: the input of every piece in the forward pass.
            gradient: that of the result.
        """
        total = jax.tree.map(jnp.zeros_like, params)
        pieces = self._pieces(lambda _: normalised)
        for piece, x in zip(reversed(pieces), reversed(inputs), strict=True):
            # What the forward pass has remembered, and the parameters as they are now.
            _, pull = jax.vjp(piece, params, x)
            own, gradient = pull(gradient)
            total = jax.tree.map(jnp.add, total, own)
        return total

    def moved(self, statistics: Statistics, inputs: list[jax.Array]) -> Statistics:
        """Returns the running statistics after a pass over each image, one after the other."""
        each = dict(zip(self.blocks, inputs[1:-2:4], strict=True))  # a block has four pieces
        return {name: _moved(statistics[name], x) for name, x in each.items()}

    def _pieces(self, normalisation: Callable[[str], Callable[[jax.Array], jax.Array]]) -> list:
        """Returns the pieces; `normalisation` returns that of a block."""
        pieces: list[Piece] = []
        for name in self.blocks:
            pieces += [
                functools.partial(self._convolve, name),
                functools.partial(_apply, normalisation(name)),
                functools.partial(_scale, name),
                functools.partial(_apply, self._activate),
            ]
        return [*pieces, self._tail, functools.partial(_apply, jnp.tanh)]

    def _convolve(self, name: str, params: Params, x: jax.Array) -> jax.Array:
        # The normalisation removes the bias again, so its gradient is rounding noise, which Adam
        # would turn into full steps; the running mean would lag behind. Stop it exactly.
        conv = Conv(self.arch.num_filters, train_bias=False)
        return cast(jax.Array, conv.apply({"params": params[name]["conv"]}, x))

    def _activate(self, x: jax.Array) -> jax.Array:
        return ACTIVATIONS["leaky_relu"](x, self.arch.negative_slope)

    def _tail(self, params: Params, x: jax.Array) -> jax.Array:
        pixels = Conv(self.arch.channels).apply({"params": params["tail"]}, x)
        return widen(cast(jax.Array, pixels))


def _apply(function: Callable[[jax.Array], jax.Array], _: Params, x: jax.Array) -> jax.Array:
    return function(x)


def _scale(name: str, params: Params, x: jax.Array) -> jax.Array:
    return scaled(x, **params[name]["norm"])


def _normalised_by(running: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    factor = jax.lax.rsqrt(running["variance"] + NORM_EPS)
    return scaled(x, factor, -running["mean"] * factor)


def _moved(running: dict[str, jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    """Returns a block's statistics after those of images `[N, H, W, C]`."""
    pixels = x.shape[1] * x.shape[2]
    means, variances = x.mean((1, 2)), x.var((1, 2)) * (pixels / (pixels - 1))

    def move(old: Any, new: Any) -> Any:
        return (1 - MOMENTUM) * old + MOMENTUM * new

    for mean, variance in zip(means, variances, strict=True):
        running = {
            "mean": move(running["mean"], mean),
            "variance": move(running["variance"], variance),
        }
    return running
