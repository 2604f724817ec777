import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.training import losses


def test_penalty_of_a_linear_critic():
    # The slope is (3, 4, 0) at every pixel: norm 5, penalty (5 - 1)^2.
    slope = jnp.array([3.0, 4.0, 0.0]).reshape(1, 1, 1, 3)
    penalty = losses.gradient_penalty(lambda x: x * slope, jnp.ones((1, 6, 7, 3)))
    assert penalty == pytest.approx(16)


def test_penalty_is_per_pixel():
    # Half of the pixels have slope 1 (no penalty), half slope 3 (penalty 4).
    slope = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)
    assert losses.gradient_penalty(lambda x: x * slope, jnp.ones((1, 1, 2, 1))) == pytest.approx(2)


def test_a_zero_gradient_has_penalty_one_and_a_finite_derivative():
    def penalty(w):
        return losses.gradient_penalty(lambda x: w * x, jnp.ones((1, 4, 4, 3)))

    value, slope = jax.value_and_grad(penalty)(0.0)
    assert (value, slope) == (1, 0)


def test_critic_loss_by_hand():
    real, fake = jnp.full((1, 4, 4, 1), 2.0), jnp.full((1, 4, 4, 1), 1.0)
    loss, parts = losses.critic_loss(lambda x: 3 * x, real, fake, jnp.array(0.3), gp_weight=0.1)
    assert parts["critic_real"] == pytest.approx(-6)
    assert parts["critic_fake"] == pytest.approx(3)
    assert parts["gradient_penalty"] == pytest.approx(0.1 * (3 - 1) ** 2)
    assert loss == pytest.approx(-6 + 3 + 0.4)


def test_the_penalty_is_measured_between_the_images():
    seen = []

    def scores(x):
        seen.append(np.asarray(jax.lax.stop_gradient(x)).mean())
        return x

    real, fake = jnp.ones((1, 4, 4, 1)), jnp.zeros((1, 4, 4, 1))
    losses.critic_loss(scores, real, fake, jnp.array(0.25), gp_weight=1.0)
    assert pytest.approx(0.25) in seen


def test_generator_loss_by_hand():
    fake, real = jnp.full((1, 4, 4, 1), 2.0), jnp.zeros((1, 4, 4, 1))
    loss, parts = losses.generator_loss(
        lambda x: 3 * x, fake, jnp.full((1, 4, 4, 1), 0.5), real, rec_weight=10.0
    )
    assert parts["reconstruction_mse"] == pytest.approx(0.25)
    assert loss == pytest.approx(-6 + 10 * 0.25)


def test_zero_centred_penalty_of_a_linear_critic():
    slope = jnp.array([3.0, 4.0, 0.0]).reshape(1, 1, 1, 3)
    penalty = losses.zero_centred_penalty(lambda x: x * slope, jnp.ones((1, 6, 7, 3)))
    assert penalty == pytest.approx(25)


def test_relativistic_losses_by_hand():
    real, fake = jnp.full((1, 4, 4, 1), 2.0), jnp.full((1, 4, 4, 1), 1.0)
    loss, parts = losses.critic_loss(
        lambda x: 3 * x, real, fake, jnp.array(0.3), gp_weight=0.1, relativistic=True
    )
    assert parts["gradient_penalty"] == pytest.approx(0.1 * 3**2)
    assert loss == pytest.approx(np.log1p(np.exp(3 - 6)) + 0.9)
    loss, parts = losses.generator_loss(
        lambda x: 3 * x, fake, real, real, rec_weight=10.0, relativistic=True
    )
    assert loss == parts["generator"] == pytest.approx(np.log1p(np.exp(6 - 3)))


def test_each_patch_is_compared_with_the_one_at_its_place():
    # Real scores above fake ones at each place: a permutation of places would cost more.
    real, fake = jnp.array([5.0, 1.0]), jnp.array([4.0, 0.0])
    images = [x.reshape(1, 1, 2, 1) for x in (real, fake, fake[::-1])]
    kept, moved = (
        losses.critic_loss(
            lambda x: x, images[0], x, jnp.array(0.5), gp_weight=0.0, relativistic=True
        )[0]
        for x in images[1:]
    )
    assert kept == pytest.approx(np.log1p(np.exp(-1)))
    assert moved == pytest.approx((np.log1p(np.exp(-5)) + np.log1p(np.exp(3))) / 2)


@pytest.mark.parametrize("relativistic", [False, True])
def test_without_a_weight_no_penalty_is_computed(relativistic):
    calls = []

    def scores(x):
        calls.append(x.shape)
        return x

    image = jnp.ones((1, 4, 4, 1))
    _, parts = losses.critic_loss(
        scores, image, image, jnp.array(0.5), gp_weight=0.0, relativistic=relativistic
    )
    assert parts["gradient_penalty"] == 0 and calls == [(2, 4, 4, 1)]


# A critic of two patches of one pixel, of which the second is in a hole.
HALF = jnp.array([2.0, 0.0]).reshape(1, 1, 2, 1)


def test_the_critic_sees_no_real_patch_of_weight_zero():
    real, fake = jnp.array([2.0, 50.0]).reshape(1, 1, 2, 1), jnp.full((1, 1, 2, 1), 1.0)
    weights = {"gp_weight": 0.1, "pixels": HALF, "patches": HALF}
    loss, parts = losses.critic_loss(lambda x: 3 * x, real, fake, jnp.array(0.3), **weights)
    assert parts["critic_real"] == pytest.approx(-6)
    assert parts["critic_fake"] == pytest.approx(3)
    assert parts["gradient_penalty"] == pytest.approx(0.1 * (3 - 1) ** 2)
    assert loss == pytest.approx(-6 + 3 + 0.4)


def test_the_penalty_is_taken_at_the_fake_where_a_pixel_does_not_count():
    seen = []

    def scores(x):
        seen.append(np.asarray(jax.lax.stop_gradient(x)).ravel())
        return x

    real, fake = jnp.ones((1, 1, 2, 1)), jnp.zeros((1, 1, 2, 1))
    losses.critic_loss(scores, real, fake, jnp.array(0.25), gp_weight=1.0, pixels=HALF)
    np.testing.assert_allclose(seen[-1], [0.25, 0])


def test_no_reconstruction_loss_where_the_weight_is_zero():
    real, fake = jnp.array([0.0, 70.0]).reshape(1, 1, 2, 1), jnp.full((1, 1, 2, 1), 2.0)
    loss, parts = losses.generator_loss(
        lambda x: x, fake, jnp.full((1, 1, 2, 1), 0.5), real, rec_weight=10.0, pixels=HALF
    )
    assert parts["reconstruction_mse"] == pytest.approx(0.25)
    assert loss == pytest.approx(-2 + 10 * 0.25)
