"""Several processes for one run, as far as one process can tell; `python -m tests.processes`."""

import subprocess
import sys

import numpy as np
import pytest

from consingan_jax.cli import processes, train
from consingan_jax.cli.flags import Flags
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.training import process_group

FATAL = (
    "F1126 21:10:56.525780   18848 client.h:80] Terminating process because the JAX distributed "
    "service detected fatal errors. absl::Status: {}\n*** Check failure stack trace: ***\n    @ 0x7"
)
DEAD = (
    "E1126 21:11:09.794467 18881 coordination_service.cc:1549] UNAVAILABLE: The following tasks "
    "are unhealthy (stopped sending heartbeats):\n1, 3\nThe tasks have crashed.\n"
)
NOBODY = "DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination/RegisterTask"
LOST = "UNAVAILABLE: failed to connect to all addresses"


def flags_of(*arguments):
    flags = Flags()
    processes.define({"flag_values": flags})
    flags(["train", *arguments])
    return flags


TWO = ("--coordinator=head:1234", "--num_processes=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--process_id=1",), "--process_id: give --coordinator=HOST:PORT too"),
        (("--coordinator=head",), "--coordinator=head: give HOST:PORT of process 0, or auto"),
        (TWO, "--process_id is missing: give it, or --coordinator=auto below SLURM"),
        ((*TWO, "--process_id=2"), "--process_id=2: with --num_processes=2 give 0 to 1"),
    ],
)
def test_flags_that_do_not_say_who_this_is(arguments, message):
    with pytest.raises(InputError, match=message):
        processes.check(flags_of(*arguments))


def test_flags_that_do():
    for arguments in ((), ("--coordinator=auto",), (*TWO, "--process_id=1")):
        processes.check(flags_of(*arguments))


def test_a_set_is_for_ray(picture, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.COMMAND.run("train", [str(picture), "--seeds=2", *TWO, "--process_id=0"])
    assert "--coordinator has no effect on a set of images: give --engine=ray" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "process", "number", "message"),
    [
        (DEAD + FATAL.format("UNAVAILABLE"), 0, 4, "process 1, 3 gave no sign of life for 20 s"),
        (FATAL.format(NOBODY), 0, 2, "process 1 did not come within 120 s"),
        (FATAL.format(NOBODY), 1, 3, "process 0 at head:1234, or another one, did not come"),
        (FATAL.format(NOBODY), 0, 3, "one of the processes 1 to 2 did not come"),
        (FATAL.format(LOST), 1, 2, "process 0 at head:1234 is gone: start all of them again"),
    ],
)
def test_the_last_words_of_the_runtime_become_a_line(words, process, number, message):
    asked = flags_of(TWO[0], f"--num_processes={number}", f"--process_id={process}")
    assert message in processes._reason(words, asked, -6)
    assert processes._reason(words, asked, 0) is None
    assert processes._reason("stage 1 of 2", asked, -9) is None


def test_a_child_is_heard_and_its_runtime_kept_back(capfd):
    said = ["one\n", "E1126 21:11:09.7 other\n", "bar 1\r", "bar 2\n", DEAD, FATAL.format(LOST)]
    program = f"import os\nfor words in {said!r}: os.write(2, words.encode())"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as child:
        kept = processes._passed_on(child)
    assert capfd.readouterr().err == "one\nbar 1\rbar 2\n"
    assert "1, 3\nThe tasks have crashed" in kept and LOST in kept and "other" in kept


def _several(monkeypatch, rows):
    """Returns process 1 of those that say `rows`."""
    one = process_group.ProcessGroup(lambda moment: moment == "stop")
    one._number, one.leads = len(rows), False
    monkeypatch.setattr(one, "_gathered", lambda *own: np.array([*rows[:1], own, *rows[2:]], int))
    return one


def test_all_follow_the_first_and_stop_together(monkeypatch):
    one = _several(monkeypatch, [(0, 7, 3), ()])
    assert one.sync_counts([1, 2]) == [7, 3]
    assert one.watcher("stop") is False and one.sync_counts([1, 2]) is None
    assert _several(monkeypatch, [(1, 7), ()]).sync_counts([1]) is None
    alone = process_group.ProcessGroup(None)
    assert alone.sync_counts([4]) == [4] and alone.leads and alone.watcher is None


def test_what_keeps_one_keeps_all(monkeypatch):
    for row, message in (
        ((1, 0, 0), "process 0 cannot begin: it says why"),
        ((0, 2, 40), "process 1 would go on at stage 0, iteration 0, but process 0 at stage 2, it"),
    ):
        with pytest.raises(InputError, match=message):
            _several(monkeypatch, [row, ()]).begin(None, (0, 0))
    _several(monkeypatch, [(0, 0, 0), ()]).begin(None, (0, 0))
    _several(monkeypatch, [(0, 0, 0), ()]).begin(InputError("said elsewhere"), (0, 0))


def test_windows_go_round(monkeypatch):
    config = Config.create(image="a.png", windows=3)
    with pytest.raises(InputError, match=r"config.windows=3: 2 processes with 4 devices in all"):
        _several(monkeypatch, [(), ()]).check(config, list("abcd"))
    _several(monkeypatch, [(), ()]).check(config, list("abc"))
    process_group.ProcessGroup(None).check(config, list("ab"))
