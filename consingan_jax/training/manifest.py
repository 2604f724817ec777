"""The file that makes a directory a set of runs, and says what is known of them."""

import dataclasses
import json
import pathlib

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.training.workdir import write_whole

IDENTITY = "set.json"


@dataclasses.dataclass
class Manifest:
    """What is known of a set.

    Attributes:
        config: of every run but for its image and seed.
        names: of the runs.
        errors: why runs have failed, by their names.
        measures: of finished models, by their names.
        images: what the images were called: files, folders, patterns; an earlier version wrote
            none.
        seeds: how many runs of each image.
    """

    config: Config
    names: list[str]
    errors: dict[str, str]
    measures: dict[str, dict[str, float]]
    images: list[str] = dataclasses.field(default_factory=list)
    seeds: int = 1

    @classmethod
    def read(cls, directory: pathlib.Path) -> "Manifest":
        """Reads the file of a directory; raises an InputError if it is damaged or too new."""
        file = directory / IDENTITY
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            checkpoint.check_format(file, about.pop("format"))
            about["config"] = Config.restore(about["config"])
            found = cls(**about)
            words = [*found.names, *found.images, *dict(found.errors).values()]
            if not (found.names and all(isinstance(word, str) for word in words)):
                raise ValueError
            return dataclasses.replace(found, measures=dict(found.measures), seeds=int(found.seeds))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: take it away, and the runs stay") from None

    def write(self, directory: pathlib.Path) -> None:
        """Writes the file; the old one is there until it is complete."""
        about = {"format": checkpoint.FORMAT, **dataclasses.asdict(self)}
        about["config"] = self.config.to_dict()
        write_whole(directory / IDENTITY, json.dumps(about, indent=1) + "\n")
