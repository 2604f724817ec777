"""set.json: what a sweep trains, and the errors and metrics of its runs."""

import dataclasses
import json
import pathlib

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.files import write_text

IDENTITY = "set.json"


@dataclasses.dataclass
class SweepState:
    """What is known of a set.

    Attributes:
        config: of every run but for its image and seed.
        names: of the runs.
        errors: why runs have failed, by their names.
        measures: of finished models, by their names.
        images: files, folders and patterns of the images, such that they hold from any directory;
            an earlier version wrote none.
        seeds: how many runs of each image; 0: an earlier version did not say.
    """

    config: Config
    names: list[str]
    errors: dict[str, str]
    measures: dict[str, dict[str, float]]
    images: list[str] = dataclasses.field(default_factory=list)
    seeds: int = 0

    @classmethod
    def read(cls, directory: pathlib.Path) -> "SweepState":
        """Reads the file of a directory; raises an InputError if it is damaged or too new."""
        file = directory / IDENTITY
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            checkpoint.check_format(file, about.pop("format"))
            about["config"] = Config.restore(about["config"])
            names = [field.name for field in dataclasses.fields(cls)]
            found = cls(**{name: about[name] for name in names if name in about})
            if not found._is_sound():
                raise ValueError
            return found
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: delete it; the runs stay") from None

    def _is_sound(self) -> bool:
        """Returns whether everything is of the type that it should be."""
        lists, dicts = (self.names, self.images), (self.errors, self.measures)
        if not (isinstance(self.seeds, int) and self.seeds >= 0 and self.names):
            return False
        if not all(isinstance(one, list) for one in lists):
            return False
        if not all(isinstance(one, dict) for one in (*dicts, *dict(self.measures).values())):
            return False
        words = [*self.names, *self.images, *self.errors.values()]
        return all(isinstance(word, str) for word in words)

    def write(self, directory: pathlib.Path) -> None:
        """Writes the file; the old one is there until it is complete."""
        about = {"format": checkpoint.FORMAT, **dataclasses.asdict(self)}
        about["config"] = self.config.to_dict()
        write_text(directory / IDENTITY, json.dumps(about, indent=1) + "\n")
