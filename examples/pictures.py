"""Makes pictures of the documentation: `python examples/pictures.py [RUNS [DOCS [NAME ...]]]`.

Trains the quick variants of retarget, generation and animation on the painted scene in RUNS (`runs`
by default), that of editing, and smaller models of pebbles and of the scene without a boat, or uses
the runs there that `consingan train` has made. Writes wider.png, loop.gif, tile.png, painting.png
and filling.png to DOCS, or only those of the given names.
"""

import pathlib
import sys

import numpy as np

import consingan_jax
from consingan_jax.generation import video
from consingan_jax.images import display
from consingan_jax.nn import resize

HERE = pathlib.Path(__file__).parent
PEBBLES = {"num_filters": 32, "max_size": 96, "num_iters": (500, 300, 300)}
BOAT = {
    # A larger coarsest level than usual, of which the hole leaves most patches.
    **{"num_stages": 3, "min_size": 40, "max_size": 128},
    **{"exclude": str(HERE / "scene_naive_mask.png")},
}


def model(task, runs):
    """Returns the quick model of a task."""
    slug = consingan_jax.Config.create(task).task_spec.slug
    run = runs / f"scene-{slug}-quick"
    return consingan_jax.train(HERE / "scene.png", run, task=task, variant="quick")


def small(image, runs, **changes):
    """Returns a smaller model than the quick one of an image in this folder."""
    run = runs / f"{image}-small"
    return consingan_jax.train(HERE / f"{image}.png", run, variant="quick", **changes)


def wider(runs, docs):
    """Samples of twice the width."""
    rows = [
        model(task, runs).sample(seed, width="2x")[0]
        for task in ("retarget", "generation")
        for seed in (0, 1)
    ]
    display.save(docs / "wider.png", display.grid([np.asarray(row) for row in rows], columns=2))


def loop(runs, docs):
    """An animation that loops."""
    walk = {"frames": 40, "start_stage": 1, "loop": True}
    frames = model("animation", runs).animate(0, **walk)
    video.save(docs / "loop.gif", frames, frames_per_second=10)


def tile(runs, docs):
    """A tile, three times down and across."""
    (image,) = small("pebbles", runs, **PEBBLES).sample(0, tile="both")
    display.save(docs / "tile.png", np.tile(image, (3, 3, 1)))


def painting(runs, docs):
    """Two paintings, each with the result from every stage but the last."""
    editing, cells = model("editing", runs), []
    for name in ("scene_painting", "scene_painting_2"):
        picture = consingan_jax.load_image(HERE / f"{name}.png")
        made = [editing.paint(picture, start_stage=stage)[0] for stage in (0, 1, 2)]
        cells += [resize.fit(picture, editing.size), *made]
    doubled = np.repeat(np.repeat(display.grid(cells, columns=4), 2, 0), 2, 1)
    display.save(docs / "painting.png", doubled)


def filling(runs, docs):
    """The scene with a boat, what is learned of it, and three fillings."""
    boat = small("scene_naive", runs, **BOAT)
    image = consingan_jax.load_image(HERE / "scene_naive.png")
    hole = consingan_jax.load_image(HERE / "scene_naive_mask.png", channels=1)[..., 0] > 0
    learned = np.where(hole[..., None], 1, image)
    made = boat.fill(0, 4, picture=(image, hole))
    cells = [np.asarray(each) for each in (image, learned, *made)]
    display.save(docs / "filling.png", display.grid(cells, columns=3))


def main():
    """Writes the files."""
    given, defaults = sys.argv[1:3], ["runs", HERE.parent / "docs"]
    runs, docs = map(pathlib.Path, [*given, *defaults[len(given) :]])
    makers = {"wider.png": wider, "loop.gif": loop, "tile.png": tile}
    makers |= {"painting.png": painting, "filling.png": filling}
    for name in sys.argv[3:] or makers:
        makers[name](runs, docs)


if __name__ == "__main__":
    main()
