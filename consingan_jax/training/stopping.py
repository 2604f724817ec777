"""Stops a training when a signal comes or the progress callback asks for it.

A KeyboardInterrupt at any point could lose the state, whose buffers every call of the loop takes
over. So a signal only sets a flag, which the training polls between calls, about once a second.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from consingan_jax.errors import StoppedError
from consingan_jax.training.progress import Progress, ProgressCallback

# Ctrl-C may arrive twice, from the terminal and from a parent process: it counts once in this time.
SAME_SECONDS = 0.2
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class StopFlag:
    """A `ProgressCallback` that returns whether the training shall stop.

    Attributes:
        is_set: whether it shall stop.
        signal: number of the signal that asked for it, else 0.
    """

    def __init__(self, callback: ProgressCallback | None = None):
        self._callback, self._heard_at = callback, 0.0
        self.is_set, self.signal = False, 0

    def __call__(self, progress: Progress) -> bool:
        """Reports the progress to the callback; returns whether to stop."""
        if self._callback is not None and self._callback(progress):
            self.is_set = True
        return self.is_set

    @contextlib.contextmanager
    def on_signals(
        self, names: Sequence[str], again: Callable[[int], object], *, message: bytes = b""
    ) -> Iterator[None]:
        """Lets signals set the flag, unless they are ignored or have a handler already.

        Args:
            names: names of the signals; those that the system does not have are skipped.
            again: called with the number of a second signal.
            message: written to stderr after the first signal.
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
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
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
    """Yields a flag that Ctrl-C sets; raises KeyboardInterrupt after the state is saved."""

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
