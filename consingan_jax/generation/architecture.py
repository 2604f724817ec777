"""Derives the networks from a configuration, for every method."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from consingan_jax.config import Config
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator


def architecture(config: Config, *, channels: int, sizes: Sequence[Size] = ()) -> Any:
    """Returns a configuration's architecture for images of `channels` channels.

    `sizes` are those of the pyramid, on which the architecture of some methods depends.
    """
    return NETWORKS[config.method].derived(config, channels, sizes)


def _of_stages(config: Config, channels: int, _: Sequence[Size]) -> Architecture:
    return Architecture(
        channels=channels,
        num_filters=config.num_filters,
        num_layers=config.num_layers,
        activation=config.activation,
        negative_slope=config.negative_slope,
        batch_norm=config.batch_norm,
        border_growing=config.task_spec.border_growing,
        dtype=config.dtype,
    )


def _of_scales(config: Config, channels: int, sizes: Sequence[Size]) -> ScaleArchitecture:
    # All levels are one factor apart, from the top level to `min_size`.
    steps = len(sizes) - 1
    return ScaleArchitecture(
        channels=channels,
        num_filters=config.num_filters,
        num_layers=config.num_layers,
        negative_slope=config.negative_slope,
        factor=(config.min_size / min(sizes[-1])) ** (1 / steps) if steps else 1.0,
        noise_in_border=config.task == "animation",
        through_bytes=config.resampling == "bytes",
    )


class MethodNetworks(NamedTuple):
    """A row of the table: how a method's generator is made.

    Attributes:
        derived: returns the architecture for a configuration, channels and sizes.
        architecture: the class of the architecture.
        generator: the class of the generator, which takes an architecture.
    """

    derived: Callable[[Config, int, Sequence[Size]], Any]
    architecture: Callable[..., Any]
    generator: Callable[[Any], Any]


NETWORKS = {
    "consingan": MethodNetworks(_of_stages, Architecture, Generator),
    "singan": MethodNetworks(_of_scales, ScaleArchitecture, ScaleGenerator),
}
