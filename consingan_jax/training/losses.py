"""WGAN-GP with a per-pixel penalty, and the reconstruction loss (paper, section 3)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Scores = Callable[[jax.Array], jax.Array]
Metrics = dict[str, jax.Array]


def gradient_penalty(scores: Scores, x: jax.Array) -> jax.Array:
    """Returns the mean over pixels of (||d sum(scores) / dx|| - 1)^2, the norm over channels.

    The norm per pixel, not per image, is the published program's reading of the penalty.

    Args:
        scores: maps images `[N, H, W, C]` to scores.
        x: `[N, H, W, C]`, where the critic's slope is measured.
    """
    gradient = jax.grad(lambda images: scores(images).sum())(x)
    squared = jnp.square(gradient).sum(-1)
    # A square root has no derivative at zero; there the norm's derivative counts as zero.
    positive = squared > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return jnp.square(norm - 1).mean()


def critic_loss(
    scores: Scores, real: jax.Array, fake: jax.Array, mix: jax.Array, *, gp_weight: float
) -> tuple[jax.Array, Metrics]:
    """Returns the critic's loss and its parts.

    Args:
        scores: the critic.
        real: `[N, H, W, C]`.
        fake: `[N, H, W, C]`.
        mix: scalar in [0, 1], the share of `real` in the image where the slope is measured.
        gp_weight: weight of the gradient penalty.
    """
    of_real, of_fake = jnp.split(scores(jnp.concatenate([real, fake])), 2)
    penalty = gp_weight * gradient_penalty(scores, mix * real + (1 - mix) * fake)
    parts = {
        "critic_real": -of_real.mean(),
        "critic_fake": of_fake.mean(),
        "gradient_penalty": penalty,
    }
    return parts["critic_real"] + parts["critic_fake"] + penalty, parts


def generator_loss(
    scores: Scores,
    fake: jax.Array,
    reconstruction: jax.Array,
    real: jax.Array,
    *,
    rec_weight: float,
) -> tuple[jax.Array, Metrics]:
    """Returns the generator's loss and its parts; all images are `[N, H, W, C]`."""
    adversarial = -scores(fake).mean()
    error = jnp.square(reconstruction - real).mean()
    parts = {"generator": adversarial, "reconstruction_mse": error}
    return adversarial + rec_weight * error, parts
