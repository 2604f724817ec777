"""Makes the C library keep freed memory when it is imported, if it is glibc.

A call of a compiled program allocates its temporary memory, hundreds of MiB. By default glibc maps
blocks of that size anew each time, and the system clears every page when it is first written: a
third of a training's seconds on a virtual machine (docs/performance.md). `release` returns what is
unused. Threads that have allocated before keep their own heaps, so this is imported before NumPy
and JAX. Nothing changes if the environment configures malloc.
"""

import ctypes
import os
import platform
from typing import Any

# Parameters of mallopt(3): no block has a mapping of its own (M_MMAP_MAX), the end of the heap is
# not trimmed (M_TRIM_THRESHOLD), and all threads share one heap (M_ARENA_MAX), since those of other
# threads hold no large blocks.
_PARAMETERS = {-4: 0, -1: -1, -8: 1}


def keep() -> None:
    """Makes glibc reuse freed memory instead of returning it to the system."""
    is_configured = "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if is_configured or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if mallopt := _function("mallopt"):
        for parameter, value in _PARAMETERS.items():
            mallopt(parameter, value)


def release() -> None:
    """Returns unused memory to the system."""
    if trim := _function("malloc_trim"):
        trim(0)


def _function(name: str) -> Any:
    """Returns a function of glibc; None where another C library is used."""
    is_glibc = platform.libc_ver()[0] == "glibc"
    return getattr(ctypes.CDLL(None), name) if is_glibc else None


keep()
