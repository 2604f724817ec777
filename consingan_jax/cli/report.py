"""`consingan report`: writes the HTML page of a run."""

import pathlib
from collections.abc import Sequence

from consingan_jax.cli import resolve_run
from consingan_jax.cli.flags import Command, Flags
from consingan_jax.runs.report import Page

USAGE = """Makes the page of a run anew: RUN/report.html, which any browser shows.

  consingan report [RUN]

A training writes it at every grid of samples; this is for runs of an earlier version. Without a RUN
the last one in runs/ is taken."""


def _define(flags: Flags, _: Sequence[str]) -> None:
    del flags


def _main(flags: Flags, others: Sequence[str]) -> None:
    del flags
    page = Page(pathlib.Path(resolve_run.resolve_run(None, others)))
    page.write()
    print(page.path)


COMMAND = Command(USAGE, _define, _main)
