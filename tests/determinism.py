"""Whether a training gives the same bytes again, in real processes.

    python -m tests.determinism [--max_size=60] [--num_iters=100]

Trains the painted scene again in another process, in calls of one iteration, and on one core
(Linux), and compares every array of the finished model with the first. Exits with 1 if a process or
the length of calls makes a difference; what the number of cores makes is printed.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
from absl import app, flags, logging

from consingan_jax import checkpoint

_MAX_SIZE = flags.DEFINE_integer("max_size", 60, "Of the pyramid, in pixels.")
_NUM_ITERS = flags.DEFINE_integer("num_iters", 100, "Iterations of each of three stages.")

TRAIN = """
import json, os, sys

os.sched_setaffinity(0, json.loads(sys.argv[4]))  # before jax counts the cores

from consingan_jax.config import Config
from consingan_jax.training import callbacks, trainer

fields, run, seconds = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
callbacks.SECONDS_PER_CALL = seconds
trainer.train(Config.create(image="examples/scene.png", **fields), run)
"""


def trained(run: pathlib.Path, *, seconds: float = 1.0, cores: int | None = None) -> list:
    """Returns the arrays of a model that a process has trained, in calls of so many seconds."""
    fields = {"num_stages": 3, "min_size": 20, "num_filters": 16}
    fields |= {"max_size": _MAX_SIZE.value, "num_iters": _NUM_ITERS.value}
    ours = json.dumps(sorted(os.sched_getaffinity(0))[:cores])
    command = [sys.executable, "-c", TRAIN, json.dumps(fields), str(run), str(seconds), ours]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return jax.tree.leaves(checkpoint.load(run / "model"))


def main(_) -> None:
    """Prints the largest difference of each way to the first training."""
    logging.set_verbosity(logging.FATAL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        first, worst = trained(folder / "first"), {}
        for name, options in {
            "another process": {},
            "calls of one iteration": {"seconds": 0.0},
            "one core": {"cores": 1},
        }.items():
            other = trained(folder / name.replace(" ", "_"), **options)
            pairs = zip(first, other, strict=True)
            worst[name] = max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)
            print(f"{name:<24}largest difference {worst[name]:.3g}", flush=True)
    sys.exit(worst["another process"] > 0 or worst["calls of one iteration"] > 0)


if __name__ == "__main__":
    app.run(main)
