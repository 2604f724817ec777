"""Values and derivatives against float64 sums written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax import conv

SIZES = [(1, 11, 11, 3, 8), (2, 13, 17, 8, 8), (3, 11, 24, 4, 1), (1, 21, 15, 1, 5)]


def _windows(x):
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return np.stack([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)])


def _reference(x, kernel):
    taps = kernel.reshape(9, *kernel.shape[2:])
    return np.einsum("tnhwi,tio->nhwo", _windows(x), taps)


def _reference_kernel_gradient(x, g):
    product = np.einsum("tnhwi,nhwo->tio", _windows(x), g)
    return product.reshape(3, 3, *product.shape[1:])


def _reference_input_gradient(g, kernel):
    padded = np.pad(g, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return _reference(padded, kernel[::-1, ::-1].swapaxes(2, 3))


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


def test_opposite_bias_gradients_cancel_exactly():
    rng = np.random.default_rng(0)
    one = _normal(rng, 1, 37, 41, 8)
    g = jnp.asarray(np.concatenate([one, -one]), jnp.float32)
    bias_gradient = jax.jit(lambda b: jax.vjp(conv.add_bias, jnp.zeros_like(g), b)[1](g)[1])
    assert not np.any(bias_gradient(jnp.zeros(8)))
    np.testing.assert_allclose(
        jax.grad(lambda b: conv.add_bias(g[:1], b).sum())(jnp.zeros(8)), 37 * 41
    )
