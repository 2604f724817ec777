"""Writes index.html and summary.csv of a sweep, with a row for each run."""

import csv
import html
import importlib.resources
import io
import os
import pathlib
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consingan_jax.config import Config
from consingan_jax.files import write_text
from consingan_jax.runs import logger
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.report import numbered, where
from consingan_jax.sweeps.state import SweepRun, SweepState

SECONDS = 30.0  # between two versions of the page while a run trains


class Row(NamedTuple):
    """A row of the report, about one run."""

    name: str
    image: str
    seed: int
    state: str  # "finished", "failed", "waits", or the stage and iteration
    seconds: float | None  # that the iterations took; None before the first
    rmse: float | None  # of the last reconstruction, on [-1, 1]
    measures: Mapping[str, float]
    error: str
    shown: tuple[str, ...]  # training image and newest samples, relative to the sweep's directory

    @classmethod
    def of(
        cls, run: pathlib.Path, config: Config, *, error: str, measures: Mapping[str, float]
    ) -> "Row":
        """Reads the row of a run from its directory."""
        lines = list(logger.read(run / "metrics.jsonl"))
        newest = {line["stage"]: line.get("seconds", 0.0) for line in lines}
        # Its own configuration says how many stages it has.
        state = where(RunDirectory(run).config(), lines) if lines else "waits"
        state = "finished" if RunDirectory(run).is_finished() else "failed" if error else state
        found = (numbered(run, "pyramid/level_*_*.png"), numbered(run, "samples/stage_*.png"))
        return cls(
            name=run.name,
            image=config.image,
            seed=config.seed,
            state=state,
            seconds=round(sum(newest.values()), 1) if lines else None,
            rmse=lines[-1]["reconstruction_rmse"] if lines else None,
            measures=measures,
            error=error,
            shown=tuple(str(files[-1].relative_to(run.parent)) for files in found if files),
        )


class SweepReport:
    """Writes index.html and summary.csv of a sweep, whose state it reads at every call."""

    def __init__(self, path: pathlib.Path, runs: Sequence[SweepRun], state: SweepState):
        """Keeps its arguments; writes nothing."""
        self.path, self._runs, self._state = path, runs, state
        self._written = 0.0
        self._finished: dict[str, Row] = {}  # a finished run's files are read only once

    def write_if_old(self) -> None:
        """Writes both files unless they were written within the last `SECONDS`."""
        if self.age() > SECONDS:
            self.write()

    def age(self) -> float:
        """Returns the seconds since both files were written."""
        return time.monotonic() - self._written

    def _row(self, run: SweepRun) -> Row:
        error = self._state.errors.get(run.name, "")
        measures = self._state.measures.get(run.name, {})
        row = self._finished.get(run.name)
        if row is None:
            row = Row.of(self.path / run.name, run.config, error=error, measures=measures)
        if row.state == "finished":
            self._finished[run.name] = row
        return row._replace(error=error, measures=measures)

    def write(self) -> None:
        """Writes both files atomically."""
        rows = list(map(self._row, self._runs))
        names = sorted({name for row in rows for name in row.measures})
        template = importlib.resources.files("consingan_jax.sweeps") / "report.html"
        states = [row.state for row in rows]
        words = f"{states.count('finished')} of {len(rows)} finished" + (
            f", {states.count('failed')} failed" if "failed" in states else ""
        )
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        page = template.read_text("utf-8").replace("__STATE__", words).replace("__HEAD__", head)
        page = page.replace("__ROWS__", "\n".join(_shown(row, names) for row in rows))
        write_text(self.path / "index.html", page)
        write_text(self.path / "summary.csv", _csv(rows, names))
        self._written = time.monotonic()


def _csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    text = io.StringIO()
    fields = ("name", "image", "seed", "state", "seconds", "rmse", *names, "error")
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row.measures, **row._asdict()} for row in rows)
    return text.getvalue()


def _link(path: str) -> str:
    return urllib.parse.quote(os.fsencode(path))  # file names need not be UTF-8


def _shown(row: Row, names: Sequence[str]) -> str:
    """Returns a row of the page's table, in HTML."""
    link = _link(f"{row.name}/report.html")
    name = html.escape(row.name)
    title = f'<a href="{link}">{name}</a>' if row.shown else name
    pictures = "".join(
        f'<td><img loading="lazy" src="{_link(file)}" alt="{what} of {name}"></td>'
        for what, file in zip(("training image", "samples"), row.shown, strict=False)
    )
    pictures += "<td></td>" * (2 - len(row.shown))
    state = html.escape(row.error or row.state)
    seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
    numbers = [row.rmse, *(row.measures.get(name) for name in names)]
    cells = "".join(f"<td>{'' if n is None else format(n, '.3f')}</td>" for n in numbers)
    kind = "failed" if row.error else row.state.partition(" ")[0]
    return (
        f'<tr class="{kind}"><th scope="row">{title}</th>{pictures}<td>{state}</td>'
        f"<td>{seconds}</td>{cells}</tr>"
    )
