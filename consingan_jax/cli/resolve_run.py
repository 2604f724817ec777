"""Selects the run that a command works on."""

import pathlib
from collections.abc import Sequence

from consingan_jax.errors import InputError
from consingan_jax.generation import restore

RUNS = pathlib.Path("runs")  # where trainings go unless --workdir says otherwise


def run_or_last(flag: str | None, arguments: Sequence[str]) -> str:
    """Returns the run that is named, else the last one trained in `RUNS`, which is printed.

    Raises an InputError if several are named, by `--ckpt` or as arguments, or none is there.
    """
    named = [*([flag] if flag else []), *arguments]
    if len(named) > 1:
        raise InputError(f"unknown argument {named[1]!r}: flags look like --name=value")
    if named:
        return named[0]
    known = restore.runs(RUNS)
    if not known:
        raise InputError("a run is missing: give its directory, or --ckpt=DIRECTORY")
    print(f"{known[0]}, the last run")
    return str(known[0])
