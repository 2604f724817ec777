"""Which device the arithmetic runs on."""

import os
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp


def describe() -> str:
    """Returns a line that names the device."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"device: CPU, {os.cpu_count()} cores"
    return f"device: {device.platform.upper()}, {device.device_kind}"


def warning() -> str | None:
    """Returns a line if an NVIDIA GPU is there that jax does not use, else None."""
    if jax.default_backend() != "cpu" or not _has_nvidia_gpu():
        return None
    return (
        "warning: this machine has an NVIDIA GPU, but jax runs on the CPU: "
        'python -m pip install "consingan_jax[cuda]"'
    )


def use_compilation_cache(directory: str) -> None:
    """Keeps compiled programs on disk, so that the next run with the same shapes starts at once.

    Args:
        directory: where; "off" keeps none. JAX_COMPILATION_CACHE_DIR, if set, decides instead.
    """
    if directory != "off" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(directory).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def matmul_flops(size: int = 2048) -> float:
    """Returns the floating point operations per second of a large float32 matmul, measured."""
    x = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _has_nvidia_gpu() -> bool:
    return pathlib.Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))
