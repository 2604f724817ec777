"""ConSinGAN in JAX: a generative model learned from a single image.

    model = consingan_jax.train("photo.jpg", "runs/photo", variant="quick")
    model = consingan_jax.load("runs/photo")
    images = model.sample(seed=0, num_samples=4, width="2x")

Arrays of images are NHWC, float32 in [-1, 1].
"""

from consingan_jax import versions  # noqa: F401 - first: it checks them
from consingan_jax.config import Config
from consingan_jax.data.display import Pictures, to_uint8
from consingan_jax.data.loading import load as load_image
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.nn.layers import Architecture
from consingan_jax.sweeps.fleet import Fleet
from consingan_jax.training.trainer import train
from consingan_jax.training.watch import Moment

__all__ = [
    "Architecture",
    "Config",
    "DivergedError",
    "Fleet",
    "InputError",
    "Model",
    "Moment",
    "Pictures",
    "StoppedError",
    "load",
    "load_image",
    "to_uint8",
    "train",
]
