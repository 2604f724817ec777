"""Makes wider.png and loop.gif of the documentation: `python examples/pictures.py [RUNS [DOCS]]`.

Trains the quick variants of retarget, generation and animation on the painted scene in RUNS (`runs`
by default), or uses the runs there that `consingan train` has made, and writes the files to DOCS.
"""

import pathlib
import sys

import numpy as np

import consingan_jax
from consingan_jax.generation import video
from consingan_jax.images import display

HERE = pathlib.Path(__file__).parent


def model(task, runs):
    """Returns the quick model of a task."""
    slug = consingan_jax.Config.create(task).task_spec.slug
    run = runs / f"scene-{slug}-quick"
    return consingan_jax.train(HERE / "scene.png", run, task=task, variant="quick")


def main():
    """Writes the two files."""
    places = [pathlib.Path(argument) for argument in sys.argv[1:]]
    runs, docs = [*places, *[pathlib.Path("runs"), HERE.parent / "docs"][len(places) :]]
    rows = [
        model(task, runs).sample(seed, width="2x")[0]
        for task in ("retarget", "generation")
        for seed in (0, 1)
    ]
    display.save(docs / "wider.png", display.grid([np.asarray(row) for row in rows], columns=2))
    walk = {"frames": 40, "start_stage": 1, "loop": True}
    frames = model("animation", runs).animate(0, **walk)
    video.save(docs / "loop.gif", frames, frames_per_second=10)


if __name__ == "__main__":
    main()
