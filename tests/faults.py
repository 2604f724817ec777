"""Injects faults into real trainings, in real processes, and sees what is lost.

    python -m tests.faults [--kills=30] [--out=DIRECTORY]

One small run is trained undisturbed. Then others are killed, stopped, starved of room, damaged and
half copied, and go on; each must end with the parameters of the undisturbed one, bit for bit, or
stop with one line that names the fault and, once it is mended, end so. Prints a table and exits
with 1 if anything was lost.
"""

import dataclasses
import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from absl import app, flags, logging

from consingan_jax import checkpoint
from tests import tiny

SETTINGS = {
    **{"num_stages": 3, "min_size": 14, "max_size": 28, "num_filters": 4, "num_layers": 1},
    **{"num_iters": 150, "log_every": 25, "sample_every": 75, "checkpoint_minutes": 0.005},
}
PATIENCE = 300.0  # seconds after which a process is taken for hung
GRACE = 2.0  # seconds beyond the iteration in progress that a stop may take, as measured here


@dataclasses.dataclass
class Row:
    """A line of the table: a fault, how often it was injected, and what came of it."""

    fault: str
    injected: int = 0
    recovered: int = 0
    note: str = ""

    @property
    def lost(self) -> int:
        """How often something was lost."""
        return self.injected - self.recovered


@dataclasses.dataclass
class Ground:
    """What all faults start from.

    Attributes:
        folder: for the runs.
        kills: how often to kill.
        wanted: the parameters of the undisturbed run, and all else that its model has.
    """

    folder: pathlib.Path
    kills: int
    wanted: list = dataclasses.field(default_factory=list)

    @property
    def picture(self) -> pathlib.Path:
        """The training image."""
        return self.folder / "picture.png"

    def command(self, run: pathlib.Path, *, cache: bool = True) -> list[str]:
        """Returns the command that trains, or goes on with, a run."""
        settings = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
        place = self.folder / "cache" if cache else "off"
        head = [sys.executable, "-m", "consingan_jax", "train", str(self.picture)]
        return [*head, f"--workdir={run}", f"--compilation_cache={place}", *settings]

    def ends(self, run: pathlib.Path, **options) -> subprocess.CompletedProcess:
        """Trains a run to its end, or until the process stops by itself."""
        return _run(self.command(run), **options)

    def is_whole(self, run: pathlib.Path) -> bool:
        """Returns whether a finished run has the parameters of the undisturbed one."""
        if not checkpoint.exists(run / "model"):
            return False
        found = jax.tree.leaves(checkpoint.load(run / "model"))
        return len(found) == len(self.wanted) and all(map(np.array_equal, found, self.wanted))

    def half_trained(self, name: str) -> pathlib.Path:
        """Returns a run with at least two checkpoints that is not finished."""
        run = self.folder / name
        process = subprocess.Popen(self.command(run), **_QUIET)
        _until(lambda: len(checkpoint.steps(run / "checkpoints")) > 1 or _ended(process))
        process.kill()
        process.wait()
        return run


_QUIET: dict = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _run(command: Sequence[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


def _ended(process: subprocess.Popen) -> bool:
    return process.poll() is not None


def _until(condition: Callable[[], bool], pause: float = 0.001) -> None:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(pause)


def _is_one_line(result: subprocess.CompletedProcess) -> bool:
    """Returns whether a command that failed said why, without a traceback."""
    lines = [line for line in re.split(r"[\r\n]+", result.stderr) if "consingan" in line]
    return result.returncode in (1, 2) and bool(lines) and "Traceback" not in result.stderr


def killed(ground: Ground) -> Iterator[Row]:
    """SIGKILL: at random, inside a checkpoint's write, while a stage compiles."""
    places = ("at random", "in a write", "in a compilation")
    rows = {place: Row(f"SIGKILL {place}") for place in places}
    turns, rng = itertools.cycle(places), random.Random(0)
    left, place = ground.kills, next(turns)
    for number in itertools.count():
        run, here = ground.folder / f"killed_{number}", []
        while left and not checkpoint.exists(run / "model"):
            if _kill(ground, run, place, rng):  # else it came to its end before: once more
                here.append(place)
                left, place = left - 1, next(turns)
        ground.ends(run)
        good = ground.is_whole(run)
        for where in here:
            rows[where].injected += 1
            rows[where].recovered += good
        if not left:
            break
    yield from rows.values()


def _kill(ground: Ground, run: pathlib.Path, place: str, rng: random.Random) -> bool:
    """Starts a training and kills it; returns False if it came to its end before."""
    compiles = place == "in a compilation"
    process = subprocess.Popen(ground.command(run, cache=not compiles), **_PIPED)
    if place == "in a write":
        folder = run / "checkpoints"
        _until(lambda: any(folder.glob("*tmp*")) or _ended(process), 0.0002)
    else:
        _read_until(process, "compiling")
        time.sleep(rng.uniform(0, 1 if compiles else 3))
    was_in_time = not _ended(process)
    process.kill()
    process.communicate()
    return was_in_time


_PIPED: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


def _read_until(process: subprocess.Popen, word: str) -> None:
    """Reads what a process says until a word comes, or its end."""
    seen = b""
    while word.encode() not in seen:
        more = process.stdout.read1() if process.stdout else b""
        if not more:
            return
        seen += more


def stopped(ground: Ground) -> Iterator[Row]:
    """SIGTERM and Ctrl-C: the state is saved, the exit code is the usual one, at once."""
    rng = random.Random(1)
    for number, in_compilation in itertools.product((signal.SIGTERM, signal.SIGINT), (False, True)):
        place = "in a compilation" if in_compilation else "at random"
        row, run = Row(f"{number.name} {place}"), ground.folder / f"{number.name}_{in_compilation}"
        seconds = []
        for _ in range(4):
            process = subprocess.Popen(ground.command(run, cache=not in_compilation), **_PIPED)
            _read_until(process, "compiling" if in_compilation else "it/s")
            time.sleep(rng.uniform(0, 0.5 if in_compilation else 1.5))
            if _ended(process):
                break
            begun = time.monotonic()
            process.send_signal(number)
            said = process.communicate()[0].decode()
            row.injected += 1
            seconds.append(time.monotonic() - begun)
            row.recovered += process.returncode == 128 + number and "was stopped; " in said
        good = ground.ends(run).returncode == 0 and ground.is_whole(run)
        row.recovered = row.recovered if good else 0
        row.note = f"longest {max(seconds):.1f} s" if seconds else ""
        if seconds and max(seconds) > GRACE:
            row.note += f", more than {GRACE:g}"
        yield row


def full(ground: Ground) -> Iterator[Row]:
    """No room: a limit on the size of a file, which a checkpoint meets."""
    row = Row("disk full")
    for number, limit in enumerate((4_000, 20_000)):
        run = ground.folder / f"full_{number}"
        result = _run(["prlimit", f"--fsize={limit}", *ground.command(run)])
        row.injected += 1
        fine = _is_one_line(result) or (result.returncode == 0 and ground.is_whole(run))
        ground.ends(run)
        row.recovered += fine and ground.is_whole(run)
        row.note = result.stderr.strip().splitlines()[-1][-60:] if result.stderr else ""
    yield row


def damaged(ground: Ground) -> Iterator[Row]:
    """The newest checkpoint cut short, or with changed bytes; the model of a finished run."""
    rng = random.Random(2)
    for name, hurt in {"truncated": _truncate, "changed bytes": _flip}.items():
        row, half = Row(f"checkpoint {name}"), ground.half_trained(f"half_{name[:4]}")
        for number in range(4):
            run = ground.folder / f"{name[:4]}_{number}"
            shutil.copytree(half, run)
            hurt(checkpoint.steps(run / "checkpoints")[0], rng)
            result = ground.ends(run)
            row.injected += 1
            row.recovered += result.returncode == 0 and ground.is_whole(run)
            row.note = "taken instead" if "taken instead" in result.stderr else row.note
        yield row
    row = Row("model of a finished run damaged")
    run = ground.folder / "finished_damaged"
    shutil.copytree(ground.folder / "undisturbed", run)
    _flip(run / "model", rng)
    result = _run([sys.executable, "-m", "consingan_jax", "sample", str(run), "--num_samples=1"])
    row.injected, row.recovered = 1, result.returncode == 0 and "damaged" in result.stderr
    yield row


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)


def _truncate(path: pathlib.Path, rng: random.Random) -> None:
    file = max(_files(path), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def _flip(path: pathlib.Path, rng: random.Random) -> None:
    file = max(_files(path), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    for _ in range(20):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def half_copied(ground: Ground) -> Iterator[Row]:
    """A run of which a random half of the files was copied: it goes on, or says what is missing."""
    row, rng = Row("half-copied run"), random.Random(3)
    half = ground.half_trained("half_copied")
    for number in range(4):
        run = ground.folder / f"copied_{number}"
        shutil.copytree(half, run)
        for file in _files(run):
            if rng.random() < 0.5:
                file.unlink()
        result = ground.ends(run)
        row.injected += 1
        row.recovered += ground.is_whole(run) if result.returncode == 0 else _is_one_line(result)
    yield row


def clock_set_back(ground: Ground) -> Iterator[Row]:
    """Everything is from the future: files are a year younger than the clock says."""
    row, run = Row("clock set back"), ground.half_trained("clock")
    for file in [run, *run.rglob("*")]:
        later = time.time() + 3e7
        os.utime(file, (later, later))
    ground.ends(run)
    row.injected, row.recovered = 1, int(ground.is_whole(run))
    yield row


def read_only(ground: Ground) -> Iterator[Row]:
    """The directory becomes read-only on the way: one line, and all goes on when it is not."""
    row, run = Row("directory turned read-only"), ground.folder / "read_only"
    command = [*_as_anybody(), *ground.command(run)]
    process = subprocess.Popen(command, **_PIPED | {"stderr": subprocess.PIPE}, text=True)
    _until(lambda: len(checkpoint.steps(run / "checkpoints")) > 1 or _ended(process))
    places = [path for path in [run, *run.rglob("*")] if path.is_dir()]
    modes = [path.stat().st_mode for path in places]
    for path in places:
        path.chmod(0o555)
    probe = subprocess.run([*_as_anybody(), "touch", str(run / "probe")], check=False, **_QUIET)
    out, err = process.communicate(timeout=PATIENCE)
    for path, mode in zip(places, modes, strict=True):
        path.chmod(mode)
    if probe.returncode == 0:
        yield dataclasses.replace(row, note="not injected: this user may write everywhere")
        return
    fine = _is_one_line(subprocess.CompletedProcess(command, process.returncode, out, err))
    ground.ends(run)
    row.injected, row.recovered = 1, int(fine and ground.is_whole(run))
    row.note = err.strip().splitlines()[-1][-60:]
    yield row


def _as_anybody() -> list[str]:
    """Returns what a command begins with so that permissions hold for it, also of root."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] * (
        is_root and shutil.which("setpriv") is not None
    )


FAULTS = (killed, stopped, full, damaged, half_copied, clock_set_back, read_only)


def rows(folder: pathlib.Path, kills: int) -> Iterator[Row]:
    """Yields what came of every fault."""
    ground = Ground(folder, kills)
    tiny.paint(ground.picture)
    result = ground.ends(folder / "undisturbed")
    if result.returncode:
        raise SystemExit(result.stderr)
    ground.wanted = jax.tree.leaves(checkpoint.load(folder / "undisturbed/model"))
    for fault in FAULTS:
        yield from fault(ground)


def main(_) -> None:
    """Prints the table."""
    logging.set_verbosity(logging.FATAL)  # Orbax reports every file
    tiny.hear_interrupts()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(flags.FLAGS.out or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lost = 0
        print(f"{'fault':<34}{'injected':>9}{'recovered':>11}{'lost':>6}")
        for row in rows(folder, flags.FLAGS.kills):
            lost += row.lost
            counts = f"{row.injected:>9}{row.recovered:>11}{row.lost:>6}"
            print(f"{row.fault:<34}{counts}  {row.note}", flush=True)
    sys.exit(lost > 0)


if __name__ == "__main__":  # not of those who import this
    flags.DEFINE_integer("kills", 30, "How often a training is killed.")
    flags.DEFINE_string("out", None, "Where the runs lie [a temporary directory].")
    app.run(main)
