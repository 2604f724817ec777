"""What a long run holds on to: memory, open files, threads and logs of 20,000 tiny iterations.

    python -m benchmarks.long_run [--num_iters=20000]

Trains one stage of 14 px, with a line of metrics every 50 iterations, a grid of samples every 1000
and a checkpoint every second, and looks at its own process on the way (Linux). Exits with 1 if the
second half takes more than `MOST_MIB` of memory, or a file or a thread more than the first.
"""

import os
import pathlib
import sys
import tempfile

from absl import app, flags

from consingan_jax.config import Config
from consingan_jax.training import trainer
from consingan_jax.training.progress import Progress

_NUM_ITERS = flags.DEFINE_integer(
    "num_iters", 20_000, "Iterations of the one stage.", lower_bound=20
)

MOST_MIB = 8
SETTINGS = {
    **{"num_stages": 1, "min_size": 14, "max_size": 18, "num_filters": 4, "num_layers": 1},
    **{"log_every": 50, "sample_every": 1000, "checkpoint_minutes": 1 / 60},
}


def held(run: pathlib.Path) -> tuple[float, int, int, float]:
    """Returns MiB of memory, open files, threads, and KiB of logs."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    (memory,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    threads = len(os.listdir("/proc/self/task"))
    logs = [run / "metrics.jsonl", *(run / "tensorboard").rglob("*")]
    size = sum(file.stat().st_size for file in logs if file.is_file()) / 1024
    return int(memory) / 1024, len(os.listdir("/proc/self/fd")), threads, size


def main(_) -> None:
    """Trains, and prints a line at a twentieth, at the half and at the end."""
    total = _NUM_ITERS.value
    marks = [total // 20, total // 2, total]
    rows: dict[int, tuple[float, int, int, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        run = pathlib.Path(temporary) / "run"

        def watch(moment: Progress) -> bool:
            while len(rows) < len(marks) and moment.step >= marks[len(rows)]:
                rows[marks[len(rows)]] = held(run)
            return False

        trainer.train(
            Config.create(image="examples/scene.png", num_iters=total, **SETTINGS),
            run,
            watcher=watch,
        )
    print(f"{'iterations':>10}{'MiB':>8}{'files':>7}{'threads':>9}{'KiB of logs':>13}")
    for step, (memory, files, threads, logs) in rows.items():
        print(f"{step:>10,}{memory:>8.0f}{files:>7}{threads:>9}{logs:>13.0f}")
    _, half, end = rows.values()
    sys.exit(end[0] > half[0] + MOST_MIB or end[1] > half[1] or end[2] > half[2])


if __name__ == "__main__":
    app.run(main)
