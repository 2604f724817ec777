"""Which run a command works on."""

import os
import pathlib

import pytest

from consingan_jax.cli import resolve_run
from consingan_jax.errors import InputError


def _begun(path, moment):
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    os.utime(path / "run.json", (moment, moment))


def test_the_last_run_is_taken_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resolve_run, "RUNS", tmp_path)
    with pytest.raises(InputError, match="a run is missing: give its directory"):
        resolve_run.run_or_last(None, [])
    for name, moment in [("a", 100), ("b", 300), ("c", 200)]:
        _begun(tmp_path / name, moment)
    (tmp_path / "no run").mkdir()
    assert resolve_run.run_or_last(None, []) == str(tmp_path / "b")
    assert capsys.readouterr().out == f"{tmp_path / 'b'}, the last run\n"
    (tmp_path / "a/metrics.jsonl").write_text("")  # it trains now
    assert resolve_run.run_or_last("", []) == str(tmp_path / "a")


def test_one_that_is_named_is_taken():
    assert resolve_run.run_or_last("x", []) == resolve_run.run_or_last(None, ["x"]) == "x"
    with pytest.raises(InputError, match="unknown argument 'y'"):
        resolve_run.run_or_last("x", ["y"])
    assert pathlib.Path("runs") == resolve_run.RUNS
