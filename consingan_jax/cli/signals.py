"""Handles signals: the first one saves the state and stops, the second exits at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from consingan_jax.errors import StoppedError
from consingan_jax.training.stopping import StopFlag

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one: the terminal was closed
_MESSAGE = b"\nstopping: saving the state first; interrupt once more to exit at once\n"


@contextlib.contextmanager
def listening() -> Iterator[StopFlag]:
    """Yields a flag that signals set; a training that it stops ends the process."""
    stop = StopFlag()
    with stop.on_signals(_NAMES, _exit, message=_MESSAGE):
        try:
            yield stop
        except StoppedError as error:
            print(f"consingan train: {error}", file=sys.stderr)
            _exit(stop.signal or signal.SIGTERM)
            raise


def _exit(number: int) -> None:
    leave(128 + number)  # the exit code of a shell for a process that the signal ended


def leave(code: int) -> None:
    """Exits now, without waiting for compilations or for the exit handlers of libraries."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
