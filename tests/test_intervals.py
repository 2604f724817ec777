"""Rows of grids, by hand."""

import jax.numpy as jnp
import numpy as np

from consingan_jax.nn.intervals import Interval, scaled, span, taps, upsample_to, upsampled_from


def resampled(x, size):
    return upsample_to(x, [span(length) for length in size])


def test_the_first_row_of_taps_is_exact_far_out():
    # Row 899,999 of 1,000,001 lies at 899,999 * 999,998 / 1,000,000 = 899,997.200002.
    target = Interval(np.array([899_999]), 8, 1_000_001)
    source = upsampled_from(target, 999_999)
    found = taps(target, source)
    assert (found.step, found.unit, source.length) == (999_998, 1_000_000, 11)
    assert found.source.tolist() == [1] and found.remainder.tolist() == [200_002]


def test_products_that_int32_cannot_hold():
    # 1,999,998 * 1,501 = 3,001,996,998 = 1500 * 2,000,000 + 1,996,998.
    for number in (np.array([1_999_998]), jnp.array([1_999_998])):
        whole, left = scaled(number, 1501, 2_000_000)
        assert (whole.tolist(), left.tolist()) == ([1500], [1_996_998])
    whole, left = scaled(jnp.array([-3]), 5, 7)  # -15 = -3 * 7 + 6
    assert (whole.item(), left.item()) == (-3, 6)


def test_taps_by_hand():
    # 3 -> 5: row 1 sits at 0.5; a = -0.75 gives -3/32, 19/32, 19/32, -3/32, and row -1 is row 0.
    weights = taps(span(5), span(3)).weights()
    np.testing.assert_allclose(weights[0, 1], [16 / 32, 19 / 32, -3 / 32], atol=1e-7)


def test_zeros_around_a_grid_by_hand():
    # 10 rows and 2 zeros at both ends; of these rows 0 to 5, then 9 to 13.
    first, last = Interval(np.array([0]), 6, 14), Interval(np.array([9]), 5, 14)
    assert (first.within_border(2).start.tolist(), first.within_border(2).length) == ([0], 6)
    assert (last.within_border(2).start.tolist(), last.within_border(2).length) == ([5], 5)


def test_corners_lie_on_corners():
    y = resampled(jnp.arange(12.0).reshape(1, 3, 4, 1), (7, 9))
    corners = np.asarray(y)[0, ::6, ::8, 0]
    np.testing.assert_allclose(corners, [[0, 3], [8, 11]], atol=1e-5)


def test_the_same_size_changes_nothing():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 6, 3)), jnp.float32)
    np.testing.assert_allclose(resampled(x, (5, 6)), x, atol=1e-6)


def test_a_single_pixel_is_the_first():
    assert resampled(jnp.arange(12.0).reshape(1, 3, 4, 1), (1, 1)).item() == 0


def test_constant_features_stay_constant_in_bfloat16():
    y = resampled(jnp.full((1, 13, 17, 2), 1.0, jnp.bfloat16), (21, 27))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y.astype(jnp.float32), 1)
