"""Trees of arrays on disk. The only file that imports Orbax.

A tree is written beside its place and renamed when complete, so a killed process leaves the old
one. Arrays are written as numpy, so that a tree from one device is read on any other.
"""

import pathlib
import re
import shutil
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

_STEP = re.compile(r"stage_(\d+)_step_(\d+)")


def save(path: pathlib.Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata of plain JSON types, as one Orbax checkpoint."""
    ocp.save(path.resolve(), jax.device_get(tree), custom_metadata=metadata)


def load(path: pathlib.Path, like: Any = None) -> Any:
    """Returns the tree that `save` wrote.

    Args:
        path: the checkpoint's directory.
        like: a tree of arrays or shapes whose containers the result shall have; without it
            every container is a dict or a list.
    """
    if like is None:
        return ocp.load(path.resolve())
    empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
    return ocp.load(path.resolve(), empty)


def metadata(path: pathlib.Path) -> dict[str, Any]:
    """Returns the metadata that `save` wrote."""
    return ocp.metadata(path.resolve()).custom_metadata


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
        if path.name != name and _STEP.match(path.name):  # also what a kill left half written
            shutil.rmtree(path)


def latest_step(directory: pathlib.Path) -> pathlib.Path | None:
    """Returns the last complete checkpoint that `save_step` wrote, if there is one."""
    found = [
        (int(match[1]), int(match[2]), path)
        for path in (directory.iterdir() if directory.is_dir() else [])
        if (match := _STEP.fullmatch(path.name))
    ]
    return max(found)[2] if found else None
