"""Which quantities two installations of jax agree in, and how closely.

    python -m tests.across_versions PYTHON

PYTHON is the interpreter of another environment that this package and another jax are installed in.
Both compute the same from the painted scene; printed is the largest difference of each quantity.
"""

import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
from absl import app, logging

import consingan_jax
from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import noise, pyramid
from consingan_jax.generation.architecture import architecture
from consingan_jax.images import loading
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep

FIELDS = {"image": "examples/scene.png", "num_stages": 3, "min_size": 20, "max_size": 60}
FIELDS |= {"num_filters": 16, "num_iters": 100}


def quantities() -> dict[str, list[np.ndarray]]:
    """Returns what is compared, by name."""
    config = Config.create(**FIELDS)
    pixels = loading.load(config.image)
    levels = pyramid.build(pixels, **pyramid.arguments(config))
    program = StageStep(config, architecture(config, channels=3), [x.shape[1:3] for x in levels])
    view = program.any_view()
    drawn = noise.NoiseSource(noise.stage_keys(noise.sample_key(0), 3)).draw(
        view.noise(program.generator.arch)
    )
    state, data = jax.jit(lambda: compiler.placeholders(program))()
    data = data.replace(real=levels[-1], coarsest=levels[0])
    found = {
        "pyramid": levels,
        "random keys": [jax.random.key_data(noise.stage_keys(noise.sample_key(0), 3))],
        "noise": drawn,
        "first parameters": jax.tree.leaves((state.generator, state.critic)),
        "image of a generator": [
            program.generator(state.generator, drawn, data.noise_amps, view),
        ],
    }
    run = numerics.jit(program.run)
    for count in (1, 10, 100):
        after, _ = run(state, data, numerics.key(0), np.int32(count))
        found[f"parameters after {count} iterations"] = jax.tree.leaves(
            (after.generator, after.critic)
        )
    with tempfile.TemporaryDirectory() as folder:
        model = consingan_jax.train(FIELDS, pathlib.Path(folder) / "run")
        found["model of three stages, 100 iterations each"] = jax.tree.leaves(model.params)
        found["its reconstruction"] = [model.reconstruct()]
        found["its sample 0"] = [model.sample(seed=0)]
    return {name: [np.asarray(x) for x in arrays] for name, arrays in found.items()}


def save(path: pathlib.Path) -> None:
    """Writes the quantities of this installation."""
    found = quantities()
    arrays = {f"{name}/{i}": x for name, each in found.items() for i, x in enumerate(each)}
    np.savez(path, **arrays)


def main(argv: list[str]) -> None:
    """Prints the table; or, of an installation, writes the file named by `--save`."""
    logging.set_verbosity(logging.FATAL)
    if argv[1] == "--save":
        save(pathlib.Path(argv[2]))
        print(jax.__version__)
        return
    with tempfile.TemporaryDirectory() as folder:
        found, names = [], []
        for python in (sys.executable, argv[1]):
            path = pathlib.Path(folder) / f"{len(found)}.npz"
            command = [python, "-m", "tests.across_versions", "--", "--save", str(path)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            names.append(said.split()[-1])
            found.append(dict(np.load(path)))
    print("jax", *names)
    first, other = found
    for name in dict.fromkeys(key.rpartition("/")[0] for key in first):
        keys = [key for key in first if key.rpartition("/")[0] == name]
        worst = max(float(np.abs(np.subtract(first[key], other[key])).max()) for key in keys)
        print(f"{name:<44}{worst:.1e}" if worst else f"{name:<44}equal")


if __name__ == "__main__":
    app.run(main)
