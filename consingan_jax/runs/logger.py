"""Logs of a run: metrics.jsonl, TensorBoard, progress bar."""

import json
import math
import operator
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from consingan_jax.files import write_text
from consingan_jax.runs import notebook

LINE_SECONDS = 30.0  # between two lines on a stage where no bar can be shown


def stage_name(stage: int, num_stages: int) -> str:
    """Returns the name of a stage, with the range, which shows that stages count from 0."""
    return f"stage {stage} (of 0-{num_stages - 1})"


class MetricsLog:
    """Scalars of a run, as lines of JSON and as TensorBoard events."""

    def __init__(
        self, directory: pathlib.Path, *, iterations: Sequence[int], moment: tuple[int, int]
    ):
        """Opens the logs at a moment of a run and drops what was logged after it.

        Args:
            directory: of the run.
            iterations: of every stage.
            moment: the stage that trains next, and the iterations of it that are done.
        """
        import tensorboardX  # here, since it takes a second and only a training needs it

        self._iterations = iterations
        self._path = directory / "metrics.jsonl"
        lines = _keep_lines(self._path, lambda line: (line["stage"], line["step"]) <= moment)
        own = [line.get("seconds", 0.0) for line in lines if line["stage"] == moment[0]]
        self._before = {moment[0]: own[-1] if own else 0.0}  # seconds of the stage, until now
        self._started = time.monotonic()
        # TensorBoard appends to its files; it hides the events from this step on.
        self._tensorboard = tensorboardX.SummaryWriter(
            str(directory / "tensorboard"), purge_step=self._global_step(*moment) + 1
        )

    def start(self) -> None:
        """Starts or continues the clock of a stage."""
        self._started = time.monotonic()

    def write(self, stage: int, step: int, metrics: Mapping[str, float]) -> None:
        """Logs the metrics after iteration `step` of `stage`, and the seconds of the stage."""
        seconds = self._before.get(stage, 0.0) + time.monotonic() - self._started
        line = {"stage": stage, "step": step, "seconds": round(seconds, 1), **metrics}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in metrics.items():
            self._tensorboard.add_scalar(name, value, self._global_step(stage, step))

    def image(self, name: str, picture: np.ndarray, stage: int, step: int) -> None:
        """Shows a picture `[H, W, C]` of 0 .. 255 in TensorBoard."""
        global_step = self._global_step(stage, step)
        self._tensorboard.add_image(name, picture, global_step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is still in memory."""
        self._tensorboard.close()

    def _global_step(self, stage: int, step: int) -> int:
        return sum(self._iterations[:stage]) + step


def read(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of a metrics.jsonl; skips those that cannot be read."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            line = json.loads(text)
            moment = {"stage": int(line["stage"]), "step": int(line["step"])}
        except (ValueError, KeyError, TypeError):
            continue
        if text.endswith("\n"):  # else a kill has cut it off
            yield {**line, **moment}


def _keep_lines(path: pathlib.Path, keep: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Drops the lines for which `keep` is false and those that cannot be read; returns the rest."""
    lines = [line for line in read(path) if keep(line)]
    if path.exists():
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return lines


class ProgressBar:
    """A bar per stage, with iterations per second and the time left for the whole run.

    Where stderr is a file or a pipe, it prints lines instead: a bar there is one endless line.
    """

    def __init__(self, operations: Sequence[int], *, iterations: Sequence[int]):
        """Prepares the bars.

        Args:
            operations: of one iteration of every stage, to scale its time to the stages above.
            iterations: of every stage.
        """
        self._operations = operations
        self._iterations = iterations
        self._is_live = sys.stderr.isatty() or notebook.is_here()
        self._bar, self._prints = tqdm.tqdm(disable=True), False
        self._stage = 0

    def start(self, stage: int, done: int, title: str, *, is_shown: bool = True) -> None:
        """Opens the bar of a stage, of which `done` iterations are done."""
        self.close()
        self._stage, self._done = stage, done
        self._seconds, self._measured = 0.0, 0
        self._bar = tqdm.tqdm(
            total=self._iterations[stage],
            initial=done,
            desc=title,
            unit="it",
            dynamic_ncols=True,
            disable=not (is_shown and self._is_live),
        )
        self._prints, self._printed_at = is_shown and not self._is_live, -math.inf
        self._title = title
        if self._prints:
            print(title, file=sys.stderr, flush=True)

    def begin(self, title: str) -> None:
        """Starts the clock, as the iterations start now."""
        self.describe(title)
        self._bar.start_t = time.time()  # or compilation would count as a slow iteration
        self.restart_clock()

    def describe(self, title: str) -> None:
        """Changes the title of the bar."""
        self._title = title
        self._bar.set_description_str(title)

    def restart_clock(self) -> None:
        """Excludes the time since the last call from the iterations'."""
        self._last = time.perf_counter()

    def advance(self, step: int, metrics: Mapping[str, float]) -> None:
        """Moves the bar on to iteration `step`."""
        now = time.perf_counter()
        self._seconds += now - self._last
        self._measured += step - self._done
        self._last = now
        left = tqdm.tqdm.format_interval(self.time_left(step))
        error = metrics["reconstruction_rmse"]
        news = f"rec {error:.4f}, run ETA {left}"
        self._bar.set_postfix_str(news, refresh=False)
        self._bar.update(step - self._done)
        self._done = step
        is_last = step == self._iterations[self._stage]
        if self._prints and (is_last or now - self._printed_at > LINE_SECONDS):
            rate = 1 / (self.seconds_per_iteration() or math.inf)
            place = f"iteration {step} of {self._iterations[self._stage]}, {rate:.2f}it/s"
            print(f"{self._title}: {place}, {news}", file=sys.stderr, flush=True)
            self._printed_at = now

    def seconds_per_iteration(self) -> float | None:
        """Returns the mean over this stage, None before the first iteration."""
        return self._seconds / self._measured if self._measured else None

    def time_left(self, step: int) -> float:
        """Returns the seconds that the run still needs, after iteration `step` of this stage."""
        seconds = self.seconds_per_iteration() or 0.0
        return seconds * self._operations_left(step) / self._operations[self._stage]

    def share_done(self, step: int) -> float:
        """Returns how much of the run's arithmetic is done after iteration `step`, 0 to 1."""
        total = sum(map(operator.mul, self._operations, self._iterations))
        return 1 - self._operations_left(step) / total

    def _operations_left(self, step: int) -> int:
        iterations = [*self._iterations[self._stage :]]
        iterations[0] -= step
        return sum(map(operator.mul, self._operations[self._stage :], iterations))

    def close(self) -> None:
        """Closes the bar."""
        self._bar.close()
