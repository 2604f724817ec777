"""Trains an image in several ways, and measures how good the models are after how many seconds."""

import ast
import json
import pathlib
import re
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tensorboardX.proto import event_pb2

from consingan_jax.config import Config
from consingan_jax.errors import StoppedError
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model
from consingan_jax.measures import evaluation, sample_sets
from consingan_jax.measures.evaluation import COLUMNS, Row
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.methods import METHODS
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import trainer
from consingan_jax.training.progress import Progress

NUM_SAMPLES = 10
MEASURES = (
    "vgg_sifd",
    "relu3_3_frechet",
    "relu3_3",
    "relu4_3",
    "edges_7",
    "edges_11",
    "coherence_7",
    "completeness_7",
    "lpips_diversity",
    "pixel_diversity_rms",
    "swd_1",
    "same_place",
    "rgb",
    "dark_chroma",
    "dark_chroma_real",
    "bright_chroma",
    "bright_chroma_real",
    "reconstruction_rmse",
)
OF_ONE = ("dark_chroma_real", "bright_chroma_real", "reconstruction_rmse")  # not over samples


def config_of(way: str, image: pathlib.Path) -> Config:
    """Returns the configuration of a way: `paper`, a variant or a method, then `NAME=VALUE`s.

    Values with commas are lists, and are written with semicolons: `fast,num_iters=900;700`.
    """
    name, *changes = way.split(",")
    kind = {"method": name} if name in METHODS else {"variant": "" if name == "paper" else name}
    return Config.create(**kind, image=image, **changes_of(changes))


def changes_of(changes: Sequence[str]) -> dict[str, Any]:
    """Returns the values of fields that are written as `NAME=VALUE`."""
    values = dict(change.split("=", 1) for change in changes)
    return {name: _value(text) for name, text in values.items()}


def _value(text: str) -> Any:
    numbers = text.replace(";", ",")
    try:
        return ast.literal_eval(f"({numbers})")
    except (ValueError, SyntaxError):
        return text


def follow(
    config: Config,
    run: pathlib.Path,
    measure: Callable[[Model], dict[str, float]],
    *,
    every: float,
    start: pathlib.Path | None = None,
    last: int | None = None,
) -> list[dict[str, float]]:
    """Trains a run, and measures its model now and then.

    Args:
        config: its configuration.
        run: its directory; the lines are beside it, in `RUN.jsonl`.
        measure: measures a model.
        every: seconds of the stage `last` between two measurements; other stages have one, at their
            end.
        start: checkpoint at the end of a stage of another run of the image, to go on from.
        last: the last stage to train; by default that of the run.

    Returns:
        The lines: "stage", "step", "seconds" of training so far, and the measures.
    """
    kept = run.with_suffix(".jsonl")
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    last = config.num_stages - 1 if last is None else last
    if start and not run.exists():
        directory = RunDirectory(run)
        with directory.acquire(load_inputs(config)):
            shutil.copytree(start, directory.checkpoints / start.name)
    is_over = False
    while not is_over:
        watcher = _StopForMeasurement(every, last)
        try:
            model = trainer.train(config, run, watcher=watcher)
        except StoppedError:
            if not watcher.is_due:  # Ctrl-C
                raise
            model = restore.load(run)
        stage = len(model.sizes) - 1
        is_over = stage == last and model.step == config.stage(stage).num_iters
        moment = {"stage": stage, "step": model.step}
        if any(moment.items() <= line.items() for line in lines):  # measured by an earlier call
            continue
        lines.append({**moment, "seconds": training_seconds(run), **measure(model)})
        with kept.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(lines[-1], flush=True)
    return lines


class _StopForMeasurement:
    """Stops a training when a measurement is due."""

    def __init__(self, every: float, last: int):
        self.is_due, self._every, self._last = False, every, last
        self._first: Progress | None = None  # with iterations of this call
        self._began = 0.0

    def __call__(self, now: Progress) -> bool:
        if now.compiling:
            return False
        if self._first is None:
            self._first, self._began = now, time.monotonic()
        moments = [(one.stage, one.step) for one in (self._first, now)]
        is_at_end = now.step == now.iterations and moments[0] != moments[1]
        passed = time.monotonic() - self._began
        self.is_due = is_at_end or (now.stage == self._last and passed >= self._every)
        return self.is_due


def compare(
    image: pathlib.Path,
    published: SampleSet,
    ways: Sequence[str],
    out: pathlib.Path,
    **options: Any,
) -> None:
    """Trains an image in several ways, and draws its measures over the seconds.

    Args:
        image: the training image.
        published: its published samples.
        ways: as for `config_of`.
        out: directory of the runs, their lines and the chart.
        options: as for `follow`.
    """
    networks = evaluation.networks()

    def measure(model: Model) -> dict[str, float]:
        drawn = sample_sets.of_model(model, num_samples=NUM_SAMPLES, seed=0)
        return _values(evaluation.evaluate(drawn, networks))

    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for way in ways:
        run = out / re.sub(r"[^\w.=-]", "_", way)
        found[way] = follow(config_of(way, image), run, measure, **options)
    # All ways end with one stage, which may be below the top level.
    reference = sample_sets.shrunk(published, max(restore.load(run).sizes[-1]))
    draw(found, _values(evaluation.evaluate(reference, networks)), out / "curves.png")


def _values(row: Row) -> dict[str, float]:
    return {name: row[name].value for name in MEASURES if row[name] is not None}


def draw(
    found: dict[str, list[dict[str, float]]], published: dict[str, float], path: pathlib.Path
) -> None:
    """Draws a chart for each measure: a curve for every way, of its last stage alone."""
    import matplotlib.pyplot as plt  # for this alone

    names = [name for name in MEASURES if name in published and name not in OF_ONE]
    columns = 4
    figure, charts = plt.subplots(
        *(-(-len(names) // columns), columns),
        figsize=(4 * columns, 3 * -(-len(names) // columns)),
        layout="constrained",
        squeeze=False,
    )
    for name, axes in zip(names, charts.flat, strict=False):
        axes.axhline(published[name], color="black", linestyle="--", label="published")
        for way, lines in found.items():
            last = max(line["stage"] for line in lines)
            points = [(line["seconds"], line[name]) for line in lines if line["stage"] == last]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=way)
        axes.set(title=COLUMNS[name].heading, xlabel="seconds", xscale="log")
    for axes in charts.flat[len(names) :]:
        axes.set_visible(False)
    charts.flat[0].legend(fontsize="small")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def training_seconds(run: pathlib.Path) -> float | None:
    """Returns the seconds of the processes that trained a run, by TensorBoard's events of each."""
    files = sorted((run / "tensorboard").glob("events.*"))
    times = [list(event_times(file.read_bytes())) for file in files]
    return sum(max(one) - min(one) for one in times if one) if files else None


def event_times(data: bytes) -> Iterator[float]:
    """Yields the time of every whole event in a file of TensorBoard's, in seconds since 1970."""
    at = 0
    while at + 12 <= len(data):  # length, checksum, event, checksum
        (length,) = struct.unpack_from("<Q", data, at)
        event, at = data[at + 12 : at + 12 + length], at + 16 + length
        if at <= len(data):
            yield event_pb2.Event.FromString(event).wall_time
