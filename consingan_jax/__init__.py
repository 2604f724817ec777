"""ConSinGAN in JAX."""
