"""The command `consingan evaluate`, from a checkout: see consingan_jax/cli/evaluate.py."""

import sys

from consingan_jax.cli.evaluate import COMMAND

if __name__ == "__main__":
    COMMAND.as_process("evaluate.py", sys.argv[1:])
