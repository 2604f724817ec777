"""Watching a training, and stopping it."""

import signal

import jax
import numpy as np
import pytest

from consingan_jax import checkpoint
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.images import display, formats
from consingan_jax.runs import logger, report
from consingan_jax.training import background, process_group, trainer
from consingan_jax.training.progress import Progress


def test_a_training_says_where_it_is(tiny_config, tmp_path):
    moments = []
    trainer.train(tiny_config, tmp_path / "run", watcher=moments.append)
    compiling = [moment for moment in moments if moment.compiling]
    training = [moment for moment in moments if not moment.compiling]
    assert {moment.stage for moment in training} == {0, 1, 2}
    assert [moment.share for moment in training] == sorted(moment.share for moment in training)
    last = training[-1]
    assert (last.step, last.iterations, last.share, last.seconds_left) == (4, 4, 1.0, 0.0)
    assert str(last) == "stage 2 (of 0-2), 21x28 px: iteration 4 of 4"
    assert last.error > 0
    for moment in compiling:
        assert moment.step == 0 and moment.seconds_left is None and "compiling" in str(moment)


def test_a_stopped_training_keeps_its_state_and_goes_on_to_the_same_end(
    tiny_config, finished_run, tmp_path
):
    run = tmp_path / "run"

    def stop(moment: Progress) -> bool:
        return (moment.stage, moment.step, moment.compiling) == (1, 2, False)

    with pytest.raises(StoppedError, match=r"was stopped; kept: .*stage_1_step_0*2"):
        trainer.train(tiny_config, run, watcher=stop)
    assert checkpoint.metadata(checkpoint.latest_step(run / "checkpoints"))["step"] == 2
    assert (run / "report.html").is_file()
    model = trainer.train(tiny_config, run)
    undisturbed = checkpoint.load(finished_run / "model")
    assert jax.tree.all(jax.tree.map(np.array_equal, model.tree(), undisturbed))


def test_an_interrupt_in_a_notebook_keeps_the_state(tiny_config, finished_run, tmp_path):
    """There Ctrl-C is the kernel's button, and Python's own handler hears it."""
    run, handler = tmp_path / "run", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:

        def press(moment: Progress) -> None:
            if (moment.stage, moment.step, moment.compiling) == (1, 2, False):
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt, match=r"was stopped; kept: .*stage_1_step_0*2"):
            trainer.train(tiny_config, run, watcher=press)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    model = trainer.train(tiny_config, run)
    undisturbed = checkpoint.load(finished_run / "model")
    assert jax.tree.all(jax.tree.map(np.array_equal, model.tree(), undisturbed))


def test_a_grid_that_a_power_cut_has_emptied_is_drawn_again(tiny_config, tmp_path):
    def stop(moment: Progress) -> bool:
        return (moment.stage, moment.step, moment.compiling) == (1, 4, False)

    with pytest.raises(StoppedError):
        trainer.train(tiny_config, tmp_path / "run", watcher=stop)
    grid = tmp_path / "run/samples/stage_1_step_000004.png"
    grid.write_bytes(b"")
    assert trainer.train(tiny_config, tmp_path / "run").finished
    assert display.is_readable(grid)


def test_the_logs_are_closed_where_another_process_cannot_begin(tiny_config, tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(logger.MetricsLog, "close", lambda self: closed.append(self))

    def fail(self, fault, moment):
        raise InputError("process 1 cannot start")

    monkeypatch.setattr(process_group.ProcessGroup, "begin", fail)
    with pytest.raises(InputError, match="process 1 cannot start"):
        trainer.train(tiny_config, tmp_path / "run")
    assert len(closed) == 1


def test_a_stop_while_compiling_loses_nothing(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(background, "POLL_SECONDS", 0.0)
    with pytest.raises(StoppedError, match="nothing is trained yet"):
        trainer.train(tiny_config, tmp_path / "run", watcher=lambda moment: moment.compiling)


def test_a_page_that_cannot_be_written_hides_no_error(tiny_config, tmp_path, monkeypatch):
    def fail(self):
        raise InputError("no page")

    monkeypatch.setattr(report.Page, "write", fail)
    with pytest.raises(StoppedError):
        trainer.train(tiny_config, tmp_path / "run", watcher=lambda moment: not moment.compiling)
    assert formats.has_image_suffix(tmp_path / "run/pyramid/level_0_14x19.png")
