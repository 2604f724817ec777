import jax.numpy as jnp
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


def test_upsample_puts_corners_on_corners():
    x = jnp.arange(12.0).reshape(1, 3, 4, 1)
    y = resize.upsample(x, (7, 9))
    corners = np.asarray(y)[0, ::6, ::8, 0]
    np.testing.assert_allclose(corners, [[0, 3], [8, 11]], atol=1e-5)


def test_upsample_by_hand():
    # 3 -> 5: output 1 sits at 0.5; a = -0.75 gives -3/32, 19/32, 19/32, -3/32, pixel -1 is pixel 0.
    row = resize.upsample_matrix(3, 5)[1]
    np.testing.assert_allclose(row, [16 / 32, 19 / 32, -3 / 32], atol=1e-7)


def test_upsample_to_the_same_size_changes_nothing():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 6, 3)), jnp.float32)
    np.testing.assert_allclose(resize.upsample(x, (5, 6)), x, atol=1e-6)


def test_upsample_to_a_single_pixel_takes_the_first():
    x = jnp.arange(12.0).reshape(1, 3, 4, 1)
    assert resize.upsample(x, (1, 1)).item() == 0


def test_constant_features_stay_constant_in_bfloat16():
    x = jnp.full((1, 13, 17, 2), 1.0, jnp.bfloat16)
    y = resize.upsample(x, (21, 27))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y.astype(jnp.float32), 1)
