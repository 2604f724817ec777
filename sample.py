"""The command `consingan sample`, from a checkout: see consingan_jax/cli/sample.py."""

import sys

from consingan_jax.cli.sample import COMMAND

if __name__ == "__main__":
    COMMAND.as_process("sample.py", sys.argv[1:])
