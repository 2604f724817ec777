"""Background thread, and polling for cancellation while waiting on it."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from consingan_jax import numerics

WATCH_SECONDS = 0.5  # between two looks at whether to go on waiting

_T = TypeVar("_T")


class Thread:
    """Does one thing after the other, under the settings of jax that its maker had."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._settings = _settings()
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def begin(self, work: Callable[[], _T]) -> "concurrent.futures.Future[_T]":
        """Returns the promise of what `work` returns; it is done after all that was begun."""
        return self._thread.submit(self._work, work)

    def _work(self, work: Callable[[], _T]) -> _T:
        with self._settings(), numerics.own_settings():
            return work()

    def close(self) -> None:
        """Drops what was not begun; waits for nothing."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def result(promise: "concurrent.futures.Future[_T]", meanwhile: Callable[[], None]) -> _T:
    """Returns what was promised.

    Args:
        promise: of what a thread does.
        meanwhile: is called every `WATCH_SECONDS`; what it raises ends the waiting.
    """
    while not concurrent.futures.wait([promise], timeout=WATCH_SECONDS).done:
        meanwhile()
    return promise.result()


def _settings() -> Callable[[], contextlib.AbstractContextManager]:
    """Returns what puts another thread under the settings that this one's contexts have made."""
    now: Any = jax.config
    place, precision = now.jax_default_device, now.jax_default_matmul_precision

    @contextlib.contextmanager
    def same() -> Iterator[None]:
        with jax.default_device(place), jax.default_matmul_precision(precision):
            yield

    return same
