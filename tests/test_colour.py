"""Known answers: pixels whose colours a person can add up."""

import pathlib

import numpy as np
import pytest

from consingan_jax.images import loading
from consingan_jax.measures import colour, evaluation, patches, tables

PAPER = pathlib.Path(__file__).parent.parent / "../shared/paper"


def _distance(a, b):
    return patches.sliced_wasserstein(colour.projections(a), colour.projections(b))


def _image(*pixels):
    """Returns a row of pixels."""
    return np.array([pixels], np.float32)


def test_the_distance_of_grey_values_by_hand():
    """In one dimension there is one direction: sorted, -1 goes to -0.5 and 0 to 1."""
    assert _distance(_image([-1], [0]), _image([1], [-0.5])) == pytest.approx((0.5 + 1) / 2)


def test_the_distance_of_colours():
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 0, (20, 30, 3)).astype(np.float32)
    assert _distance(real, real) == _distance(real, real[::-1, ::-1]) == 0
    # The mean length of a shift along the directions of a sphere is half its own.
    assert _distance(real, real + np.float32([0, 0, 0.4])) == pytest.approx(0.2, rel=0.1)
    assert _distance(real, real + np.float32([0.3, 0, 0.4])) == pytest.approx(0.25, rel=0.1)
    doubled = np.concatenate([real, real], 1)
    assert _distance(doubled, real) == pytest.approx(0, abs=1e-6)
    grey = np.broadcast_to(real.mean(-1, keepdims=True), real.shape)
    assert _distance(grey, real) > 0.1  # though its intensities are the same


def test_chroma_by_hand():
    """Intensities -0.8, -0.5, 0.5, and one that is neither dark nor bright."""
    x = _image([-0.9, -0.8, -0.7], [-1, -0.5, 0], [0.5, 0.1, 0.9], [1, -1, 0])
    assert colour.chroma(x, "dark") == pytest.approx((0.2 + 1) / 2)
    assert colour.chroma(x, "bright") == pytest.approx(0.8)
    assert colour.chroma(x[:, :2], "bright") is None
    assert colour.chroma(np.full((2, 2, 3), -0.7, np.float32), "dark") == 0


def _colours(real, samples):
    row = evaluation._colours(real, samples)
    return {name: one and one[:2] for name, one in row.items()}


def test_chroma_is_averaged_over_the_samples_that_have_such_pixels():
    dark, pale, bright = [-0.9, -0.7, -0.8], [-0.8, -0.8, -0.8], [0.6, 0.6, 0.9]
    row = _colours(_image(dark, bright), [_image(dark, dark), _image(pale, pale)])
    assert row["dark_chroma"] == pytest.approx((0.1, 0.1))  # of 0.2 and 0: error 0.1414 / sqrt(2)
    assert row["dark_chroma_real"] == (pytest.approx(0.2), None)
    assert row["bright_chroma"] is None and row["bright_chroma_real"][0] == pytest.approx(0.3)
    assert tables.cell(row["bright_chroma"]) == "n/a"


def test_a_grey_image_has_no_chroma():
    grey = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8, 1)
    assert _colours(grey, [grey, -grey]) == {"rgb": (pytest.approx(0, abs=1e-6),) * 2}
    shown = tables._shown([dict.fromkeys(evaluation.COLUMNS)])
    assert "rgb" in shown and not [name for name in shown if "chroma" in name]


def test_calibration_on_the_papers_images():
    """The published samples keep the little colour that the dark pixels of LSUN 40 have."""
    if not PAPER.is_dir():
        pytest.skip("the paper's images are not beside this checkout")
    real = loading.load(PAPER / "lsun/Real/40.jpg")
    samples = [loading.load(PAPER / f"lsun/ConSinGAN/40_{j}.jpg") for j in range(3)]
    assert colour.chroma(real, "dark") == pytest.approx(0.0557, abs=1e-4)
    for sample in samples:
        assert colour.chroma(sample, "dark") == pytest.approx(0.0557, rel=0.15)
        assert 0.005 < _distance(sample, real) < 0.03
