"""Winograd convolution F(4x4, 3x3): 36 instead of 144 multiplications for 4x4 outputs.

The image is cut into 6x6 patches that overlap by 2, each of which determines 4x4 outputs. With the
constant matrices of `_toom_cook`, applied along both axes, a tile of outputs is

    outputs @ (sum over input channels of (kernel @ k) * (inputs @ d))

for the patch d and the kernel k. The product is elementwise over the 36 entries, so that for each
entry the sum over channels is one matrix product of all patches with all kernels. The kernel
gradient is the transpose of this map in k: it multiplies the same transformed patches by the
transformed cotangent and sums over the patches before it transforms back.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

TILE = 4  # side of a tile of outputs
PATCH = TILE + 2  # side of the patch of inputs that a tile depends on


def _toom_cook(points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the matrices of a 3-tap correlation with n = len(points) - 1 outputs.

    Toom and Cook multiply polynomials by evaluating both at n + 1 points and at infinity,
    multiplying the values, and interpolating. Winograd transposes that linear map, which turns the
    product into a correlation: for n + 2 inputs d and taps k the outputs are
    `outputs @ ((kernel @ k) * (inputs @ d))`.

    Returns:
        inputs `[n + 2, n + 2]`, kernel `[n + 2, 3]`, outputs `[n, n + 2]`.
    """
    # Row i of `inputs` holds the coefficients of the product of (x - q) over the other points, the
    # numerator of Lagrange's interpolation polynomial; `kernel` contains its denominator. The last
    # row of each stands for the point at infinity.
    size = len(points) + 1
    others = [[q for q in points if q != p] for p in points]
    inputs = [[*np.poly(rest)[::-1], 0] for rest in others] + [np.poly(points)[::-1]]
    weights = [np.prod([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    kernel = [[p**i / w for i in range(3)] for p, w in zip(points, weights, strict=True)]
    outputs = [[*(p**i for p in points), float(i == size - 3)] for i in range(size - 2)]
    return np.array(inputs), np.array([*kernel, [0, 0, 1]]), np.array(outputs)


# The usual points 0, 1, -1, 2, -2 make the root mean square error 1.5 times as large
# (docs/performance.md).
_INPUTS, _KERNEL, _OUTPUTS = _toom_cook((0, 1, -1, 0.5, -2))
_KERNEL_2D, _OUTPUTS_2D = np.kron(_KERNEL, _KERNEL), np.kron(_OUTPUTS, _OUTPUTS)


def convolution(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Computes `conv.conv3x3`."""
    height, width = x.shape[1] - 2 + 2 * border, x.shape[2] - 2 + 2 * border
    tiles = _input_tiles(x, border, height, width)
    taps = _mix(_KERNEL_2D, kernel.reshape(9, *kernel.shape[2:]))
    products = jnp.einsum("tnhwc,tco->tnhwo", tiles, taps)
    pixels = _mix(_OUTPUTS_2D, products)
    _, n, h, w, features = pixels.shape
    pixels = pixels.reshape(TILE, TILE, n, h, w, features).transpose(2, 3, 0, 4, 1, 5)
    return pixels.reshape(n, TILE * h, TILE * w, features)[:, :height, :width]


def kernel_gradient(x: jax.Array, g: jax.Array, border: int) -> jax.Array:
    """Computes `conv.kernel_gradient`."""
    n, height, width, features = g.shape
    tiles = _input_tiles(x, border, height, width)
    h, w = tiles.shape[2:4]
    g = jnp.pad(g, ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0)))
    pixels = g.reshape(n, h, TILE, w, TILE, features).transpose(2, 4, 0, 1, 3, 5)
    products = _mix(_OUTPUTS_2D.T, pixels.reshape(TILE * TILE, n, h, w, features))
    # Flattened, because XLA transposes the operands of a contraction over several axes first.
    tiles, products = (each.reshape(PATCH * PATCH, n * h * w, -1) for each in (tiles, products))
    taps = jnp.einsum("tpc,tpo->tco", tiles, products)
    return _mix(_KERNEL_2D.T, taps).reshape(3, 3, *taps.shape[1:])


def _input_tiles(x: jax.Array, border: int, height: int, width: int) -> jax.Array:
    """Returns the transformed patches `[PATCH * PATCH, N, tile rows, tile columns, C]`."""
    # The outputs are completed to whole tiles: pad the input on the far sides with what they read.
    low, (high, right) = border, (n + 2 + -n % TILE for n in (height, width))
    paddings = ((0, 0), (low, high - low - x.shape[1]), (low, right - low - x.shape[2]), (0, 0))
    x = jnp.pad(x, paddings)
    # The transform is separable. A strided slice takes the same pixel of every patch, so that no
    # array of overlapping patches is made.
    columns = _combine(_INPUTS, [x[:, :, _every_patch(j, right)] for j in range(PATCH)])
    tiles = _combine(_INPUTS, [columns[:, :, _every_patch(i, high)] for i in range(PATCH)])
    return tiles.reshape(PATCH * PATCH, *tiles.shape[2:])


def _every_patch(pixel: int, length: int) -> slice:
    """Returns the positions of one pixel of every patch along an axis of `length`."""
    return slice(pixel, length - PATCH + 1 + pixel, TILE)


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array]) -> jax.Array:
    """Returns `matrix @ parts`, skipping the zeros of the matrix."""
    rows = [[float(c) * part for c, part in zip(row, parts, strict=True) if c] for row in matrix]
    return jnp.stack([functools.reduce(jnp.add, row) for row in rows])


def _mix(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    """Returns `matrix @ x` along the first axis of an array of any rank."""
    return (jnp.asarray(matrix, x.dtype) @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])
