"""Writes frames as an animated GIF, WebP, PNG or MP4."""

import fractions
import importlib.util
import itertools
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.images import display

SUFFIXES = (".gif", ".webp", ".png", ".mp4")
WEBP_SIDE = 16383  # largest number of pixels per side
LONGEST_FRAME = {".gif": 655_350, ".webp": 2**24 - 1, ".png": 65_535}  # milliseconds


def save(
    path: str | pathlib.Path, frames: Iterator[np.ndarray], *, frames_per_second: float
) -> None:
    """Writes frames `[H, W, C]` in [-1, 1] as a repeating .gif, .webp, animated .png or .mp4.

    The file appears when it is complete. Frames that are all alike make a still picture.

    Raises:
        InputError: the suffix is another, the format cannot hold the frames, or .mp4 is asked for
            without the extra `video`.
    """
    path = pathlib.Path(path)
    check(path, frames_per_second)
    pixels = (display.to_uint8(display.shown(frame)) for frame in frames)
    encode = _save_mp4 if path.suffix.lower() == ".mp4" else _save_with_pillow
    with whole(path) as part:
        encode(part, pixels, frames_per_second)


def check(path: pathlib.Path, frames_per_second: float) -> None:
    """Raises an InputError unless `save` can write such a file."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"out={path}: give a file ending in {', '.join(SUFFIXES)}")
    if not 0.1 <= frames_per_second <= 50:
        raise InputError(f"fps={frames_per_second}: give a value from 0.1 to 50")
    if path.suffix.lower() == ".mp4" and importlib.util.find_spec("av") is None:
        raise InputError(f"out={path}: .mp4 needs av: python -m pip install av (the extra video)")


def _save_with_pillow(
    path: pathlib.Path, pixels: Iterator[np.ndarray], frames_per_second: float
) -> None:
    suffix, frames, last = path.suffix.lower(), [], None
    ends: list[int] = []  # in milliseconds
    for number, frame in enumerate(pixels, 1):
        if suffix == ".webp" and max(frame.shape[:2]) > WEBP_SIDE:
            raise InputError(
                f"out: .webp holds at most {WEBP_SIDE} px a side, not {frame.shape[0]}x"
                f"{frame.shape[1]}: give another suffix or a smaller size"
            )
        # Pillow would merge equal frames too, but fail beyond the longest duration of a format.
        if last is None or not np.array_equal(frame, last):
            frames.append(Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame))
            ends.append(0)
            last = frame
        # GIF counts in steps of 10 ms. Rounding ends, not durations, keeps the overall speed.
        ends[-1] = 10 * round(number * 100 / frames_per_second)
    durations = np.diff([0, *ends]).tolist()
    if len(frames) > 1 and max(durations) > LONGEST_FRAME[suffix]:
        raise _stands_still(suffix)
    options: dict[str, Any] = {"duration": durations, "loop": 0} if len(frames) > 1 else {}
    if suffix == ".webp":
        options["quality"] = 90
    first, *others = frames
    try:
        first.save(path, save_all=True, append_images=others, **options)
    except struct.error:  # frames alike in the format's few colours were merged beyond its limit
        raise _stands_still(suffix) from None


def _stands_still(suffix: str) -> InputError:
    return InputError(
        f"out: the picture stands still for longer than the {LONGEST_FRAME[suffix] / 1000:g} s "
        f"that {suffix} holds: give a larger fps or another suffix"
    )


def _save_mp4(path: pathlib.Path, pixels: Iterator[np.ndarray], frames_per_second: float) -> None:
    import av

    first = next(pixels)
    height, width = (n + n % 2 for n in first.shape[:2])  # yuv420p needs even sides
    padding = ((0, height - first.shape[0]), (0, width - first.shape[1]), (0, 0))
    rate = fractions.Fraction(frames_per_second).limit_denominator(1000)
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in itertools.chain([first], pixels):
                colour = np.broadcast_to(frame, (*frame.shape[:2], 3))
                image = np.pad(colour, padding, mode="edge")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise InputError(f"out: no .mp4 of {height}x{width} px can be made: {error}") from None
