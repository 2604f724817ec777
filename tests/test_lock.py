import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from consingan_jax import lock
from consingan_jax.errors import InputError


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS])
def no_locks(request, monkeypatch):
    """A file system without locks, and leases of a second."""

    def refuse(*_):
        raise OSError(request.param, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)


def _refused(directory):
    return pytest.raises(InputError, match=f"another process trains in {directory}: let it finish")


def test_one_at_a_time(tmp_path):
    with lock.hold(tmp_path), _refused(tmp_path), lock.hold(tmp_path):
        pass
    with lock.hold(tmp_path):
        pass


def test_one_at_a_time_without_the_systems_locks(no_locks, tmp_path):
    with lock.hold(tmp_path), _refused(tmp_path), lock.hold(tmp_path):
        pass
    with lock.hold(tmp_path):
        pass


def test_things_in_a_directory_are_held_by_themselves(tmp_path):
    refused = pytest.raises(InputError, match=f"another process writes {tmp_path}/p: let it finish")
    with lock.hold(tmp_path), lock.hold(tmp_path, "p"), lock.hold(tmp_path, "q"), refused:
        lock.hold(tmp_path, "p").__enter__()


HOLDER = """
import sys, time
import filelock

lease = filelock.SoftFileLease(sys.argv[1] + "/.lease", lease_duration=1.0)
lease.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_holder_that_gives_no_sign_of_life_loses_it(end, no_locks, tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, end)
        with lock.hold(tmp_path):
            pass
        holder.kill()
