"""Signals of a command: the first one saves the state and stops, the second exits at once."""

import contextlib
import os
import sys
from collections.abc import Iterator

from consingan_jax.training.stopping import StopFlag

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one: its terminal was closed
_MESSAGE = b"\nstopping: the state is saved first; once more ends it at once\n"


@contextlib.contextmanager
def listening() -> Iterator[StopFlag]:
    """Yields a flag that signals set."""
    stop = StopFlag()
    with stop.on_signals(_NAMES, end, message=_MESSAGE):
        yield stop


def end(number: int) -> None:
    """Exits with the code of a process that the signal has ended."""
    leave(128 + number)


def leave(code: int) -> None:
    """Exits now, without waiting for compilations or for the exit handlers of libraries."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
