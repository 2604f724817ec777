"""Optimisers with a learning rate per stage, via `optax.multi_transform` (paper, section 3.1)."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from consingan_jax.config import Config
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params

FROZEN = "frozen"


def num_frozen(stage: int, train_depth: int) -> int:
    """Returns how many of the oldest stages are frozen while `stage` trains."""
    return max(0, stage - train_depth + 1)


def rates(ages: Mapping[str, int], config: Config, *, stage: int) -> dict[str, float]:
    """Returns the learning rates of the groups of parameters that train at `stage`.

    `ages` has the age of each group in stages, 0 for the newest.
    """
    # The head is as old as stage 0 and is frozen together with it. So all features below the oldest
    # training stage are constant: they need no backward pass, and those of z* can be kept.
    newest = config.stage(stage).lr_generator
    return {
        group: newest * config.lr_scale**age
        for group, age in ages.items()
        if age < config.train_depth
    }


def schedule(
    rate: float, config: Config, *, stage: int, updates_per_iter: int, drop: int | None = None
) -> optax.Schedule:
    """Returns a schedule that multiplies `rate` by `lr_decay` from iteration `drop` on.

    By default that is after 80 % of the iterations.
    """
    # Optax counts updates, but the drop counts iterations, which may have several updates each.
    if drop is None:
        drop = int(0.8 * config.stage(stage).num_iters)

    def value(count: jax.Array) -> jax.Array:
        return jnp.where(count // updates_per_iter < drop, rate, rate * config.lr_decay)

    return value


def critic_optimizer(
    config: Config, *, stage: int, drop: int | None = None
) -> optax.GradientTransformation:
    """Returns the critic's optimiser, with one rate for all; `drop` as for `schedule`."""
    own = config.stage(stage)
    return _adam(own.lr_critic, config, stage=stage, updates_per_iter=own.d_steps, drop=drop)


class Optimizers(NamedTuple):
    """The optimisers of two networks, each with one rate for all parameters."""

    generator: optax.GradientTransformation
    critic: optax.GradientTransformation


def of_one_stage(config: Config, *, stage: int, drop: int | None = None) -> Optimizers:
    """Returns the optimisers of a stage that trains alone; `drop` as for `schedule`."""
    own = config.stage(stage)
    return Optimizers(
        _adam(own.lr_generator, config, stage=stage, updates_per_iter=own.g_steps, drop=drop),
        critic_optimizer(config, stage=stage, drop=drop),
    )


def generator_optimizer(
    generator: Generator, params: Params, config: Config, *, stage: int
) -> optax.GradientTransformation:
    """Returns the generator's optimiser at `stage`, for parameters shaped like `params`."""
    labels, ages = generator.groups(params)
    learning = rates(ages, config, stage=stage)
    transforms = {
        group: _adam(rate, config, stage=stage, updates_per_iter=config.stage(stage).g_steps)
        for group, rate in learning.items()
    }
    # `set_to_zero` has no state, so a frozen stage costs no memory for moments.
    labels = jax.tree.map(lambda group: group if group in learning else FROZEN, labels)
    return optax.multi_transform({**transforms, FROZEN: optax.set_to_zero()}, labels)


def repeated_update(
    transformation: optax.GradientTransformation,
    gradient: Params,
    params: Params,
    opt_state: optax.OptState,
    *,
    num_updates: int,
) -> tuple[Params, optax.OptState]:
    """Returns parameters and optimiser state after several updates by the same gradient."""
    # This is not one update of a larger rate: Adam's moments and bias correction advance each time.

    def update(carry: tuple, _: None) -> tuple[tuple, None]:
        params, opt_state = carry
        updates, opt_state = transformation.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    return jax.lax.scan(update, (params, opt_state), length=num_updates)[0]


def moving_average(
    average: Params | None, params: Params, step: jax.Array, *, decay: float
) -> Params | None:
    """Returns the exponential mean of parameters after one more iteration.

    Args:
        average: the mean so far, of the parameters after each of `step` iterations; or None.
        params: the parameters after this iteration.
        step: int32 scalar, number of iterations before.
        decay: weight of the mean so far; less in the first iterations, or the initial parameters
            would count for long.
    """
    if average is None:
        return None
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    # Frozen parameters stay exactly what they are.
    return jax.tree.map(lambda mean, new: mean + share * (new - mean), average, params)


def _adam(
    rate: float, config: Config, *, stage: int, updates_per_iter: int, drop: int | None = None
) -> optax.GradientTransformation:
    # Adam is elementwise, so it may run on all leaves as one vector. That takes a few GPU kernels;
    # a tree takes a few for every leaf (docs/performance.md).
    learning_rate = schedule(
        rate, config, stage=stage, updates_per_iter=updates_per_iter, drop=drop
    )
    return optax.flatten(optax.adam(learning_rate, b1=config.beta1))
