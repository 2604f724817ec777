"""Writes index.html and summary.csv of a sweep, a row for each run."""

import csv
import dataclasses
import html
import importlib.resources
import io
import os
import pathlib
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

from consingan_jax.config import Config
from consingan_jax.files import write_text
from consingan_jax.runs import logger
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.report import numbered, where

SECONDS = 30.0  # between two versions of the page while a run trains


@dataclasses.dataclass(frozen=True)
class Row:
    """What there is to say of one run.

    Attributes:
        name: of its directory.
        image: file of its training image.
        seed: of the run.
        state: in words.
        seconds: that its iterations have taken; None before the first.
        rmse: of the last reconstruction, on [-1, 1], likewise.
        measures: of the finished model, by their names.
        error: why it failed, else empty.
        shown: its training image and its newest samples, as files below the set's directory.
    """

    name: str
    image: str
    seed: int
    state: str
    seconds: float | None
    rmse: float | None
    measures: Mapping[str, float]
    error: str
    shown: tuple[str, ...]

    @classmethod
    def of(
        cls, run: pathlib.Path, config: Config, *, error: str, measures: Mapping[str, float]
    ) -> "Row":
        """Returns the row of a run as its directory has it now."""
        lines = list(logger.read(run / "metrics.jsonl"))
        newest = {line["stage"]: line.get("seconds", 0.0) for line in lines}
        state = where(config, lines) if lines else "waits"
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
    """Writes both files of a set."""

    def __init__(self, path: pathlib.Path):
        """Names the set's directory; touches nothing."""
        self.path = path
        self._written = 0.0

    def write_at_times(self, rows: Callable[[], Sequence[Row]]) -> None:
        """Writes both files, if that was not done a moment ago."""
        if self.age() > SECONDS:
            self.write(rows())

    def age(self) -> float:
        """Returns the seconds since both files were written."""
        return time.monotonic() - self._written

    def write(self, rows: Sequence[Row]) -> None:
        """Writes both files."""
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
    writer = csv.writer(text, lineterminator="\n")
    fields = ("name", "image", "seed", "state", "seconds", "rmse")
    writer.writerow([*fields, *names, "error"])
    for row in rows:
        own = ["" if (value := getattr(row, field)) is None else value for field in fields]
        writer.writerow([*own, *(row.measures.get(name, "") for name in names), row.error])
    return text.getvalue()


def _link(path: str) -> str:
    return urllib.parse.quote(os.fsencode(path))


def _shown(row: Row, names: Sequence[str]) -> str:
    """Returns the row of a page."""
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
