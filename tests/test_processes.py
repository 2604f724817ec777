"""Several processes for one run, as far as one process can tell; `python -m tests.processes`."""

import numpy as np
import pytest

from consingan_jax.cli import processes, train
from consingan_jax.cli.flags import Flags
from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.training import process_group
from consingan_jax.training.stopping import StopFlag


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
    assert "--coordinator has no effect on a sweep: give --engine=ray" in (capsys.readouterr().err)


def _several(monkeypatch, rows):
    """Returns process 1 of those that say `rows`."""
    one = process_group.ProcessGroup(StopFlag(lambda moment: moment == "stop"))
    one.size, one.leads = len(rows), False
    monkeypatch.setattr(one, "_gathered", lambda *own: np.array([*rows[:1], own, *rows[2:]], int))
    return one


def test_all_follow_the_first_and_stop_together(monkeypatch):
    one = _several(monkeypatch, [(0, 7, 3), ()])
    assert one.sync_counts([1, 2]) == [7, 3]
    assert one.stop("stop")
    for stopped in (one, _several(monkeypatch, [(1, 7, 3), ()])):
        with pytest.raises(StoppedError, match="all 2 processes stop; process 0 saves the state"):
            stopped.sync_counts([1, 2])
    alone = process_group.ProcessGroup(StopFlag())
    assert alone.sync_counts([4]) == [4] and alone.leads


def test_what_keeps_one_keeps_all(monkeypatch):
    for row, message in (
        ((1, 0, 0), "process 0 cannot start; see its own output"),
        (
            (0, 2, 40),
            "process 1 would continue at stage 0, iteration 0, but process 0 at stage 2",
        ),
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
    process_group.ProcessGroup(StopFlag()).check(config, list("ab"))
