"""`consingan evaluate`: measures samples against their training images."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from consingan_jax import device
from consingan_jax.cli import resolve_run
from consingan_jax.cli.flags import Command, Flags, check_used
from consingan_jax.errors import InputError
from consingan_jax.generation import restore
from consingan_jax.measures import evaluation, sample_sets, tables
from consingan_jax.runs.report import EVALUATION, Page

USAGE = """Measures samples against their training images.

  consingan evaluate [RUN] [--num_samples=50 --seed=0]      samples drawn from a run
  consingan evaluate --real=photo.jpg --samples=FOLDER      samples of one photo
  consingan evaluate --real=FOLDER --samples=FOLDER         K.png with K.png or K_<j>.png
  consingan evaluate [--real=FOLDER] --compare A B ...      runs or folders side by side

Prints a table, a line for each image; --out also keeps it as text, CSV and JSON. The table of a run
is kept in RUN/evaluation/ and shown in RUN/report.html. --max_size=64 shrinks everything to 64 px
first, to compare pictures of different resolutions; that is kept in --out only."""


def _define(flags: Flags, _: Sequence[str]) -> None:
    a, to = absl_flags, dict[str, Any](flag_values=flags)
    a.DEFINE_string("ckpt", "", "RUN, as a flag: directory of a run or of a model.", **to)
    a.DEFINE_integer("num_samples", 50, "How many samples of a run.", lower_bound=1, **to)
    a.DEFINE_integer("seed", 0, "Seed of a run's first sample.", lower_bound=0, **to)
    a.DEFINE_string("real", "", "Training image, or a folder of them.", **to)
    a.DEFINE_string("samples", "", "Folder of samples of them.", **to)
    a.DEFINE_string("compare", "", "Runs, or with --real folders of samples.", **to)
    a.DEFINE_string("inception", "", "torchvision's Inception-v3 weights, for SIFID.", **to)
    a.DEFINE_integer("max_size", None, "Pixels to shrink all pictures to.", lower_bound=16, **to)
    a.DEFINE_string("out", "", "Directory for the tables [only printed].", **to)


def _sources(flags: Flags, arguments: Sequence[str]) -> list[str]:
    """Returns the runs and folders to measure, after checking the flags."""
    flagged = [source for source in (flags.ckpt, flags.samples, flags.compare) if source]
    sources = [*flagged, *arguments]
    if len(flagged) > 1 or (flags.real and not sources):
        raise InputError("give a run, or --real= and --samples=FOLDER, or --compare A B")
    sources = sources or [resolve_run.run_or_last(None, [])]
    if len(sources) > 1 and not flags.compare:
        raise InputError(f"unknown argument {sources[-1]!r}: flags look like --name=value")
    if flags.samples and not flags.real:
        raise InputError("--real is missing: give the training image, or the folder of them")
    if flags.real and not (flags.samples or flags.compare):
        raise InputError(f"--real={flags.real} needs --samples=FOLDER or --compare: add one")
    if flags.compare and len(set(sources)) < 2:
        raise InputError(f"--compare {flags.compare}: give two or more runs or folders")
    if not any(map(restore.is_run, sources)):
        reads = {"real", "samples", "compare", "inception", "max_size", "out"}
        check_used(flags, reads, "on folders of samples")
    return sources


def _sample_sets(source: str, flags: Flags) -> list[sample_sets.SampleSet]:
    if restore.is_run(source):
        found = sample_sets.of_run(source, num_samples=flags.num_samples, seed=flags.seed)
    elif flags.real:
        found = sample_sets.of_folders(flags.real, source)
    else:
        raise InputError(f"{source} is not a run: for a folder of samples add --real=FOLDER")
    size = flags.max_size
    return [sample_sets.shrunk(one, size) for one in found] if size else found


def _keep(run: pathlib.Path, measured: tables.Table) -> None:
    """Writes the table of a run into its directory, and shows it on its page."""
    page = Page(run)
    if not page.path.exists():  # a model on its own has none
        return
    try:
        tables.save(run / EVALUATION, {str(run): measured})
        page.write()
    except OSError as error:  # a run of somebody else's can be measured too
        print(f"not kept in {run}: {error.strerror}")


def _main(flags: Flags, arguments: Sequence[str]) -> None:
    sources = _sources(flags, arguments)
    networks = evaluation.networks(flags.inception)
    device.use_compilation_cache(flags.compilation_cache)
    found = {source: _sample_sets(source, flags) for source in sources}
    measured = {}
    for source, sets in found.items():
        print(source)
        for one in sets:
            for line in filter(None, (one.note, *evaluation.gaps(one))):
                print(line)
        measured[source] = evaluation.table(sets, networks, progress=sys.stderr)
        print(tables.text(measured[source]), flush=True)
        if restore.is_run(source) and not flags.max_size:
            _keep(pathlib.Path(source), measured[source])
    if len(measured) > 1:
        print(f"\n{tables.comparison(measured)}")
    if flags.out:
        tables.save(pathlib.Path(flags.out), measured)
        print(f"{flags.out}/evaluation.txt, .csv, .json")


COMMAND = Command(USAGE, _define, _main)
