"""Reads and writes set.json: what a sweep trains, and the errors and metrics of its runs."""

import dataclasses
import json
import os
import pathlib
from typing import NamedTuple

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.files import write_text
from consingan_jax.generation import restore

IDENTITY = "set.json"


class SweepRun(NamedTuple):
    """A run of a sweep: its name, which is also that of its directory, and its configuration."""

    name: str
    config: Config


@dataclasses.dataclass
class SweepState:
    """The content of set.json; `errors` and `measures` are by run name."""

    config: Config  # of all runs, except for image and seed
    names: list[str]
    errors: dict[str, str]
    measures: dict[str, dict[str, float]]
    images: list[str] = dataclasses.field(default_factory=list)
    """Files, folders and patterns, valid from any directory. Earlier versions stored none."""
    seeds: int = 0  # per image; 0 if an earlier version wrote the file

    @classmethod
    def read(cls, directory: pathlib.Path) -> "SweepState":
        """Reads the file of a sweep.

        Raises:
            InputError: the file is damaged, or of a newer format.
        """
        file = directory / IDENTITY
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            checkpoint.check_format(file, content.pop("format"))
            content["config"] = Config.restore(content["config"])
            known = {
                field.name for field in dataclasses.fields(cls)
            }  # a later version may add some
            state = cls(**{name: content[name] for name in known & content.keys()})
            if not state._is_valid():
                raise ValueError
            return state
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: delete it; the runs are kept") from None

    def _is_valid(self) -> bool:
        """Returns whether all fields have their types; some wrong types raise instead."""
        words = [*self.names, *self.images, *self.errors.values()]
        dicts = [self.errors, self.measures, *self.measures.values()]
        return (
            isinstance(self.seeds, int)
            and self.seeds >= 0
            and bool(self.names)
            and all(isinstance(one, list) for one in (self.names, self.images))
            and all(isinstance(one, dict) for one in dicts)
            and all(isinstance(word, str) for word in words)
        )

    def write(self, directory: pathlib.Path) -> None:
        """Writes the file atomically."""
        content = {"format": checkpoint.FORMAT, **dataclasses.asdict(self)}
        content["config"] = self.config.to_dict()
        write_text(directory / IDENTITY, json.dumps(content, indent=1) + "\n")


def is_sweep(path: str | os.PathLike) -> bool:
    """Returns whether a directory holds a sweep."""
    return (pathlib.Path(path) / IDENTITY).is_file()


def read_matching(path: pathlib.Path, asked: SweepState) -> SweepState | None:
    """Returns the state of the sweep in a directory; None if the directory is free.

    Raises:
        InputError: the directory belongs to something else, or to another sweep than `asked`.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"workdir {path} is a file: give another --workdir")
    if not is_sweep(path):
        # A directory with nothing but runs is a sweep whose damaged set.json was deleted.
        if path.exists() and not all(map(_is_of_sweep, path.iterdir())):
            raise InputError(f"workdir {path} exists and is not a sweep: give another --workdir")
        return None
    found = SweepState.read(path)
    if field := found.config.difference(asked.config):
        values = f"{getattr(found.config, field)}, not {getattr(asked.config, field)}"
        difference = f"with config.{field}={values}"
    elif found.seeds and (found.seeds == 1) != (asked.seeds == 1):
        # Names contain the seed only if there are several, so that one run would have two names.
        difference = f"with {found.seeds} seeds of each image, not {asked.seeds}"
    elif set(found.names).isdisjoint(asked.names):
        difference = f"of other images, such as {min(found.names)}"
    else:
        return found
    raise InputError(f"workdir {path} belongs to a sweep {difference}: give another --workdir")


def _is_of_sweep(entry: pathlib.Path) -> bool:
    is_own = entry.name.startswith(".") or entry.name in ("index.html", "summary.csv")
    return is_own or (entry / restore.IDENTITY).is_file()
