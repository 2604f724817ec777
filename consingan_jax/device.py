"""Device selection, the compilation cache, and memory limits."""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import tempfile
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import kernels, numerics
from consingan_jax.errors import InputError

CACHE_BYTES = 2**30  # limit of the cache on disk; a stage takes about half a MiB on a CPU


def describe() -> str:
    """Returns a line with the name of the device."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        compiled = f", compiled kernels {kernels.version()}" if kernels.version() else ""
        return f"device: CPU, {os.cpu_count()} cores{compiled}"
    return f"device: {device.platform.upper()}, {device.device_kind}"


def select_devices(number: int) -> list[jax.Device]:
    """Returns `number` devices to compute on; 0: all, or JAX's default device if it is set.

    Raises:
        InputError: fewer are available.
    """
    settings: Any = jax.config
    default = settings.jax_default_device  # a device, the name of a platform, or None
    devices = [default] if isinstance(default, jax.Device) else jax.devices(default)
    if number > len(devices):
        count = len(devices)
        raise InputError(f"devices={number}: only {count} available: give {count}, or 0 for all")
    return devices[:number] if number else devices


def divide_cpu(number: int) -> None:
    """Splits the CPU into JAX devices, at most one per core; no effect once JAX has computed."""
    if number > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(number, os.cpu_count() or 1))


def warning() -> str | None:
    """Returns a warning if the machine has an NVIDIA GPU that JAX does not use, else None."""
    driver = pathlib.Path("/proc/driver/nvidia/version")
    if jax.default_backend() != "cpu" or not (driver.exists() or shutil.which("nvidia-smi")):
        return None
    return (
        "warning: this machine has an NVIDIA GPU, but jax runs on the CPU: "
        'python -m pip install "jax[cuda13]" (docs/install.md)'
    )


def use_compilation_cache(directory: str) -> None:
    """Keeps compiled programs on disk, so that the next run with the same shapes starts at once.

    A program compiled for one processor may not run on another, so each kind has its own folder.
    When a folder exceeds `CACHE_BYTES`, the least recently used programs are removed.

    Args:
        directory: where to keep them; "off": nowhere. The environment's JAX_COMPILATION_CACHE_DIR
            takes precedence.
    """
    if directory == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = pathlib.Path(os.path.expanduser(directory)) / _processor()
    if str(folder).startswith("~"):  # there is no home directory
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        # One entry without its time of use, as a killed process leaves it, makes jax 0.10 keep no
        # more programs (its issue 39880).
        for entry in folder.glob("*-cache"):
            used = entry.with_name(entry.name.removesuffix("-cache") + "-atime")
            if not used.exists():
                used.write_bytes(bytes(8))
    except OSError as error:
        warnings.warn(f"compiled programs are not kept: {folder}: {error.strerror}", stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor() -> str:
    """Returns a name for processors with the same instruction sets."""
    lines = _lines("/proc/cpuinfo")
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    known = f"{platform.processor()} {features}"
    return f"{platform.machine()}-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


def memory_limit() -> int | None:
    """Returns the bytes that a program can use, on the GPU or in free memory; None if unknown."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    lines = _lines("/proc/meminfo")
    available = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kibibytes) * 1024 for kibibytes in available), None)


def matmul_flops(size: int = 2048) -> float:
    """Measures the operations per second of a large matmul in full float32, like convolutions."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((size, size), np.float32))
    product = numerics.jit(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))
    product(x, x).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _lines(path: str) -> list[str]:
    file = pathlib.Path(path)
    return file.read_text().splitlines() if file.exists() else []
