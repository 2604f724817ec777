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
from consingan_jax.data import display
from consingan_jax.errors import InputError
from consingan_jax.files import remove_parts, write_text
from consingan_jax.generation.restore import IDENTITY
from consingan_jax.runs.inputs import TrainingInputs

_README = """# A model of {image}

Written by consingan_jax. Training: task {task}, {num_stages} stages up to {height}x{width} px
(height x width). To go on after an interruption, give the command that started it again. To use it,
at any moment after the first checkpoint:

    consingan sample {path} {use}

    README.md         what this is and what to do with it
    run.json          the resolved configuration, and which pictures the run belongs to
    pyramid/          the training image at every level
    samples/          a grid of samples at steps of every stage, the training image at the top left
    naive/            with config.naive: the composite, and what the model makes of it
    reconstruction/   what z* gives at the end of every stage
    report.html       a page about the run, for any browser; `consingan report` makes it anew
    metrics.jsonl     losses, a line every `log_every` iterations
    tensorboard/      the same for TensorBoard
    checkpoints/      the last state of the training: critic, optimisers, and the model so far
    model/            the finished model, complete in itself

`generated/` holds what `consingan sample` makes.
"""
LONGEST_STEM = 180  # bytes of a picture's name in that of its run; a name may have 255


class RunDirectory:
    """Paths and files of one run; its README.md says what they are."""

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
            raise InputError(f"workdir {self.path} is a file: give another --workdir")
        if not self.path.exists() or not _visible(self.path):
            return
        if not self._identity.is_file():
            raise InputError(f"workdir {self.path} exists and is no run: give another --workdir")
        if self.model.exists() and not self.is_finished():
            raise InputError(f"{self.model} is no complete model: delete it")
        old, digests = self._read_identity()
        if field := old.difference(inputs.config):
            raise InputError(
                f"workdir {self.path} belongs to a run with config.{field}="
                f"{_typed(getattr(old, field))}, not {_typed(getattr(inputs.config, field))}: give "
                f"--config.{field}={_typed(getattr(old, field))} or another --workdir"
            )
        for field, digest in _digests(inputs).items():
            if digests.get(field) != digest:
                raise InputError(
                    f"workdir {self.path} belongs to another picture ({getattr(old, field)}), not "
                    f"to config.{field}={getattr(inputs.config, field)}: give another --workdir"
                )

    @contextlib.contextmanager
    def acquire(self, inputs: TrainingInputs) -> Iterator[None]:
        """Holds the directory for one process, and writes what explains the run.

        Raises:
            InputError: another process trains here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            self.check(inputs)  # again: whoever held it before may have changed it
            # First, and whole or not at all: with this file the directory is a run.
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
        """Returns the configuration of the run that is here.

        Raises:
            InputError: the directory is no run, or what says which is damaged.
        """
        if not self._identity.is_file():
            raise InputError(f"{self.path} is no run: give the directory of a training")
        return self._read_identity()[0]

    def _read_identity(self) -> tuple[Config, dict[str, str]]:
        """Returns the configuration of the run that is here, and the digests of its pictures."""
        try:
            identity = json.loads(self._identity.read_text(encoding="utf-8"))
            number = identity.get("format", 1)  # the first versions wrote none
            checkpoint.check_format(self._identity, number)
            return Config.restore(dict(identity["config"])), dict(identity.get("sha256", {}))
        except InputError:
            raise
        except (ValueError, KeyError, AttributeError, TypeError):
            raise InputError(
                f"{self._identity} is damaged: delete the directory or give another --workdir"
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
    """Returns what the directory of a run is called unless somebody says otherwise.

    It is `<image>-<slug>`, with the variant if there is one; for a fine-tuning
    `<composite>-<slug>-fine_tuned`. A name that no file system takes is cut.
    """
    picture = config.naive if config.fine_tune else config.image
    end = "fine_tuned" if config.fine_tune else ""
    stem = pathlib.Path(picture).stem
    while len(stem.encode("utf-8", "surrogatepass")) > LONGEST_STEM:
        stem = stem[:-1]
    return "-".join(part for part in (stem, slug, variant, end) if part)


def _typed(value: object) -> str:
    """Returns a value of a field as it is typed."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))


def _visible(path: pathlib.Path) -> list[pathlib.Path]:
    return [entry for entry in path.iterdir() if not entry.name.startswith(".")]


def _digests(inputs: TrainingInputs) -> dict[str, str]:
    """Returns a digest of every picture that the run learns from, by its field."""
    pictures = {"image": inputs.pixels}
    if inputs.source is not None and inputs.composite is not None:
        pictures["naive"] = inputs.composite
    return {
        field: hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        for field, pixels in pictures.items()
    }
