"""Measures samples against their training images.

    python evaluate.py --ckpt=RUN [--num_samples=50 --seed=0]        samples drawn from a run
    python evaluate.py --real=FOLDER --samples=FOLDER                K.png with K.png or K_<j>.png
    python evaluate.py [--real=FOLDER] --compare A B ...             runs or folders side by side

--max_size=64 shrinks everything to 64 px first, to compare what has different resolutions.

Prints a table, a line for each image; --out=DIRECTORY also keeps it as text, CSV and JSON. What
each column is: docs/metrics.md.
"""

import pathlib
import sys

from absl import flags

from consingan_jax import device
from consingan_jax.cli import flags as cli
from consingan_jax.generation import restore
from consingan_jax.measures import evaluation, subjects, tables

_CKPT = flags.DEFINE_string("ckpt", "", "Directory of a run or of a model.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 50, "How many samples of a run.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of a run's first sample.", lower_bound=0)
_REAL = flags.DEFINE_string("real", "", "Folder of training images.")
_SAMPLES = flags.DEFINE_string("samples", "", "Folder of samples of them.")
_COMPARE = flags.DEFINE_string("compare", "", "Runs, or with --real folders of samples.")
_INCEPTION = flags.DEFINE_string("inception", "", "torchvision's Inception-v3 weights, for SIFID.")
_MAX_SIZE = flags.DEFINE_integer(
    "max_size", None, "Shrink all pictures to so many pixels first.", lower_bound=16
)
_OUT = flags.DEFINE_string("out", "", "Directory for the tables [only printed].")


def sides(others: list[str]) -> list[str]:
    """Returns the runs and folders to measure, after checking the flags."""
    ways = [bool(_CKPT.value), bool(_SAMPLES.value), bool(_COMPARE.value)]
    if sum(ways) != 1:
        raise ValueError("give --ckpt=RUN, or --real= and --samples=FOLDER, or --compare A B")
    if others and not _COMPARE.value:
        raise ValueError(f"unknown argument {others[0]!r}: flags look like --name=value")
    if _SAMPLES.value and not _REAL.value:
        raise ValueError("--real is missing: the folder of the training images")
    if _COMPARE.value and not others:
        raise ValueError(f"--compare {_COMPARE.value}: give two or more runs or folders")
    return [_CKPT.value or _SAMPLES.value or _COMPARE.value, *others]


def subjects_of(side: str) -> list[subjects.Subject]:
    """Returns what one run or folder holds."""
    if restore.is_run(side):
        return subjects.of_run(side, num_samples=_NUM_SAMPLES.value, seed=_SEED.value)
    if not _REAL.value:
        raise ValueError(f"{side} is no run: for a folder of samples give --real=FOLDER too")
    return subjects.of_folders(_REAL.value, side)


def main(argv):
    """Prints the tables."""
    names = sides(argv[1:])
    networks = evaluation.networks(_INCEPTION.value)
    device.use_compilation_cache(cli.COMPILATION_CACHE.value)
    found = {name: subjects_of(name) for name in names}
    if size := _MAX_SIZE.value:
        found = {
            name: [subjects.shrunk(one, size) for one in several] for name, several in found.items()
        }
    measured = {}
    for name, several in found.items():
        print(name)
        for subject in several:
            print(subject.note, end="\n" if subject.note else "")
        measured[name] = evaluation.table(several, networks, progress=sys.stderr)
        print(tables.text(measured[name]), flush=True)
    if len(measured) > 1:
        print(f"\n{tables.comparison(measured)}")
    if _OUT.value:
        tables.save(pathlib.Path(_OUT.value), measured)
        print(f"{_OUT.value}/evaluation.txt, .csv, .json")


if __name__ == "__main__":
    cli.run(main, positional=True)
