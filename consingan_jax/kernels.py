"""The compiled convolutions of the optional package consingan_kernels, where it is installed.

They compute what `winograd` does, with the sums in another order.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from consingan_jax import numerics

try:
    import consingan_kernels
except ImportError:
    consingan_kernels = None

_in_use: Any = consingan_kernels


def version() -> str:
    """Returns the version of the package, or an empty string where it is not in use."""
    return _in_use.__version__ if _in_use else ""


def find(name: str, *channels: int) -> Callable | None:
    """Returns the compiled function of a name for these numbers of channels, or None."""
    if _in_use and all(number % _in_use.LANES == 0 for number in channels):
        return getattr(_in_use, name)
    return None


def disable() -> None:
    """Makes all programs that are compiled from now on do without."""
    global _in_use
    _in_use = None


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Makes the programs that are called in the block do without."""
    global _in_use
    before = _in_use
    if not before:
        yield
        return
    # What was traced before is not used in the block, nor is what the block traces used after it.
    numerics.clear_programs()
    disable()
    try:
        yield
    finally:
        _in_use = before
        numerics.clear_programs()
