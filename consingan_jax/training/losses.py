"""WGAN-GP with a per-pixel gradient penalty, and the reconstruction loss (paper, section 3)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Scores = Callable[[jax.Array], jax.Array]
Metrics = dict[str, jax.Array]
Weights = jax.Array | None
"""Weights, 1 on average, of what a mean is taken of; None: equal ones."""


def _mean(values: jax.Array, weights: Weights) -> jax.Array:
    return values.mean() if weights is None else (weights * values).mean()


def gradient_penalty(scores: Scores, x: jax.Array) -> jax.Array:
    """Returns the mean over pixels of (||d sum(scores) / dx|| - 1)^2, the norm over channels.

    Args:
        scores: the critic, from images `[N, H, W, C]` to scores.
        x: `[N, H, W, C]`, the images at which the gradient is taken.
    """
    # WGAN-GP takes one norm per image; the published program takes one per pixel, as this does.
    squared = _squared_gradient(scores, x)
    # The derivative of the square root is infinite at 0, where it shall count as 0. The root must
    # not see the zeros at all: `where` would pass a gradient of 0 back to it, and 0 * inf is NaN.
    positive = squared > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return jnp.square(norm - 1).mean()


def zero_centred_penalty(scores: Scores, x: jax.Array) -> jax.Array:
    """Returns the mean over pixels of ||d sum(scores) / dx||^2, the norm over channels."""
    return _squared_gradient(scores, x).mean()


def _squared_gradient(scores: Scores, x: jax.Array) -> jax.Array:
    """Returns ||d sum(scores) / dx||^2 of every pixel, `[N, H, W]`."""
    gradient = jax.grad(lambda images: scores(images).sum())(x)
    return jnp.square(gradient).sum(-1)


def critic_loss(
    scores: Scores,
    real: jax.Array,
    fake: jax.Array,
    mix: jax.Array,
    *,
    gp_weight: float,
    relativistic: bool = False,
    pixels: Weights = None,
    patches: Weights = None,
) -> tuple[jax.Array, Metrics]:
    """Returns the critic's loss and its terms.

    Args:
        scores: the critic.
        real: `[N, H, W, C]`.
        fake: `[N, H, W, C]`.
        mix: scalar in [0, 1], the share of `real` in the image at which the penalty is taken.
        gp_weight: weight of the gradient penalty; 0: none is computed.
        relativistic: whether the loss is that of R3GAN (Huang et al., NeurIPS 2024): each score of
            a real patch is compared with that of the fake patch at its place, and the penalty is
            zero-centred, at `real` and at `fake` instead of between them. It takes no weights.
        pixels: `[N, H, W, 1]`, weights of the real pixels; where they are 0, the image at which the
            penalty is taken is the fake one.
        patches: weights of the real scores.
    """
    # One pass for both images: the critic has no normalisation that could mix them.
    both = jnp.concatenate([real, fake])
    of_real, of_fake = jnp.split(scores(both), 2)
    penalty = jnp.zeros(())
    if gp_weight and relativistic:
        penalty = gp_weight * zero_centred_penalty(scores, both)
    elif gp_weight:
        mixed = mix * real + (1 - mix) * fake
        if pixels is not None:
            # All patches count, or the sums of the gradients of fewer would let each be larger.
            mixed = jnp.where(pixels > 0, mixed, fake)
        penalty = gp_weight * gradient_penalty(scores, mixed)
    terms = {
        "critic_real": -_mean(of_real, patches),
        "critic_fake": of_fake.mean(),
        "gradient_penalty": penalty,
    }
    if relativistic:
        return jax.nn.softplus(of_fake - of_real).mean() + penalty, terms
    return terms["critic_real"] + terms["critic_fake"] + penalty, terms


def generator_loss(
    scores: Scores,
    fake: jax.Array,
    reconstruction: jax.Array,
    real: jax.Array,
    *,
    rec_weight: float,
    relativistic: bool = False,
    pixels: Weights = None,
) -> tuple[jax.Array, Metrics]:
    """Returns the generator's loss and its terms.

    All images are `[N, H, W, C]`; `pixels` are weights `[N, H, W, 1]` of the real ones.
    """
    if relativistic:
        adversarial = jax.nn.softplus(scores(real) - scores(fake)).mean()
    else:
        adversarial = -scores(fake).mean()
    error = _mean(jnp.square(reconstruction - real), pixels)
    terms = {"generator": adversarial, "reconstruction_mse": error}
    return adversarial + rec_weight * error, terms
