"""Who learns how fast: a label per leaf, an optax transformation per label (paper, section 3)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

FROZEN = "frozen"


def num_frozen(stage: int, train_depth: int) -> int:
    """Returns how many of the oldest stages stand still while `stage` trains.

    Where it is not zero the head stands still too, so that everything below the oldest training
    stage is constant.
    """
    return max(0, stage - train_depth + 1)


def labels(params: Any, *, stage: int, train_depth: int) -> Any:
    """Returns a tree like `params` with each leaf's label.

    The labels are "frozen", "head", "tail" and "stage_<k>".

    Raises:
        ValueError: a leaf belongs to no group.
    """
    frozen = num_frozen(stage, train_depth)

    def label(path, _):
        match [getattr(entry, "key", getattr(entry, "idx", None)) for entry in path]:
            case ["tail", *_]:
                return "tail"
            case ["head", *_]:
                return FROZEN if frozen else "head"
            case ["stages", int(k), *_] if k <= stage:
                return FROZEN if k < frozen else f"stage_{k}"
        raise ValueError(f"no learning rate for the parameter {jax.tree_util.keystr(path)}")

    return jax.tree_util.tree_map_with_path(label, params)


def rates(*, stage: int, train_depth: int, lr_scale: float) -> dict[str, float]:
    """Returns the factor on the learning rate of every label that trains."""
    frozen = num_frozen(stage, train_depth)
    factors = {f"stage_{k}": lr_scale ** (stage - k) for k in range(frozen, stage + 1)}
    head = {} if frozen else {"head": lr_scale**stage}
    return {"tail": 1.0, **head, **factors}


def schedule(rate: float, *, num_iters: int, updates_per_iter: int, decay: float) -> optax.Schedule:
    """Returns the learning rate over Adam's updates: it drops after 80 % of the iterations."""
    drop = int(0.8 * num_iters)

    def value(count):
        return jnp.where(count // updates_per_iter < drop, rate, rate * decay)

    return value


def critic_optimizer(
    *, learning_rate: float, beta1: float, num_iters: int, d_steps: int, decay: float
) -> optax.GradientTransformation:
    """Returns the critic's optimiser: every parameter at one rate."""
    # Flattened, here and below: one vector takes a few kernels, a tree takes some for every leaf.
    rate = schedule(learning_rate, num_iters=num_iters, updates_per_iter=d_steps, decay=decay)
    return optax.flatten(optax.adam(rate, b1=beta1))


def generator_optimizer(
    params: Any,
    *,
    stage: int,
    train_depth: int,
    lr_scale: float,
    learning_rate: float,
    beta1: float,
    num_iters: int,
    g_steps: int,
    decay: float,
) -> optax.GradientTransformation:
    """Returns the generator's optimiser at `stage`.

    Args:
        params: generator parameters (or their shapes), which decide the labels.
        stage: the newest stage, from 0.
        train_depth: how many of the newest stages train.
        lr_scale: factor on the learning rate per stage of age.
        learning_rate: of the newest stage and the tail.
        beta1: Adam's decay rate of the first moment.
        num_iters: iterations of the stage.
        g_steps: updates per iteration.
        decay: factor on every rate after 80 % of the iterations.
    """

    def adam(factor):
        rate = schedule(
            learning_rate * factor, num_iters=num_iters, updates_per_iter=g_steps, decay=decay
        )
        return optax.flatten(optax.adam(rate, b1=beta1))

    factors = rates(stage=stage, train_depth=train_depth, lr_scale=lr_scale)
    transforms = {label: adam(factor) for label, factor in factors.items()}
    return optax.multi_transform(
        {**transforms, FROZEN: optax.set_to_zero()},
        labels(params, stage=stage, train_depth=train_depth),
    )
