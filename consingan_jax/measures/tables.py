"""Formats metrics as text, CSV and JSON."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from consingan_jax.files import write_text
from consingan_jax.measures.evaluation import COLUMNS, Row, summary
from consingan_jax.measures.metrics import Estimate

Table = Mapping[str, tuple[int, Row]]
"""The number of samples and the metrics of every image, by name."""


def text(table: Table) -> str:
    """Returns a line for each image and one for their mean, with cells `value±standard error`.

    For a single image it returns a line for each metric instead, which says how to read it.
    """
    names = _shown(row for _, row in table.values())
    if len(table) == 1:
        ((image, (num, row)),) = table.items()
        cells = [[COLUMNS[name].heading, cell(row[name]), COLUMNS[name].meaning] for name in names]
        return _aligned([[image, f"{num} samples", ""], *cells], str.ljust)
    lines = [["image", "n", *(COLUMNS[name].heading for name in names)]]
    mean = (f"mean of {len(table)}", ("", _mean(table)))
    for image, (number, row) in [*table.items(), mean]:
        lines.append([image, str(number), *(cell(row[name]) for name in names)])
    return _aligned(lines)


def comparison(tables: Mapping[str, Table]) -> str:
    """Returns a line for each metric, with the mean over the images of every table."""
    means = list(map(_mean, tables.values()))
    lines = [
        ["", *tables],
        ["images", *(str(len(table)) for table in tables.values())],
        ["samples", *(str(sum(num for num, _ in table.values())) for table in tables.values())],
    ]
    for name in _shown(means):
        lines.append([COLUMNS[name].heading, *(cell(mean[name]) for mean in means)])
    return _aligned(lines)


def cell(estimate: Estimate | None) -> str:
    """Formats an estimate as `n/a`, `infinite`, `0.123` or `0.123±0.004`."""
    if estimate is None:
        return "n/a"
    if math.isinf(estimate.value):
        return "infinite"
    error = "" if estimate.error is None else f"±{estimate.error:.3f}"
    return f"{estimate.value:.3f}{error}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Formats rows of cells, the first of them the heading, as a Markdown table."""
    heading, *others = lines
    rows = [heading, ["---"] * len(heading), *others]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def save(directory: pathlib.Path, tables: Mapping[str, Table]) -> None:
    """Writes all metrics of all tables to `evaluation.txt`, `.csv` and `.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = [f"{name}\n{text(table)}\n" for name, table in tables.items()]
    parts += [comparison(tables) + "\n"] if len(tables) > 1 else []
    write_text(directory / "evaluation.txt", "\n".join(parts))
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["of", "image", "samples", "measure", "value", "standard_error", "num"])
    for name, table in tables.items():
        writer.writerows(_csv_rows(name, table))
    write_text(directory / "evaluation.csv", rows.getvalue())
    trees = {name: _tree(table) for name, table in tables.items()}
    write_text(directory / "evaluation.json", json.dumps(trees, indent=1, allow_nan=False) + "\n")


def _csv_rows(name: str, table: Table) -> Iterator[list[Any]]:
    for image, (num, row) in [*table.items(), ("mean", ("", _mean(table)))]:
        for metric, one in row.items():
            yield [name, image, num, metric, *(("", "", 0) if one is None else one)]


def _tree(table: Table) -> dict[str, Any]:
    images = {image: {"samples": num, **_plain(row)} for image, (num, row) in table.items()}
    return {"images": images, "mean": _plain(_mean(table))}


def _plain(row: Row) -> dict[str, Any]:
    def number(value: float | None) -> Any:  # JSON has no infinity: write the text "inf"
        return value if value is None or math.isfinite(value) else str(value)

    return {
        name: one and {key: number(value) for key, value in one._asdict().items()}
        for name, one in row.items()
    }


def _mean(table: Table) -> Row:
    return summary([row for _, row in table.values()])


def _shown(rows: Iterable[Row]) -> list[str]:
    """Returns the columns that are not optional, or that a row has."""
    rows = list(rows)
    return [
        name
        for name, column in COLUMNS.items()
        if not column.is_optional or any(row[name] is not None for row in rows)
    ]


def _aligned(lines: Sequence[Sequence[str]], justify: Callable[[str, int], str] = str.rjust) -> str:
    """Pads cells to columns, the first one to the left and the others by `justify`."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(justify, line[1:], widths[1:])]).rstrip()
        for line in lines
    )
