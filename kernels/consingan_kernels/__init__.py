"""Compiled 3x3 convolutions for consingan_jax on a CPU.

consingan_jax uses them where this package is installed. They take float32 arrays whose numbers of
channels are multiples of `LANES`, and have no derivatives of their own: those of
`consingan_jax.nn.conv` consist of the same two functions.
"""

import ctypes
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

__version__ = "0.1.0"

_LIBRARY = ctypes.CDLL(str(next(pathlib.Path(__file__).parent.glob("winograd.*"))))
_TARGETS = ("consingan_convolution", "consingan_kernel_gradient")
LANES: int = _LIBRARY.consingan_lanes()

for _name in _TARGETS:
    jax.ffi.register_ffi_target(_name, jax.ffi.pycapsule(_LIBRARY[_name]), platform="cpu")


def convolution(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Returns the cross-correlation of `x` with a kernel.

    Args:
        x: `[N, H, W, I]`.
        kernel: `[3, 3, I, O]`.
        border: zeros to pad `x` with, 0 to 2 pixels on every side.

    Returns:
        `[N, H - 2 + 2 border, W - 2 + 2 border, O]`.
    """
    n, height, width, _ = x.shape
    shape = (n, height - 2 + 2 * border, width - 2 + 2 * border, kernel.shape[3])
    return _call(_TARGETS[0], shape, x, kernel, border)


def kernel_gradient(x: jax.Array, g: jax.Array, border: int) -> jax.Array:
    """Returns the gradient of `(convolution(x, kernel, border) * g).sum()` in the kernel.

    Args:
        x: `[N, H, W, I]`.
        g: `[N, H - 2 + 2 border, W - 2 + 2 border, O]`.
        border: as for `convolution`.

    Returns:
        `[3, 3, I, O]`.
    """
    return _call(_TARGETS[1], (3, 3, x.shape[3], g.shape[3]), x, g, border)


def _call(
    target: str, shape: tuple[int, ...], x: jax.Array, y: jax.Array, border: int
) -> jax.Array:
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.ffi.ffi_call(target, result, vmap_method="sequential")(x, y, border=np.int64(border))
