import jax
import pytest

from consingan_jax import device


@pytest.fixture
def settings(monkeypatch):
    """What is told to jax instead of changing it."""
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    return told


def test_the_cache_has_a_bound_and_a_folder_for_each_processor(settings, tmp_path, monkeypatch):
    device.use_compilation_cache(str(tmp_path))
    first = settings["jax_compilation_cache_dir"]
    assert first.startswith(f"{tmp_path}/") and first != str(tmp_path)
    assert settings["jax_compilation_cache_max_size"] == device.CACHE_BYTES
    monkeypatch.setattr(device.platform, "processor", lambda: "another")
    device.use_compilation_cache(str(tmp_path))
    assert settings["jax_compilation_cache_dir"] != first


def test_an_entry_without_its_time_of_use_stops_no_other(settings, tmp_path):
    """jax 0.10 keeps nothing more beside one (its issue 39880); a killed process leaves such."""
    device.use_compilation_cache(str(tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / "jit_f-123-cache").write_bytes(b"half")
    (folder / "jit_g-123-cache").write_bytes(b"whole")
    (folder / "jit_g-123-atime").write_bytes((5).to_bytes(8, "little"))
    device.use_compilation_cache(str(tmp_path))
    assert (folder / "jit_f-123-atime").read_bytes() == bytes(8)  # the first to go
    assert int.from_bytes((folder / "jit_g-123-atime").read_bytes(), "little") == 5


def test_the_cache_can_be_off_or_the_environments(settings, tmp_path, monkeypatch):
    device.use_compilation_cache("off")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    device.use_compilation_cache("elsewhere")
    assert not settings


def test_a_place_that_cannot_be_written_keeps_no_cache(settings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="compiled programs are not kept: .*: Not a directory"):
        device.use_compilation_cache(str(tmp_path / "file"))
    assert not settings


def test_the_matmul_is_timed_as_convolutions_are_computed(monkeypatch):
    matmul, seen = device.jnp.matmul, []

    def noted(*operands, precision=None):
        seen.append(precision)
        return matmul(*operands, precision=precision)

    monkeypatch.setattr(device.jnp, "matmul", noted)
    assert device.matmul_flops(64) > 0
    assert set(seen) == {jax.lax.Precision.HIGHEST}
