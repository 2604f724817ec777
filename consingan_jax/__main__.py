"""Command line program `consingan`, also `python -m consingan_jax`."""

import importlib
import importlib.metadata
import sys

COMMANDS = {  # name: module in `cli`
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "report": "report",
    "import": "import_run",
    "export": "export",
    "studio": "studio",
}
USAGE = """Trains a generative model on a single image (ConSinGAN, arXiv 2003.11512).

  consingan train photo.jpg --quick        train on an image
  consingan sample RUN --width=2x          draw samples, animate, harmonize, edit
  consingan evaluate RUN                   measure quality, diversity and copying of samples
  consingan report RUN                     write a report of a run as a web page
  consingan import DIR                     import a run of the published program
  consingan export RUN --out=DIR           export a sampler that works without this package
  consingan studio                         train and sample in a browser

Each command has --help, and --version prints the version. Runs are in runs/ unless --workdir is
given."""


def main() -> None:
    """Runs one command."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(USAGE)
        return
    if name in ("-V", "--version"):
        print(f"consingan_jax {importlib.metadata.version('consingan_jax')}")
        return
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"consingan: unknown command {name!r}: give one of {known}", file=sys.stderr)
        sys.exit(2)
    command = importlib.import_module(f"consingan_jax.cli.{COMMANDS[name]}").COMMAND
    command.as_process(f"consingan {name}", arguments)


if __name__ == "__main__":
    main()
