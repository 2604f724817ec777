"""Trains a folder on a local Ray cluster of two nodes, kills a worker, and compares.

    python -m tests.cluster [--num_images=4] [--num_iters=300]

Needs the extra `ray`. Trains small images without Ray, one after the other, then on the cluster by
the command with `--engine=ray`, two at a time (`--stack=2`); in the middle one worker process that
trains is killed. Every model must be there and equal, array by array, to the one trained without
Ray. Then a large sample is made with and without the cluster, and must be the same. Prints a table;
exits with 1 otherwise.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags, logging

from consingan_jax import checkpoint
from consingan_jax.images import display, loading
from tests import tiny

_NUM_IMAGES = flags.DEFINE_integer("num_images", 4, "How many images.")
_NUM_ITERS = flags.DEFINE_integer("num_iters", 300, "Iterations of each of two stages.")

PATIENCE = 900.0  # seconds


def paint(folder: pathlib.Path) -> None:
    """Writes the images: parts of one, turned."""
    folder.mkdir()
    tiny.paint(folder / "a.png")
    whole = loading.load(folder / "a.png")
    for number in range(1, _NUM_IMAGES.value):
        display.save(folder / f"{'abcdefghij'[number]}.png", np.rot90(whole, number))


def command(folder: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    """Returns the command that trains the folder."""
    fields = tiny.CONFIG | {"num_stages": 2, "num_iters": _NUM_ITERS.value, "log_every": 50}
    fields |= {"checkpoint_minutes": 0.01, "sample_every": 10**6}
    settings = [f"--config.{name}={value}" for name, value in fields.items()]
    head = [sys.executable, "-m", "consingan_jax", "train", str(folder), f"--workdir={workdir}"]
    return [*head, *settings]


def workers(run: str) -> list[int]:
    """Returns the processes that train a run, by the name that Ray gives them."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        name = words.rstrip(b"\0 ").split()
        if name[:1] == [b"ray::consingan"] and run.encode() in name:
            found.append(int(entry.name))
    return found


def models(workdir: pathlib.Path) -> dict[str, list]:
    """Returns the arrays of all finished models."""
    found = sorted(path.parent for path in workdir.glob("*/model"))
    return {run.name: jax.tree.leaves(checkpoint.load(run / "model")) for run in found}


def main(_) -> None:
    """Prints what came of each image."""
    logging.set_verbosity(logging.FATAL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        paint(folder / "images")
        alone, clustered = folder / "alone", folder / "clustered"
        subprocess.run(command(folder / "images", alone), check=True, capture_output=True)
        killed = _on_cluster(command(folder / "images", clustered), clustered)
        expected, found = models(alone), models(clustered)
        pictures = [_files(run / "a" / "big.zarr") for run in (alone, clustered)]
    equal = {
        name: name in found and all(map(np.array_equal, arrays, found[name]))
        for name, arrays in expected.items()
    }
    print(f"killed worker: {killed or 'none was found'}")
    for name, is_equal in equal.items():
        there = "there" if name in found else "missing"
        print(f"{name}: {there}, {'equal' if is_equal else 'not equal'}")
    is_same = len(pictures[0]) > 4 and pictures[0] == pictures[1]
    print(f"large sample: {len(pictures[0])} files, {'the same' if is_same else 'another'}")
    sys.exit(not (is_same and killed and len(equal) == _NUM_IMAGES.value and all(equal.values())))


def _files(folder: pathlib.Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _on_cluster(asked: list[str], workdir: pathlib.Path) -> int:
    """Trains on two nodes and kills a worker that has a checkpoint; returns its process."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    engine = ["--engine=ray", f"--address={cluster.address}", "--cpus=1"]
    process = subprocess.Popen([*asked, "--stack=2", *engine])
    killed, end = 0, time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        begun = {path.parents[1].name for path in workdir.glob("*/checkpoints/stage_*")}
        there = [worker for run in begun for worker in workers(run)]
        if there and not killed:
            killed = there[0]
            os.kill(killed, signal.SIGKILL)
        time.sleep(0.2)
    code = process.wait()
    for run, where in ((workdir.parent / "alone", []), (workdir, engine)):
        sample = ["sample", str(run / "a"), "--width=1500", "--height=1200"]
        sample += [f"--out={run / 'a' / 'big.zarr'}", *where]
        subprocess.run([sys.executable, "-m", "consingan_jax", *sample], check=True)
    cluster.shutdown()
    if code:
        raise SystemExit(f"the command ended with {code}")
    return killed


if __name__ == "__main__":
    app.run(main)
