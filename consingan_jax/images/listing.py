"""Resolves folders and glob patterns to image files, and pairs images with masks."""

import glob
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from consingan_jax.errors import InputError
from consingan_jax.files import missing
from consingan_jax.images import formats


def images(what: str | Sequence[str]) -> list[str]:
    """Returns the image files that folders, files and glob patterns stand for.

    An existing path is used literally, even if it looks like a pattern.

    Args:
        what: a folder, a file, a pattern such as `photos/*.jpg`, or several of them.

    Raises:
        InputError: there is no image, or two have the same name without suffix.
    """
    asked = [what] if isinstance(what, str) else list(what)
    found = _by_name("images", (path for one in asked for path in _files(os.path.expanduser(one))))
    if not found:
        raise InputError(
            f"images {', '.join(asked)}: no image is there; give a folder of images, or a "
            "pattern such as 'photos/*.jpg'"
        )
    return list(found.values())


def masks(mask: str, found: Sequence[str]) -> list[str]:
    """Returns a mask file for each image: in a folder of masks, the one with the image's name.

    Raises:
        InputError: one mask is given for several images, or two masks have the same name.
    """
    path = pathlib.Path(mask)
    if not mask or (len(found) == 1 and not path.is_dir()):
        return [mask] * len(found)
    if not path.exists():
        raise InputError(f"config.mask={mask}: {missing(path, 'directory')}")
    if not path.is_dir():
        raise InputError(
            f"config.mask={mask} is the mask of one image: for several images give a folder that "
            "has a mask with the name of each"
        )
    by_name = _by_name("masks", _files(mask))
    names = [pathlib.Path(image).stem for image in found]
    # Where there is no mask, reading the path below fails and names it.
    return [by_name.get(name, str(path / f"{name}.png")) for name in names]


def from_anywhere(what: str) -> str:
    """Returns a file, folder or pattern as an absolute one, for use in other directories.

    Nothing, "", stays nothing.
    """
    if not what:
        return what
    what, here = os.path.expanduser(what), os.getcwd()
    # The current directory must not become a part of the pattern.
    return os.path.join(here if os.path.exists(what) else glob.escape(here), what)


def _files(what: str) -> Iterator[str]:
    path = pathlib.Path(what)
    if path.is_dir():
        files = (file for file in sorted(path.iterdir()) if not file.name.startswith("."))
        yield from map(str, filter(formats.has_image_suffix, files))
    elif path.exists():
        yield what
    elif not glob.has_magic(what):
        raise InputError(f"image {what}: {missing(what)}")
    else:
        yield from sorted(filter(os.path.isfile, glob.glob(what, recursive=True)))


def _by_name(kind: str, paths: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in dict.fromkeys(paths):  # a file that was named twice counts once
        name = pathlib.Path(path).stem
        if name in found:
            raise InputError(f"{kind} {found[name]} and {path} have one name: rename one of them")
        found[name] = path
    return found
