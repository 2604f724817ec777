"""The same work as the published program's at 64 px: its samples and ours, measured alike.

    python -m benchmarks.published [--shared=../shared] [--out=runs/published] [--seeds=3]

Trains the two images of `shared/published_64px` with the published settings, a run for each seed,
and prints a table for each image: ours (mean and standard deviation over the seeds), the published
program's 25 samples of that work, and, with less to compare, SinGAN's published samples of the
same image, made at 250 px and shrunk to 64. Writes a sheet of our samples. Runs in --out are kept
and go on where they were stopped. Needs the extra `metrics`.
"""

import pathlib

import numpy as np
from absl import app, flags

from consingan_jax.images import display
from consingan_jax.measures import evaluation, sample_sets, tables
from consingan_jax.measures.evaluation import COLUMNS, Row
from consingan_jax.measures.metrics import Estimate
from consingan_jax.training import trainer

_SHARED = flags.DEFINE_string("shared", "../shared", "Folder with paper/ and published_64px/.")
_OUT = flags.DEFINE_string("out", "runs/published", "Directory of the runs and the sheet.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each image.", lower_bound=2)

WORK = [("places", "2", 1000), ("lsun", "20", 500)]  # data set, image, iterations per stage
NUM_SAMPLES = 25
SHOWN = 7  # samples of each run on the sheet


def train(data: str, number: str, num_iters: int, seed: int) -> pathlib.Path:
    """Trains one run of the published work, or takes the one that is there."""
    image_file = f"{_SHARED.value}/paper/{data}/Real/{number}.jpg"
    run = pathlib.Path(_OUT.value) / f"{data}{number}-64-seed{seed}"
    trainer.train(image_file, run, max_size=64, min_size=18, seed=seed, num_iters=num_iters)
    return run


def of_image(real: str, samples: str, number: str) -> sample_sets.SampleSet:
    """Returns the samples of one image of two folders, at 64 px."""
    found = sample_sets.of_folders(real, samples)
    return sample_sets.shrunk(next(one for one in found if one.name == number), 64)


def over_seeds(rows: list[Row]) -> Row:
    """Returns mean and standard deviation (not error) over runs."""
    result: Row = {}
    for name in COLUMNS:
        values = [one.value for row in rows if (one := row[name]) is not None]
        spread = float(np.std(values, ddof=1)) if values else 0.0
        result[name] = Estimate(float(np.mean(values)), spread, len(values)) if values else None
    return result


def markdown(columns: dict[str, Row]) -> str:
    """Returns the table, a line for each measure that ours has.

    The last column is the difference of the first two over the root of their squared spreads.
    """
    lines = [["measure", *columns, "difference / spread"]]
    for name, column in COLUMNS.items():
        ours, published, *others = (row[name] for row in columns.values())
        if ours is None:
            continue
        spread = np.hypot(ours.error or 0, published.error or 0) if published else 0
        share = f"{(ours.value - published.value) / spread:+.1f}" if published and spread else ""
        lines.append([column.heading, *map(tables.cell, (ours, published, *others)), share])
    return tables.markdown(lines)


def main(_):
    """Trains, measures, prints and draws."""
    networks = evaluation.networks()
    paper, same = f"{_SHARED.value}/paper", f"{_SHARED.value}/published_64px"
    sheet: list[np.ndarray] = []
    for data, number, num_iters in WORK:
        runs = [train(data, number, num_iters, seed) for seed in range(_SEEDS.value)]
        ours = [sample_sets.of_run(str(run), num_samples=NUM_SAMPLES, seed=0)[0] for run in runs]
        sheet += [picture for one in ours for picture in one.samples[:SHOWN]]
        published = of_image(f"{same}/{data}/Real", f"{same}/{data}/ConSinGAN", number)
        singan = of_image(f"{paper}/{data}/Real", f"{paper}/{data}/SinGAN", number)
        rows = {
            f"ours, {len(runs)} seeds ± deviation": over_seeds(
                [evaluation.evaluate(one, networks) for one in ours]
            ),
            "published ConSinGAN ± error": evaluation.evaluate(published, networks),
            "SinGAN at 250 px, shrunk ± error": evaluation.evaluate(singan, networks),
        }
        print(f"\n{data} {number}\n\n{markdown(rows)}", flush=True)
    display.save(pathlib.Path(_OUT.value) / "samples.png", display.grid(sheet, columns=SHOWN))


if __name__ == "__main__":
    app.run(main)
