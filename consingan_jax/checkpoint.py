"""Saves and loads trees of arrays with a format number. The only module that imports Orbax.

Checkpoints appear when they are complete, so a killed process leaves the one before. Arrays are
saved as numpy arrays, to be loaded on any device, with a digest that is verified when loading.
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

FORMAT = 2  # of all files of runs and models; 1 stored all of z* and drew whole noise grids
MAX_RATIO = 100  # of array bytes to file bytes; zeros compress well
_DIGEST = "sha256"  # key of the digest in the metadata; the first versions wrote none
_STEP = re.compile(r"stage_(\d+)_step_(\d{6,})")
_TEMPORARY = re.compile(_STEP.pattern + r"\.orbax-checkpoint-tmp.*")
_GLOB = re.compile(r"[\[\]*?\\\udc80-\udcff]")  # TensorStore looks for its files by a glob

_T = TypeVar("_T")


@subprocess_io.alone
def save(path: pathlib.Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata of plain JSON types, as one Orbax checkpoint.

    Raises:
        InputError: the path exists.
        OSError: the disk is full, or the directory cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists already: delete it or give another directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name with glob characters is given at the end, by renaming.
    name = f".{uuid.uuid4().hex}.checkpoint" if _GLOB.search(path.name) else path.name
    with _glob_free(path.parent) as parent:
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
        path: directory of the checkpoint.
        like: a tree of arrays or shapes with the containers of the result; by default all are
            dicts and lists.

    Raises:
        DamagedError: the checkpoint cannot be read, or its content has changed.
        InputError: the checkpoint is of a newer format.
    """
    about = _read_metadata(path)
    digest = about.pop(_DIGEST, None)
    with _readable(path) as place:
        if like is None:
            tree = ocp.load(place)
        else:
            empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
            tree = ocp.load(place, empty)
        if digest is not None and digest != _digest(tree, about):
            raise ValueError("the content differs from what was saved")
    return tree


def metadata(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata that `save` wrote; raises as `load` does, but verifies no digest."""
    about = _read_metadata(path)
    about.pop(_DIGEST, None)
    return about


@subprocess_io.alone
def _read_metadata(path: pathlib.Path) -> dict[str, Any]:
    with _readable(path) as place:
        held = _num_bytes(place)
        found = ocp.metadata(place)
        if not found.custom_metadata:  # Orbax reads a damaged file as an empty one
            raise ValueError("the metadata cannot be read")
        about = dict(found.custom_metadata)
        # A damaged shape could ask for more memory than the machine has.
        arrays = [leaf for leaf in jax.tree.leaves(found.metadata) if hasattr(leaf, "shape")]
        wanted = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in arrays)
        if wanted > MAX_RATIO * max(held, 2**20):
            raise ValueError(f"its {held:,} bytes ask for arrays of {wanted:,} bytes")
    check_format(path, about.get("format"))
    return about


def _num_bytes(place: pathlib.Path) -> int:
    """Returns the size of all files; raises a ValueError if one is a link out of the checkpoint."""
    root, total = place.resolve(), 0
    for file in place.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise ValueError(f"{file.name} is a link out of it: replace the link by the file")
        total += file.stat().st_size
    return total


def _digest(tree: Any, about: dict[str, Any]) -> str:
    """Returns a digest of the arrays, their paths in the tree, and the metadata."""
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    named = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in named}
    for name in sorted(leaves):  # loading turns tuples into lists, and may change the order
        array = np.ascontiguousarray(leaves[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()


def check_format(path: pathlib.Path, found: Any) -> None:
    """Raises an InputError if `found`, the format of `path`, is not known to this version."""
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
    """Saves the checkpoint of a step, verifies it, and removes all others but the one before.

    Raises:
        DamagedError: the saved checkpoint cannot be read back; the others are kept.
    """
    path = directory / f"stage_{stage}_step_{step:06d}"
    if path.exists():
        shutil.rmtree(path)
    save(path, tree, metadata)
    load(path)
    found = steps(directory)
    # Later ones are damaged, or the run would have resumed from them. The one before is kept
    # in case this one is damaged later.
    kept = found[found.index(path) :][:2]
    for one in directory.iterdir():
        if one not in kept and _is_step(one):
            shutil.rmtree(one)


def steps(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the complete checkpoints of `save_step`, the latest first."""
    found = [
        (int(match[1]), int(match[2]), path)
        for path in (directory.iterdir() if directory.is_dir() else [])
        if (match := _STEP.fullmatch(path.name)) and exists(path)
    ]
    return [path for _, _, path in sorted(found, reverse=True)]


def latest_step(directory: pathlib.Path) -> pathlib.Path | None:
    """Returns the latest complete checkpoint of `save_step`, if any."""
    return next(iter(steps(directory)), None)


def read_latest(directory: pathlib.Path, read: Callable[[pathlib.Path], _T]) -> _T | None:
    """Applies `read` to the latest undamaged checkpoint; returns None if there is no checkpoint.

    Warns about damaged ones that are skipped.

    Raises:
        DamagedError: all are damaged.
    """
    damage: dict[pathlib.Path, DamagedError] = {}
    # Listed anew each time: a run in training may have replaced them.
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
    """Raises an InputError if checkpoints in a directory could not be loaded."""
    with _glob_free(directory):
        pass


def _is_step(path: pathlib.Path) -> bool:
    """Returns whether this is a checkpoint of `save_step`, complete or not."""
    return bool(_STEP.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)) and path.is_dir()


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Like `_glob_free`, and turns all errors of the block into a DamagedError."""
    with _glob_free(path) as place:
        try:
            yield place
        except Exception as error:  # Orbax and TensorStore raise many types
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DamagedError(f"{path} is a damaged checkpoint: {reason}") from None


@contextlib.contextmanager
def _glob_free(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path to the same directory without pattern characters, if need be by a link."""
    path = path.absolute()
    if not _GLOB.search(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="consingan_jax-") as shelter:
        link = pathlib.Path(shelter) / "directory"
        try:
            if _GLOB.search(str(link)):
                raise OSError("the temporary directory has such a path too")
            link.symlink_to(path, target_is_directory=True)
        except OSError:
            raise InputError(
                f"{path}: checkpoints cannot be read back from a path with any of [ ] * ? \\ on "
                "this system: give another directory"
            ) from None
        yield link
