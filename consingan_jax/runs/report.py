"""Writes report.html, a self-contained page about a run."""

import importlib.resources
import json
import math
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.files import write_text
from consingan_jax.images import display
from consingan_jax.runs import logger
from consingan_jax.runs.directory import RunDirectory

EVALUATION = "evaluation"  # directory in a run, with the tables of `consingan evaluate`
# Limits that keep a page below 10 MB however long the run is.
MOMENTS = 36  # grids of samples
LEVELS = 30  # of the pyramid
POINTS = 200  # of a curve
# Longest side in pixels, and bytes, of a picture.
GRID, PICTURE, LEVEL = (960, 120_000), (500, 60_000), (160, 12_000)
LOSSES = {"critic_real": "critic, image", "critic_fake": "critic, fake", "generator": "generator"}
ERROR = {"reconstruction_rmse": "RMSE on [-1, 1]"}

Line = dict[str, Any]
"""What was logged at one moment: "stage", "step", and the metrics."""


class Page:
    """The page of one run, which may be written many times; each picture is packed once."""

    def __init__(self, run: pathlib.Path):
        """Names the run's directory; touches nothing."""
        self.run = run
        self.path = run / "report.html"
        self._packed: dict[tuple, str] = {}

    def write(self) -> None:
        """Writes the page from the present content of the run's directory.

        Raises:
            InputError: the directory is not a run, or its pyramid is missing.
        """
        template = importlib.resources.files("consingan_jax.runs") / "report.html"
        # Within a script element HTML knows several sequences that begin with "<"; JSON needs none.
        data = json.dumps(self._content(), allow_nan=False).replace("<", "\\u003c")
        page = template.read_text("utf-8").replace("__RUN__", data)
        write_text(self.path, page)

    def _content(self) -> dict[str, Any]:
        config = RunDirectory(self.run).config()
        levels = numbered(self.run, "pyramid/level_*_*.png")
        if not levels:
            raise InputError(f"{self.run} has no pyramid: train on, then try again")
        lines = list(logger.read(self.run / "metrics.jsonl"))
        state = where(config, lines)
        return {
            "title": f"{pathlib.Path(config.image).name}: {config.slug}",
            "state": state if state == "finished" else f"{state}, when this page was written",
            "image": self._pack(levels[-1], PICTURE),
            "reconstruction": self._reconstruction(lines),
            **self._samples(bool(config.naive)),
            "stages": [_stage(config, k, path, lines) for k, path in enumerate(levels)],
            "pyramid": [
                {"size": _size(path), "source": self._pack(path, LEVEL)}
                for path in _spread(levels, LEVELS)
            ],
            "measures": self._measures(),
            "commands": self._commands(config),
            "settings": config.changes(),
        }

    def _reconstruction(self, lines: Sequence[Line]) -> dict[str, str] | None:
        """Returns the reconstruction of the last stage that is finished."""
        found = numbered(self.run, "reconstruction/stage_*.png")
        if not found:
            return None
        stage = _numbers(found[-1])[0]
        errors = [line["reconstruction_rmse"] for line in lines if line["stage"] == stage]
        error = f", RMSE {errors[-1]:.4f} on [-1, 1]" if errors else ""
        caption = f"as the model reconstructs it after stage {stage}{error}"
        return {"source": self._pack(found[-1], PICTURE), "caption": caption}

    def _samples(self, has_composite: bool) -> dict[str, Any]:
        """Returns pictures over time: composites with their results, or samples."""
        name, words = "samples", "samples; the training image at the top left"
        if has_composite and any(self.run.glob("naive/stage_*_step_*.png")):
            name, words = "naive", "the composite, and what the model makes of it"
        found = _spread(numbered(self.run, f"{name}/stage_*_step_*.png"), MOMENTS)
        moments = [(*_numbers(path), self._pack(path, GRID)) for path in found]
        keys = ("stage", "step", "source")
        pictures = [dict(zip(keys, moment, strict=True)) for moment in moments if moment[-1]]
        return {"samples": pictures, "shows": words}

    def _measures(self) -> str:
        """Returns the last table of `consingan evaluate`; empty if there is none."""
        try:
            text = (self.run / EVALUATION / "evaluation.txt").read_text("utf-8", "replace")
        except OSError:
            return ""
        return text.partition("\n")[2].rstrip()  # without the name of the run

    def _commands(self, config: Config) -> list[dict[str, str]]:
        run, task = shlex.quote(str(self.run)), config.task_spec
        hint = task.sample_hint
        if config.naive:
            hint = hint.replace("COMPOSITE", shlex.quote(config.naive))
        rows = {"make images": f"consingan sample {run} {hint}"}
        if task.can_animate and "--animate" not in task.sample_hint:
            rows["make animations"] = f"consingan sample {run} --animate"
        rows["measure"] = f"consingan evaluate {run}"
        rows["go on after an interruption"] = f"consingan train --workdir={run}"
        return [{"label": label, "text": text} for label, text in rows.items()]

    def _pack(self, path: pathlib.Path, limits: tuple[int, int]) -> str:
        """Returns a picture as text to put into the page; empty if it cannot be read."""
        about = path.stat()
        key = (path, about.st_mtime_ns, about.st_size, limits)
        if key not in self._packed:
            self._packed[key] = display.data_uri(path, *limits)
        return self._packed[key]


def where(config: Config, lines: Sequence[Line]) -> str:
    """Returns in words how far a run is, by its last line of metrics."""
    stage, step = (lines[-1]["stage"], lines[-1]["step"]) if lines else (0, 0)
    total = config.stage(stage).num_iters
    if (stage + 1, step) == (config.num_stages, total):
        return "finished"
    return f"{logger.stage_name(stage, config.num_stages)}, iteration {step} of {total}"


def _stage(config: Config, number: int, level: pathlib.Path, lines: Sequence[Line]) -> Line:
    own = [line for line in lines if line["stage"] == number]
    total, done = config.stage(number).num_iters, own[-1]["step"] if own else 0
    seconds = own[-1].get("seconds") if own else None  # earlier versions logged none
    return {
        "number": number,
        "size": _size(level),
        "iterations": f"{done} of {total}" if done < total else str(total),
        "minutes": "" if seconds is None else f"{seconds / 60:.1f}",
        "losses": _curves(own, LOSSES),
        "error": _curves(own, ERROR),
    }


def _curves(lines: Sequence[Line], names: Mapping[str, str]) -> list[Line]:
    """Returns the points (step, value) of each metric, as far as they are finite."""
    curves = []
    for name, title in names.items():
        points = [
            (line["step"], float(f"{line[name]:.4g}"))
            for line in _spread(lines, POINTS)
            if math.isfinite(line.get(name, math.nan))
        ]
        if len(points) > 1:
            curves.append({"name": title, "points": points})
    return curves


def _spread(items: Sequence, most: int) -> list:
    """Returns at most so many, evenly taken, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def numbered(run: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Returns files in the order of the numbers in their names."""
    return sorted(run.glob(pattern), key=_numbers)


def _numbers(path: pathlib.Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", path.stem)]


def _size(level: pathlib.Path) -> str:
    return level.stem.rpartition("_")[2]
