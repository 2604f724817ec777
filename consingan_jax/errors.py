"""Exceptions that are not bugs of this package."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, in all its words
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


class InputError(ValueError):
    """A configuration, a file or an argument cannot work: says which, its value, and the mend."""


class DamagedError(InputError):
    """What a run has saved cannot be read, or is not what was written."""


class HeldError(InputError):
    """Another process works where this one would."""


class DivergedError(FloatingPointError):
    """The parameters are no finite numbers any more."""

    def __init__(self, message: str, retries: int = 0):
        """Says where, and how often the run had tried again before."""
        super().__init__(message)
        self.retries = retries


class StoppedError(Exception):
    """A training was told to stop: says where it is and what is kept."""


def is_no_room(error: BaseException) -> bool:
    """Returns whether an error means that the disk is full."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that the memory, of this machine or of its GPU, was too small.

    XLA's own error is a RuntimeError.
    """
    exhausted = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return exhausted or isinstance(error, MemoryError)


@contextlib.contextmanager
def from_tensorstore(path: pathlib.Path) -> Iterator[None]:
    """Raises what TensorStore says of the system as an OSError about `path`.

    Whatever the cause, TensorStore's own error is a ValueError.
    """
    try:
        yield
    except ValueError as error:
        code = _OS_ERROR.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
