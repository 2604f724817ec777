"""Many runs of one configuration in one directory: an image each, or a seed each."""

import dataclasses
import glob
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.data import image
from consingan_jax.errors import NO_ROOM, DivergedError, HeldError, InputError
from consingan_jax.files import missing
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model
from consingan_jax.training import lock, trainer
from consingan_jax.training.job import prepare
from consingan_jax.training.overview import Overview, Row
from consingan_jax.training.watch import Moment, Watcher
from consingan_jax.training.workdir import Workdir, write_whole

IDENTITY = "set.json"  # the file that makes a directory a set of runs

Measure = Callable[[Model], Mapping[str, float]]
"""From a finished model to measures by their names."""


class Task(NamedTuple):
    """What an engine does: one run.

    Attributes:
        config: its configuration.
        run: its directory.
        measure: is asked for measures of the finished model, if it is not None.
    """

    config: Config
    run: str
    measure: Measure | None

    def work(self, watcher: Watcher | None = None) -> "Outcome":
        """Trains the run, or what is left of it.

        Raises:
            HeldError: another process trains it.
            StoppedError: the watcher said so.
            OSError: the disk is full.
        """
        try:
            model = trainer.train(self.config, self.run, watcher=watcher)
            return Outcome("", dict(self.measure(model)) if self.measure else {})
        except HeldError:
            raise
        except (InputError, DivergedError) as error:
            return Outcome(str(error), {})
        except MemoryError:
            return Outcome("out of memory: give a smaller size", {})
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return Outcome("out of memory: give a smaller size", {})
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            return Outcome(f"{error.filename}: {error.strerror}", {})


class Outcome(NamedTuple):
    """What has come of a run: why it failed, or its measures."""

    error: str
    measures: dict[str, float]


Engine = Callable[[Sequence[Task], Watcher], Iterable[tuple[Task, Outcome | None]]]
"""Does tasks, in any order and anywhere; yields each with its outcome when it is done, and now and
then one with None. The watcher is for what works in this process."""


def here(tasks: Sequence[Task], watcher: Watcher) -> Iterator[tuple[Task, Outcome]]:
    """Does tasks in this process, one after the other."""
    for task in tasks:
        try:
            outcome = task.work(watcher)
        except HeldError as error:
            outcome = Outcome(str(error), {})
        yield task, outcome
        jax.clear_caches()  # or the programs of all sizes stay in memory


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the runs: its name, which is also that of its directory, and its configuration."""

    name: str
    config: Config


def is_set(path: str | os.PathLike) -> bool:
    """Returns whether a directory is a set of runs."""
    return (pathlib.Path(path) / IDENTITY).is_file()


def _is_of_set(entry: pathlib.Path) -> bool:
    """Returns whether a file or a directory may lie in a set's directory."""
    own = entry.name.startswith(".") or entry.name in ("index.html", "summary.csv")
    return own or (entry / restore.IDENTITY).is_file()


def images(what: str | Sequence[str]) -> list[str]:
    """Returns the images of a folder or of a pattern; what exists is taken as it is called.

    Args:
        what: a folder, a file, a pattern such as `photos/*.jpg`, or several of them.

    Raises:
        InputError: there is none, or two would have one name.
    """
    asked = [what] if isinstance(what, str) else list(what)
    found: dict[str, str] = {}
    for path in dict.fromkeys(path for one in asked for path in _of(os.path.expanduser(one))):
        name = pathlib.Path(path).stem
        if name in found:
            raise InputError(f"images {found[name]} and {path} have one name: rename one of them")
        found[name] = path
    if not found:
        raise InputError(
            f"images {', '.join(asked)}: no image is there; give a folder of images, or a "
            "pattern such as 'photos/*.jpg'"
        )
    return list(found.values())


def _of(what: str) -> Iterator[str]:
    """Yields what one word stands for."""
    path = pathlib.Path(what)
    if path.is_dir():
        yield from (str(file) for file in sorted(path.iterdir()) if _is_image(file))
    elif path.exists():
        yield what
    elif not glob.has_magic(what):
        raise InputError(f"image {what}: {missing(what)}")
    else:
        yield from sorted(filter(os.path.isfile, glob.glob(what, recursive=True)))


def _is_image(file: pathlib.Path) -> bool:
    is_array = file.suffix.lower() == ".npy" and file.is_file()
    return not file.name.startswith(".") and (is_array or image.has_image_suffix(file))


class Fleet:
    """The runs of one configuration: what there is to do, and what has come of it."""

    def __init__(
        self,
        config: Config,
        workdir: str | os.PathLike,
        *,
        paths: Sequence[str] = (),
        seeds: int = 1,
    ):
        """Finds the images; touches nothing.

        Args:
            config: of every run but for its image and seed.
            paths: folders, files or patterns of images; without them `config.images` says which
                they are, and without that there is one, `config.image`.
            workdir: the directory of all, with one of its own for each run.
            seeds: how many runs of each image, with the seeds from `config.seed` on.

        Raises:
            InputError: there are no images, or the directory belongs to something else.
        """
        if seeds < 1:
            raise InputError(f"seeds={seeds}: give 1 or more")
        self.path = pathlib.Path(workdir)
        self._config = config
        asked = list(paths) or [config.images or config.image]
        if config.fine_tune:
            raise InputError(
                f"config.fine_tune={config.fine_tune}: a fine-tuning is a run of its own, and not "
                "one of a set"
            )
        if not all(asked):
            raise InputError("an image is missing: give its file, or a folder of images")
        found = images(asked)
        self.members = [
            Member(
                pathlib.Path(path).stem + (f"-seed_{seed}" if seeds > 1 else ""),
                dataclasses.replace(config, images="", image=path, seed=seed),
            )
            for path in found
            for seed in range(config.seed, config.seed + seeds)
        ]
        self._errors: dict[str, str] = {}
        self._measured: dict[str, dict[str, float]] = {}
        self._check()

    def run(self, member: Member) -> Workdir:
        """Returns the directory of a run."""
        return Workdir(self.path / member.name)

    def left(self) -> list[Member]:
        """Returns the members that are not finished."""
        return [member for member in self.members if not self.run(member).is_finished()]

    @property
    def errors(self) -> Mapping[str, str]:
        """Why runs of this set have failed, by their names."""
        names = [member.name for member in self.members]
        return {name: self._errors[name] for name in names if name in self._errors}

    def train(
        self,
        *,
        engine: Engine = here,
        watcher: Watcher | None = None,
        measure: Measure | None = None,
        say: Callable[[str], object] = print,
    ) -> None:
        """Trains what is left; what fails stops no other.

        Args:
            engine: does the work; here, one run after the other, unless another is given.
            watcher: as for `trainer.train`; where it stops one run it stops all.
            measure: is asked for measures of every finished model.
            say: takes a line for each thing that happens.

        Raises:
            InputError: another process trains this set.
            StoppedError: the watcher said so; the state is kept.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            self._check()
            overview = Overview(self.path)

            def write() -> None:
                self._write()
                overview.write(self._rows())

            def watch(moment: Moment) -> bool:
                overview.write_at_times(self._rows)
                return bool(watcher and watcher(moment))

            todo = [*self.left(), *(self._unmeasured() if measure else [])]
            for member in todo:
                self._errors.pop(member.name, None)
            self._check_finished()
            write()
            tasks = [Task(member.config, str(self.path / member.name), measure) for member in todo]
            number = 0
            try:
                for task, outcome in engine(tasks, watch):
                    if outcome is None:
                        overview.write_at_times(self._rows)
                        continue
                    number, name = number + 1, pathlib.Path(task.run).name
                    self._errors.pop(name, None)
                    if outcome.error:
                        self._errors[name] = outcome.error
                    if outcome.measures:
                        self._measured[name] = outcome.measures
                    how = f"failed: {outcome.error}" if outcome.error else "is finished"
                    say(f"{number} of {len(todo)}: {name} {how}")
                    write()
            finally:
                write()

    def _check(self) -> None:
        """Reads what is known of the set that is here, if there is one.

        Raises:
            InputError: the directory belongs to something else, or to another set.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"workdir {self.path} is a file: give another --workdir")
        if not is_set(self.path):
            if self.path.exists() and not all(map(_is_of_set, self.path.iterdir())):
                raise InputError(
                    f"workdir {self.path} exists and is no set of runs: give another --workdir"
                )
            return
        file = self.path / IDENTITY
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            checkpoint.check_format(file, known["format"])
            old, names = Config.restore(known["config"]), set(known["names"])
            self._errors, self._measured = dict(known["errors"]), dict(known["measures"])
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: take it away, and the runs stay") from None
        if field := old.difference(self._config):
            raise InputError(
                f"workdir {self.path} belongs to a set with config.{field}={getattr(old, field)}, "
                f"not {getattr(self._config, field)}: give another --workdir"
            )
        if names.isdisjoint(member.name for member in self.members):
            raise InputError(
                f"workdir {self.path} belongs to a set of other images, such as {min(names)}: "
                "give another --workdir"
            )

    def _unmeasured(self) -> list[Member]:
        """Returns the finished members that were never measured."""
        done = [member for member in self.members if self.run(member).is_finished()]
        return [member for member in done if member.name not in self._measured]

    def _check_finished(self) -> None:
        """Finds the finished runs that are of other pictures than the images now are."""
        for member in self.members:
            if not self.run(member).is_finished():
                continue
            try:
                self.run(member).check(prepare(member.config))
                self._errors.pop(member.name, None)
            except InputError as error:
                self._errors[member.name] = str(error)

    def _write(self) -> None:
        about: dict[str, Any] = {
            "format": checkpoint.FORMAT,
            "config": self._config.to_dict(),
            "names": [member.name for member in self.members],
            "errors": self._errors,
            "measures": self._measured,
        }
        write_whole(self.path / IDENTITY, json.dumps(about, indent=1) + "\n")

    def _rows(self) -> list[Row]:
        return [
            Row.of(
                self.path / member.name,
                member.config,
                error=self._errors.get(member.name, ""),
                measures=self._measured.get(member.name, {}),
            )
            for member in self.members
        ]
