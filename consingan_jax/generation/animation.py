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
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.data import noise
from consingan_jax.data.noise import NoiseSource, Z
from consingan_jax.errors import InputError
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import Crop

BATCH = 8  # frames of one compiled call
LEFT_OF_START = 1e-4  # share of the start that is left when a loop begins


class Settings(NamedTuple):
    """What decides a walk; all of it traced, so that one compilation serves every walk."""

    key: jax.Array
    alpha: jax.Array
    beta: jax.Array
    start_stage: int
    period: int


def check(*, alpha: float, beta: float, num_frames: int, loop: bool) -> None:
    """Raises an InputError unless an animation can have these settings."""
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
    fixed: NoiseSource,
    noise_amps: jax.Array,
    key: jax.Array,
    num_frames: int,
    *,
    generator: Generator,
    view: Crop,
    alpha: float,
    beta: float,
    start_stage: int,
    loop: bool,
) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, C]` in [-1, 1].

    `BATCH` of them are made by one compiled call, so memory does not depend on their number.

    Args:
        params: generator parameters.
        fixed: z*; the noise of the walk is drawn as it draws its own.
        noise_amps: amplitude of every stage's noise.
        key: of the walk's noise.
        num_frames: how many.
        generator: what makes the images.
        view: the window of an image to make.
        alpha: how strongly the walk is drawn back to z*.
        beta: how much it keeps its direction.
        start_stage: stages below it use z*.
        loop: whether the walk closes on itself.
    """
    settings = Settings(
        key, jnp.float32(alpha), jnp.float32(beta), start_stage, num_frames if loop else 2**31 - 1
    )
    if loop:
        steps = -(-warm_up(alpha, beta) // num_frames) * num_frames
        positions = _settle(fixed, settings, steps, view, generator=generator)
    else:
        positions = _first(fixed, settings, view, generator=generator)
    for start in range(0, num_frames, BATCH):
        positions, images = _batch(
            params, fixed, noise_amps, positions, settings, start, view, generator=generator
        )
        yield from np.asarray(images)[: num_frames - start]


def warm_up(alpha: float, beta: float) -> int:
    """Returns the steps after which the walk has forgotten its start."""
    roots = np.roots([1, -(1 - alpha) * (1 + beta), (1 - alpha) * beta])
    factor = float(np.clip(np.abs(roots).max(), LEFT_OF_START, 1 - 1e-9))  # of a step
    return math.ceil(math.log(LEFT_OF_START) / math.log(factor))


@functools.partial(numerics.jit, static_argnames="generator")
def _first(fixed, settings, view, *, generator):
    """Returns (d, d before it) where the open walk starts: z* itself, then a hundredth away."""
    wanted = view.noise(generator.arch)
    z_star, fresh = fixed.draw(wanted), _fresh(fixed, settings.key, 2**31, wanted)
    zeros = [jnp.zeros_like(z) for z in z_star]
    near = [0.01 * (n - z) for n, z in zip(fresh, z_star, strict=True)]
    return _from(settings.start_stage, near, zeros), zeros


@functools.partial(numerics.jit, static_argnames="generator")
def _settle(fixed, settings, steps, view, *, generator):
    """Returns (d, d before it) after `steps` (traced) steps from z*."""
    wanted = view.noise(generator.arch)
    zeros = [jnp.zeros_like(z) for z in fixed.draw(wanted)]
    return jax.lax.fori_loop(
        0, steps, lambda i, p: _step(p, fixed, settings, i, wanted), (zeros,) * 2
    )


@functools.partial(numerics.jit, static_argnames="generator")
def _batch(params, fixed, noise_amps, positions, settings, start, view, *, generator):
    """Returns the positions after `BATCH` steps, and the frames `[BATCH, H, W, C]`."""
    wanted = view.noise(generator.arch)
    z_star = fixed.draw(wanted)

    def frame(positions, number):
        positions = _step(positions, fixed, settings, number, wanted)
        z = [still + d for still, d in zip(z_star, positions[0], strict=True)]
        return positions, generator(params, z, noise_amps, view)[0]

    return jax.lax.scan(frame, positions, start + jnp.arange(BATCH))


def _step(positions, fixed, settings, number, wanted):
    """Returns (d, d before it) after step `number` of the walk."""
    now, before = positions
    fresh = _fresh(fixed, settings.key, number % settings.period, wanted)
    alpha, beta = settings.alpha, settings.beta
    after = [
        (1 - alpha) * (d + beta * (d - d_before) + (1 - beta) * n)
        for d, d_before, n in zip(now, before, fresh, strict=True)
    ]
    return _from(settings.start_stage, after, now), now


def _fresh(fixed, key, number, wanted) -> Z:
    """Returns the noise of step `number` of a walk."""
    keys = noise.stage_keys(jax.random.fold_in(key, number), len(wanted))
    return dataclasses.replace(fixed, keys=keys, given=()).draw(wanted)


def _from(start_stage, moved: Z, still: Z) -> Z:
    """Returns `moved` from `start_stage` (traced) on, `still` below."""
    pairs = zip(moved, still, strict=True)
    return [jnp.where(k < start_stage, s, m) for k, (m, s) in enumerate(pairs)]
