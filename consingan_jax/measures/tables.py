"""Measures as text, CSV and JSON."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

from consingan_jax.files import write_text
from consingan_jax.measures.evaluation import COLUMNS, MEANINGS, Row, summary
from consingan_jax.measures.metrics import Estimate

Table = Mapping[str, tuple[int, Row]]
"""The number of samples and the measures of every image, by its name."""

ONLY_IF_KNOWN = (
    "sifid_64",
    "sifid_192",
    "dark_chroma",
    "dark_chroma_real",
    "bright_chroma",
    "bright_chroma_real",
    "reconstruction_rmse",
    "reconstruction_psnr",
)


def text(table: Table) -> str:
    """Returns a line for each image and one for their mean, `value±standard error` in each cell.

    Of one image a line for each measure, which also says how to read it.
    """
    names = _shown([row for _, row in table.values()])
    if len(table) == 1:
        ((image, (num, row)),) = table.items()
        cells = [(COLUMNS[name], cell(row[name]), MEANINGS[name]) for name in names]
        rows = [(image, f"{num} samples", ""), *cells]
        first, second = (max(map(len, column)) for column in list(zip(*rows, strict=True))[:2])
        return "\n".join(f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in rows)
    lines = [["image", "n", *(COLUMNS[name] for name in names)]]
    for image, (num, row) in table.items():
        lines.append([image, str(num), *(cell(row[name]) for name in names)])
    mean = summary([row for _, row in table.values()])
    lines.append([f"mean of {len(table)}", "", *(cell(mean[name]) for name in names)])
    return _aligned(lines)


def comparison(tables: Mapping[str, Table]) -> str:
    """Returns a line for each measure, with the mean over the images of every table."""
    means = {name: summary([row for _, row in table.values()]) for name, table in tables.items()}
    samples = [sum(num for num, _ in table.values()) for table in tables.values()]
    lines = [
        ["", *tables],
        ["images", *(str(len(table)) for table in tables.values())],
        ["samples", *map(str, samples)],
    ]
    for name in _shown(list(means.values())):
        lines.append([COLUMNS[name], *(cell(mean[name]) for mean in means.values())])
    return _aligned(lines)


def cell(estimate: Estimate | None) -> str:
    """Returns an estimate in words: `n/a`, `infinite`, `0.123` or `0.123±0.004`."""
    if estimate is None:
        return "n/a"
    if math.isinf(estimate.value):
        return "infinite"
    error = "" if estimate.error is None else f"±{estimate.error:.3f}"
    return f"{estimate.value:.3f}{error}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a Markdown table, the first of them its heading."""
    heading, *others = lines
    rows = [heading, ["---"] * len(heading), *others]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def save(directory: pathlib.Path, tables: Mapping[str, Table]) -> None:
    """Writes `evaluation.txt`, `.csv` and `.json`: everything, of every table, with all digits."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [f"{name}\n{text(table)}\n" for name, table in tables.items()]
    words += [comparison(tables) + "\n"] if len(tables) > 1 else []
    write_text(directory / "evaluation.txt", "\n".join(words))
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["of", "image", "samples", "measure", "value", "standard_error", "num"])
    for name, table in tables.items():
        writer.writerows(_lines(name, table))
    write_text(directory / "evaluation.csv", rows.getvalue())
    trees = {name: _tree(table) for name, table in tables.items()}
    write_text(directory / "evaluation.json", json.dumps(trees, indent=1, allow_nan=False) + "\n")


def _lines(name: str, table: Table):
    mean = summary([row for _, row in table.values()])
    for image, (num, row) in [*table.items(), ("mean", (0, mean))]:
        for measure, estimate in row.items():
            known = ["", "", 0] if estimate is None else list(estimate)
            yield [name, image, num or "", measure, *known]


def _tree(table: Table):
    images = {
        image: {"samples": num, **{name: _plain(one) for name, one in row.items()}}
        for image, (num, row) in table.items()
    }
    mean = summary([row for _, row in table.values()])
    return {"images": images, "mean": {name: _plain(one) for name, one in mean.items()}}


def _plain(estimate: Estimate | None):
    """Returns an estimate as JSON has it, which knows no infinity: that is the text "inf"."""
    if estimate is None:
        return None
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in estimate._asdict().items()
    }


def _shown(rows: Sequence[Row]) -> list[str]:
    return [
        name
        for name in COLUMNS
        if name not in ONLY_IF_KNOWN or any(row[name] is not None for row in rows)
    ]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )
