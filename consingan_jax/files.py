"""Atomic writes, and messages on missing files."""

import contextlib
import difflib
import itertools
import pathlib
import time
import uuid
from collections.abc import Iterator

PART_SECONDS = 3600.0  # age of a temporary file that a killed process must have left
_PART = ".part-"
MAX_NAMES = 2000  # files that are searched for a similar name


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path; the file written there replaces `path` when the block ends.

    A killed process leaves `path` unchanged. The temporary name is unique, so that several writers
    of one file do not collide: the last one to finish wins.
    """
    part = path.with_name(f"{_PART}{uuid.uuid4().hex[:16]}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically; file names in it that are not UTF-8 keep their bytes."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def remove_parts(directory: pathlib.Path) -> None:
    """Removes the temporary files of killed processes below a directory whose lock is held."""
    # `consingan report` writes without the lock, so that young files may still be in use.
    old = time.time() - PART_SECONDS
    for part in directory.rglob(f"{_PART}*"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < old:
                part.unlink()


def missing(path: str | pathlib.Path, kind: str = "file") -> str:
    """Returns the message that a path does not exist, with a similar name in its directory."""
    path = pathlib.Path(path)
    try:
        names = {one.name for one in itertools.islice(path.parent.iterdir(), MAX_NAMES)}
    except OSError:
        names = set()
    near = difflib.get_close_matches(path.name, names - {path.name}, 1)
    return f"no such {kind}" + (f"; there is {path.with_name(near[0])}" if near else "")
