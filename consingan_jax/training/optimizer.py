"""Per-stage learning rates via `optax.multi_transform` (paper, section 3)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from consingan_jax.config import Config
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Params

FROZEN = "frozen"


def num_frozen(stage: int, train_depth: int) -> int:
    """Returns how many of the oldest stages stand still while `stage` trains.

    Where it is not zero the head stands still too, so that everything below the oldest training
    stage is constant.
    """
    return max(0, stage - train_depth + 1)


def rates(ages: Mapping[str, int], config: Config, *, stage: int) -> dict[str, float]:
    """Returns the learning rate of every group that trains at `stage`.

    Args:
        ages: of all groups of parameters, in stages, by their names.
        config: says what the newest learn at, how it falls with age, and how old a group may be.
        stage: the newest.
    """
    newest = config.stage(stage).lr_generator
    return {
        group: newest * config.lr_scale**age
        for group, age in ages.items()
        if age < config.train_depth
    }


def schedule(rate: float, config: Config, *, stage: int, updates_per_iter: int) -> optax.Schedule:
    """Returns a learning rate over Adam's updates: it drops after 80 % of a stage's iterations."""
    drop = int(0.8 * config.stage(stage).num_iters)

    def value(count):
        return jnp.where(count // updates_per_iter < drop, rate, rate * config.lr_decay)

    return value


def critic_optimizer(config: Config, *, stage: int) -> optax.GradientTransformation:
    """Returns the critic's optimiser at `stage`: every parameter at one rate."""
    own = config.stage(stage)
    return _adam(own.lr_critic, config, stage=stage, updates_per_iter=own.d_steps)


def generator_optimizer(
    generator: Generator, params: Params, config: Config, *, stage: int
) -> optax.GradientTransformation:
    """Returns the generator's optimiser at `stage`; `params` (or their shapes) have the groups."""
    labels, ages = generator.groups(params)
    learning = rates(ages, config, stage=stage)
    transforms = {
        group: _adam(rate, config, stage=stage, updates_per_iter=config.stage(stage).g_steps)
        for group, rate in learning.items()
    }
    labels = jax.tree.map(lambda group: group if group in learning else FROZEN, labels)
    return optax.multi_transform({**transforms, FROZEN: optax.set_to_zero()}, labels)


def _adam(rate, config, *, stage, updates_per_iter):
    # Flattened: one vector takes a few kernels, a tree takes some for every leaf.
    learning_rate = schedule(rate, config, stage=stage, updates_per_iter=updates_per_iter)
    return optax.flatten(optax.adam(learning_rate, b1=config.beta1))
