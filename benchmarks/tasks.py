"""Seconds of a training iteration of each task at the same sizes, against retarget.

    python -m benchmarks.tasks [--tasks=harmonization,editing] [--height=188] [--width=250]

What differs is the random input: gaussian for retarget, a changed training image for the others.
Sizes, batch norm and the rest are those of configs/harmonization.py. The compiled loops take turns;
the figure is the median over the turns.
"""

import dataclasses
import json
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from consingan_jax import device, numerics
from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.generation.architecture import architecture
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep

_TASKS = flags.DEFINE_list("tasks", ["harmonization", "editing"], "Which tasks.")
_HEIGHT = flags.DEFINE_integer("height", 188, "Of the training image.")
_WIDTH = flags.DEFINE_integer("width", 250, "Of the training image.")
_MIN_SIZE = flags.DEFINE_integer("min_size", 120, "Short side of the coarsest level.")
_SECONDS = flags.DEFINE_float("seconds", 15.0, "Time for each task at every stage.")

TURNS = 7


class Loop:
    """The compiled loop of one stage of one task."""

    def __init__(self, config: Config, sizes: list):
        program = StageStep(config, architecture(config, channels=3), sizes)
        self.state, self.data = jax.jit(lambda: compiler.placeholders(program))()
        self.run = compiler.compile_loop(program)

    def seconds(self, count: int) -> float:
        """Makes some iterations; returns the seconds of one."""
        start = time.perf_counter()
        self.state, _ = self.run(self.state, self.data, numerics.key(0), np.int32(count))
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / count


def measure(loops: dict[str, Loop], seconds: float) -> dict[str, float]:
    """Returns the seconds of an iteration of each."""
    for loop in loops.values():
        loop.seconds(1)
    count = max(1, int(seconds / TURNS / loops["retarget"].seconds(1)))
    turns = [{name: loop.seconds(count) for name, loop in loops.items()} for _ in range(TURNS)]
    return {name: statistics.median(turn[name] for turn in turns) for name in loops}


def main(_):
    """Prints a line per stage and one for all stages."""
    max_size = max(_HEIGHT.value, _WIDTH.value)
    config = Config.create("harmonization", min_size=_MIN_SIZE.value, max_size=max_size)
    sizes = pyramid.level_sizes(config, (_HEIGHT.value, _WIDTH.value))
    names = ["retarget", *_TASKS.value]
    print(device.describe())
    total = dict.fromkeys(names, 0.0)
    for stage, size in enumerate(sizes):
        loops = {
            name: Loop(dataclasses.replace(config, task=name), sizes[: stage + 1]) for name in names
        }
        seconds = measure(loops, _SECONDS.value)
        total = {name: total[name] + seconds[name] for name in names}
        report("{}x{}".format(*size), seconds)
    report("all stages", total)


def report(what: str, seconds: dict[str, float]) -> None:
    """Prints a line: seconds of each task, and its ratio to retarget."""
    row: dict[str, object] = {"size": what}
    for name, value in seconds.items():
        row[f"{name}_s"] = round(value, 4)
        if name != "retarget":
            row[f"{name}_ratio"] = round(value / seconds["retarget"], 3)
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main)
