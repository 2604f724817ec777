"""Loads training images with their samples, from runs and folders."""

import contextlib
import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from consingan_jax.config import Config
from consingan_jax.data import display, formats, loading, pyramid
from consingan_jax.data.display import ImageArray
from consingan_jax.data.loading import LoadedImage
from consingan_jax.errors import InputError
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model

CROPPED = 1  # pixels by which a sample may differ from its image, and is cropped


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
    """A training image and samples of it, decoded from or cut to 8 bits, all of one size.

    Attributes:
        name: of the image.
        real: `[H, W, C]` in [-1, 1].
        samples: each `[H, W, C]`.
        reconstruction: `[H, W, C]`, the training image as learned, where it is known.
        note: what should be known of them, empty if nothing.
    """

    name: str
    real: np.ndarray
    samples: list[np.ndarray]
    reconstruction: np.ndarray | None = None
    note: str = ""


def of_run(path: str, *, num_samples: int, seed: int) -> list[SampleSet]:
    """Returns the image of a run or a model, and samples of it.

    All are taken as they are shown and rounded to 8 bits, so that files of them have the same
    measures.
    """
    return [of_model(restore.load(path), num_samples=num_samples, seed=seed)]


def of_model(model: Model, *, num_samples: int, seed: int) -> SampleSet:
    """Returns the image of a model and samples of it, as `of_run` does."""
    samples = [_rounded(one) for one in model.samples(seed, num_samples)]
    name = pathlib.Path(model.config.image).stem
    real, reconstruction = _rounded(model.real[0]), _rounded(model.reconstruct()[0])
    return SampleSet(name, real, samples, reconstruction, model.describe())


def of_folders(real: str, samples: str) -> list[SampleSet]:
    """Returns the images of a folder with their samples of another: `K.*` with `K.*` or `K_J.*`.

    Where `real` is one photo, all files of the folder that have one size are its samples, and it is
    taken at their size, as a training would. What is neither is passed over; a note says so.

    Raises:
        InputError: a folder is none or holds no images, files do not pair, or sizes differ by more
            than a pixel.
    """
    files = _files("samples", samples)
    if pathlib.Path(real).is_file():
        return [_of_photo(pathlib.Path(real), files)]
    reals: dict[str, pathlib.Path] = {}
    for path in _files("real", real):
        if path.stem in reals:
            raise InputError(
                f"real {path} and {reals[path.stem]} have one name: rename or remove one"
            )
        reals[path.stem] = path
    found: dict[str | None, list[pathlib.Path]] = {name: [] for name in reals}
    readable = _readable(files)
    for path in readable:
        found.setdefault(_image_of(path.stem, reals), []).append(path)
    strangers = [*found.pop(None, []), *(path for path in files if path not in readable)]
    alone = [str(reals[name]) for name in reals if not found[name]]
    if alone:
        raise InputError(
            f"real {alone[0]} has no samples in {samples}: name them after it, as in "
            f"{pathlib.Path(alone[0]).stem}_0.png, or remove it"
        )
    subjects = [_subject(name, _real(reals[name]), found[name]) for name in reals]
    subjects[0] = _noted(subjects[0], _passed_over(strangers))
    return subjects


def _of_photo(real: pathlib.Path, files: Sequence[pathlib.Path]) -> SampleSet:
    """Returns a photo and its samples."""
    shapes = {
        path: formats.read(path).values.shape[:2]
        for path in _readable(files)
        if path.stem != "grid"
    }
    if not shapes:
        raise InputError(f"samples {files[0].parent} holds no samples, only a grid")
    size = statistics.mode(shapes.values())
    own = [path for path, shape in shapes.items() if shape == size]
    photo = _real(real)
    top = pyramid.top_level(np.asarray(photo.pixels), max(size)).view(ImageArray)
    subject = _subject(real.stem, dataclasses.replace(photo, pixels=top), own)
    return _noted(subject, _passed_over([path for path in files if path not in own]))


def _passed_over(paths: Sequence[pathlib.Path]) -> str:
    if not paths:
        return ""
    number = "a file" if len(paths) == 1 else f"{len(paths)} files"
    return f"{number} in {paths[0].parent} passed over: {paths[0].name}" + (
        ", ..." if len(paths) > 1 else ""
    )


def _noted(subject: SampleSet, note: str) -> SampleSet:
    return dataclasses.replace(subject, note="; ".join(filter(None, [subject.note, note])))


def shrunk(subject: SampleSet, max_size: int) -> SampleSet:
    """Returns a subject with all pictures made at most `max_size` px long, as a pyramid would be.

    So samples of different resolutions can be compared at the smaller one.
    """
    if max_size >= max(subject.real.shape[:2]):
        return subject

    def shrink(picture):
        return _rounded(pyramid.top_level(picture, max_size))

    real = shrink(subject.real)
    again = None if subject.reconstruction is None else shrink(subject.reconstruction)
    note = f"{subject.name}: shrunk from {_size(subject.real)} to {_size(real)} px"
    samples = list(map(shrink, subject.samples))
    small = dataclasses.replace(subject, real=real, samples=samples, reconstruction=again)
    return _noted(small, note)


def _rounded(picture: np.ndarray) -> np.ndarray:
    return display.to_uint8(display.shown(picture)).astype(np.float32) / 127.5 - 1


def _files(what: str, directory: str) -> list[pathlib.Path]:
    path = pathlib.Path(directory)
    if not path.is_dir():
        raise InputError(f"{what} {directory}: no such directory")
    entries = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    found = sorted(filter(formats.has_image_suffix, entries))
    if not found:
        raise InputError(f"{what} {directory} holds no image files")
    return found


def _readable(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files that are pictures and not broken."""
    good = []
    for path in paths:
        with contextlib.suppress(InputError):
            formats.read(path)
            good.append(path)
    return good


def _image_of(stem: str, names: Iterable[str]) -> str | None:
    """Returns the name that a sample is called after, the longest if there are several."""
    fitting = [name for name in names if stem == name or stem.startswith(f"{name}_")]
    return max(fitting, key=len, default=None)


def _real(path: pathlib.Path) -> LoadedImage:
    """Reads a real image; one that uses little of what its numbers can be, by what it uses."""
    found = loading.read(Config.create(image=str(path)))
    if not found.is_faint or np.ptp(found.pixels) == 0:
        return found
    return loading.read(Config.create(image=str(path), value_range="data"))


def _subject(name: str, real: LoadedImage, paths: Sequence[pathlib.Path]) -> SampleSet:
    like = (Config.create(), real.encoding, real.pixels.shape[-1])
    samples = [loading.read_alike(path, *like, name=f"sample {path.name}") for path in paths]
    pictures = [np.asarray(one.pixels) for one in (real, *samples)]
    for path, sample in zip(paths, pictures[1:], strict=True):
        sides = zip(sample.shape[:2], real.pixels.shape[:2], strict=True)
        if any(abs(a - b) > CROPPED for a, b in sides):
            raise InputError(
                f"samples {path} has {_size(sample)} px, but its image {name} "
                f"{_size(real.pixels)}: give samples of the image's size"
            )
    height, width = np.min([one.shape[:2] for one in pictures], axis=0)
    first, *others = (one[:height, :width] for one in pictures)
    changed = any(one.shape[:2] != (height, width) for one in pictures)
    note = f"{name}: cropped to {height}x{width} px, the size that all have" if changed else ""
    said = [] if real.is_faint else [real, *samples]
    warnings = [line for one in said for line in one.notes[1:]]
    return SampleSet(name, first, others, note="; ".join(filter(None, [*warnings, note])))


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
