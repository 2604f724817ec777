"""Table of methods: the training iteration of each."""

from collections.abc import Sequence
from typing import Any

from consingan_jax.config import Config
from consingan_jax.nn.resize import Size
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.scale_step import ScaleStep
from consingan_jax.training.step import StageStep

ITERATIONS: dict[str, type[Iteration]] = {"consingan": StageStep, "singan": ScaleStep}


def iteration_of(config: Config, arch: Any, sizes: Sequence[Size]) -> Iteration:
    """Returns the training iteration of stage `len(sizes) - 1` of the configuration's method."""
    return ITERATIONS[config.method](config, arch, sizes)
