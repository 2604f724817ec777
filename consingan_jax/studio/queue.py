"""A queue of trainings, run one at a time in a background thread."""

import dataclasses
import pathlib
import threading
from collections.abc import Callable

import tqdm

from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.generation.model import Model
from consingan_jax.training import trainer
from consingan_jax.training.progress import Progress


@dataclasses.dataclass(eq=False)
class Training:
    """A training in the queue."""

    config: Config
    run: pathlib.Path
    progress: Progress | None = None  # before it starts
    is_stopping: bool = False  # it was told to
    end: str = ""  # how it ended, in words

    def watch(self, progress: Progress) -> bool:
        """Keeps the progress; returns whether the training shall stop."""
        self.progress = progress
        return self.is_stopping

    def describe(self) -> str:
        """Returns where it is once its turn has come."""
        if self.is_stopping:
            return "stopping at the end of its iterations"
        if self.progress is None:
            return "starting"
        if self.progress.seconds_left is None:
            return str(self.progress)
        left = tqdm.tqdm.format_interval(self.progress.seconds_left)
        return f"{self.progress}, {left} left, reconstruction {self.progress.error:.4f}"


class TrainingQueue:
    """Trains in the order in which trainings were added."""

    def __init__(self, train: Callable[..., Model] = trainer.train):
        """Starts the thread, which calls `train`."""
        self._train = train
        self._all: dict[pathlib.Path, Training] = {}  # the newest one of every run, oldest first
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True, name="trainings").start()

    def add(self, config: Config, run: pathlib.Path) -> None:
        """Adds a training, unless the same one waits or trains already.

        Raises:
            InputError: the run waits or trains with other settings.
        """
        with self._changed:
            if not self.takes(config, run):
                raise InputError(f"{run.name} trains with other settings: stop it first")
            if self.is_open(run):
                self._all[run].is_stopping = False
                return
            self._all.pop(run, None)  # to the end of the order
            self._all[run] = Training(config, run)
            self._changed.notify()

    def takes(self, config: Config, run: pathlib.Path) -> bool:
        """Returns whether `add` takes this: the run does not wait or train with other settings."""
        return not self.is_open(run) or self._all[run].config == config

    def stop(self, run: pathlib.Path) -> None:
        """Tells a training to stop, or removes it from the queue."""
        with self._changed:
            if self.is_open(run):
                training = self._all[run]
                training.is_stopping = True
                if training is not self._open()[0]:
                    training.end = "removed from the queue"

    def is_open(self, run: pathlib.Path) -> bool:
        """Returns whether a training waits or works."""
        training = self._all.get(run)
        return training is not None and not training.end

    def share(self, run: pathlib.Path) -> float:
        """Returns how much of a training's arithmetic is done, 0 to 1."""
        training = self._all.get(run)
        return training.progress.share if training and training.progress else 0.0

    def describe(self, run: pathlib.Path) -> str:
        """Returns where a training is, in words; empty for a run that was never added."""
        with self._changed:
            training = self._all.get(run)
            if training is None or training.end:
                return training.end if training else ""
            before = self._open().index(training)
            if before:
                return f"waiting: {before} before it, one trains at a time"
            return training.describe()

    def _open(self) -> list[Training]:
        return [training for training in self._all.values() if not training.end]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._open)
                training = self._open()[0]
            end = self._outcome(training)
            with self._changed:
                training.end = end

    def _outcome(self, training: Training) -> str:
        """Trains, and returns how it ended."""
        try:
            self._train(training.config, training.run, watcher=training.watch)
        except StoppedError:
            return "stopped; it can continue from here"
        except (InputError, DivergedError, OSError) as error:
            return str(error)
        except Exception as error:  # a bug: the thread must survive it
            return f"{type(error).__name__}: {error}"
        return "finished"
