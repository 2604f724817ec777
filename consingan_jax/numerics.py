"""The JAX and XLA settings that decide which numbers come out.

A seed is the identity of an image, so neither a caller's nor the environment's settings may change
what it gives. Public entry points that compute are decorated with `@independent`, and every program
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
# silently compute wrong numbers (jax issue 39103; docs/numerics.md): only bare products go there.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
_LITTLE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
_PROGRAMS: "weakref.WeakSet[Program]" = weakref.WeakSet()
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


def jit(function: Callable, *, little_memory: bool = False, **how: Any) -> "Program":
    """Returns a function that is compiled under `compiler_options` when it is called.

    Args:
        function: as for `jax.jit`.
        little_memory: as for `compiler_options`.
        **how: what else `jax.jit` takes, such as `static_argnames`.
    """
    return Program(function, little_memory, how)


class Program:
    """A function as `jax.jit` returns it, with the compiler options of this package.

    Called while another program is traced it becomes a part of that program, whose options hold:
    jax takes none for a part.
    """

    def __init__(self, function: Callable, little_memory: bool, how: dict[str, Any]):
        """Compiles nothing yet: which options there are depends on the device."""
        self.function, self.little_memory, self.how = function, little_memory, how
        _PROGRAMS.add(self)
        self._part: Any = jax.jit(function, **how)
        self._whole = functools.cache(lambda platform: self.compiled_for(platform))
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the function returns."""
        is_part = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((args, kwargs)))
        return (self._part if is_part else self._whole(_platform()))(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Returns the program for such arguments, ready to be compiled."""
        return self._whole(_platform()).lower(*args, **kwargs)

    def clear(self) -> None:
        """Forgets what was compiled."""
        self._part.clear_cache()
        self._whole.cache_clear()

    def compiled_for(self, platform: str) -> Any:
        """Returns the function as a program of its own on a platform."""
        options = compiler_options(platform, little_memory=self.little_memory)
        return jax.jit(self.function, compiler_options=options, **self.how)


def clear_programs() -> None:
    """Forgets what the programs of this package have compiled; a caller's own stay."""
    for program in list(_PROGRAMS):
        program.clear()


def compiler_options(platform: str, *, little_memory: bool = False) -> dict[str, str]:
    """Returns XLA's options for a program of this package: those that the installed jaxlib knows.

    Args:
        platform: "cpu" or another of jax; only a CPU's compiler needs options.
        little_memory: whether to order operations so that little is kept at a time. A CPU's are
            ordered for concurrency otherwise, and `jax.checkpoint` saves nothing; a GPU's are
            ordered for memory always.
    """
    if platform != "cpu":
        return {}
    wanted = CPU_OPTIONS | (_LITTLE_MEMORY if little_memory else {})
    return {name: value for name, value in wanted.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str) -> bool:
    """Returns whether the installed jaxlib has a compiler option, and this value of it."""
    try:
        jax.jit(lambda: 0).lower().compile({name: value})
    except jax.errors.JaxRuntimeError as error:
        if re.search("No such compile option|is not a valid", str(error)):
            return False
        raise
    return True


def _platform() -> str:
    """Returns the platform that computes what is on no device yet."""
    settings: Any = jax.config
    given = settings.jax_default_device
    return given.platform if isinstance(given, jax.Device) else given or jax.default_backend()
