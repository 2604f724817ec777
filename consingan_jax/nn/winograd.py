"""Winograd convolution F(4x4, 3x3): 36 instead of 144 multiplications for 4x4 outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

TILE = 4  # outputs of a tile along each axis
PATCH = TILE + 2  # inputs that they depend on


def _toom_cook(points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the matrices of a 3-tap correlation with n = len(points) - 1 outputs.

    To multiply two polynomials, evaluate both at n + 1 points and at infinity, multiply the values
    and interpolate (Toom and Cook). The transpose of that correlates (Winograd): with d the
    n + 2 inputs and k the taps, the outputs are `outputs @ ((kernel @ k) * (inputs @ d))`.

    Returns:
        inputs `[n + 2, n + 2]`, kernel `[n + 2, 3]`, outputs `[n, n + 2]`.
    """
    size = len(points) + 1
    others = [[q for q in points if q != p] for p in points]
    inputs = [[*np.poly(rest)[::-1], 0] for rest in others] + [np.poly(points)[::-1]]
    weights = [np.prod([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    kernel = [[p**i / w for i in range(3)] for p, w in zip(points, weights, strict=True)]
    outputs = [[*(p**i for p in points), float(i == size - 3)] for i in range(size - 2)]
    return np.array(inputs), np.array([*kernel, [0, 0, 1]]), np.array(outputs)


_INPUTS, _KERNEL, _OUTPUTS = _toom_cook((0, 1, -1, 0.5, -2))
_KERNEL_2D, _OUTPUTS_2D = np.kron(_KERNEL, _KERNEL), np.kron(_OUTPUTS, _OUTPUTS)


def convolution(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Returns what `conv.conv3x3` is for these arguments."""
    height, width = x.shape[1] - 2 + 2 * border, x.shape[2] - 2 + 2 * border
    tiles = _input_tiles(x, border, height, width)
    taps = _mix(_KERNEL_2D, kernel.reshape(9, *kernel.shape[2:]))
    products = jnp.einsum("tnhwc,tco->tnhwo", tiles, taps)
    pixels = _mix(_OUTPUTS_2D, products)
    _, n, h, w, features = pixels.shape
    pixels = pixels.reshape(TILE, TILE, n, h, w, features).transpose(2, 3, 0, 4, 1, 5)
    return pixels.reshape(n, TILE * h, TILE * w, features)[:, :height, :width]


def kernel_gradient(x: jax.Array, g: jax.Array, border: int) -> jax.Array:
    """Returns what `conv.kernel_gradient` is for these arguments."""
    n, height, width, features = g.shape
    tiles = _input_tiles(x, border, height, width)
    h, w = tiles.shape[2:4]
    g = jnp.pad(g, ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0)))
    pixels = g.reshape(n, h, TILE, w, TILE, features).transpose(2, 4, 0, 1, 3, 5)
    products = _mix(_OUTPUTS_2D.T, pixels.reshape(TILE * TILE, n, h, w, features))
    # Flat: a contraction over several axes makes XLA transpose its operands first.
    tiles, products = (each.reshape(PATCH * PATCH, n * h * w, -1) for each in (tiles, products))
    taps = jnp.einsum("tpc,tpo->tco", tiles, products)
    return _mix(_KERNEL_2D.T, taps).reshape(3, 3, *taps.shape[1:])


def _input_tiles(x, border, height, width):
    """Returns the transformed input `[PATCH * PATCH, N, rows of tiles, columns of tiles, C]`."""
    low, (high, right) = border, (n + 2 + -n % TILE for n in (height, width))
    paddings = ((0, 0), (low, high - low - x.shape[1]), (low, right - low - x.shape[2]), (0, 0))
    x = jnp.pad(x, paddings)
    # Pixel j of every patch along an axis: the patches lie TILE apart, and the last one fits.
    columns = _combine(_INPUTS, [x[:, :, _every_patch(j, right)] for j in range(PATCH)])
    tiles = _combine(_INPUTS, [columns[:, :, _every_patch(i, high)] for i in range(PATCH)])
    return tiles.reshape(PATCH * PATCH, *tiles.shape[2:])


def _every_patch(pixel, length):
    return slice(pixel, length - PATCH + 1 + pixel, TILE)


def _combine(matrix, parts):
    """Returns the combinations of `parts` that the rows of `matrix` ask for, stacked."""
    rows = [[float(c) * part for c, part in zip(row, parts, strict=True) if c] for row in matrix]
    return jnp.stack([functools.reduce(jnp.add, row) for row in rows])


def _mix(matrix, x):
    """Returns the same combinations of the entries of one array, as a matrix product."""
    return (jnp.asarray(matrix, x.dtype) @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])
