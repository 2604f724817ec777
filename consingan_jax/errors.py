"""Exceptions that users can cause, and recognition of errors of the system."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full disk, exceeded quota or file size
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


class InputError(ValueError):
    """A configuration, file or argument cannot work; names it, its value and the remedy."""


class DamagedError(InputError):
    """Saved data cannot be read, or has changed since it was written."""


class HeldError(InputError):
    """Another process holds the lock of a directory or file."""


class DivergedError(FloatingPointError):
    """A training cannot go on from its parameters; `retries` counts the run's earlier retries."""

    def __init__(self, message: str, retries: int = 0):
        super().__init__(message)
        self.retries = retries


class StoppedError(Exception):
    """Training was stopped on request; says how far it got and what is saved."""


def is_no_room(error: BaseException) -> bool:
    """Returns whether an error means that the disk is full."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that this machine or its GPU has run out of memory."""
    exhausted = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return exhausted or isinstance(error, MemoryError)


@contextlib.contextmanager
def from_tensorstore(path: pathlib.Path) -> Iterator[None]:
    """Converts TensorStore's errors of the system, which are ValueErrors, to OSErrors on `path`."""
    try:
        yield
    except ValueError as error:
        code = _OS_ERROR.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
