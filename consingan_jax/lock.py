"""Locks a directory, or one file in it, for one process."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator

import filelock

from consingan_jax.errors import HeldError

LEASE_SECONDS = 30.0  # after which a holder that gives no sign of life has lost a directory
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextlib.contextmanager
def hold(directory: pathlib.Path, name: str = "") -> Iterator[None]:
    """Holds a directory for one process, or one thing in it.

    The system's own lock ends with its process. Where the file system has none, a file is the lock:
    its holder renews it, and one that has died or lost its machine loses it after `LEASE_SECONDS`.

    Args:
        directory: where the lock's file is.
        name: of a file that is written there; empty for a run that has the whole directory.

    Raises:
        HeldError: another process holds it.
    """
    stem = f".{name}." if name else "."
    lock = filelock.FileLock(directory / f"{stem}lock", timeout=0, fallback_to_soft=False)
    try:
        try:
            lock.acquire()
        except OSError as error:
            if isinstance(error, filelock.Timeout) or error.errno not in _NO_LOCKS:
                raise
            lock = filelock.SoftFileLease(directory / f"{stem}lease", lease_duration=LEASE_SECONDS)
            lock.acquire(timeout=1.5 * LEASE_SECONDS)
    except filelock.Timeout:
        work = f"writes {directory / name}" if name else f"trains in {directory}"
        raise HeldError(f"another process {work}: let it finish") from None
    try:
        yield
    finally:
        lock.release()
