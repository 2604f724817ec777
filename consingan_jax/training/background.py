"""A background thread, and polling for cancellation while waiting for it."""

import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from consingan_jax import numerics

POLL_SECONDS = 0.5  # between two polls while waiting for a result

_T = TypeVar("_T")


class Thread:
    """Runs functions one after another, under the JAX settings of the thread that made it."""

    def __init__(self) -> None:
        # The contexts of jax hold for one thread. Without these settings, a caller's
        # `jax.default_device` would not reach the new thread, which would then compile for another
        # device than the one that trains.
        config: Any = jax.config
        self._device = config.jax_default_device
        self._precision = config.jax_default_matmul_precision
        self._executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def submit(self, work: Callable[[], _T]) -> "concurrent.futures.Future[_T]":
        """Runs `work` after everything submitted before, and returns its future."""
        return self._executor.submit(self._run, work)

    def _run(self, work: Callable[[], _T]) -> _T:
        device = jax.default_device(self._device)
        precision = jax.default_matmul_precision(self._precision)
        with device, precision, numerics.own_settings():
            return work()

    def close(self) -> None:
        """Cancels everything that has not started; does not wait for what has."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def wait(future: "concurrent.futures.Future[_T]", poll: Callable[[], None]) -> _T:
    """Returns the result of a future; meanwhile `poll` is called, and may raise to end the wait."""
    while not concurrent.futures.wait([future], timeout=POLL_SECONDS).done:
        poll()
    return future.result()
