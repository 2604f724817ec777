"""Executors map a function over items: in this process, over its devices, or on a Ray cluster."""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax

from consingan_jax import numerics

AHEAD = 2  # items of each worker that may be under way, so that memory stays flat


class Executor(Protocol):
    """Maps a function over items."""

    @property
    def is_local(self) -> bool:
        """Whether the function runs in this process."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, `function(item)`) in any order, and now and then (item, None).

        The result is an InputError where a machine has failed. A local function raises its own.
        """


class LocalExecutor:
    """Calls the function in this process: item by item, or in a thread for each device."""

    is_local = True

    def __init__(self, devices: Sequence[jax.Device] = ()):
        """Takes the devices that share the items; none or one: the caller's thread does all."""
        self._devices = devices

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, `function(item)`) in the order of the items."""
        if len(self._devices) < 2:
            yield from ((item, function(item)) for item in items)
            return

        def on(device: jax.Device, item: Any) -> Any:
            with jax.default_device(device), numerics.own_settings():
                return jax.device_get(function(item))

        with contextlib.ExitStack() as stack:
            threads = [
                stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)) for _ in self._devices
            ]
            workers = itertools.cycle(zip(threads, self._devices, strict=True))
            begun: collections.deque[tuple[Any, concurrent.futures.Future]] = collections.deque()
            for item in items:
                thread, device = next(workers)
                begun.append((item, thread.submit(on, device, item)))
                if len(begun) == AHEAD * len(self._devices):
                    first, future = begun.popleft()
                    yield first, future.result()
            for item, future in begun:
                yield item, future.result()


LOCAL = LocalExecutor()
