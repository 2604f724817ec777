"""ConSinGAN in JAX: trains a generative model on a single image.

    model = consingan_jax.train("photo.jpg", "runs/photo", variant="quick")
    model = consingan_jax.load("runs/photo")
    images = model.sample(seed=0, num_samples=4, width="2x")

Arrays of images are NHWC, float32 in [-1, 1].
"""

import warnings
from typing import Any

from consingan_jax import malloc, versions  # noqa: F401 - first: before NumPy, and the check
from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.images.display import ImageArray, to_uint8
from consingan_jax.images.loading import load as load_image
from consingan_jax.nn.layers import Architecture
from consingan_jax.sweeps.sweep import Sweep
from consingan_jax.training.progress import Progress
from consingan_jax.training.trainer import train

__all__ = [
    "Architecture",
    "Config",
    "DivergedError",
    "ImageArray",
    "InputError",
    "Model",
    "Progress",
    "StoppedError",
    "Sweep",
    "load",
    "load_image",
    "to_uint8",
    "train",
]

_RENAMED = {"Fleet": Sweep, "Moment": Progress, "Pictures": ImageArray}


def __getattr__(name: str) -> Any:
    """Returns an object by its former name, with a DeprecationWarning."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(f"{name} is now {new.__name__}", DeprecationWarning, stacklevel=2)
    return new
