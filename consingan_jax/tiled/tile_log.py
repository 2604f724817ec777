"""Log of the tiles of an image that are already on disk."""

import json
import pathlib
from typing import Any

from consingan_jax import checkpoint
from consingan_jax.errors import InputError
from consingan_jax.files import whole


class TileLog:
    """A line of JSON that names a picture, and below it a map of its windows: `#` done, `.` not.

    A mark is one byte at a known place: whenever the process is killed, it is there or it is not.

    Attributes:
        path: of the file.
        total: how many windows there are.
        done: 1 for each window that is written, row by row; empty before `create` or `resume`.
    """

    def __init__(self, path: pathlib.Path, about: dict[str, Any], grid: tuple[int, int]):
        """Names the journal; touches nothing.

        Args:
            path: of the file.
            about: names the picture, of plain JSON types.
            grid: how many windows there are down and across.
        """
        self.path = path
        self.total = grid[0] * grid[1]
        self.done = bytearray()
        self._head = 0  # bytes before the map
        self._about = json.loads(json.dumps({"format": checkpoint.FORMAT, **about}))
        self._grid = grid

    def create(self) -> None:
        """Writes the file, with nothing done."""
        self.done = bytearray(self.total)
        windows = self._grid[0] * (self._grid[1] * b"." + b"\n")
        head = json.dumps(self._about).encode() + b"\n"
        self._head = len(head)
        with whole(self.path) as part:
            part.write_bytes(head + windows)

    def resume(self, picture: pathlib.Path) -> None:
        """Reads what is done.

        Args:
            picture: whose journal it is, for the words of an error.

        Raises:
            InputError: it is of another picture, or as `check` says.
        """
        found, windows = self._read()
        for field, value in self._about.items():
            if found.get(field) != value:
                raise InputError(
                    f"{picture} is another picture, with {field}={found.get(field)!r} and not "
                    f"{value!r}: give that value or another --out"
                )
        done = windows.replace(b"\n", b"")
        if len(done) != self.total or done.strip(b".#"):
            raise self._damaged()
        self.done = bytearray(mark == ord("#") for mark in done)

    def check(self) -> None:
        """Raises an InputError unless this is a journal, of a format that this version reads."""
        self._read()

    def mark(self, number: int) -> None:
        """Says that a window is written."""
        with self.path.open("r+b") as file:
            file.seek(self._head + number + number // self._grid[1])
            file.write(b"#")
        self.done[number] = 1

    def _read(self) -> tuple[dict[str, Any], bytes]:
        """Returns what the file says of its picture, and the map."""
        head, _, windows = self.path.read_bytes().partition(b"\n")
        self._head = len(head) + 1
        try:
            found = dict(json.loads(head))
        except (ValueError, TypeError):
            raise self._damaged() from None
        checkpoint.check_format(self.path, found.get("format"))
        return found, windows

    def _damaged(self) -> InputError:
        return InputError(f"{self.path} is no journal of a picture: delete it and the picture")
