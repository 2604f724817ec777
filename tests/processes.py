"""Trains one image with two processes, kills one of them, and compares.

    python -m tests.processes [--num_iters=300]

Two commands with `--coordinator` train the windows of one image together; then again, where one of
them is told to stop, which both then do, and where one of them is killed. The survivor must end
within a minute, with an error of the JAX runtime; the same two commands again go on, and their
model must equal, array by array, that of the undisturbed ones. A process that waits in vain must
end too. One process that trains all the windows must come to the same within the limits of the
recordings after 20 iterations. Prints a table; exits with 1 otherwise.
"""

import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags, logging

from consingan_jax import checkpoint
from tests import tiny

_NUM_ITERS = flags.DEFINE_integer("num_iters", 300, "Iterations of each of two stages.")
JOIN_SECONDS = 20  # of the one that waits in vain
PATIENCE = 60.0  # seconds for a survivor to end
PROGRAM = f"""
from consingan_jax import __main__
from consingan_jax.cli import processes
processes.JOIN_SECONDS = {JOIN_SECONDS}
if __name__ == "__main__":
    __main__.main()
"""


def settings(num_iters: int) -> list[str]:
    """Returns the flags of a run."""
    fields = tiny.CONFIG | {"num_stages": 2, "num_iters": num_iters, "windows": 2}
    fields |= {"max_size": 40, "min_size": 20, "window": "0,0.6", "num_filters": 8}
    fields |= {"log_every": 20, "sample_every": 10**6, "checkpoint_minutes": 0.01}
    return [f"--config.{name}={value}" for name, value in fields.items()]


def begun(picture: pathlib.Path, run: pathlib.Path, number: int, port: int, num_iters: int):
    """Returns one of the two processes."""
    command = [sys.executable, "-c", PROGRAM, "train", str(picture), f"--workdir={run}"]
    command += [f"--coordinator=127.0.0.1:{port}", "--num_processes=2", f"--process_id={number}"]
    return subprocess.Popen(
        [*command, *settings(num_iters)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def both(picture: pathlib.Path, run: pathlib.Path, num_iters: int) -> list[subprocess.Popen]:
    """Returns both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [begun(picture, run, number, port, num_iters) for number in (0, 1)]


def ended(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """Returns how a process has ended, and what it has said."""
    _, said = process.communicate(timeout=seconds)
    return process.returncode, said[-3000:]


def both_in_second_stage(picture: pathlib.Path, run: pathlib.Path) -> list[subprocess.Popen]:
    """Returns both processes, with a checkpoint of the second stage."""
    processes = both(picture, run, _NUM_ITERS.value)
    while "stage_1" not in str(checkpoint.latest_step(run / "checkpoints")):
        if any(one.poll() is not None for one in processes):
            raise SystemExit(str([ended(one, PATIENCE) for one in processes]))
        time.sleep(0.2)
    return processes


def kill_one(picture: pathlib.Path, run: pathlib.Path, victim: int) -> tuple[int, str, float]:
    """Kills one of two in the second stage; returns how the other ended, and after which time."""
    processes = both_in_second_stage(picture, run)
    processes[victim].kill()
    start = time.monotonic()
    code, line = ended(processes[1 - victim], PATIENCE)
    ended(processes[victim], PATIENCE)
    return code, line, time.monotonic() - start


def apart(one: pathlib.Path, other: pathlib.Path, before: pathlib.Path) -> float:
    """Returns how far two models lie apart, as a part of each tensor's change since another."""

    def change(a, b, start):
        return float(np.linalg.norm(a - b) / max(np.linalg.norm(b - start), 1e-12))

    params = [checkpoint.load(run / "model")["params"] for run in (one, other, before)]
    return max(jax.tree.leaves(jax.tree.map(change, *params)))


def main(_) -> None:
    """Trains, kills and compares."""
    logging.set_verbosity(logging.FATAL)
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        picture = folder / "picture.png"
        tiny.paint(picture)

        def check(what: str, good: bool, said: object = "") -> None:
            nonlocal failed
            failed |= not good
            print(f"{'yes' if good else 'NO':<4}{what}  {said}", flush=True)

        def go_on(run: pathlib.Path) -> None:
            kept = checkpoint.latest_step(run / "checkpoints")
            codes = [ended(one, 600)[0] for one in both(picture, run, _NUM_ITERS.value)]
            check(f"  gone on from {kept and kept.name}", codes == [0, 0], codes)
            pairs = [checkpoint.load(path / "model") for path in (folder / "whole", run)]
            same = jax.tree.all(jax.tree.map(np.array_equal, *pairs))
            check("  equal to the undisturbed one", same)

        ends = [ended(one, 600) for one in both(picture, folder / "whole", _NUM_ITERS.value)]
        check("two processes train one image", [code for code, _ in ends] == [0, 0], ends)
        run = folder / "stopped"
        processes = both_in_second_stage(picture, run)
        processes[1].send_signal(signal.SIGTERM)
        ends = [ended(one, PATIENCE) for one in processes]
        check("one is told to stop, and both do", [code for code, _ in ends] == [143, 143], ends)
        go_on(run)
        for victim in (1, 0):
            run = folder / f"killed_{victim}"
            code, said, seconds = kill_one(picture, run, victim)
            is_known = "JAX distributed service" in said or "Gloo" in said
            check(f"process {victim} killed: {seconds:.0f} s", code != 0 and is_known, code)
            go_on(run)
        code, said = ended(begun(picture, folder / "vain", 0, 45_017, 20), 120)
        check("one waits in vain", code != 0 and "DEADLINE_EXCEEDED" in said, code)
        for number in (1, 20):
            for one in both(picture, folder / f"two_{number}", number):
                ended(one, 600)
            command = [sys.executable, "-m", "consingan_jax", "train", str(picture)]
            command += [f"--workdir={folder}/one_{number}", *settings(number)]
            subprocess.run(command, check=True, capture_output=True)
        difference = apart(folder / "two_20", folder / "one_20", folder / "one_1")
        check("as with one process, part of the change", difference < 0.02, f"{difference:.2%}")
    sys.exit(failed)


if __name__ == "__main__":
    app.run(main)
