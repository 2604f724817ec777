"""Loads a `Model` from a run or a model directory."""

import pathlib
import warnings
from typing import Any, NamedTuple

import jax

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.errors import DamagedError, InputError
from consingan_jax.files import missing
from consingan_jax.generation.architecture import NETWORKS
from consingan_jax.generation.model import Model
from consingan_jax.images.pixels import PixelFormat

IDENTITY = "run.json"  # the file that makes a directory a run


class NoiseMetadata(NamedTuple):
    """How a saved model's noise is drawn."""

    seed: int  # z* follows from it, except for the grids that are stored
    num_stored: int
    per_pixel: bool


def noise_of(metadata: dict[str, Any]) -> NoiseMetadata:
    """Returns the noise metadata of a model; format 1 stored all of z* and drew whole grids."""
    if metadata["format"] == 1:
        return NoiseMetadata(metadata["config"]["seed"], len(metadata["sizes"]), per_pixel=False)
    found = metadata["noise"]
    return NoiseMetadata(found["seed"], found["num_stored"], per_pixel=found["by_place"])


def is_run(path: str | pathlib.Path) -> bool:
    """Returns whether a directory is a run or a model."""
    path = pathlib.Path(path)
    return checkpoint.exists(path) or (path / IDENTITY).is_file()


def runs(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the runs in a folder, the most recently trained first."""
    found = (path.parent for path in folder.glob(f"*/{IDENTITY}"))
    return sorted(found, key=_last_trained, reverse=True)


def _last_trained(run: pathlib.Path) -> tuple[float, str]:
    files = [file for file in (run / IDENTITY, run / "metrics.jsonl") if file.exists()]
    return max(file.stat().st_mtime for file in files), str(run)


def load(path: str | pathlib.Path) -> Model:
    """Restores a model.

    Args:
        path: the directory of a run or of a model. Of an unfinished run the last checkpoint is
            loaded, at the resolution reached; see `Model.finished`.

    Raises:
        InputError: the path is no such directory.
        DamagedError: everything saved there is damaged. A warning names damaged checkpoints in
            place of which an intact one was loaded.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        hint = "is no directory" if path.exists() else missing(path, "directory")
        raise InputError(f"{path}: {hint}; give the directory of a run or of a model")
    damage = None
    for place in (path, path / "model"):
        if checkpoint.exists(place):
            try:
                return _read(place)
            except DamagedError as error:
                damage = error
    model = checkpoint.read_latest(path / "checkpoints", _read)
    if damage is not None:
        if model is None:
            raise damage
        warnings.warn(f"{damage}; taken instead: the last checkpoint", stacklevel=2)
    if model is not None:
        return model
    if (path / IDENTITY).is_file():
        raise InputError(f"{path} is a run without a checkpoint yet: train on, then try again")
    raise InputError(f"{path} is neither a run nor a model: give a directory that a training wrote")


def _read(path: pathlib.Path) -> Model:
    metadata, tree = checkpoint.metadata(path), checkpoint.load(path)
    try:
        arrays = tree.get("model", tree)  # checkpoints of a training also hold optimizer state
        noise, config = noise_of(metadata), Config.restore(metadata["config"])
        return Model(
            params=jax.device_put(arrays["params"]),
            fixed=ReconstructionNoise(jax.device_put(arrays["z_star"]), noise.seed),
            noise_amps=jax.device_put(arrays["noise_amps"]),
            real=arrays["real"],
            per_pixel=noise.per_pixel,
            arch=NETWORKS[config.method].architecture(**metadata["architecture"]),
            sizes=tuple((height, width) for height, width in metadata["sizes"]),
            config=config,
            step=metadata["step"],
            encoding=PixelFormat.restore(metadata.get("encoding")),
            hole=arrays.get("hole"),
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no model of consingan_jax: {error}") from None
