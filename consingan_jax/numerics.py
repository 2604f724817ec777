"""JAX and XLA settings that change results.

A seed identifies an image, so its result must not depend on settings of the caller or of the
environment. Public entry points that compute are decorated with `@independent`, and every program
of this package is compiled by `jit`.
"""

import contextlib
import functools
import inspect
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax

RANDOM_NUMBERS = "threefry2x32"
# XLA's CPU compiler fuses matrix products, broadcasts and sums for YNNPACK. Some of these fusions
# compute wrong numbers (jax issue 39103; docs/numerics.md), so only bare products may go there.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
_LITTLE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
_PROGRAMS: "weakref.WeakSet[Program]" = weakref.WeakSet()
_Function = TypeVar("_Function", bound=Callable)


def key(seed: int | jax.Array) -> jax.Array:
    """Returns the random key of a seed from 0 to 2**32 - 1."""
    return jax.random.key(seed, impl=RANDOM_NUMBERS)


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Overrides the caller's settings of JAX that change results."""
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
    def generator(*args: Any, **kwargs: Any) -> Iterator:
        # The settings hold while an item is computed, and the caller's between two items.
        items, end = function(*args, **kwargs), object()
        while True:
            with own_settings():
                item = next(items, end)
            if item is end:
                return
            yield item

    return cast(_Function, generator)


class Program:
    """A function compiled like `jax.jit`, with `compiler_options`.

    Args:
        function: as for `jax.jit`.
        little_memory: as for `compiler_options`.
        **how: other arguments of `jax.jit`, such as `static_argnames`.
    """

    def __init__(self, function: Callable, *, little_memory: bool = False, **how: Any):
        self.function, self.little_memory, self.how = function, little_memory, how
        _PROGRAMS.add(self)
        # JAX refuses compiler options of a function that is called while another one is traced. It
        # is then a part of that program, and compiled with its options.
        self._part: Any = jax.jit(function, **how)
        self._whole = functools.cache(lambda platform: self.compiled_for(platform))
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        is_part = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((args, kwargs)))
        return (self._part if is_part else self._whole(_platform()))(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Lowers the function for arguments, like the method of `jax.jit`."""
        return self._whole(_platform()).lower(*args, **kwargs)

    def clear(self) -> None:
        """Clears the compilation cache of the function."""
        self._part.clear_cache()
        self._whole.cache_clear()

    def compiled_for(self, platform: str) -> Any:
        """Returns the jitted function with the compiler options for a platform."""
        options = compiler_options(platform, little_memory=self.little_memory)
        return jax.jit(self.function, compiler_options=options, **self.how)


jit = Program


def clear_programs() -> None:
    """Clears the compilation caches of this package's programs, but not those of the caller's."""
    for program in list(_PROGRAMS):
        program.clear()


def compiler_options(platform: str, *, little_memory: bool = False) -> dict[str, str]:
    """Returns XLA's compiler options, as far as the installed jaxlib knows them.

    Args:
        platform: "cpu" or another platform of JAX; only a CPU needs options.
        little_memory: whether to order operations for little memory, as a GPU's always are. A CPU's
            are ordered for concurrency by default, so that `jax.checkpoint` saves nothing.
    """
    if platform != "cpu":
        return {}
    wanted = CPU_OPTIONS | (_LITTLE_MEMORY if little_memory else {})
    return {name: value for name, value in wanted.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str) -> bool:
    """Returns whether the installed jaxlib accepts a value of a compiler option."""
    try:
        jax.jit(lambda: 0).lower().compile({name: value})
    except jax.errors.JaxRuntimeError as error:
        if re.search("No such compile option|is not a valid", str(error)):
            return False
        raise
    return True


def _platform() -> str:
    """Returns the platform that JAX computes on by default."""
    settings: Any = jax.config
    given = settings.jax_default_device
    return given.platform if isinstance(given, jax.Device) else given or jax.default_backend()
