"""3x3 convolution with bias, and its derivatives of every order, on all platforms.

The gradient penalty differentiates gradients, so every derivative must be fast. A convolution is
linear in its input and in its kernel. Its input gradient is the convolution of the cotangent with
the flipped kernel; its kernel gradient is a second function, also linear in both arguments, whose
own gradients are convolutions. So `conv3x3` and `kernel_gradient` are closed under differentiation:
the reverse rule of each calls only these two, and autodiff never creates a convolution of another
shape.

GPU and TPU run XLA's convolutions. XLA's are slow on a CPU, above all its gradients, so there both
functions are matrix products: Winograd's algorithm where input and output have many channels
(compiled in C++ where the package consingan_kernels is installed), and the nine shifts of the
thinner one side by side (im2col) where one of them has few.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from consingan_jax import kernels, numerics
from consingan_jax.nn import winograd

THIN = 4  # the most channels for which the nine shifts are used instead of Winograd's algorithm
FOLD = 32  # parts that one step of a sum over pixels adds
_Pair = tuple[jax.Array, jax.Array]
_Implementation = Callable[..., jax.Array]  # of (x, kernel or cotangent, border)


def widen(x: jax.Array) -> jax.Array:
    """Converts to float32; float64 stays as it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def pad(x: jax.Array, border: int) -> jax.Array:
    """Pads images `[N, H, W, C]` with `border` zeros on every side."""
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv3x3(x: jax.Array, kernel: jax.Array, border: int = 0) -> jax.Array:
    """Convolves as networks do, without flipping the kernel (cross-correlation).

    Args:
        x: `[N, H, W, I]`.
        kernel: `[3, 3, I, O]`.
        border: zeros to pad `x` with, 0 to 2 pixels on every side.

    Returns:
        `[N, H - 2 + 2 border, W - 2 + 2 border, O]`.
    """
    on_cpu = _on_cpu("convolution", _conv_thin, *kernel.shape[2:])
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
    on_cpu = _on_cpu("kernel_gradient", _kernel_gradient_thin, x.shape[3], g.shape[3])
    return _choose(on_cpu, _kernel_gradient_native, x, g, border)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias `[C]` to `[N, H, W, C]`.

    The bias gradient is summed over the pixels of each image, then over pairs of images from the
    two halves of the batch, then over the pairs. The critic's loss gives a real image and its fake
    opposite signs, so that their sums cancel exactly if every unit is on the same side of its kink.
    Any other order leaves rounding noise instead of zero, which Adam turns into full steps.
    """
    return x + bias.astype(x.dtype).reshape(1, 1, 1, -1)


def _sum_over_pixels(x: jax.Array) -> jax.Array:
    pixels = x.reshape(len(x), -1, x.shape[3])
    return lax.platform_dependent(pixels, cpu=_folded, default=lambda x: x.sum(1))


def _folded(x: jax.Array) -> jax.Array:
    """Returns `x.sum(1)`; XLA's sum is up to six times slower on a CPU, and less exact."""
    # Adds FOLD contiguous parts in a binary tree, until few rows are left: the additions run over
    # whole arrays, and rounding errors grow with the depth of the tree, not with the length.
    rest = jnp.zeros((len(x), x.shape[2]), x.dtype)
    while (length := x.shape[1] // FOLD) >= 4:
        parts = [x[:, i * length : (i + 1) * length] for i in range(FOLD)]
        rest += x[:, FOLD * length :].sum(1)
        while len(parts) > 1:
            parts = [one + other for one, other in zip(parts[::2], parts[1::2], strict=True)]
        x = lax.optimization_barrier(parts[0])  # or XLA recomputes each element
    return x.sum(1) + rest


def _on_cpu(name: str, thin: _Implementation, *channels: int) -> _Implementation:
    """Returns the implementation for a CPU, given the one for few channels."""
    if min(channels) <= THIN:
        return thin
    return kernels.find(name, *channels) or getattr(winograd, name)


# Compiled, so that layers of equal shapes are traced once.
@functools.partial(numerics.jit, static_argnums=(0, 1, 4))
def _choose(
    on_cpu: _Implementation, elsewhere: _Implementation, x: jax.Array, y: jax.Array, border: int
) -> jax.Array:
    # In float32 also for bfloat16 arguments: a CPU gains nothing from fewer bits, and Winograd's
    # transforms would lose much accuracy.
    def in_float32(x: jax.Array, y: jax.Array) -> jax.Array:
        return on_cpu(x.astype(jnp.float32), y.astype(jnp.float32), border).astype(x.dtype)

    default = functools.partial(elsewhere, border=border)
    return lax.platform_dependent(x, y, cpu=in_float32, default=default)


# Reverse rules.


def _input_gradient(g: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Returns d<g, conv3x3(x, kernel, border)> / d x."""
    # A pixel of x reaches the output through the flipped kernel. `conv3x3` shrinks an image by
    # 2 - 2 border, so a border of 2 - border restores the size.
    return conv3x3(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 2 - border)


def _conv3x3_forward(x: jax.Array, kernel: jax.Array, border: int) -> tuple[jax.Array, _Pair]:
    return conv3x3(x, kernel, border), (x, kernel)


def _conv3x3_backward(border: int, residuals: _Pair, g: jax.Array) -> _Pair:
    x, kernel = residuals
    return _input_gradient(g, kernel, border), kernel_gradient(x, g, border)


def _kernel_gradient_forward(x: jax.Array, g: jax.Array, border: int) -> tuple[jax.Array, _Pair]:
    return kernel_gradient(x, g, border), (x, g)


def _kernel_gradient_backward(border: int, residuals: _Pair, kernel: jax.Array) -> _Pair:
    x, g = residuals
    return _input_gradient(g, kernel, border), conv3x3(x, kernel, border)


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, None]:
    return add_bias(x, bias), None


def _add_bias_backward(_: None, g: jax.Array) -> _Pair:
    # Without the barriers XLA merges the three sums into one, in an order of its own.
    each = lax.optimization_barrier(_sum_over_pixels(widen(g)))
    if len(each) > 2 and len(each) % 2 == 0:
        each = lax.optimization_barrier(each[: len(each) // 2] + each[len(each) // 2 :])
    return g, each.sum(0)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)
kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)
add_bias.defvjp(_add_bias_forward, _add_bias_backward)


# XLA's convolution.


def _conv_native(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    padding = [(border, border)] * 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,  # a GPU rounds to TF32 by default
    )


def _kernel_gradient_native(x: jax.Array, g: jax.Array, border: int) -> jax.Array:
    # The transpose of a map that is linear in the kernel is its gradient, whatever the kernel.
    kernel = jax.ShapeDtypeStruct((3, 3, x.shape[3], g.shape[3]), x.dtype)
    return jax.linear_transpose(lambda k: _conv_native(x, k, border), kernel)(g)[0]


# Few channels in or out: the nine shifts of the thinner array, and one matrix product.


def _conv_thin(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    channels, features = kernel.shape[2:]
    if channels <= features:
        return _shifts(pad(x, border)) @ kernel.reshape(9 * channels, features)
    # With fewer channels out than in, shifting x would be the larger array: multiply each pixel by
    # all nine taps first, and add the nine products where they belong.
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


def _kernel_gradient_thin(x: jax.Array, g: jax.Array, border: int) -> jax.Array:
    channels, features = x.shape[3], g.shape[3]
    if channels <= features:
        product = _over_pixels(_shifts(pad(x, border)), g)
        return product.reshape(3, 3, channels, features)
    # <g shifted by (i, j), x> is the gradient of the tap at (2 - i, 2 - j), hence the flip.
    product = _over_pixels(x, _shifts(pad(g, 2 - border)))
    return jnp.flip(product.reshape(channels, 3, 3, features), (1, 2)).transpose(1, 2, 0, 3)


def _shifts(x: jax.Array) -> jax.Array:
    """Returns every 3x3 patch of `[N, H, W, C]` as a vector, `[N, H - 2, W - 2, 9 C]`."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    patches = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(patches, axis=3)


def _over_pixels(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the sums over all pixels of the outer products of channels, `[C_x, C_y]`."""
    return x.reshape(-1, x.shape[3]).T @ y.reshape(-1, y.shape[3])
