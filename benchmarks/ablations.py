"""What the knobs do: distance against diversity, for one change of the configuration at a time.

    python -m benchmarks.ablations --out=DIRECTORY [--group=sizes] [--seeds=1] [--num_iters=500]

Trains every setting of a group on the painted scene at 64 px with 32 filters, measures 25 samples
of each, and writes GROUP.csv, a plot of VGG-SIFD against LPIPS diversity, and two rows of samples
of each setting. The group `ablations` varies what the paper does, `sizes` what a stage sees;
measures at different sizes are not to be compared. Runs in DIRECTORY are kept and go on where they
were stopped. Needs the extra `metrics`, and matplotlib for the pictures: python -m pip install
matplotlib.
"""

import csv
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

from consingan_jax.config import Config
from consingan_jax.images import display
from consingan_jax.measures import evaluation, sample_sets, tables
from consingan_jax.training import trainer

_OUT = flags.DEFINE_string("out", "runs/ablations", "Directory of the runs and the results.")
_GROUP = flags.DEFINE_enum("group", "ablations", ["ablations", "sizes"], "Which settings.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Runs of each setting.")
_NUM_ITERS = flags.DEFINE_integer("num_iters", 500, "Iterations of each stage.")

NUM_SAMPLES = 25
BASE = {"max_size": 64, "min_size": 18, "num_filters": 32, "sample_every": 10**6}
GROUPS: dict[str, dict[str, dict]] = {
    "ablations": {
        "lr_scale 0.1, depth 3, new rule, 6 stages": {},
        "lr_scale 0.5": {"lr_scale": 0.5},
        "train_depth 1": {"train_depth": 1},
        "train_depth all": {"train_depth": 6},
        "geometric rule": {"pyramid_rule": "geometric"},
        "4 stages": {"num_stages": 4},
        "8 stages": {"num_stages": 8},
    },
    "sizes": {
        "min_size 18, max_size 64, 6 stages": {},
        "min_size 12": {"min_size": 12},
        "min_size 30": {"min_size": 30},
        "max_size 100": {"max_size": 100},
        "num_stages 3": {"num_stages": 3},
        "batch_norm True": {"batch_norm": True},
        "window 32": {"window": 32},
        "window 64, max_size 100": {"window": 64, "max_size": 100},
    },
}
SHOWN = 7  # samples in a row
MEASURES = ("vgg_sifd", "lpips_diversity", "pixel_diversity_rms", "same_place", "swd_1")


def run(changes: dict, seed: int, networks: evaluation.Networks) -> tuple[evaluation.Row, list]:
    """Trains one setting, or takes the run that is there; returns its measures and samples."""
    config = Config.create(
        image="examples/scene.png",
        num_iters=_NUM_ITERS.value,
        seed=seed,
        **{**BASE, **changes},
    )
    name = "-".join(f"{field}_{value}" for field, value in changes.items()) or "base"
    directory = pathlib.Path(_OUT.value) / f"{name}-seed_{seed}"
    trainer.train(config, directory)
    (subject,) = sample_sets.of_run(str(directory), num_samples=NUM_SAMPLES, seed=0)
    return evaluation.evaluate(subject, networks), subject.samples


def plot(results: dict[str, list[evaluation.Row]], path: pathlib.Path) -> None:
    """Draws VGG-SIFD against LPIPS diversity, a point for each run."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for number, (name, rows) in enumerate(results.items()):
        x, y = (
            [row[measure] for row in rows if row[measure]]
            for measure in ("lpips_diversity", "vgg_sifd")
        )
        axes.errorbar(
            [one.value for one in x],
            [one.value for one in y],
            xerr=[one.error or 0 for one in x],
            yerr=[one.error or 0 for one in y],
            fmt="o*sDv^P"[number % 7],
            markersize=8,
            label=name,
        )
    axes.set(xlabel="LPIPS diversity (more is more diverse)", ylabel="VGG-SIFD (less is closer)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def show(samples: dict[str, list[np.ndarray]], path: pathlib.Path) -> None:
    """Draws two rows of samples of each setting."""
    figure, rows = plt.subplots(len(samples), 1, figsize=(7, 1.85 * len(samples)))
    for axes, (name, pictures) in zip(rows, samples.items(), strict=True):
        sheet = display.grid(pictures[: 2 * SHOWN], columns=SHOWN)
        axes.imshow(display.to_uint8(sheet), interpolation="nearest")
        axes.set_title(name, fontsize=8, loc="left", pad=2)
        axes.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(_):
    """Trains, measures and draws."""
    group = _GROUP.value
    out, networks = pathlib.Path(_OUT.value), evaluation.networks()
    results: dict[str, list[evaluation.Row]] = {}
    samples: dict[str, list[np.ndarray]] = {}
    for name, changes in GROUPS[group].items():
        runs = [run(changes, seed, networks) for seed in range(_SEEDS.value)]
        results[name], samples[name] = [row for row, _ in runs], runs[0][1]
    with (out / f"{group}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "runs", *MEASURES])
        for name, rows in results.items():
            mean = evaluation.summary(rows)  # of one run: its own, with the error over samples
            writer.writerow([name, len(rows), *(tables.cell(mean[name]) for name in MEASURES)])
    plot(results, out / f"{group}.png")
    show(samples, out / f"{group}_samples.png")
    print((out / f"{group}.csv").read_text())


if __name__ == "__main__":
    app.run(main)
