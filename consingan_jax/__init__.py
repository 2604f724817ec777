"""ConSinGAN in JAX: a generative model learned from a single image.

    model = consingan_jax.load("runs/scene-unconditional")
    images = model.sample(seed=0, num_samples=4, width="2x")

Arrays of images are NHWC, float32 in [-1, 1].
"""

from consingan_jax.data.image import load as load_image
from consingan_jax.data.image import to_uint8
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.nn.layers import Architecture
from consingan_jax.training.trainer import DivergedError, train

__all__ = ["Architecture", "DivergedError", "Model", "load", "load_image", "to_uint8", "train"]
