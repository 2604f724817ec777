"""Atomic writes, and messages about missing files."""

import contextlib
import difflib
import itertools
import pathlib
import time
import uuid
from collections.abc import Iterator

PART_SECONDS = 3600.0  # after which a temporary file is one that a killed process has left
_PART = ".part-"
MOST_NAMES = 2000  # of files that are looked through for a name that is nearly the same


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path; what is written there replaces `path` when the block ends.

    A killed process leaves `path` as it was. The temporary name is unique, so that several writers
    of one file do not collide: the last one to finish wins.
    """
    part = path.with_name(f"{_PART}{uuid.uuid4().hex[:16]}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically; names of files that are not UTF-8 are kept as they are."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def remove_parts(directory: pathlib.Path) -> None:
    """Removes the temporary files that killed processes have left below a directory.

    The caller holds the directory's lock; a writer outside of it whose file goes fails.
    """
    old = time.time() - PART_SECONDS
    for part in directory.rglob(f"{_PART}*"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < old:
                part.unlink()


def missing(path: str | pathlib.Path, kind: str = "file") -> str:
    """Returns in words that a path is not there, with the one beside it that may be meant."""
    path = pathlib.Path(path)
    try:
        names = {one.name for one in itertools.islice(path.parent.iterdir(), MOST_NAMES)}
    except OSError:
        names = set()
    near = difflib.get_close_matches(path.name, names - {path.name}, 1)
    return f"no such {kind}" + (f"; there is {path.with_name(near[0])}" if near else "")
