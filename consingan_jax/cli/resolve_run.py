"""Finds the run that a command works on."""

import pathlib
from collections.abc import Sequence

from consingan_jax.errors import InputError
from consingan_jax.generation import restore

RUNS = pathlib.Path("runs")  # where trainings go unless --workdir says otherwise


def resolve_run(flag: str | None, others: Sequence[str]) -> str:
    """Returns the directory that a command works on; without one the last run, and says so.

    Args:
        flag: the value of `--ckpt`, if it was given.
        others: the arguments that are no flags.

    Raises:
        InputError: several are given, or none, and no run lies in `runs`.
    """
    given = [*([flag] if flag else []), *others]
    if len(given) > 1:
        raise InputError(f"unknown argument {given[1]!r}: flags look like --name=value")
    if given:
        return given[0]
    there = restore.runs(RUNS)
    if not there:
        raise InputError("a run is missing: give its directory, or --ckpt=DIRECTORY")
    print(f"{there[0]}, the last run")
    return str(there[0])
