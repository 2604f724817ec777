"""Executors map a function over items: in this process, over its devices, or on a Ray cluster."""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax

from consingan_jax import numerics

AHEAD = 2  # items in flight per worker; keeps it busy, and bounds the memory of results


class Executor(Protocol):
    """Maps a function over items."""

    @property
    def is_local(self) -> bool:
        """Whether the function runs in this process."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, `function(item)`) in any order.

        A result of None means that nothing has finished for a while, and an InputError that a
        machine has failed. Errors of a function in this process are raised.
        """


class LocalExecutor:
    """Calls the function in this process, item by item or with a thread per device."""

    is_local = True

    def __init__(self, devices: Sequence[jax.Device] = ()):
        """Takes the devices that share the items; with none or one, the calling thread does all."""
        self._devices = devices

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, `function(item)`) in the order of the items."""
        if len(self._devices) < 2:
            yield from ((item, function(item)) for item in items)
            return

        def call(device: jax.Device, item: Any) -> Any:
            with jax.default_device(device), numerics.own_settings():
                return jax.device_get(function(item))

        # A pool per device, and not one for all, so that each device has one item at a time.
        with contextlib.ExitStack() as stack:
            threads = [
                stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)) for _ in self._devices
            ]
            workers = itertools.cycle(zip(threads, self._devices, strict=True))
            pending: collections.deque[tuple[Any, concurrent.futures.Future]] = collections.deque()
            for item in items:
                thread, device = next(workers)
                pending.append((item, thread.submit(call, device, item)))
                if len(pending) == AHEAD * len(self._devices):
                    first, future = pending.popleft()
                    yield first, future.result()
            for item, future in pending:
                yield item, future.result()


LOCAL = LocalExecutor()
