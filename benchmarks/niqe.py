"""NIQE: how natural an image looks, without a reference (Mittal, Soundararajan, Bovik, 2013).

Its model of natural images, which decides the scale, is not part of this project. The published
one is a file of the package mmagic on PyPI (Apache-2.0).
"""

import io
import pathlib
import zipfile

import numpy as np
from scipy import ndimage, special

from consingan_jax.nn import resize

BLOCK = 96  # pixels a side at full size
_FILE = "mmagic/evaluation/metrics/niqe_pris_params.npz"
_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = special.gamma(2 / _SHAPES) ** 2 / (
    special.gamma(1 / _SHAPES) * special.gamma(3 / _SHAPES)
)
_LUMA = np.array([65.481, 128.553, 24.966])  # of red, green and blue from 0 to 1, plus 16
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def load(wheel: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean `[36]` and covariance `[36, 36]` of natural images from the wheel of mmagic."""
    with zipfile.ZipFile(wheel) as archive, np.load(io.BytesIO(archive.read(_FILE))) as file:
        return file["mu_pris_param"].ravel(), file["cov_pris_param"]


def luma(image: np.ndarray) -> np.ndarray:
    """Returns the luma `[H, W]`, 16 to 235, of an image `[H, W, 3]` in [-1, 1]."""
    return 16 + (image + 1) / 2 @ _LUMA


def niqe(luma: np.ndarray, natural: tuple[np.ndarray, np.ndarray]) -> float:
    """Returns the distance of an image to natural ones; less is more natural.

    Args:
        luma: `[H, W]` of 16 to 235, at least 96 px a side; what exceeds whole blocks is cut off.
        natural: as `load` returns it.
    """
    found = features(luma)
    found = found[np.isfinite(found).all(1)]
    difference = found.mean(0) - natural[0]
    covariance = (np.cov(found, rowvar=False) + natural[1]) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


def features(luma: np.ndarray) -> np.ndarray:
    """Returns the features of every block, at full and at half size, `[blocks, 36]`."""
    height, width = (length // BLOCK * BLOCK for length in luma.shape)
    fine = luma[:height, :width].round()
    # `resize.fit` takes images in [-1, 1].
    half = resize.fit(fine[..., None] / 127.5 - 1, (height // 2, width // 2))[..., 0]
    return np.hstack([_of_size(fine, BLOCK), _of_size((half + 1) * 127.5, BLOCK // 2)])


def _of_size(image: np.ndarray, block: int) -> np.ndarray:
    """Returns the features of every block at one size, `[blocks, 18]`."""
    mean = _blurred(image)
    deviation = np.sqrt(np.abs(_blurred(np.square(image)) - np.square(mean)))
    normalised = (image - mean) / (deviation + 1)
    rows, columns = (length // block for length in image.shape)
    blocks = normalised.reshape(rows, block, columns, block).swapaxes(1, 2)
    return np.array([_of_block(each) for each in blocks.reshape(-1, block, block)])


def _blurred(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, 7 / 6, radius=3, mode="nearest")


def _of_block(block: np.ndarray) -> list[float]:
    """Returns the parameters of its values, and of their products with each of four neighbours."""
    shape, left, right = _fitted(block)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _fitted(block * np.roll(block, shift, (0, 1)))
        mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
        features += [shape, mean, left, right]
    return features


def _fitted(values: np.ndarray) -> tuple[float, float, float]:
    """Fits an asymmetric generalised gaussian: its shape, and its widths left and right of 0."""
    left, right = (np.sqrt(np.square(values[s]).mean()) for s in (values < 0, values > 0))
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / np.square(values).mean()
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = _SHAPES[np.abs(_RATIOS - ratio).argmin()]
    width = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * width, right * width
