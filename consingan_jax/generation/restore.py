"""Loads a `Model` from a run or a model directory."""

import pathlib
import warnings
from typing import Any, NamedTuple

import jax

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import DamagedError, InputError
from consingan_jax.files import missing
from consingan_jax.generation.model import Model
from consingan_jax.nn.layers import Architecture

IDENTITY = "run.json"  # the file that makes a directory a run


class Noise(NamedTuple):
    """What the metadata of a model say of its noise.

    Attributes:
        seed: z* follows from it, as far as it is not stored.
        num_stored: how many grids of z* are stored.
        per_pixel: whether samples draw their noise pixel by pixel; see `noise.NoiseSource`.
    """

    seed: int
    num_stored: int
    per_pixel: bool


def noise_of(metadata: dict[str, Any]) -> Noise:
    """Returns what metadata say of the noise; format 1 stored all of z*, and drew it whole."""
    if metadata["format"] == 1:
        return Noise(metadata["config"]["seed"], len(metadata["sizes"]), per_pixel=False)
    found = metadata["noise"]
    return Noise(found["seed"], found["num_stored"], per_pixel=found["by_place"])


def is_run(path: str | pathlib.Path) -> bool:
    """Returns whether a directory is a run or a model."""
    path = pathlib.Path(path)
    return checkpoint.exists(path) or (path / IDENTITY).is_file()


def runs(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the runs in a folder, the one that was trained last first."""
    found = (path.parent for path in folder.glob(f"*/{IDENTITY}"))
    return sorted(found, key=_trained, reverse=True)


def _trained(run: pathlib.Path) -> tuple[float, str]:
    """Returns when a run was last trained."""
    files = [file for file in (run / IDENTITY, run / "metrics.jsonl") if file.exists()]
    return max(file.stat().st_mtime for file in files), str(run)


def load(path: str | pathlib.Path) -> Model:
    """Restores a model.

    Args:
        path: the directory of a run or of a model. Of an unfinished run it is the model at the
            last checkpoint, at the resolution reached; `Model.finished` tells.

    Raises:
        InputError: nothing of the kind is there.
        DamagedError: all that is there is damaged; where a part is, a warning says what was taken.
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
        arrays = tree.get("model", tree)  # a checkpoint of the training holds more than the model
        drawn = noise_of(metadata)
        return Model(
            params=jax.device_put(arrays["params"]),
            fixed=ReconstructionNoise(jax.device_put(arrays["z_star"]), drawn.seed),
            noise_amps=jax.device_put(arrays["noise_amps"]),
            real=arrays["real"],
            per_pixel=drawn.per_pixel,
            arch=Architecture(**metadata["architecture"]),
            sizes=tuple((height, width) for height, width in metadata["sizes"]),
            config=Config.restore(metadata["config"]),
            step=metadata["step"],
            encoding=PixelFormat.restore(metadata.get("encoding")),
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no model of consingan_jax: {error}") from None
