import numpy as np
import pytest

from consingan_jax.nn import resize


def test_cubic_kernel_at_known_points():
    # Keys with a = -0.5: 1 at 0, 0 at the other whole numbers, 9/16 at 1/2, -1/16 at 3/2.
    x = np.array([0, 0.5, 1, 1.5, 2, 3])
    expected = [1, 9 / 16, 0, -1 / 16, 0, 0]
    np.testing.assert_allclose(resize.cubic_kernel(x, -0.5), expected, atol=1e-15)


def test_doubling_by_hand():
    # Output 2 of a doubling sits at 0.75: distances 1.75, 0.75, 0.25, 1.25 to pixels -1 .. 2,
    # and pixel -1 is pixel 0 mirrored.
    weight = resize.cubic_kernel(np.array([1.75, 0.75, 0.25, 1.25]), -0.5)
    expected = [weight[0] + weight[1], weight[2], weight[3], 0]
    np.testing.assert_allclose(resize.resize_matrix(4, 2.0, 8)[2], expected, atol=1e-15)


@pytest.mark.parametrize("scale", [0.13, 0.5, 0.77, 1.0, 1.7])
def test_constant_images_stay_constant(scale):
    image = np.full((40, 31, 2), 0.25, np.float32)
    size = (int(np.ceil(40 * scale)), int(np.ceil(31 * scale)))
    np.testing.assert_allclose(resize.resize(image, scale, size), 0.25, atol=1e-6)


def test_shrinking_does_not_alias():
    checkerboard = np.indices((64, 64)).sum(0)[..., None] % 2 * 2.0 - 1
    inside = resize.resize(checkerboard, 0.25, (16, 16))[2:-2, 2:-2]  # a mirror breaks the pattern
    assert np.abs(inside).max() < 1e-6


def test_resize_clips():
    step = np.repeat([-1.0, 1.0], 8)[None, :, None].repeat(16, 0)
    large = resize.resize(step, 3.0, (48, 48))
    assert large.min() == -1 and large.max() == 1
