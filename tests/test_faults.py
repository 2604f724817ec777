"""A small version of `python -m tests.faults`."""

from tests import faults

FEW = {"num_stages": 1, "num_iters": 60, "sample_every": 60}


def test_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SETTINGS", faults.SETTINGS | FEW)
    monkeypatch.setattr(faults, "FAULTS", (faults.killed,))
    rows = list(faults.rows(tmp_path, kills=3))
    assert len(rows) == 3 and not any(row.lost for row in rows)
    assert all(row.injected == 1 for row in rows)
