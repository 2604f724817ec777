"""Compiles the training loops of stages in a background thread."""

import concurrent.futures
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import malloc, numerics
from consingan_jax.data import exclusion, noise
from consingan_jax.nn.critic import patch_size
from consingan_jax.training.background import Thread
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.placement import ALONE, Placement, placement_for
from consingan_jax.training.state import StageConstants, TrainState


def placeholders(program: Iteration) -> tuple[TrainState, StageConstants]:
    """Returns new parameters and a black image, with the shapes that they have in a stage."""
    key, num_stages = numerics.key(0), len(program.sizes)
    channels = program.generator.arch.channels
    real, coarsest = (jnp.zeros((1, *program.sizes[k], channels)) for k in (-1, 0))
    generator, amps = program.generator.init(key, num_stages), jnp.ones(num_stages)
    fixed = program.with_whole_grids(
        noise.NoiseSource(noise.stage_keys(key, num_stages), (program.first_fixed(key, coarsest),))
    )
    features = program.frozen_features(generator, fixed, amps)
    state = program.init(generator, program.critic.init(key))
    return state, StageConstants(real, coarsest, fixed, amps, features, _exclusion(program))


def _exclusion(program: Iteration) -> exclusion.Exclusion | None:
    if not program.config.exclude:
        return None
    patch = patch_size(program.critic.arch.num_layers)
    return exclusion.of_holes([np.zeros(size, bool) for size in program.sizes], patch)


def shapes(program: Iteration) -> tuple[TrainState, StageConstants]:
    """Returns the shapes of a stage's state and constants."""
    return jax.eval_shape(lambda: placeholders(program))


def noise_shapes(program: Iteration) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of z_0 .. z_d on whole levels."""
    keys = noise.stage_keys(numerics.key(0), len(program.sizes))
    wanted = program.generator.view(program.sizes).noise(program.generator.arch)
    return jax.eval_shape(lambda: noise.NoiseSource(keys).draw(wanted))


def compile_loop(program: Iteration, placement: Placement = ALONE) -> jax.stages.Compiled:
    """Returns the compiled loop of a stage. A call invalidates the state that it is given."""
    key = jax.eval_shape(lambda: numerics.key(0))
    count = jax.ShapeDtypeStruct((), jnp.int32)
    arguments = placement.shapes((*shapes(program), key, count))
    # The state is donated: the new one is written into its memory, so there are never two. `remat`
    # alone saves nothing on a CPU, which also has to order the operations for little memory.
    loop = numerics.jit(
        placement.loop(program), little_memory=program.config.remat, donate_argnums=0
    )
    run = loop.lower(*arguments).compile()
    # Compiling a stage leaves about 450 MiB.
    malloc.release()
    return run


def memory(program: Iteration, placement: Placement = ALONE) -> int:
    """Returns the bytes that the compiled loop of a stage needs on one device."""
    analysis = compile_loop(program, placement).memory_analysis()
    assert analysis is not None, "every backend of XLA has a memory analysis"
    return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes


class Loop(NamedTuple):
    """A compiled loop, and the placement of its runs."""

    run: jax.stages.Compiled
    placement: Placement


class Compiler:
    """Compiles the loops of stages in a background thread, each once.

    Compilation takes 11 to 30 s a stage (docs/performance.md) and needs only shapes, which are
    known from the start. So the next stage can be compiled while the current one trains.
    """

    def __init__(self, devices: Sequence[jax.Device]):
        """Compiles for these devices, under the JAX settings of the caller."""
        self._devices = devices
        self._thread = Thread()
        self._loops: dict[tuple[Iteration, int], concurrent.futures.Future[Loop]] = {}

    def begin(self, program: Iteration, num_runs: int) -> "concurrent.futures.Future[Loop]":
        """Returns the future of a loop, which is compiled from now on if it was not yet."""
        if (program, num_runs) not in self._loops:
            placement = placement_for(num_runs, program.num_windows, self._devices)
            self._loops[program, num_runs] = self._thread.submit(
                lambda: Loop(compile_loop(program, placement), placement)
            )
        return self._loops[program, num_runs]

    def drop(self, stage: int) -> None:
        """Drops the loops of a stage, and with them the memory of the compiled programs."""
        self._loops = {key: loop for key, loop in self._loops.items() if key[0].stage != stage}

    def close(self) -> None:
        """Cancels the compilations that have not started."""
        self._thread.close()
