"""The directory of a run: what lies where, and whose it is.

    README.md         what this is and what to do with it
    run.json          the resolved configuration, and which pictures the run belongs to
    pyramid/          the training image at every level
    samples/          a grid of samples at steps of every stage, the training image at the top left
    naive/            with config.naive: the composite, and what the model makes of it
    reconstruction/   what z* gives at the end of every stage
    metrics.jsonl     losses, a line every `log_every` iterations
    tensorboard/      the same for TensorBoard
    checkpoints/      the last state of the training: critic, optimisers, and the model so far
    model/            the finished model, complete in itself

`generated/` holds what sample.py makes.
"""

import contextlib
import fcntl
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from consingan_jax import checkpoint, tasks
from consingan_jax import config as config_lib
from consingan_jax.data import image
from consingan_jax.generation.restore import IDENTITY
from consingan_jax.training.job import Job

_README = """# A model of {image}

Written by consingan_jax. Training: task {task}, {num_stages} stages up to {height}x{width} px
(height x width), {num_iters} iterations each. To go on after an interruption, give the command
that started it again. To use it, at any moment after the first checkpoint:

    python sample.py --ckpt={path} {use}

{contents}
"""


class Workdir:
    """Paths and files of one run."""

    def __init__(self, path: str | pathlib.Path):
        """Names the directory; touches nothing."""
        self.path = pathlib.Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self._identity = self.path / IDENTITY

    def check(self, job: Job) -> None:
        """Raises a ValueError unless this directory is free or belongs to this very run."""
        config = job.config
        if not self.path.exists() or (self.path.is_dir() and not _visible(self.path)):
            return
        if not self._identity.is_file():
            raise ValueError(f"workdir {self.path} exists and is no run: give another --workdir")
        identity = json.loads(self._identity.read_text())
        old = identity["config"]
        field = config_lib.difference(old, config)
        if field:
            raise ValueError(
                f"workdir {self.path} belongs to a run with config.{field}={old.get(field)!r}, "
                f"not {config.get(field)!r}: give that value or another --workdir"
            )
        for field, digest in _digests(job).items():
            if identity.get("sha256", {}).get(field) != digest:
                raise ValueError(
                    f"workdir {self.path} belongs to another picture ({old[field]}), not to "
                    f"config.{field}={config[field]}: give another --workdir"
                )

    @contextlib.contextmanager
    def claim(self, job: Job) -> Iterator[None]:
        """Holds the directory for one process, and writes what explains the run.

        Raises:
            ValueError: another process trains here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a kill releases it
            except BlockingIOError:
                raise ValueError(f"another process trains in {self.path}: let it finish") from None
            # First, and whole or not at all: with this file the directory is a run.
            identity = {"config": job.config, "sha256": _digests(job)}
            write_whole(self._identity, json.dumps(identity, indent=2) + "\n")
            self._explain(job.config, job.levels)
            yield

    def _explain(self, config: Mapping[str, Any], levels: Sequence[np.ndarray]) -> None:
        watched = ("naive",) if config["naive"] else ()
        for folder in ("pyramid", "samples", "reconstruction", "checkpoints", *watched):
            (self.path / folder).mkdir(exist_ok=True)
        for level, picture in enumerate(levels):
            height, width = picture.shape[1:3]
            image.save(self.path / f"pyramid/level_{level}_{height}x{width}.png", picture[0])
        (self.path / "README.md").write_text(self._readme(config, levels[-1].shape[1:3]))

    def is_finished(self) -> bool:
        """Returns whether the finished model is there."""
        return checkpoint.exists(self.model)

    def _readme(self, config: Mapping[str, Any], size: Sequence[int]) -> str:
        contents = (__doc__ or "").split("\n\n", 1)[1].strip("\n")
        fields = {**config, "image": pathlib.Path(config["image"]).name, "path": self.path}
        fields |= {"use": tasks.TASKS[config["task"]].use, "contents": contents}
        return _README.format(**fields, height=size[0], width=size[1])


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that a kill leaves the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _visible(path: pathlib.Path) -> list[pathlib.Path]:
    return [entry for entry in path.iterdir() if not entry.name.startswith(".")]


def _digests(job: Job) -> dict[str, str]:
    """Returns a digest of every picture that the run learns from, by its field."""
    pictures = {"image": job.pixels}
    if job.source is not None and job.composite is not None:
        pictures["naive"] = job.composite
    return {
        field: hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        for field, pixels in pictures.items()
    }
