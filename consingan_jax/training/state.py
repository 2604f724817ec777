"""Pytrees of a stage: what an iteration changes, and what stays constant."""

from typing import Any

import jax
from flax import struct

from consingan_jax.data.noise import NoiseSource
from consingan_jax.nn.layers import Params


@struct.dataclass(eq=False)
class TrainState:
    """What one iteration changes.

    Attributes:
        generator: the generator's parameters.
        critic: the critic's parameters.
        generator_opt: optax state of the generator, fresh at every stage.
        critic_opt: optax state of the critic, fresh at every stage.
        step: int32 scalar, iterations done in this stage.
    """

    generator: Params
    critic: Params
    generator_opt: Any
    critic_opt: Any
    step: jax.Array


@struct.dataclass(eq=False)
class StageConstants:
    """What stays the same during a stage.

    Attributes:
        real: `[1, h, w, C]`, the training image at this stage.
        coarsest: `[1, h_0, w_0, C]`, the training image at stage 0; the composite in fine-tuning.
        fixed: z*, the fixed input of the reconstruction.
        noise_amps: `[d + 1]`, amplitude of every stage's noise.
        frozen_features: features of z* at the last frozen stage; None while no stage is frozen, or
            where windows do not need the whole of it.
    """

    real: jax.Array
    coarsest: jax.Array
    fixed: NoiseSource
    noise_amps: jax.Array
    frozen_features: jax.Array | None
