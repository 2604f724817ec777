"""Locks on a directory, or on one file in it, for one process."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator

import filelock

from consingan_jax.errors import HeldError

LEASE_SECONDS = 30.0  # time without renewal after which a lease is lost
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextlib.contextmanager
def hold(directory: pathlib.Path, name: str = "") -> Iterator[None]:
    """Holds a lock on a directory or on one file in it.

    The system releases a file lock when its process ends. On a file system without locks it is a
    lease: a file that the holder renews, and loses after `LEASE_SECONDS` without renewal.

    Args:
        directory: directory of the lock file.
        name: name of the file to be written; empty: a run that owns the whole directory.

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
