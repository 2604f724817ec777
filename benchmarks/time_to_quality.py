"""How good our trained models are and how long they took, beside the samples that were published.

    python -m benchmarks.time_to_quality --runs=DIRECTORY,... [--published=../shared/paper]
    python -m benchmarks.time_to_quality --image=../shared/paper/lsun/Real/45.jpg \\
        --ways=paper --ways=fast --ways=fast,ema_decay=0.999 --every=120

The first takes runs, or patterns of them, of images of the paper's user study. It prints a table
for each image: its published samples, then ten samples of every run, seeds 0 to 9, at the model's
own size; each measure with its error over the samples. It leaves a sheet for each image in --out:
the training image with the published samples, and with those of every run.

The second trains the image in several ways, each a variant with changed settings, and measures ten
samples at the end of a stage, and every so many seconds of the last one, on the levels of the
pyramid; a line in --out/IMAGE/WAY.jsonl each. It draws the measures over seconds in
--out/IMAGE/curves.png, the published samples as a line. Given again, it goes on where it was. With
--start=RUN/checkpoints/stage_K_step_N, the end of a stage of a run of the same image, all ways go
on from there, and with --last=K they end with stage K.

The seconds of a run are those of the processes that trained it, compilation, pictures and
checkpoints included; pauses between them do not count, what a kill undid counts twice. Those of the
published way are measured with PyTorch (`benchmarks.train_step`) at the sizes of the image's
levels, times the iterations, and kept in --out/baseline.json for the next call: let the machine do
nothing else meanwhile. The ratio is theirs to ours. Needs the extra `metrics`, and PyTorch or
--baseline_seconds; the second also matplotlib.
"""

import glob
import importlib.util
import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from benchmarks import curves
from benchmarks.curves import MEASURES, NUM_SAMPLES, OF_ONE, training_seconds
from consingan_jax import checkpoint, device
from consingan_jax.config import Config
from consingan_jax.generation import restore
from consingan_jax.images import display
from consingan_jax.measures import evaluation, sample_sets, tables
from consingan_jax.measures.evaluation import COLUMNS, Row
from consingan_jax.nn.resize import Size

_RUNS = flags.DEFINE_list("runs", [], "Directories of finished runs, or patterns of them.")
_PUBLISHED = flags.DEFINE_string("published", "../shared/paper", "Folder with lsun/ and places/.")
_OUT = flags.DEFINE_string("out", "runs/time_to_quality", "Directory of the sheets.")
_BASELINE_SECONDS = flags.DEFINE_float(
    "baseline_seconds", None, "Of a training the published way, instead of measuring them."
)

_IMAGE = flags.DEFINE_string("image", "", "An image of the user study to train on.")
_WAYS = flags.DEFINE_multi_string(
    "ways", ["paper", "fast"], "A variant, or paper; then NAME=VALUE of fields, with commas."
)
_START = flags.DEFINE_string(
    "start", "", "With --image: a checkpoint at a stage's end to go on from."
)
_LAST = flags.DEFINE_integer("last", None, "With --image: the last stage to train.")
_EVERY = flags.DEFINE_float("every", 120.0, "Seconds of the last stage between two measurements.")

SECONDS = 8  # to measure the published way at a stage
PUBLISHED = "published"


def by_image(patterns: Sequence[str], published: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the runs of every image, which is named as in "lsun/40"."""
    runs = [pathlib.Path(path) for one in patterns for path in sorted(glob.glob(one))]
    found: dict[str, list[pathlib.Path]] = {}
    for run in runs:
        if not checkpoint.exists(run / "model"):
            raise SystemExit(f"{run} is no finished run")
        config = json.loads((run / restore.IDENTITY).read_text(encoding="utf-8"))["config"]
        picture = pathlib.Path(config["image"]).absolute()
        data = picture.parent.parent.name
        if not (published / data / "Real" / picture.name).is_file():
            raise SystemExit(f"{run} is of {picture}, which is none of {published}/*/Real")
        found.setdefault(f"{data}/{picture.stem}", []).append(run)
    if not found:
        raise SystemExit(f"--runs={','.join(patterns)}: no run is there")
    return found


def of_published(published: pathlib.Path, name: str) -> sample_sets.SampleSet:
    """Returns the published samples of an image."""
    data, number = name.split("/")
    found = sample_sets.of_folders(f"{published / data}/Real", f"{published / data}/ConSinGAN")
    return next(one for one in found if one.name == number)


def published_seconds(size: Size, kept: pathlib.Path) -> float | None:
    """Returns the seconds of a training the published way, None if they cannot be measured.

    Args:
        size: of the training image.
        kept: file of the seconds of an iteration of every stage, by size and device.
    """
    name = "{}x{}, {}".format(*size, device.describe())
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if name not in known:
        if importlib.util.find_spec("torch") is None:
            print("no PyTorch here to measure the published way: give --baseline_seconds")
            return None
        known[name] = measured(size)
        kept.write_text(json.dumps(known, indent=1) + "\n")
    config = Config()
    return sum(config.stage(stage).num_iters * one for stage, one in enumerate(known[name]))


def measured(size: Size) -> list[float]:
    """Returns the seconds of an iteration of every stage the published way."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--only=baseline"]
    command += [f"--height={size[0]}", f"--width={size[1]}", f"--seconds={SECONDS}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line)["baseline_s"] for line in lines]


def table(rows: dict[str, Row], seconds: dict[str, float | None]) -> str:
    """Returns a line for each way, the published one first."""
    lines = [["", *(COLUMNS[name].heading for name in MEASURES), "seconds", "ratio"]]
    for way, row in rows.items():
        cells = [cell(name, row) for name in MEASURES]
        theirs, own = seconds[PUBLISHED], seconds[way]
        ratio = f"{theirs / own:.2f}" if theirs and own else "n/a"
        lines.append([way, *cells, f"{own:.0f}" if own else "n/a", ratio])
    return tables.markdown(lines)


def cell(name: str, row: Row) -> str:
    """Returns a measure in words; of one sample there is no error."""
    estimate = row[name]
    lacks_error = estimate is not None and estimate.error is None and name not in OF_ONE
    return tables.cell(estimate) + ("±-" if lacks_error else "")


def sheet(several: Sequence[sample_sets.SampleSet]) -> np.ndarray:
    """Returns a row for each: the training image, then samples."""
    longest = max(len(one.samples) for one in several)
    blank = np.ones((1, 1, several[0].real.shape[-1]), np.float32)
    rows = [[one.real, *one.samples, *[blank] * (longest - len(one.samples))] for one in several]
    return display.grid(list(itertools.chain(*rows)), columns=1 + longest)


def main(_):
    """Measures, prints and draws."""
    published, out = pathlib.Path(_PUBLISHED.value), pathlib.Path(_OUT.value)
    if _IMAGE.value:
        image = pathlib.Path(_IMAGE.value).absolute()
        data = image.parent.parent
        name = f"{data.name}/{image.stem}"
        reference = of_published(data.parent, name)
        curves.compare(
            *(image, reference, _WAYS.value, out / name.replace("/", "")),
            every=_EVERY.value,
            start=pathlib.Path(_START.value) if _START.value else None,
            last=_LAST.value,
        )
        return
    found, networks = by_image(_RUNS.value, published), evaluation.networks()
    out.mkdir(parents=True, exist_ok=True)
    for name, runs in found.items():
        several = {PUBLISHED: of_published(published, name)}
        for run in runs:
            (several[str(run)],) = sample_sets.of_run(str(run), num_samples=NUM_SAMPLES, seed=0)
        print(f"\n{name}", *filter(None, (one.note for one in several.values())), sep="\n")
        size = several[PUBLISHED].real.shape[:2]
        theirs = _BASELINE_SECONDS.value or published_seconds(size, out / "baseline.json")
        seconds = {PUBLISHED: theirs, **{str(run): training_seconds(run) for run in runs}}
        rows = {way: evaluation.evaluate(one, networks) for way, one in several.items()}
        print(f"\n{table(rows, seconds)}", flush=True)
        display.save(out / f"{name.replace('/', '')}.png", sheet(list(several.values())))


if __name__ == "__main__":
    app.run(main)
