"""The measures of the benchmark of super-resolution."""

import io
import zipfile

import numpy as np
import pytest

from benchmarks import niqe, superres
from consingan_jax.images import display
from consingan_jax.nn import resize


@pytest.fixture(scope="module")
def image():
    """An image of 200x300 px: 2x3 blocks of NIQE, and what is cut off."""
    rng = np.random.default_rng(0)
    return superres.as_in_file(display.shrunk(rng.uniform(-1, 1, (400, 600, 3)), 300))


@pytest.mark.parametrize(("draw", "shape"), [("normal", 2.0), ("laplace", 1.0)])
def test_a_fitted_shape(draw, shape):
    values = getattr(np.random.default_rng(0), draw)(scale=3.0, size=400_000)
    found, left, right = niqe._fitted(values)
    width = 3 * np.sqrt(2) if draw == "normal" else 3.0
    np.testing.assert_allclose([found, left, right], [shape, width, width], rtol=0.02)
    _, left, right = niqe._fitted(np.where(values > 0, 2 * values, values))
    assert right / left == pytest.approx(2, rel=0.02)


def test_niqe_is_the_distance_to_the_mean_of_natural_images(image):
    luma, covariance = niqe.luma(image), np.eye(36)
    own = (np.zeros(36), covariance)
    features = niqe.features(luma)
    assert features.shape == (6, 36)
    mean = features.mean(0)
    assert niqe.niqe(luma, (mean, covariance)) == pytest.approx(0, abs=1e-9)
    half = (np.cov(features, rowvar=False) + covariance) / 2
    expected = np.sqrt(mean @ np.linalg.solve(half, mean))
    assert niqe.niqe(luma, own) == pytest.approx(expected, rel=1e-9)
    # Only whole blocks count.
    assert niqe.niqe(luma[:192, :288], own) == niqe.niqe(luma, own)


def test_parameters_are_read_from_the_wheel(tmp_path):
    mean, covariance = np.arange(36.0), np.diag(np.arange(36.0))
    file, wheel = io.BytesIO(), tmp_path / "mmagic.whl"
    np.savez(file, mu_pris_param=mean[None], cov_pris_param=covariance)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mmagic/evaluation/metrics/niqe_pris_params.npz", file.getvalue())
    found = niqe.load(wheel)
    np.testing.assert_array_equal(found[0], mean)
    np.testing.assert_array_equal(found[1], covariance)


def test_errors_of_a_known_shift(image):
    original = image.clip(-0.5, 0.5)
    row = superres.measures(original + 10 / 127.5, original, (np.zeros(36), np.eye(36)))
    assert row["rmse"] == pytest.approx(10, abs=0.05)
    # Ten grey levels are 10 * 219 / 255 of luma.
    assert row["psnr_luma"] == pytest.approx(20 * np.log10(255 / (10 * 219 / 255)), abs=0.05)


def test_back_projections_come_closer(image):
    small = superres.as_in_file(display.shrunk(image, 75))
    once = next(each for name, each in superres.ways("", image, small) if name == "bicubic")
    again = superres.back_projected(once, small)

    def lacks(made):
        return np.abs(resize.fit(made, small.shape[:2]) - small).mean()

    assert lacks(again) < lacks(once) / 20
