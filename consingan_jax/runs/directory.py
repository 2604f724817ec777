"""The directory of a run: paths, identity, ownership."""

import contextlib
import hashlib
import json
import os
import pathlib
import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from consingan_jax import checkpoint, lock
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.files import remove_parts, write_text
from consingan_jax.generation.restore import IDENTITY
from consingan_jax.images import display
from consingan_jax.runs.inputs import TrainingInputs

_README = """# A model of {image}

Written by consingan_jax. Training: task {task}, {num_stages} stages up to {height}x{width} px
(height x width). To continue after an interruption, run the command that started it again. To use
it, at any time after the first checkpoint:

    consingan sample {path} {use}

    README.md         what this is and what to do with it
    run.json          the resolved configuration, and digests of the pictures it is trained on
    pyramid/          the training image at every level
    samples/          a grid of samples at steps of every stage, the training image at the top left
    naive/            with config.naive: the composite, and what the model makes of it
    reconstruction/   the reconstruction of the image at the end of every stage
    report.html       a page about the run, for any browser; `consingan report` writes it anew
    evaluation/       the last table of `consingan evaluate`
    metrics.jsonl     losses, a line every `log_every` iterations
    tensorboard/      the same for TensorBoard
    checkpoints/      the last state of the training: critic, optimisers, and the model so far
    model/            the finished model, complete in itself

`generated/` holds what `consingan sample` writes.
"""
LONGEST_STEM = 180  # bytes of a picture's name in that of its run; a name may have 255


class RunDirectory:
    """Paths and files of one run; its README.md explains them."""

    def __init__(self, path: str | os.PathLike):
        """Names the directory; touches nothing."""
        self.path = pathlib.Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self._identity = self.path / IDENTITY

    def check(self, inputs: TrainingInputs) -> None:
        """Raises an InputError unless this directory is free or belongs to this very run."""
        checkpoint.check_place(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"workdir {self.path} is a file: use another --workdir")
        if not self.path.exists() or all(file.name.startswith(".") for file in self.path.iterdir()):
            return
        if not self._identity.is_file():
            raise InputError(f"workdir {self.path} exists and is not a run: use another --workdir")
        if self.model.exists() and not self.is_finished():
            raise InputError(f"{self.model} is not a complete model: delete it")
        old, digests = self._read_identity()
        if field := old.difference(inputs.config):
            value, other = (_typed(getattr(config, field)) for config in (old, inputs.config))
            raise InputError(
                f"workdir {self.path} belongs to a run with config.{field}={value}, not {other}: "
                f"use --config.{field}={value} or another --workdir"
            )
        for field, digest in _digests(inputs).items():
            if digests.get(field) != digest:
                raise InputError(
                    f"workdir {self.path} belongs to another picture ({getattr(old, field)}), not "
                    f"to config.{field}={getattr(inputs.config, field)}: use another --workdir"
                )

    @contextlib.contextmanager
    def acquire(self, inputs: TrainingInputs) -> Iterator[None]:
        """Locks the directory for this process, and writes its identity, README and pyramid.

        Raises:
            InputError: another process trains here, or the directory belongs to another run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            self.check(inputs)  # again: whoever held it before may have changed it
            # First, and atomically: with this file the directory is a run.
            identity = {
                "format": checkpoint.FORMAT,
                "config": inputs.config.to_dict(),
                "sha256": _digests(inputs),
            }
            write_text(self._identity, json.dumps(identity, indent=2) + "\n")
            remove_parts(self.path)
            self._explain(inputs.config, inputs.levels)
            yield

    def is_finished(self) -> bool:
        """Returns whether the finished model is there."""
        return checkpoint.exists(self.model)

    def config(self) -> Config:
        """Returns the configuration of the run.

        Raises:
            InputError: the directory is not a run, or its run.json is damaged.
        """
        if not self._identity.is_file():
            raise InputError(f"{self.path} is not a run: give the directory of a training")
        return self._read_identity()[0]

    def _read_identity(self) -> tuple[Config, dict[str, str]]:
        """Returns the configuration of the run, and the digests of its pictures by field."""
        try:
            identity = json.loads(self._identity.read_text(encoding="utf-8"))
            checkpoint.check_format(self._identity, identity.get("format", 1))  # 1 wrote no number
            return Config.restore(dict(identity["config"])), dict(identity.get("sha256", {}))
        except InputError:
            raise
        except (ValueError, KeyError, AttributeError, TypeError):
            raise InputError(
                f"{self._identity} is damaged: delete the directory or use another --workdir"
            ) from None

    def _explain(self, config: Config, levels: Sequence[np.ndarray]) -> None:
        watched = ("naive",) if config.naive else ()
        for folder in ("pyramid", "samples", "reconstruction", "checkpoints", *watched):
            (self.path / folder).mkdir(exist_ok=True)
        for level, picture in enumerate(levels):
            height, width = picture.shape[1:3]
            display.save(self.path / f"pyramid/level_{level}_{height}x{width}.png", picture[0])
        height, width = levels[-1].shape[1:3]
        text = _README.format(
            image=pathlib.Path(config.image).name,
            task=config.task,
            num_stages=config.num_stages,
            height=height,
            width=width,
            path=shlex.quote(str(self.path)),
            use=config.task_spec.sample_hint,
        )
        write_text(self.path / "README.md", text)


def default_name(config: Config, slug: str, variant: str) -> str:
    """Returns the default name of a run's directory: `<image>-<slug>[-<variant>]`.

    A fine-tuning is called `<composite>-<slug>[-<variant>]-fine_tuned`. A picture's name that is
    too long for a file system is cut.
    """
    picture = config.naive if config.fine_tune else config.image
    stem = pathlib.Path(picture).stem
    while len(stem.encode("utf-8", "surrogatepass")) > LONGEST_STEM:
        stem = stem[:-1]
    parts = (stem, slug, variant, "fine_tuned" if config.fine_tune else "")
    return "-".join(filter(None, parts))


def _typed(value: object) -> str:
    """Returns a value of a field as it is typed on a command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))


def _digests(inputs: TrainingInputs) -> dict[str, str]:
    """Returns a digest of every picture that the run learns from, by its field."""
    pictures = {"image": inputs.pixels}
    # A composite is learned from in a fine-tuning only; else the run just shows what becomes of it.
    if inputs.source is not None and inputs.composite is not None:
        pictures["naive"] = inputs.composite
    if inputs.holes is not None:
        pictures["exclude"] = inputs.holes[-1]
    return {
        field: hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        for field, pixels in pictures.items()
    }
