"""The command `consingan train`, from a checkout: see consingan_jax/cli/train.py."""

import sys

from consingan_jax.cli.train import COMMAND

if __name__ == "__main__":
    COMMAND.as_process("train.py", sys.argv[1:])
