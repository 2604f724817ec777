"""Trees of arrays on disk, with a format number. The only file that imports Orbax.

A tree is written beside its place and renamed when complete, so a killed process leaves the old
one. Arrays are written as numpy, so that a tree from one device is read on any other. With each
goes a digest of its contents, which is compared when it is read.
"""

import contextlib
import hashlib
import json
import math
import pathlib
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from consingan_jax import subprocess_io
from consingan_jax.errors import DamagedError, InputError, from_tensorstore

FORMAT = 2  # of everything that a run or a model saves; 1 kept all of z*, and drew noise whole
MOST_BYTES = 100  # of arrays for each byte of a file; zeros are stored in few
_DIGEST = "sha256"  # its name in the metadata; the first versions wrote none
_STEP = re.compile(r"stage_(\d+)_step_(\d{6,})")
_TEMPORARY = re.compile(_STEP.pattern + r"\.orbax-checkpoint-tmp.*")
_PATTERN = re.compile(r"[\[\]*?\\\udc80-\udcff]")  # TensorStore looks for its files by a glob

_T = TypeVar("_T")


@subprocess_io.alone
def save(path: pathlib.Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata of plain JSON types, as one Orbax checkpoint.

    Raises:
        InputError: something is there already.
        OSError: the disk is full, or the directory cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists already: delete it or give another directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that is a glob itself is given at the end.
    name = f".{uuid.uuid4().hex}.checkpoint" if _PATTERN.search(path.name) else path.name
    with _plain(path.parent) as parent:
        tree, about = jax.device_get(tree), {"format": FORMAT, **metadata}
        with from_tensorstore(path):
            about |= {_DIGEST: _digest(tree, about)}
            ocp.save(parent / name, tree, custom_metadata=about)
        if name != path.name:
            (parent / name).rename(parent / path.name)


@subprocess_io.alone
def load(path: pathlib.Path, like: Any = None) -> Any:
    """Returns the tree that `save` wrote.

    Args:
        path: the checkpoint's directory.
        like: a tree of arrays or shapes whose containers the result shall have; without it
            every container is a dict or a list.

    Raises:
        DamagedError: it cannot be read, or is not what was written.
        InputError: it is of a newer format.
    """
    about = _about(path)
    digest = about.pop(_DIGEST, None)
    with _plain(path) as place, _damage(path):
        if like is None:
            tree = ocp.load(place)
        else:
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
            tree = ocp.load(place, empty)
        if digest is not None and digest != _digest(tree, about):
            raise ValueError("its contents are not those that were written")
    return tree


def metadata(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata that `save` wrote; raises as `load` does, but compares no digest."""
    about = _about(path)
    about.pop(_DIGEST, None)
    return about


@subprocess_io.alone
def _about(path: pathlib.Path) -> dict[str, Any]:
    with _plain(path) as place, _damage(path):
        held = _held(place)
        found = ocp.metadata(place)
        if not found.custom_metadata:  # Orbax reads a damaged file as an empty one
            raise ValueError("what it says of itself cannot be read")
        about = dict(found.custom_metadata)
        # Nothing is read that asks for much more memory than it has content.
        arrays = [leaf for leaf in jax.tree.leaves(found.metadata) if hasattr(leaf, "shape")]
        wanted = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in arrays)
        if wanted > MOST_BYTES * max(held, 2**20):
            raise ValueError(f"its {held:,} bytes ask for arrays of {wanted:,}")
    check_format(path, about.get("format"))
    return about


def _held(place: pathlib.Path) -> int:
    """Returns the bytes of all files of a checkpoint; raises a ValueError if one lies elsewhere."""
    root, total = place.resolve(), 0
    for file in place.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise ValueError(f"{file.name} is a link out of it: put there what it leads to")
        total += file.stat().st_size
    return total


def _digest(tree: Any, about: dict[str, Any]) -> str:
    """Returns a digest of all arrays, of their places in the tree, and of the metadata."""
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    named = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in named}
    for name in sorted(leaves):  # containers come back as others, in another order
        array = np.ascontiguousarray(leaves[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()


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
    """Writes the checkpoint of one moment of a run and reads it back.

    Then removes the others but the last before it, which stands in should this one be damaged
    later. One of a later moment is damaged already, or the run would have gone on from there.

    Raises:
        DamagedError: what was written reads otherwise; the one before it is there.
    """
    path = directory / f"stage_{stage}_step_{step:06d}"
    if path.exists():
        shutil.rmtree(path)
    save(path, tree, metadata)
    load(path)
    there = steps(directory)
    kept = there[there.index(path) :][:2]
    for one in directory.iterdir():
        if one not in kept and _is_ours(one):
            shutil.rmtree(one)


def steps(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the complete checkpoints that `save_step` wrote, the last one first."""
    found = [
        (int(match[1]), int(match[2]), path)
        for path in (directory.iterdir() if directory.is_dir() else [])
        if (match := _STEP.fullmatch(path.name)) and exists(path)
    ]
    return [path for _, _, path in sorted(found, reverse=True)]


def latest_step(directory: pathlib.Path) -> pathlib.Path | None:
    """Returns the last complete checkpoint that `save_step` wrote, if there is one."""
    return next(iter(steps(directory)), None)


def read_latest(directory: pathlib.Path, read: Callable[[pathlib.Path], _T]) -> _T | None:
    """Returns what `read` makes of the last checkpoint that is whole, None if there is none.

    Warns of damaged ones that are passed over.

    Raises:
        DamagedError: all are damaged.
    """
    damage: dict[pathlib.Path, DamagedError] = {}
    # Looked up anew each time: a run that trains puts newer ones in the place of older ones.
    while left := [path for path in steps(directory) if path not in damage]:
        try:
            made = read(left[0])
        except DamagedError as error:
            damage[left[0]] = error
            continue
        for path, reason in damage.items():
            if exists(path):
                warnings.warn(f"{reason}; taken instead: {left[0]}", stacklevel=2)
        return made
    if damage:
        raise next(iter(damage.values()))
    return None


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
        raise DamagedError(f"{path} is a damaged checkpoint: {reason}") from None


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
