"""Signal handlers: the first Ctrl-C saves the state and stops, the second exits at once."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one: its terminal was closed
SAME_SECONDS = 0.2  # in which a signal that comes twice, as to a group and from a parent, is one
_PLAIN = (signal.SIG_DFL, signal.default_int_handler)


class Request:
    """Whether the process was asked to end: a watcher of a training."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.signal, self._heard = 0, 0.0

    def __call__(self, moment: object) -> bool:
        """Returns whether it was."""
        del moment
        return self.signal != 0

    def _hear(self, number: int, _: object) -> None:
        now = time.monotonic()
        if self.signal and now - self._heard < SAME_SECONDS:
            return
        if self.signal:
            end(number)
        self.signal, self._heard = number, now
        # By the system: a handler may have interrupted a print.
        os.write(2, b"\nstopping: the state is saved first; once more ends it at once\n")


@contextlib.contextmanager
def listening() -> Iterator[Request]:
    """Yields what knows whether the process was asked to end; signals that are ignored stay so."""
    request, before = Request(), {}
    for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
        if signal.getsignal(number) in _PLAIN:
            before[number] = signal.signal(number, request._hear)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end(number: int) -> None:
    """Ends the process as one that a signal has ended."""
    leave(128 + number)


def leave(code: int) -> None:
    """Ends the process now: no compilation is waited for, and no library has a last word."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
