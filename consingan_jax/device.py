"""Device selection, the compilation cache, and memory limits."""

import contextlib
import ctypes
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

from consingan_jax import numerics
from consingan_jax.errors import InputError

CACHE_BYTES = 2**30  # of compiled programs on disk; a stage takes about half a MiB on a CPU


def describe() -> str:
    """Returns a line that names the device."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"device: CPU, {os.cpu_count()} cores"
    return f"device: {device.platform.upper()}, {device.device_kind}"


def select_devices(number: int) -> list[jax.Device]:
    """Returns so many devices to compute on; 0: all, or the default one where there is one.

    Raises:
        InputError: there are fewer.
    """
    settings: Any = jax.config
    given = settings.jax_default_device
    there = [given] if isinstance(given, jax.Device) else jax.devices(given)  # of a platform
    if number > len(there):
        is_there = "one is" if len(there) == 1 else f"{len(there)} are"
        raise InputError(f"devices={number}: {is_there} there: give {len(there)}, or 0 for all")
    return there[:number] if number else there


def divide_cpu(number: int) -> None:
    """Lets jax see the CPU as so many devices, at most its cores; without effect after its use."""
    if number > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(number, os.cpu_count() or 1))


def warning() -> str | None:
    """Returns a line if an NVIDIA GPU is there that jax does not use, else None."""
    if jax.default_backend() != "cpu" or not _has_nvidia_gpu():
        return None
    return (
        "warning: this machine has an NVIDIA GPU, but jax runs on the CPU: "
        'python -m pip install "jax[cuda13]" (docs/install.md)'
    )


def use_compilation_cache(directory: str) -> None:
    """Keeps compiled programs on disk, so that the next run with the same shapes starts at once.

    Each kind of processor has a folder of its own below `directory`, since a program compiled for
    one may not run on another. What was used longest ago goes when a folder exceeds `CACHE_BYTES`.

    Args:
        directory: where; "off" keeps none. JAX_COMPILATION_CACHE_DIR, if set, decides instead.
    """
    if directory == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = pathlib.Path(os.path.expanduser(directory)) / _processor()
    if str(folder).startswith("~"):  # no home directory is known here
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        for entry in folder.glob("*-cache"):  # without its time of use jax 0.10 keeps no others
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
    """Returns a name for processors that run the same programs."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    abilities = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    known = f"{platform.processor()} {abilities}"
    return f"{platform.machine()}-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


def release_memory() -> None:
    """Gives the memory that is free but held by the C library back to the system.

    Compiling a stage leaves some 450 MiB of it. Only glibc can; elsewhere nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def memory_limit() -> int | None:
    """Returns the bytes that a program may take: of the GPU, or of this machine's free memory.

    None where the system does not tell.
    """
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    meminfo = pathlib.Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    available = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kilobytes) * 1024 for kilobytes in available), None)


def matmul_flops(size: int = 2048) -> float:
    """Returns the operations per second of a large matmul, measured as convolutions are computed.

    That is in full float32, which on a GPU is several times slower than its default precision.
    """
    x = jnp.asarray(np.random.default_rng(0).standard_normal((size, size), np.float32))
    product = numerics.jit(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))
    product(x, x).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _has_nvidia_gpu() -> bool:
    return pathlib.Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))
