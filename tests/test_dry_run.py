import pytest

from consingan_jax import device
from consingan_jax.cli import dry_run
from consingan_jax.config import Config


def test_a_run_that_cannot_fit_is_warned_of(tiny_config, monkeypatch):
    monkeypatch.setattr(device, "memory_limit", lambda: 1000)
    *_, last = dry_run.dry_run(Config.create(**tiny_config))
    assert last.startswith("warning: this run cannot fit") and "--config.remat=True" in last


def test_only_what_would_help_is_advised(tiny_config):
    def advice(**changes):
        config = Config.create(**tiny_config, **changes)
        return dry_run.memory_warning(config, 2**30, 2**29).rpartition("use ")[2]

    assert advice() == "--config.window=256 or --config.remat=True or a smaller max_size"
    assert advice(window=20.0) == "--config.remat=True or a smaller max_size"
    assert advice(batch_norm=True, remat=True) == "a smaller max_size"


@pytest.mark.parametrize("limit", [None, 2**50])
def test_a_run_that_fits_is_not(tiny_config, monkeypatch, limit):
    monkeypatch.setattr(device, "memory_limit", lambda: limit)
    *_, last = dry_run.dry_run(Config.create(**tiny_config))
    assert last.startswith("memory of the last stage") and last.endswith(" MiB")


def test_this_machine_tells_its_memory():
    limit = device.memory_limit()
    assert limit is None or limit > 2**20
