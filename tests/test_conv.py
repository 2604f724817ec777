"""Values and derivatives against float64 sums written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.nn import conv, winograd

SIZES = [
    (1, 11, 11, 3, 8),
    (2, 13, 17, 8, 8),
    (3, 11, 24, 4, 1),
    (1, 21, 15, 1, 5),
    (1, 12, 19, 64, 64),
    (2, 11, 13, 64, 3),
    (2, 43, 45, 8, 8),
]


def _windows(x):
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return np.stack([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)])


def _pad(x, border):
    return np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))


def _reference(x, kernel):
    taps = kernel.reshape(9, *kernel.shape[2:])
    return np.einsum("tnhwi,tio->nhwo", _windows(x), taps)


def _reference_kernel_gradient(x, g):
    product = np.einsum("tnhwi,nhwo->tio", _windows(x), g)
    return product.reshape(3, 3, *product.shape[1:])


def _reference_input_gradient(g, kernel):
    return _reference(_pad(g, 2), kernel[::-1, ::-1].swapaxes(2, 3))


def _normal(rng, *shape):
    return rng.standard_normal(shape)


def _inputs(shape):
    n, h, w, i, o = shape
    rng = np.random.default_rng(0)
    return _normal(rng, n, h, w, i), _normal(rng, 3, 3, i, o), _normal(rng, n, h - 2, w - 2, o)


def _close(ours, reference):
    scale = np.abs(reference).max()
    np.testing.assert_allclose(ours, reference, atol=1e-5 * scale)


def _f32(*arrays):
    return [jnp.asarray(array, jnp.float32) for array in arrays]


@pytest.mark.parametrize("shape", SIZES)
def test_values(shape):
    x, kernel, _ = _inputs(shape)
    _close(conv.conv3x3(*_f32(x, kernel)), _reference(x, kernel))


@pytest.mark.parametrize("shape", SIZES)
def test_first_derivatives(shape):
    x, kernel, g = _inputs(shape)
    _, pullback = jax.vjp(conv.conv3x3, *_f32(x, kernel))
    to_x, to_kernel = pullback(*_f32(g))
    _close(to_x, _reference_input_gradient(g, kernel))
    _close(to_kernel, _reference_kernel_gradient(x, g))


@pytest.mark.parametrize("shape", SIZES)
def test_second_derivatives(shape):
    """The input gradient is linear in g and in the kernel; so are its own gradients."""
    x, kernel, g = _inputs(shape)
    u = _normal(np.random.default_rng(1), *x.shape)

    def slope(kernel, g):
        _, pullback = jax.vjp(lambda x: conv.conv3x3(x, kernel), *_f32(x))
        return jnp.vdot(pullback(g)[0], *_f32(u))

    to_kernel, to_g = jax.grad(slope, (0, 1))(*_f32(kernel, g))
    _close(to_g, _reference(u, kernel))
    _close(to_kernel, _reference_kernel_gradient(u, g))


@pytest.mark.parametrize("shape", SIZES)
def test_derivatives_of_the_kernel_gradient(shape):
    x, kernel, g = _inputs(shape)
    _, pullback = jax.vjp(conv.kernel_gradient, *_f32(x, g))
    to_x, to_g = pullback(*_f32(kernel))
    _close(to_x, _reference_input_gradient(g, kernel))
    _close(to_g, _reference(x, kernel))


@pytest.mark.parametrize("border", [0, 1, 2])
@pytest.mark.parametrize("shape", SIZES[:4])
def test_a_border_is_the_same_as_padding_first(shape, border):
    x, kernel, _ = _inputs(shape)
    expected = _reference(_pad(x, border), kernel)
    g = _normal(np.random.default_rng(1), *expected.shape)
    y, pullback = jax.vjp(lambda x, k: conv.conv3x3(x, k, border), *_f32(x, kernel))
    _close(y, expected)
    to_x, to_kernel = pullback(*_f32(g))
    inside = slice(border, -border or None)
    _close(to_x, _reference_input_gradient(g, kernel)[:, inside, inside])
    _close(to_kernel, _reference_kernel_gradient(_pad(x, border), g))


def test_the_platforms_own_forms_agree():
    x, kernel, g = _inputs((2, 13, 17, 8, 8))
    native = conv._conv_native(*_f32(_pad(x, 1), kernel), border=0)
    _close(native, _reference(_pad(x, 1), kernel))
    _close(conv._kernel_gradient_native(*_f32(x, g), border=0), _reference_kernel_gradient(x, g))


def test_toom_cook_by_hand():
    """Two outputs from points 0, 1, -1: the matrices that Winograd's F(2, 3) is known by."""
    inputs, kernel, outputs = winograd._toom_cook((0, 1, -1))
    np.testing.assert_allclose(outputs, [[1, 1, 1, 0], [0, 1, -1, 1]])
    np.testing.assert_allclose(kernel, [[-1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    taps, signal = np.array([2.0, 3, 5]), np.array([1.0, 4, 9, 16])
    result = outputs @ ((kernel @ taps) * (inputs @ signal))
    np.testing.assert_allclose(result, np.correlate(signal, taps))


def test_opposite_bias_gradients_cancel_exactly():
    rng = np.random.default_rng(0)
    one = _normal(rng, 1, 37, 41, 8)
    g = jnp.asarray(np.concatenate([one, -one]), jnp.float32)
    bias_gradient = jax.jit(lambda b: jax.vjp(conv.add_bias, jnp.zeros_like(g), b)[1](g)[1])
    assert not np.any(bias_gradient(jnp.zeros(8)))
    np.testing.assert_allclose(
        jax.grad(lambda b: conv.add_bias(g[:1], b).sum())(jnp.zeros(8)), 37 * 41
    )
