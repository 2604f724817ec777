import numpy as np
import pytest
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.generation import video
from consingan_jax.images import display


def _durations(path):
    with Image.open(path) as file:
        found = []
        for number in range(file.n_frames):
            file.seek(number)
            file.load()
            found.append(file.info["duration"])
        return found


@pytest.mark.parametrize("fps", [24.0, 30.0, 40.0])
def test_a_gif_keeps_its_speed_over_many_frames(fps, tmp_path):
    """GIF counts in 10 ms; what rounding takes from one frame the next gets back."""
    frames = np.random.default_rng(0).uniform(-1, 1, (30, 8, 8, 3))
    video.save(tmp_path / "film.gif", iter(frames), frames_per_second=fps)
    assert sum(_durations(tmp_path / "film.gif")) == pytest.approx(1000 * 30 / fps, abs=10)


@pytest.mark.parametrize("suffix", [".webp", ".mp4"])
def test_frames_beyond_what_a_format_holds(suffix, tmp_path):
    if suffix == ".mp4":
        pytest.importorskip("av")
    frames = iter([np.zeros((8, 17000, 3), np.float32)] * 2)
    with pytest.raises(InputError, match="out"):
        video.save(tmp_path / f"film{suffix}", frames, frames_per_second=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_frames_without_change_last_as_long(suffix, tmp_path):
    one, two = np.zeros((8, 8, 3)), np.ones((8, 8, 3))
    path = tmp_path / f"film{suffix}"
    video.save(path, iter([one, one, two, two, two]), frames_per_second=30)
    assert _durations(path) == [70, 100]  # to 10 ms, of 66.7 and 100
    for still in ([one], [one] * 100):
        video.save(path, iter(still), frames_per_second=0.1)
        with Image.open(path) as file:
            assert getattr(file, "n_frames", 1) == 1
    long = [one] * {".gif": 66, ".webp": 1678, ".png": 7}[suffix] + [two]
    with pytest.raises(ValueError, match=r"stands still for longer than the .* give a larger fps"):
        video.save(path, iter(long), frames_per_second=0.1)


def test_frames_that_are_alike_in_few_colours_only(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3))
    frames = [noise.copy() for _ in range(80)]
    for frame in frames[::2]:  # one pixel flickers by one level
        frame[5, 5, 0] = display.to_uint8(frame[5, 5, 0]) / 127.5 - 1 + 1 / 127.5
    with pytest.raises(ValueError, match=r"stands still for longer than the 655.35 s that .gif"):
        video.save(tmp_path / "film.gif", iter(frames), frames_per_second=0.1)
