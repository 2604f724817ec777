"""Derives the networks' architecture from a configuration."""

from consingan_jax.config import Config
from consingan_jax.nn.layers import Architecture


def architecture(config: Config, *, channels: int) -> Architecture:
    """Returns a configuration's architecture for images of `channels` channels."""
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
