"""Trees of arrays on disk, with a format number. The only file that imports Orbax.

A tree is written beside its place and renamed when complete, so a killed process leaves the old
one. Arrays are written as numpy, so that a tree from one device is read on any other.
"""

import contextlib
import pathlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from consingan_jax.errors import InputError, from_tensorstore

FORMAT = 2  # of everything that a run or a model saves; 1 kept all of z*, and drew noise whole
_STEP = re.compile(r"stage_(\d+)_step_(\d{6,})")
_TEMPORARY = re.compile(_STEP.pattern + r"\.orbax-checkpoint-tmp.*")
_PATTERN = re.compile(r"[\[\]*?\\\udc80-\udcff]")  # TensorStore looks for its files by a glob


def save(path: pathlib.Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata of plain JSON types, as one Orbax checkpoint.

    Raises:
        InputError: something is there already.
        OSError: the disk is full, or the directory cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists already: take it away or give another directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that is a glob itself is given at the end.
    name = f".{uuid.uuid4().hex}.checkpoint" if _PATTERN.search(path.name) else path.name
    with _plain(path.parent) as parent:
        about = {"format": FORMAT, **metadata}
        with from_tensorstore(path):
            ocp.save(parent / name, jax.device_get(tree), custom_metadata=about)
        if name != path.name:
            (parent / name).rename(parent / path.name)


def load(path: pathlib.Path, like: Any = None) -> Any:
    """Returns the tree that `save` wrote.

    Args:
        path: the checkpoint's directory.
        like: a tree of arrays or shapes whose containers the result shall have; without it
            every container is a dict or a list.

    Raises:
        InputError: it is damaged, or written in a newer format.
    """
    metadata(path)
    with _plain(path) as place, _damage(path):
        if like is None:
            return ocp.load(place)
        empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
        return ocp.load(place, empty)


def metadata(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata that `save` wrote; raises an InputError as `load` does."""
    with _plain(path) as place, _damage(path):
        about = ocp.metadata(place).custom_metadata or {}
    check_format(path, about.get("format"))
    return about


def check_format(path: pathlib.Path, found: Any) -> None:
    """Raises an InputError if what `path` holds is of a format that this version cannot read."""
    if not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise InputError(
            f"{path} has the format {found}, but this version of consingan_jax reads formats up to "
            f"{FORMAT}: install the version that wrote it, or a newer one"
        )


def exists(path: pathlib.Path) -> bool:
    """Returns whether `path` is a checkpoint."""
    return (path / "orbax.checkpoint").is_file()


def save_step(
    directory: pathlib.Path, tree: Any, metadata: dict[str, Any], *, stage: int, step: int
) -> None:
    """Writes the checkpoint of one moment of a run, and removes the earlier ones after it."""
    name = f"stage_{stage}_step_{step:06d}"
    save(directory / name, tree, metadata)
    for path in directory.iterdir():
        if path.name != name and _is_ours(path):
            shutil.rmtree(path)


def latest_step(directory: pathlib.Path) -> pathlib.Path | None:
    """Returns the last complete checkpoint that `save_step` wrote, if there is one."""
    found = [
        (int(match[1]), int(match[2]), path)
        for path in (directory.iterdir() if directory.is_dir() else [])
        if (match := _STEP.fullmatch(path.name)) and exists(path)
    ]
    return max(found)[2] if found else None


def check_place(directory: pathlib.Path) -> None:
    """Raises an InputError if no checkpoint can be read back from below a directory."""
    with _plain(directory):
        pass


def _is_ours(path: pathlib.Path) -> bool:
    """Returns whether `save_step` wrote this, or was writing it when it was killed."""
    ours = _STEP.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
    return bool(ours) and path.is_dir()


@contextlib.contextmanager
def _damage(path: pathlib.Path) -> Iterator[None]:
    """Names the checkpoint that cannot be read; Orbax and TensorStore fail in many ways."""
    try:
        yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is a damaged checkpoint: {reason}") from None


@contextlib.contextmanager
def _plain(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path to the same directory that is no glob: through a link where need be."""
    path = path.absolute()
    if not _PATTERN.search(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="consingan_jax-") as shelter:
        link = pathlib.Path(shelter) / "directory"
        try:
            link.symlink_to(path, target_is_directory=True)
        except OSError:
            raise _unreadable(path) from None
        if _PATTERN.search(str(link)):
            raise _unreadable(path)
        yield link


def _unreadable(path: pathlib.Path) -> InputError:
    return InputError(
        f"{path}: checkpoints cannot be read back from a path with any of [ ] * ? \\ on this "
        "system: give another directory"
    )
