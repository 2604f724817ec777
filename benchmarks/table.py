"""Every method on the same pictures, by the same measures.

    python -m benchmarks.table --data lsun --rows published published_singan fast
        [--pictures 5 10] [--seeds=3] [--max_size=250] [--niqe=mmagic-1.2.0-py2.py3-none-any.whl]
        [--shared=../shared] [--workdir=runs/table] [--figures=docs/table.jsonl]

Rows: `published`, `published_singan` and `published_gpnn` are samples that the methods' authors
published; `patches` makes samples without training (`benchmarks/patch_matching.py`); all others are
trained here: `paper` (the paper's settings), `fast`, `quick`, `singan`, each with changed fields if
wanted, as in `fast,num_iters=900;700`. Published samples are shrunk to --max_size.

The data sets are two of the paper's user study, Places50 and LSUN50, as far as they are in
`shared/paper`, and SIGD16, of which `shared/peers` has samples of SinGAN and GPNN. Without
--pictures, those are taken that were chosen before anything was trained (`CHOSEN`).

Each row, picture and seed is computed in a process of its own and gives a line of --figures. One
that is there is not computed again, and a training goes on where it was stopped. At the end tables
are printed of the pictures that all the rows have: means with standard deviations over pictures,
and differences to the first row with 95 % intervals by bootstrap over pictures. With
--worst=ROW the worst samples of a row are put on a sheet. Needs the extra `metrics`.
"""

import argparse
import concurrent.futures
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import curves, niqe, patch_matching
from consingan_jax.data import pyramid
from consingan_jax.images import display, loading
from consingan_jax.measures import evaluation, features, metrics, patches, sample_sets, tables
from consingan_jax.measures.evaluation import COLUMNS
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.training import trainer

REAL = {"lsun": "paper/lsun/Real", "places": "paper/places/Real", "sigd16": "peers/sigd16/Real"}
PUBLISHED = {
    "published": {"lsun": "paper/lsun/ConSinGAN", "places": "paper/places/ConSinGAN"},
    "published_singan": {
        "lsun": "paper/lsun/SinGAN",
        "places": "paper/places/SinGAN",
        "sigd16": "peers/sigd16/SinGAN",
    },
    "published_gpnn": {"places": "peers/places/GPNN", "sigd16": "peers/sigd16/GPNN"},
}
CHOSEN = {
    "lsun": ["5", "10", "15", "20", "25", "30"],
    "places": ["2", "4", "6", "8", "10", "12"],
    "sigd16": [str(number) for number in range(1, 17)],
}
TIMES = {"training": "training, s", "first": "to sample 1, s", "tenth": "to sample 10, s"}
HEADINGS = {
    **{name: column.heading for name, column in COLUMNS.items()},
    "dark_error": "dark-chroma error",
    "bright_error": "bright-chroma error",
    "niqe": "NIQE",
    **TIMES,
    "memory": "memory, MiB",
}
HIDDEN = (
    *("dark_chroma", "dark_chroma_real", "bright_chroma", "bright_chroma_real"),
    *("same_place_copy", "same_place_shuffled", "reconstruction_psnr"),
)
RESAMPLES = 10_000  # of the bootstrap
LEAST_PAIRS = 5  # fewer pictures give no interval
NUM_WORST = 5


class Key(NamedTuple):
    """What a line of figures is of."""

    data: str
    picture: str
    row: str
    seed: int
    max_size: int


Figures = dict[Key, dict[str, float]]


def read(path: pathlib.Path) -> Figures:
    """Returns the measures of every line of a file of figures."""
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return {Key(*(line[name] for name in Key._fields)): line["measures"] for line in lines}


def folder_of(key: Key, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the samples that are made here."""
    return workdir / "samples" / "-".join(map(str, key))


def make(key: Key, image: pathlib.Path, workdir: pathlib.Path, number: int) -> dict[str, float]:
    """Makes the samples of a row that is not published; returns the seconds and the memory.

    Trains first, where the row has a model; the seconds to the samples include the training.
    """
    training, samples = 0.0, None
    if key.row == "patches":
        real = pyramid.top_level(np.asarray(loading.load(image)), key.max_size)
        samples = (patch_matching.sample(real, key.seed * number + k) for k in range(number))
    else:
        config = curves.config_of(f"{key.row},max_size={key.max_size},seed={key.seed}", image)
        run = workdir / "runs" / "-".join(map(str, key))
        samples = trainer.train(config, run).samples(0, number)
        training = curves.training_seconds(run) or 0.0
    folder, begin, passed = folder_of(key, workdir), time.perf_counter(), list[float]()
    folder.mkdir(parents=True, exist_ok=True)
    for k, one in enumerate(samples):
        passed.append(training + time.perf_counter() - begin)
        display.save(folder / f"{key.picture}_{k}.png", one)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"training": training, "first": passed[0], "memory": memory}
    return found | ({"tenth": passed[9]} if len(passed) > 9 else {})


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the result of a function that runs in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


@functools.cache
def published(real: pathlib.Path, samples: pathlib.Path) -> dict[str, SampleSet]:
    """Returns the published samples of every picture, by its name."""
    return {one.name: one for one in sample_sets.of_folders(str(real), str(samples))}


networks = functools.cache(evaluation.networks)  # read once, if anything is measured


def measures(samples: SampleSet, natural: tuple | None) -> dict[str, float]:
    """Returns all measures of a picture and its samples; NIQE where its model is given."""
    row = evaluation.evaluate(samples, networks())
    found = {name: one.value for name, one in row.items() if one is not None}
    for part in ("dark", "bright"):
        if f"{part}_chroma_real" in found:
            difference = found[f"{part}_chroma"] - found[f"{part}_chroma_real"]
            found[f"{part}_error"] = abs(difference)
    if natural and min(samples.real.shape[:2]) >= niqe.BLOCK and samples.real.shape[-1] == 3:
        found["niqe"] = metrics.mean([niqe.niqe(niqe.luma(x), natural) for x in samples.samples])[0]
    return {name: round(value, 5) for name, value in found.items()}


def samples_of(key: Key, shared: pathlib.Path, workdir: pathlib.Path) -> SampleSet:
    """Returns a picture and its samples, published or made by `make`."""
    if key.row in PUBLISHED:
        folders = PUBLISHED[key.row]
        found = published(shared / REAL[key.data], shared / folders[key.data])[key.picture]
        return sample_sets.shrunk(found, key.max_size)
    image = shared / REAL[key.data] / f"{key.picture}.jpg"
    (found,) = sample_sets.of_folders(str(image), str(folder_of(key, workdir)))
    return found


def keys(options: argparse.Namespace) -> Iterator[Key]:
    """Yields all lines that are asked for, the first seed of every picture before the second."""
    chosen = options.pictures or CHOSEN[options.data]
    for seed, row, picture in itertools.product(range(options.seeds), options.rows, chosen):
        if row not in PUBLISHED or (seed == 0 and options.data in PUBLISHED[row]):
            yield Key(options.data, picture, row, seed, options.max_size)


def of_pictures(figures: Figures, rows: Sequence[str]) -> tuple[list[str], dict[str, dict]]:
    """Returns the pictures that all rows have, and of every row its measures, `[pictures]`.

    Args:
        figures: lines of one data set at one size.
        rows: names of rows.
    """
    names = (key.picture for key in figures)
    alike = [{key.picture for key in figures if key.row == row} for row in rows]
    pictures = sorted(set(names).intersection(*alike), key=int)
    found: dict[str, dict] = {}
    for row in rows:
        several = [seeds(figures, row, picture) for picture in pictures]
        known = [name for name in HEADINGS if several and all(name in one for one in several)]
        found[row] = {name: np.array([np.mean(one[name]) for one in several]) for name in known}
    return pictures, found


def seeds(figures: Figures, row: str, picture: str) -> dict[str, list[float]]:
    """Returns the measures of a row and picture over all its seeds."""
    several = [one for key, one in figures.items() if (key.row, key.picture) == (row, picture)]
    return {name: [one[name] for one in several] for name in several[0]}


def means(found: dict[str, dict]) -> str:
    """Returns a line for each measure: mean and standard deviation over pictures of every row."""

    def cell(x: np.ndarray) -> str:
        return f"{digits(x.mean())}±{digits(x.std(ddof=1))}" if len(x) > 1 else digits(x[0])

    return _table(found, list(found), cell)


def differences(found: dict[str, dict]) -> str:
    """Returns the differences to the first row; bold where the interval excludes 0."""
    first, *others = found

    def cell(x: np.ndarray) -> str:
        low, high = interval(x)
        text = f"{digits(x.mean())} [{digits(low)}, {digits(high)}]"
        return f"**{text}**" if low * high > 0 else text

    paired = {
        row: {
            name: x - found[first][name] for name, x in found[row].items() if name in found[first]
        }
        for row in others
    }
    return _table(paired, others, cell)


def interval(x: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of a mean over pictures, by bootstrap."""
    drawn = np.random.default_rng(0).choice(x, (RESAMPLES, len(x)))
    low, high = np.percentile(drawn.mean(1), [2.5, 97.5])
    return float(low), float(high)


def between_seeds(figures: Figures, rows: Sequence[str]) -> str:
    """Returns the standard deviation over seeds, a column for each row and picture of several."""
    pairs = sorted({(key.row, key.picture) for key in figures if key.row in rows and key.seed})
    found = {f"{row}, {picture}": seeds(figures, row, picture) for row, picture in pairs}
    return _table(found, list(found), lambda x: digits(np.std(x, ddof=1))) if found else ""


def _table(found: dict[str, dict], columns: Sequence[str], cell: Callable) -> str:
    lines = [["", *columns]]
    for name in HEADINGS:
        if name not in HIDDEN and any(name in found[column] for column in columns):
            cells = [cell(one[name]) if name in (one := found[c]) else "" for c in columns]
            lines.append([HEADINGS[name], *cells])
    return tables.markdown(lines)


def digits(value: float) -> str:
    """Returns a number with three decimals, or as a whole one if it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"


def worst(several: Iterable[SampleSet]) -> np.ndarray:
    """Returns a sheet: the images and samples farthest in VGG-SIFD, then those of most `place`."""
    weights, found = networks().vgg, []
    for one in several:
        of_real = metrics.moments(features.vgg_relu1_2(weights, one.real[None]))
        for sample in one.samples:
            made = metrics.moments(features.vgg_relu1_2(weights, sample[None]))
            distance = metrics.frechet_distance(made, of_real)
            found.append((distance, patches.copy_rate(sample, one.real), one, sample))
    rows = [sorted(found, key=lambda x: -x[which])[:NUM_WORST] for which in (0, 1)]
    for distance, copied, one, _ in itertools.chain(*rows):
        print(f"{one.name}: VGG-SIFD {distance:.3f}, place {copied:.3f}")
    lines = [[x for *_, one, sample in row for x in (one.real, sample)] for row in rows]
    return display.grid(list(itertools.chain(*lines)), columns=2 * NUM_WORST)


def main(arguments: Sequence[str] | None = None) -> None:
    """Computes what is missing, and prints the tables."""
    options = parser().parse_args(arguments)
    kept = options.figures or options.workdir / "figures.jsonl"
    natural = niqe.load(options.niqe) if options.niqe else None
    options.workdir.mkdir(parents=True, exist_ok=True)
    for key in keys(options):
        if key in read(kept):
            continue
        spent: dict[str, float] = {}
        if key.row not in PUBLISHED:
            image = options.shared / REAL[key.data] / f"{key.picture}.jpg"
            spent = apart(make, key, image, options.workdir, options.num_samples)
        samples = samples_of(key, options.shared, options.workdir)
        cores, number = len(os.sched_getaffinity(0)), len(samples.samples)
        line = {**key._asdict(), "num_samples": number, "cores": cores}
        line["measures"] = measures(samples, natural) | {k: round(v, 1) for k, v in spent.items()}
        with kept.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    every, here = read(kept), (options.data, options.max_size)
    figures = {key: one for key, one in every.items() if (key.data, key.max_size) == here}
    rows = [row for row in options.rows if any(key.row == row for key in figures)]
    pictures, found = of_pictures(figures, rows)
    print(f"\n{options.data}, {options.max_size} px, pictures {', '.join(pictures)}")
    print(f"\nMean ± standard deviation over pictures:\n\n{means(found)}")
    if len(pictures) >= LEAST_PAIRS and len(rows) > 1:
        print(f"\nDifference to `{rows[0]}`, 95 % interval:\n\n{differences(found)}")
    if text := between_seeds(figures, rows):
        print(f"\nStandard deviation between seeds:\n\n{text}")
    if options.worst:
        wanted = [key for key in figures if key.row == options.worst]
        sheet = worst(samples_of(key, options.shared, options.workdir) for key in wanted)
        display.save(options.workdir / f"worst-{options.worst}.png", sheet)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser("benchmarks.table", description=__doc__.splitlines()[0])
    made.add_argument("--data", choices=REAL, default="lsun", help="the data set")
    made.add_argument("--rows", nargs="+", default=["published", "published_singan"])
    made.add_argument("--pictures", nargs="+", help="numbers; by default those chosen")
    made.add_argument("--seeds", type=int, default=1, help="of each row that is made here")
    made.add_argument("--max_size", type=int, default=250, help="longer side, in pixels")
    made.add_argument("--num_samples", type=int, default=20, help="of each row that is made here")
    made.add_argument("--niqe", help="the wheel of mmagic, for NIQE")
    made.add_argument("--shared", type=pathlib.Path, default="../shared")
    made.add_argument("--workdir", type=pathlib.Path, default="runs/table")
    made.add_argument("--figures", type=pathlib.Path, help="by default figures.jsonl in --workdir")
    made.add_argument("--worst", help="a row whose worst samples are put on a sheet")
    return made


if __name__ == "__main__":
    main()
