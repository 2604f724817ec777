"""The 3x3 convolution with its bias, and its derivatives of every order.

A valid convolution is linear in the input and linear in the kernel, so two functions close the
derivatives of any order: the convolution itself and the gradient of its kernel. Each one's reverse
rule uses only these two; autodiff never meets a convolution of another shape.
"""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves without padding.

    Args:
        x: `[N, H, W, I]`.
        kernel: `[3, 3, I, O]`.

    Returns:
        `[N, H - 2, W - 2, O]`.
    """
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def kernel_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    """Returns d<g, conv3x3(x, kernel)> / d kernel.

    Args:
        x: `[N, H, W, I]`.
        g: `[N, H - 2, W - 2, O]`.

    Returns:
        `[3, 3, I, O]`.
    """
    # One product per tap: as a convolution with channels and images in each other's place, XLA's
    # CPU backend takes a hundred times as long inside a loop.
    (_, height, width, features), channels = g.shape, x.shape[-1]
    g = g.reshape(-1, features)
    taps = [
        x[:, i : i + height, j : j + width].reshape(-1, channels).T @ g
        for i in range(3)
        for j in range(3)
    ]
    return jnp.stack(taps).reshape(3, 3, channels, features)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias `[C]` to `[N, H, W, C]`.

    Its gradient is summed over each image first. The critic's biases see the real image's and the
    fake one's gradients with opposite signs, and where no unit changes its side they cancel; summed
    in one go they leave rounding noise instead of zero, and Adam turns noise into full steps.
    """
    return x + bias.reshape(1, 1, 1, -1)


def _add_bias_forward(x, bias):
    return add_bias(x, bias), None


def _add_bias_backward(_, g):
    each_image = lax.optimization_barrier(g.sum((1, 2)))  # or XLA would merge the two sums
    return g, each_image.sum(0)


def _input_gradient(g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns d<g, conv3x3(x, kernel)> / d x: a convolution with the kernel turned around."""
    padded = jnp.pad(g, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return conv3x3(padded, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))


def _conv3x3_forward(x, kernel):
    return conv3x3(x, kernel), (x, kernel)


def _conv3x3_backward(residuals, g):
    x, kernel = residuals
    return _input_gradient(g, kernel), kernel_gradient(x, g)


def _kernel_gradient_forward(x, g):
    return kernel_gradient(x, g), (x, g)


def _kernel_gradient_backward(residuals, kernel):
    x, g = residuals
    return _input_gradient(g, kernel), conv3x3(x, kernel)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)
conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)
kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
