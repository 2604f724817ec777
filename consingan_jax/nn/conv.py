"""3x3 convolution with bias, and its derivatives of every order, on all platforms.

A convolution is linear in the input and linear in the kernel, so two functions close the
derivatives of any order: the convolution itself and the gradient of its kernel. Each one's reverse
rule uses only these two; autodiff never meets a convolution of another shape. GPU and TPU have good
convolutions of their own. XLA's on a CPU are slow, its gradients above all, so there this file does
them with matrix products: by Winograd's algorithm where both sides have many channels, and by
gathering the nine shifts of the thin side where one has few.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from consingan_jax import numerics
from consingan_jax.nn import winograd

THIN = 4  # channels up to which a side counts as thin
FOLD = 32  # parts that one step of a sum over pixels adds


def widen(x: jax.Array) -> jax.Array:
    """Returns `x` in float32, or as it is where that is more precise."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def pad(x: jax.Array, border: int) -> jax.Array:
    """Puts zeros around images `[N, H, W, C]`, `border` pixels on every side."""
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv3x3(x: jax.Array, kernel: jax.Array, border: int = 0) -> jax.Array:
    """Convolves (as networks do: without turning the kernel).

    Args:
        x: `[N, H, W, I]`.
        kernel: `[3, 3, I, O]`.
        border: zeros put around `x` first, 0 to 2 pixels.

    Returns:
        `[N, H - 2 + 2 border, W - 2 + 2 border, O]`.
    """
    on_cpu = _conv_thin if min(kernel.shape[2:]) <= THIN else winograd.convolution
    return _choose(on_cpu, _conv_native, x, kernel, border)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def kernel_gradient(x: jax.Array, g: jax.Array, border: int = 0) -> jax.Array:
    """Returns d<g, conv3x3(x, kernel, border)> / d kernel.

    Args:
        x: `[N, H, W, I]`.
        g: `[N, H - 2 + 2 border, W - 2 + 2 border, O]`.
        border: as for `conv3x3`.

    Returns:
        `[3, 3, I, O]`.
    """
    thin = min(x.shape[3], g.shape[3]) <= THIN
    on_cpu = _kernel_gradient_thin if thin else winograd.kernel_gradient
    return _choose(on_cpu, _kernel_gradient_native, x, g, border)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias `[C]` to `[N, H, W, C]`.

    Its gradient is summed over each image first, then over the pairs that the two halves of a batch
    make, then over all. The critic's biases see a real image's and its fake one's gradients with
    opposite signs, and where no unit changes its side they cancel; summed in any other order they
    leave rounding noise instead of zero, and Adam turns noise into full steps.
    """
    return x + bias.astype(x.dtype).reshape(1, 1, 1, -1)


def _sum_of_pixels(x):
    """Returns the sums `[N, C]` over the pixels of `[N, H, W, C]`."""
    pixels = x.reshape(len(x), -1, x.shape[3])
    return lax.platform_dependent(pixels, cpu=_folded, default=lambda x: x.sum(1))


def _folded(x):
    """Returns `x.sum(1)`: XLA's own is up to six times slower on a CPU, and less exact."""
    rest = jnp.zeros((len(x), x.shape[2]), x.dtype)
    while (length := x.shape[1] // FOLD) >= 4:
        parts = [x[:, i * length : (i + 1) * length] for i in range(FOLD)]
        rest += x[:, FOLD * length :].sum(1)
        while len(parts) > 1:
            parts = [one + other for one, other in zip(parts[::2], parts[1::2], strict=True)]
        x = lax.optimization_barrier(parts[0])  # or XLA would sum each element anew
    return x.sum(1) + rest


@functools.partial(numerics.jit, static_argnums=(0, 1, 4))  # traced once for equal shapes
def _choose(on_cpu, elsewhere, x, y, border):
    def in_float32(x, y):  # CPUs gain nothing from less, and Winograd's transforms would lose much
        return on_cpu(x.astype(jnp.float32), y.astype(jnp.float32), border).astype(x.dtype)

    default = functools.partial(elsewhere, border=border)
    return lax.platform_dependent(x, y, cpu=in_float32, default=default)


# Reverse rules.


def _input_gradient(g: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Returns d<g, conv3x3(x, kernel, border)> / d x: a convolution with the kernel turned."""
    return conv3x3(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 2 - border)


def _conv3x3_forward(x, kernel, border):
    return conv3x3(x, kernel, border), (x, kernel)


def _conv3x3_backward(border, residuals, g):
    x, kernel = residuals
    return _input_gradient(g, kernel, border), kernel_gradient(x, g, border)


def _kernel_gradient_forward(x, g, border):
    return kernel_gradient(x, g, border), (x, g)


def _kernel_gradient_backward(border, residuals, kernel):
    x, g = residuals
    return _input_gradient(g, kernel, border), conv3x3(x, kernel, border)


def _add_bias_forward(x, bias):
    return add_bias(x, bias), None


def _add_bias_backward(_, g):
    # The barriers, or XLA would merge the sums.
    each = lax.optimization_barrier(_sum_of_pixels(widen(g)))
    if len(each) > 2 and len(each) % 2 == 0:
        each = lax.optimization_barrier(each[: len(each) // 2] + each[len(each) // 2 :])
    return g, each.sum(0)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)
kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
add_bias.defvjp(_add_bias_forward, _add_bias_backward)


# The platform's own.


def _conv_native(x, kernel, border):
    padding = [(border, border)] * 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,  # or a GPU would round to TF32
    )


def _kernel_gradient_native(x, g, border):
    kernel = jax.ShapeDtypeStruct((3, 3, x.shape[3], g.shape[3]), x.dtype)
    return jax.linear_transpose(lambda k: _conv_native(x, k, border), kernel)(g)[0]


# One thin side: the nine shifts of it side by side, then one matrix product.


def _conv_thin(x, kernel, border):
    channels, features = kernel.shape[2:]
    if channels <= features:
        return _shifts(pad(x, border)) @ kernel.reshape(9 * channels, features)
    taps = pad(x @ kernel.transpose(2, 0, 1, 3).reshape(channels, 9 * features), border)
    (n, height, width, _), shifts = taps.shape, [(i, j) for i in range(3) for j in range(3)]
    return functools.reduce(
        jnp.add,
        (
            lax.slice(
                taps,
                (0, i, j, (3 * i + j) * features),
                (n, height - 2 + i, width - 2 + j, (3 * i + j + 1) * features),
            )
            for i, j in shifts
        ),
    )


def _kernel_gradient_thin(x, g, border):
    channels, features = x.shape[3], g.shape[3]
    if channels <= features:
        product = _over_pixels(_shifts(pad(x, border)), g)
        return product.reshape(3, 3, channels, features)
    product = _over_pixels(x, _shifts(pad(g, 2 - border)))
    return jnp.flip(product.reshape(channels, 3, 3, features), (1, 2)).transpose(1, 2, 0, 3)


def _shifts(x):
    """Returns every 3x3 patch of `[N, H, W, C]` as one vector: `[N, H - 2, W - 2, 9 C]`."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    patches = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(patches, axis=3)


def _over_pixels(x, y):
    return x.reshape(-1, x.shape[3]).T @ y.reshape(-1, y.shape[3])
