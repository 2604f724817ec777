"""Resolves folders and glob patterns to image files, and pairs images with masks."""

import glob
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from consingan_jax.data import formats
from consingan_jax.errors import InputError
from consingan_jax.files import missing


def images(what: str | Sequence[str]) -> list[str]:
    """Returns the images of a folder or of a pattern; what exists is taken as it is called.

    Args:
        what: a folder, a file, a pattern such as `photos/*.jpg`, or several of them.

    Raises:
        InputError: there is none, or two would have one name.
    """
    asked = [what] if isinstance(what, str) else list(what)
    found = _by_name("images", (path for one in asked for path in _of(os.path.expanduser(one))))
    if not found:
        raise InputError(
            f"images {', '.join(asked)}: no image is there; give a folder of images, or a "
            "pattern such as 'photos/*.jpg'"
        )
    return list(found.values())


def masks(mask: str, found: Sequence[str]) -> list[str]:
    """Returns the mask of each image: in a folder of masks the one that is called as the image.

    Raises:
        InputError: one mask for several images, or two of one name.
    """
    place = pathlib.Path(mask)
    if not mask or (len(found) == 1 and not place.is_dir()):
        return [mask] * len(found)
    if not place.exists():
        raise InputError(f"config.mask={mask}: {missing(place, 'directory')}")
    if not place.is_dir():
        raise InputError(
            f"config.mask={mask} is the mask of one image: for several give a folder with one for "
            "each, called as the image"
        )
    there = _by_name("masks", _of(mask))
    stems = [pathlib.Path(path).stem for path in found]
    return [there.get(stem, str(place / f"{stem}.png")) for stem in stems]


def from_anywhere(what: str) -> str:
    """Returns a file, a folder or a pattern such that it means the same in any directory."""
    what = os.path.expanduser(what)
    here = os.getcwd()
    return os.path.join(here if os.path.exists(what) else glob.escape(here), what)


def _of(what: str) -> Iterator[str]:
    """Yields what one word stands for."""
    path = pathlib.Path(what)
    if path.is_dir():
        yield from (str(file) for file in sorted(path.iterdir()) if _is_image(file))
    elif path.exists():
        yield what
    elif not glob.has_magic(what):
        raise InputError(f"image {what}: {missing(what)}")
    else:
        yield from sorted(filter(os.path.isfile, glob.glob(what, recursive=True)))


def _by_name(kind: str, paths: Iterable[str]) -> dict[str, str]:
    """Returns files by their names without suffix; raises an InputError if two have one."""
    found: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        name = pathlib.Path(path).stem
        if name in found:
            raise InputError(f"{kind} {found[name]} and {path} have one name: rename one of them")
        found[name] = path
    return found


def _is_image(file: pathlib.Path) -> bool:
    return not file.name.startswith(".") and formats.has_image_suffix(file)
