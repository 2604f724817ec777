"""Stops a training between two calls of its loop, on a signal or when the progress callback asks.

An interrupt between two JAX calls would lose the state, whose buffers the next call takes over. So
a signal only sets a flag, which the training polls once a second.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from consingan_jax.errors import StoppedError
from consingan_jax.training.progress import Progress, ProgressCallback

SAME_SECONDS = 0.2  # a signal that comes twice within these, to a group and from a parent, is one
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class StopFlag:
    """Whether a training is asked to stop; a `ProgressCallback` that returns it.

    Attributes:
        is_set: whether to stop.
        signal: the number of the signal that asked for it, else 0.
    """

    def __init__(self, callback: ProgressCallback | None = None):
        """Takes a progress callback that may ask for it too."""
        self._callback, self._heard_at = callback, 0.0
        self.is_set, self.signal = False, 0

    def __call__(self, progress: Progress) -> bool:
        """Reports the progress to the callback, and returns whether to stop."""
        if self._callback is not None and self._callback(progress):
            self.is_set = True
        return self.is_set

    @contextlib.contextmanager
    def on_signals(
        self, names: Sequence[str], again: Callable[[int], object], *, message: bytes = b""
    ) -> Iterator[None]:
        """Lets signals set the flag; those that are ignored or handled otherwise stay so.

        Args:
            names: of the signals, as far as the system has them.
            again: is called with the number of a second signal.
            message: is written to stderr after the first one.
        """

        def handle(number: int, _: object) -> None:
            now = time.monotonic()
            if self.signal and now - self._heard_at < SAME_SECONDS:
                return
            if self.signal:
                again(number)
            self.is_set, self.signal, self._heard_at = True, number, now
            os.write(2, message)  # unbuffered: the handler may have interrupted a print

        before = {}
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
                if signal.getsignal(number) in _DEFAULTS:
                    before[number] = signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def interruptible(callback: ProgressCallback | None) -> Iterator[StopFlag]:
    """Yields a flag that Ctrl-C sets; KeyboardInterrupt is raised once the state is saved."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    stop = StopFlag(callback)
    with stop.on_signals(("SIGINT",), interrupt):
        try:
            yield stop
        except StoppedError as error:
            if stop.signal:
                raise KeyboardInterrupt(str(error)) from None
            raise
