"""Known answers: closed forms and values by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.measures import metrics


def _frechet(a, b):
    return metrics.frechet_distance(metrics.moments(a), metrics.moments(b))


@pytest.fixture(scope="module")
def real():
    """An image `[64, 80, 3]` without two equal patches."""
    rng = np.random.default_rng(0)
    rough = jax.image.resize(rng.uniform(-1, 1, (16, 20, 3)), (64, 80, 3), "cubic")
    return np.clip(np.asarray(rough, np.float32), -1, 1)


def test_the_frechet_distance_of_two_normal_distributions():
    """Clouds with exactly the wanted mean and covariance; commuting covariances by hand."""
    rng = np.random.default_rng(0)
    cloud = rng.standard_normal((500, 3))
    cloud -= cloud.mean(0)
    cloud = cloud @ np.linalg.inv(np.linalg.cholesky(np.cov(cloud.T))).T
    a, b = cloud * [1, 2, 3] + [0, 0, 1], cloud * [2, 2, 5] + [1, 0, -1]
    expected = (1 + 4) + (1 - 2) ** 2 + 0 + (3 - 5) ** 2
    assert _frechet(a, b) == pytest.approx(expected, rel=1e-5)
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert _frechet(a @ turned, b @ turned) == pytest.approx(expected, rel=1e-5)
    assert _frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_covariances_that_do_not_commute():
    """In two dimensions tr (S T)^(1/2) = sqrt(tr(S T) + 2 sqrt(det(S T)))."""
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((400, 2)) @ rng.standard_normal((2, 2)) for _ in "ab")
    s, t = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.trace(s @ t) + 2 * np.sqrt(np.linalg.det(s @ t)))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s) + np.trace(t) - 2 * root
    assert _frechet(a, b) == pytest.approx(expected, rel=1e-4)


def test_pixel_diversity_by_hand():
    """One pixel alternates between 0 and 1, the other stays."""
    samples = np.zeros((4, 1, 2, 1), np.float32)
    samples[::2, 0, 0] = 1
    real = jnp.array([[[-1.0], [1.0]]])
    deviation, spread = np.sqrt(1 / 3), np.sqrt(2)
    mean_std, rms = metrics.pixel_diversity(samples, real)
    assert mean_std.value == pytest.approx(deviation / 2 / spread)
    assert rms.value == pytest.approx(np.sqrt(1 / 6) / spread)
    assert mean_std.num == rms.num == 4


def test_the_jackknife_leaves_each_sample_out(real):
    rng = np.random.default_rng(0)
    samples = np.clip(real + 0.3 * rng.standard_normal((5, *real.shape)), -1, 1).astype(np.float32)
    both = metrics.pixel_diversity(samples, real)
    without = [metrics.pixel_diversity(np.delete(samples, i, 0), real) for i in range(5)]
    for k in range(2):
        expected = metrics.jackknife(0.0, np.array([one[k].value for one in without]))
        assert both[k].error == pytest.approx(expected.error, rel=1e-3)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([1.0, 4.0, 2.0, 8.0])
    without = (values.sum() - values) / 3
    assert metrics.jackknife(0.0, without).error == pytest.approx(metrics.mean(values).error)
    assert metrics.mean([3.0]) == metrics.Estimate(3.0, None, 1)


def test_identical_samples_have_no_diversity(real):
    same = np.stack([real] * 3)
    assert [one.value for one in metrics.pixel_diversity(same, real)] == [0, 0]
    layers = [[jnp.asarray(real[None])]] * 3
    assert metrics.lpips_diversity(layers) == metrics.Estimate(0.0, 0.0, 3)


def test_lpips_diversity_is_the_mean_over_pairs():
    layers = [[jnp.full((1, 2, 2, 1), value)] for value in (0.0, 1.0, 3.0)]
    estimate = metrics.lpips_diversity(layers)
    assert estimate.value == pytest.approx((1 + 9 + 4) / 3)
    without = np.array([4.0, 9.0, 1.0])  # the pair that is left
    assert estimate.error == pytest.approx(metrics.jackknife(0.0, without).error)
    assert metrics.lpips_diversity(layers[:2]) == metrics.Estimate(1.0, None, 2)


def test_errors_of_a_reconstruction():
    assert metrics.rmse(np.zeros((2, 2)), np.full((2, 2), 0.02)) == pytest.approx(0.02)
    assert metrics.psnr(0.02) == pytest.approx(40)
    assert metrics.psnr(0.0) == float("inf")
