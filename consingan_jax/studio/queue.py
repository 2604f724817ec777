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

Train = Callable[..., Model]


@dataclasses.dataclass(eq=False)
class Training:
    """A training that was asked for.

    Attributes:
        config: its configuration.
        run: its directory.
        moment: where it is; None before it starts.
        told_to_stop: whether it ends at its next moment.
        end: how it ended, in words; empty before.
    """

    config: Config
    run: pathlib.Path
    moment: Progress | None = None
    told_to_stop: bool = False
    end: str = ""

    def watch(self, moment: Progress) -> bool:
        """Takes a moment, and says whether the training shall stop."""
        self.moment = moment
        return self.told_to_stop


class TrainingQueue:
    """Does what is asked for in the order of asking."""

    def __init__(self, train: Train = trainer.train):
        """Starts the thread; `train` trains."""
        self._train = train
        self._all: dict[pathlib.Path, Training] = {}  # the newest one of every run, oldest first
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True, name="trainings").start()

    def add(self, config: Config, run: pathlib.Path) -> None:
        """Asks for a training; one of the same run that has not ended goes on as it is.

        Raises:
            InputError: the run waits or trains with other settings.
        """
        with self._changed:
            old = self._all.get(run)
            if old and not old.end:
                if old.config != config:
                    raise InputError(f"{run.name} trains with other settings: stop it first")
                old.told_to_stop = False
                return
            self._all.pop(run, None)
            self._all[run] = Training(config, run)
            self._changed.notify()

    def takes(self, config: Config, run: pathlib.Path) -> bool:
        """Returns whether `add` would take this: nothing else waits or works there."""
        old = self._all.get(run)
        return old is None or bool(old.end) or old.config == config

    def stop(self, run: pathlib.Path) -> None:
        """Tells a training to stop, or takes it out of the queue."""
        with self._changed:
            training = self._all.get(run)
            if training and not training.end:
                training.told_to_stop = True
                if training is not self._next():
                    training.end = "taken out of the queue"

    def is_open(self, run: pathlib.Path) -> bool:
        """Returns whether a training waits or works."""
        training = self._all.get(run)
        return training is not None and not training.end

    def share(self, run: pathlib.Path) -> float:
        """Returns how much of a training's arithmetic is done, 0 to 1."""
        training = self._all.get(run)
        return training.moment.share if training and training.moment else 0.0

    def describe(self, run: pathlib.Path) -> str:
        """Returns where a training is, in words; empty for a run that nobody asked for."""
        with self._changed:
            training = self._all.get(run)
            if training is None:
                return ""
            if training.end:
                return training.end
            waiting = [each for each in self._all.values() if not each.end]
            before = waiting.index(training)
            if before:
                return f"waits: {before} before it, one trains at a time"
            if training.told_to_stop:
                return "stops at the end of its iterations"
            return "starts" if training.moment is None else _in_words(training.moment)

    def _next(self) -> Training | None:
        return next((each for each in self._all.values() if not each.end), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next() is not None)
                training = self._next()
            assert training is not None, "it was waited for"
            training.end = self._done(training)

    def _done(self, training: Training) -> str:
        """Trains, and returns how it ended."""
        try:
            self._train(training.config, training.run, watcher=training.watch)
        except StoppedError:
            return "stopped; training it again goes on from here"
        except (InputError, DivergedError, OSError) as error:
            return str(error)
        except Exception as error:  # a fault of the program: the thread must live on
            return f"{type(error).__name__}: {error}"
        return "finished"


def _in_words(moment: Progress) -> str:
    if moment.seconds_left is None:
        return str(moment)
    left = tqdm.tqdm.format_interval(moment.seconds_left)
    return f"{moment}, {left} left, reconstruction {moment.error:.4f}"
