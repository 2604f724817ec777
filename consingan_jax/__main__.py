"""The program `consingan`, also `python -m consingan_jax`."""

import importlib
import importlib.metadata
import sys

COMMANDS = {  # and their modules in `cli`
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "report": "report",
    "import": "import_run",
    "export": "export",
    "studio": "studio",
}
USAGE = """A generative model of a single image (ConSinGAN, arXiv 2003.11512).

  consingan train photo.jpg --quick        learn from one image
  consingan sample RUN --width=2x          make new ones, animate it, harmonize, edit
  consingan evaluate RUN                   measure how good and how different they are
  consingan report RUN                     a page about a run, for any browser
  consingan import DIR                     take over a run of the published program
  consingan export RUN --out=DIR           a program that samples without this package
  consingan studio                         all of it in a browser

Each command has --help; --version says which this is. Runs lie in runs/ unless --workdir says
otherwise."""


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
