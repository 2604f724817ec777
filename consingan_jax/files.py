"""Files that are there whole or not at all, and what is said of those that are not."""

import contextlib
import difflib
import itertools
import pathlib
from collections.abc import Iterator

MOST_NAMES = 2000  # of files that are looked through for a name that is nearly the same


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields where to write a file that shall appear at `path` when it is complete."""
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def missing(path: str | pathlib.Path, kind: str = "file") -> str:
    """Returns in words that a path is not there, with the one beside it that may be meant."""
    path = pathlib.Path(path)
    try:
        names = {one.name for one in itertools.islice(path.parent.iterdir(), MOST_NAMES)}
    except OSError:
        names = set()
    near = difflib.get_close_matches(path.name, names - {path.name}, 1)
    return f"no such {kind}" + (f"; there is {path.with_name(near[0])}" if near else "")
