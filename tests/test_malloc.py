import os
import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
import consingan_jax
import jax
function = jax.jit(lambda x: ((x[:, None] - x) ** 2 @ x).sum())  # of a temporary array of 64 MiB
x = jax.numpy.arange(4096.0)
for _ in range(40):  # until the heap has grown to what calls in turn need
    function(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    function(x).block_until_ready()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4)
"""


def pages_of_a_call(**environment):
    """Returns how many pages of memory the system provides for a call of a compiled program."""
    # Without the flags of the tests, which compile programs that users do not have.
    ours = {"XLA_FLAGS", *filter(lambda name: "MALLOC" in name, os.environ)}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", PAGES],
        env={**inherited, "GLIBC_TUNABLES": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_a_program_gets_the_memory_of_its_last_call():
    array = 4096**2 * 4 // os.sysconf("SC_PAGE_SIZE")
    assert pages_of_a_call() < array / 100
    # glibc as it is by default, which the environment can ask for.
    assert pages_of_a_call(MALLOC_TRIM_THRESHOLD_="131072") > array / 2
