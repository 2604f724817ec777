"""Animations: a random walk of the noise around z* (SinGAN, supplement, section 4).

With d = z - z*, a step is `d' = (1 - alpha) * (d + beta * (d - d_before) + (1 - beta) * n)` with
n fresh standard normal noise: a linear filter of white noise. The walk starts next to z*.

A loop is the same filter fed with noise that repeats after `frames` steps. The filter forgets its
start by a constant factor a step, so after some steps its output repeats too: the last frame leads
to the first as any frame leads to the next.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics, tasks
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.data.noise import NoiseSource, Z
from consingan_jax.errors import InputError
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import Crop, NoiseWindow

BATCH = 8  # frames per compiled call
START_LEFT = 1e-4  # share of the start that is left when a loop begins
NO_PERIOD = 2**31 - 1  # of the noise of a walk that does not loop; no walk has so many steps
_START = 2**31  # number of the noise at the start, which no step has

Positions = tuple[Z, Z]  # d and the d before it, each with an array per stage
Windows = Sequence[NoiseWindow]


class Walk(NamedTuple):
    """A random walk around z*. All of it is traced: one compiled program serves every walk.

    Attributes:
        fixed: z*; the noise of the walk is drawn in the same way.
        key: key of that noise.
        alpha: how strongly the walk is drawn back to z*.
        beta: how much it keeps its direction.
        start_stage: stages below it keep z*.
        start: share of noise in its first position.
        period: number of steps after which the noise repeats.
    """

    fixed: NoiseSource
    key: jax.Array
    alpha: float
    beta: float
    start_stage: int = 0
    start: float = 0.01
    period: int = NO_PERIOD


def check_task(config: Config) -> None:
    """Raises an InputError if models of this configuration make no animations."""
    if not config.task_spec.can_animate:
        raise InputError(
            f"this model was trained for {config.task}: animations need one of "
            f"{tasks.names(can_animate=True)}"
        )


def check(*, alpha: float, beta: float, num_frames: int, loop: bool) -> None:
    """Raises an InputError unless a walk can have these settings."""
    if num_frames < 1:
        raise InputError(f"frames={num_frames}: give 1 or more")
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value <= 1:
            raise InputError(f"{name}={value}: give a value from 0 to 1")
    if loop and alpha < 0.01:
        raise InputError(f"alpha={alpha}: a loop needs 0.01 or more, or it never forgets its start")
    if loop and beta == 1:
        raise InputError("beta=1.0: a loop needs less than 1, or it stands still")


@numerics.independent
def frames(
    params: Params,
    noise_amps: jax.Array,
    walk: Walk,
    num_frames: int,
    *,
    generator: Generator,
    view: Crop,
) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` in [-1, 1] of a walk, `BATCH` of them in memory at a time.

    Args:
        params: generator parameters.
        noise_amps: amplitude of each stage's noise.
        walk: the walk; one whose period is `num_frames` closes on itself.
        num_frames: number of frames.
        generator: the generator network.
        view: the window of each image to generate.
    """
    if walk.period == NO_PERIOD:
        positions = _first(walk, view, generator=generator)
    else:
        # Whole periods, so that frame 0 takes the first noise of a period.
        steps = -(-warm_up(walk.alpha, walk.beta) // walk.period) * walk.period
        positions = _settle(walk, steps, view, generator=generator)
    for start in range(0, num_frames, BATCH):
        # The last batch is full too, so that one program serves every number of frames.
        positions, images = _batch(
            params, noise_amps, walk, positions, start, view, generator=generator
        )
        yield from np.asarray(images)[: num_frames - start]


def warm_up(alpha: float, beta: float) -> int:
    """Returns the number of steps after which a walk has forgotten its start."""
    # In the long run the start decays by the filter's pole of largest modulus.
    poles = np.roots([1, -(1 - alpha) * (1 + beta), (1 - alpha) * beta])
    decay = float(np.clip(np.abs(poles).max(), START_LEFT, 1 - 1e-9))  # per step
    return math.ceil(math.log(START_LEFT) / math.log(decay))


@functools.partial(numerics.jit, static_argnames="generator")
def _first(walk: Walk, view: Crop, *, generator: Generator) -> Positions:
    """Returns the start of an open walk: z* itself, then a part of the way to noise."""
    windows = view.noise(generator.arch)
    z_star, fresh = walk.fixed.draw(windows), _fresh(walk, _START, windows)
    zeros = [jnp.zeros_like(z) for z in z_star]
    near = [walk.start * (n - z) for n, z in zip(fresh, z_star, strict=True)]
    return _select(walk.start_stage, near, zeros), zeros


@functools.partial(numerics.jit, static_argnames="generator")
def _settle(walk: Walk, steps: int, view: Crop, *, generator: Generator) -> Positions:
    """Returns the positions after `steps` (traced) steps from z*."""
    windows = view.noise(generator.arch)
    zeros = [jnp.zeros_like(z) for z in walk.fixed.draw(windows)]
    return jax.lax.fori_loop(0, steps, lambda i, p: _step(walk, p, i, windows), (zeros,) * 2)


@functools.partial(numerics.jit, static_argnames="generator")
def _batch(
    params: Params,
    noise_amps: jax.Array,
    walk: Walk,
    positions: Positions,
    start: int,
    view: Crop,
    *,
    generator: Generator,
) -> tuple[Positions, jax.Array]:
    """Returns the positions after `BATCH` steps, and the frames `[BATCH, H, W, C]`."""
    windows = view.noise(generator.arch)
    z_star = walk.fixed.draw(windows)

    def frame(positions: Positions, number: jax.Array) -> tuple[Positions, jax.Array]:
        positions = _step(walk, positions, number, windows)
        z = [still + d for still, d in zip(z_star, positions[0], strict=True)]
        return positions, generator(params, z, noise_amps, view)[0]

    return jax.lax.scan(frame, positions, start + jnp.arange(BATCH))


def _step(walk: Walk, positions: Positions, number: int | jax.Array, windows: Windows) -> Positions:
    now, before = positions
    fresh, alpha, beta = _fresh(walk, number % walk.period, windows), walk.alpha, walk.beta
    after = [
        (1 - alpha) * (d + beta * (d - d_before) + (1 - beta) * n)
        for d, d_before, n in zip(now, before, fresh, strict=True)
    ]
    return _select(walk.start_stage, after, now), now


def _fresh(walk: Walk, number: int | jax.Array, windows: Windows) -> Z:
    """Returns the noise of step `number`."""
    keys = noise.stage_keys(jax.random.fold_in(walk.key, number), len(windows))
    return dataclasses.replace(walk.fixed, keys=keys, given=(), zero_below=0).draw(windows)


def _select(start_stage: int, moved: Z, still: Z) -> Z:
    """Returns `moved` from `start_stage` (traced) on, `still` below."""
    pairs = zip(moved, still, strict=True)
    return [jnp.where(k < start_stage, s, m) for k, (m, s) in enumerate(pairs)]
