"""The folder of pictures that were uploaded to the studio."""

import itertools
import pathlib
from collections.abc import Iterator

from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.images import formats


class PictureFolder:
    """Uploaded pictures, each under a name of its own."""

    def __init__(self, path: pathlib.Path):
        """Names the folder, which the first upload makes."""
        self._path = path

    def names(self) -> list[str]:
        """Returns the names of the pictures, the newest first."""
        files = sorted(self._path.glob("[!.]*"), key=lambda file: -file.stat().st_mtime)
        return [file.name for file in files]

    def file(self, name: str) -> str:
        """Returns the path of a picture; raises an InputError if it is not in this folder."""
        file = (self._path / name).resolve()
        if file.parent != self._path or not file.is_file():
            raise InputError(f"picture {name} is not here: choose one from the list")
        return str(file)

    def keep(self, upload: str) -> str:
        """Copies a picture into the folder; returns its name, which no other picture has.

        Raises:
            InputError: the file is not a picture that can be read.
        """
        formats.read(upload)
        source = pathlib.Path(upload)
        data = source.read_bytes()
        self._path.mkdir(exist_ok=True)
        for stem in numbered(source.stem):
            kept = self._path / f"{stem}{source.suffix}"
            if not kept.exists():
                with whole(kept) as part:
                    part.write_bytes(data)
            if kept.read_bytes() == data:  # the same picture is kept once
                return kept.name
        raise AssertionError("the numbers do not end")


def numbered(name: str) -> Iterator[str]:
    """Yields NAME, NAME-2, NAME-3 and so on."""
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))
