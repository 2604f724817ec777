"""The pytrees of a stage: the training state, and the constants."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from consingan_jax.data.exclusion import Exclusion
from consingan_jax.data.noise import NoiseSource
from consingan_jax.nn.layers import Params


@struct.dataclass(eq=False)
class TrainState:
    """The arrays that an iteration changes.

    Attributes:
        generator: the generator's parameters.
        critic: the critic's parameters.
        generator_opt: optax state of the generator, fresh at every stage.
        critic_opt: optax state of the critic, fresh at every stage.
        step: int32 scalar, number of iterations done in this stage.
        average: exponential mean of the generator's parameters; None if `ema_decay` is 0.
    """

    generator: Params
    critic: Params
    generator_opt: Any
    critic_opt: Any
    step: jax.Array
    average: Params | None = None

    @property
    def sampled(self) -> Params:
        """The parameters of the model: the mean if there is one, else the generator's."""
        return self.generator if self.average is None else self.average


@struct.dataclass(eq=False)
class StageConstants:
    """The arrays that stay the same during a stage.

    Attributes:
        real: `[1, h, w, C]`, the training image at this stage.
        coarsest: `[1, h_0, w_0, C]`, the training image at stage 0; the composite in fine-tuning.
        fixed: z*, the fixed input of the reconstruction.
        noise_amps: `[d + 1]`, the noise amplitude of every stage.
        frozen_features: see `Iteration.frozen_features`.
        exclusion: the part of the image that is not learned; None if all is.
    """

    real: jax.Array
    coarsest: jax.Array
    fixed: NoiseSource
    noise_amps: jax.Array
    frozen_features: jax.Array | None
    exclusion: Exclusion | None = None


def appended(amps: jax.Array, amp: float) -> jax.Array:
    """Returns noise amplitudes `[d]` with one more."""
    # On the host: for a device's array, JAX would compile a program for each length.
    return jnp.asarray(np.append(amps, np.float32(amp)))
