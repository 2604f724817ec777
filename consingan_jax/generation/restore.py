"""From the directory of a run or of a model to the `Model`."""

import pathlib

from consingan_jax import checkpoint
from consingan_jax.generation.model import ARRAYS, FORMAT, Model
from consingan_jax.nn.layers import Architecture

IDENTITY = "run.json"  # the file that makes a directory a run


def is_run(path: str | pathlib.Path) -> bool:
    """Returns whether a directory is a run or a model."""
    path = pathlib.Path(path)
    return checkpoint.exists(path) or (path / IDENTITY).is_file()


def load(path: str | pathlib.Path) -> Model:
    """Restores a model.

    Args:
        path: the directory of a run or of a model. Of an unfinished run it is the model at the
            last checkpoint, at the resolution reached; `Model.finished` tells.

    Raises:
        ValueError: nothing of the kind is there.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such directory; give the directory of a run or of a model")
    if checkpoint.exists(path):
        return _read(path)
    if checkpoint.exists(path / "model"):
        return _read(path / "model")
    step = checkpoint.latest_step(path / "checkpoints")
    if step is not None:
        return _read(step)
    if (path / IDENTITY).is_file():
        raise ValueError(f"{path} is a run without a checkpoint yet: train on, then try again")
    raise ValueError(f"{path} is neither a run nor a model: give a directory that train.py wrote")


def _read(path: pathlib.Path) -> Model:
    try:
        metadata = checkpoint.metadata(path) or {}
        tree = checkpoint.load(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is a damaged checkpoint: {str(error).splitlines()[0]}") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {metadata.get('format')}, but this version of consingan_jax "
            f"reads {FORMAT}: give a model that it wrote"
        )
    arrays = tree.get("model", tree)  # a checkpoint of the training holds more than the model
    return Model(
        **{name: arrays[name] for name in ARRAYS},
        arch=Architecture(**metadata["architecture"]),
        sizes=tuple((height, width) for height, width in metadata["sizes"]),
        config=metadata["config"],
        step=metadata["step"],
    )
