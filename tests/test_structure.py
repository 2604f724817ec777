import numpy as np
import pytest
from scipy import ndimage

from consingan_jax.measures import structure

SIDE = 7


@pytest.fixture
def image():
    """Squares and stripes on noise: something to be blurred, and something to be missing."""
    rng = np.random.default_rng(0)
    found = rng.uniform(-0.2, 0.2, (40, 48, 3))
    found[8:20, 8:20] += 0.7
    found[:, 30:46:4] -= 0.6
    return found.astype(np.float32)


def _nearest(queries, candidates):
    """Returns the mean distance by all pairs, in double precision."""
    one, other = (
        np.lib.stride_tricks.sliding_window_view(
            x.astype(np.float64), (SIDE, SIDE), (0, 1)
        ).reshape(-1, SIDE * SIDE * 3)
        for x in (queries, candidates)
    )
    pairs = np.square(one[:, None] - other[None]).mean(-1)
    return np.sqrt(pairs.min(1)).mean()


def test_by_all_pairs(image):
    small, other = image[6:22, 20:36], image[4:20, 24:42]  # fewer patches than are drawn
    found = structure.of_patches(small, other, SIDE)
    assert found.coherence == pytest.approx(_nearest(small, other), rel=1e-5)
    assert found.completeness == pytest.approx(_nearest(other, small), rel=1e-5)


@pytest.mark.parametrize("compare", [structure.of_patches, structure.of_edges])
def test_a_copy_is_perfect_and_a_part_is_coherent(compare, image):
    assert np.allclose(compare(image, image, SIDE), 0, atol=1e-3)
    part = compare(image[:, :24], image, SIDE)
    assert part.coherence < 1e-3 < 0.05 < part.completeness


def test_blur_is_seen_by_edges_and_contrast_is_not(image):
    blurred = ndimage.gaussian_filter(image, (1, 1, 0))
    assert min(structure.of_edges(blurred, image, SIDE)) > 0.05
    fainter = structure.of_edges(0.5 * image + 0.1, image, SIDE)
    assert (
        np.allclose(fainter, 0, atol=1e-5)
        and structure.of_patches(0.5 * image + 0.1, image, SIDE).coherence > 0.02
    )


def test_flat_patches_have_no_edges(image):
    half = image.copy()
    half[:, :24] = 0.3
    assert structure.of_edges(half, image, SIDE).coherence < 0.05
    assert np.isnan(structure.of_edges(np.zeros_like(image), image, SIDE).coherence)


def test_features_by_their_directions():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(1, 4, 5, 8)).astype(np.float32)
    assert np.allclose(structure.of_features(3 * real, real), 0, atol=1e-5)
    orthogonal = np.zeros((1, 1, 2, 8), np.float32)
    orthogonal[0, 0, 0, 0] = orthogonal[0, 0, 1, 1] = 1
    found = structure.of_features(orthogonal[:, :, :1], orthogonal[:, :, 1:])
    assert found == (1, 1)
