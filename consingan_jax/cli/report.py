"""`consingan report`: writes the HTML page of a run."""

import pathlib
from collections.abc import Sequence

from consingan_jax.cli import resolve_run
from consingan_jax.cli.flags import Command, Flags
from consingan_jax.runs.report import Page

USAGE = """Writes the page of a run, RUN/report.html, which any browser shows.

  consingan report [RUN]

A training writes it with every grid of samples; use this for runs of an earlier version. Without a
RUN the last one in runs/ is taken."""


def _main(_: Flags, arguments: Sequence[str]) -> None:
    page = Page(pathlib.Path(resolve_run.run_or_last(None, arguments)))
    page.write()
    print(page.path)


COMMAND = Command(USAGE, lambda *_: None, _main)
