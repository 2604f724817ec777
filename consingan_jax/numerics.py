"""The settings of jax that decide which numbers come out, as this package needs them.

A seed is the identity of an image, so neither a caller's nor the environment's settings may change
what it gives. Public functions that compute wear `independent`.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import jax

RANDOM_NUMBERS = "threefry2x32"
_Function = TypeVar("_Function", bound=Callable)


def key(seed: int | jax.Array) -> jax.Array:
    """Returns the random key that a seed from 0 to 2**32 - 1 stands for."""
    return jax.random.key(seed, impl=RANDOM_NUMBERS)


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Computes in float32, whatever the caller has asked jax for."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.threefry_partitionable(True),
    ):
        yield


def independent(function: _Function) -> _Function:
    """Makes a function or a generator function compute under `own_settings`."""
    if not inspect.isgeneratorfunction(function):
        return cast(_Function, own_settings()(function))

    @functools.wraps(function)
    def generator(*args, **kwargs):
        # Entered for each item: between two items the caller's settings hold.
        items, end = function(*args, **kwargs), object()
        while True:
            with own_settings():
                item = next(items, end)
            if item is end:
                return
            yield item

    return cast(_Function, generator)
