"""From the arithmetic of a stage to a compiled loop, beside the training of the stage below."""

import concurrent.futures
from collections.abc import Callable

import jax
import jax.numpy as jnp

from consingan_jax import device, numerics
from consingan_jax.data import noise
from consingan_jax.training.beside import Thread
from consingan_jax.training.state import StageData, TrainState
from consingan_jax.training.step import StageProgram


def placeholders(program: StageProgram) -> tuple[TrainState, StageData]:
    """Returns a state and data shaped as in a stage; meant for `jax.eval_shape`."""
    key, num_stages = numerics.key(0), len(program.sizes)
    channels = program.generator.arch.channels
    real, coarsest = (jnp.zeros((1, *program.sizes[k], channels)) for k in (-1, 0))
    generator, amps = program.generator.init(key, num_stages), jnp.ones(num_stages)
    fixed = program.kept(noise.Source(noise.stage_keys(key, num_stages), (coarsest,)))
    features = program.frozen_features(generator, fixed, amps)
    state = program.init(generator, program.critic.init(key))
    return state, StageData(real, coarsest, fixed, amps, features)


def shapes(program: StageProgram) -> tuple[TrainState, StageData]:
    """Returns the shapes of a stage's state and data."""
    return jax.eval_shape(lambda: placeholders(program))


def noise_shapes(program: StageProgram) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of z_0 .. z_d for whole levels."""
    keys = noise.stage_keys(numerics.key(0), len(program.sizes))
    wanted = program.generator.view(program.sizes).noise(program.generator.arch)
    return jax.eval_shape(lambda: noise.Source(keys).draw(wanted))


def compile_loop(program: StageProgram) -> jax.stages.Compiled:
    """Returns `program.run` compiled; it takes over the memory of the state that it is given."""
    key = jax.eval_shape(lambda: numerics.key(0))
    count = jax.ShapeDtypeStruct((), jnp.int32)
    lowered = jax.jit(program.run, donate_argnums=0).lower(*shapes(program), key, count)
    run = lowered.compile(device.compiler_options(small_memory=program.config.remat))
    device.release_memory()
    return run


class Compiler:
    """Compiles the loops of a run's stages, each once, in a thread of its own."""

    def __init__(self, program_of: Callable[[int], StageProgram]):
        """Takes the function: stage -> its program. Compiles under the caller's settings."""
        self._program_of = program_of
        self._thread = Thread()
        self._loops: dict[int, concurrent.futures.Future] = {}

    def begin(self, stage: int) -> concurrent.futures.Future:
        """Returns the promise of a stage's loop; it is compiled from now on, if it was not yet."""
        if stage not in self._loops:
            program = self._program_of(stage)
            self._loops[stage] = self._thread.begin(lambda: compile_loop(program))
        return self._loops[stage]

    def drop(self, stage: int) -> None:
        """Forgets the loop of a stage."""
        del self._loops[stage]

    def close(self) -> None:
        """Drops the compilations that nobody waits for."""
        self._thread.close()
