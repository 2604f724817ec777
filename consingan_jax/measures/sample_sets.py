"""Loads training images with their samples, from runs and folders."""

import contextlib
import dataclasses
import pathlib
import statistics
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.errors import InputError
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model
from consingan_jax.images import display, formats, loading
from consingan_jax.images.display import ImageArray
from consingan_jax.images.loading import LoadedImage

MAX_CROP = 1  # pixels by which the sides of a sample and its image may differ
_Sizes = dict[pathlib.Path, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
    """A training image and samples of it, all of one size and with the precision of 8-bit files.

    Attributes:
        name: name of the image.
        real: `[H, W, C]` in [-1, 1].
        samples: each `[H, W, C]`.
        reconstruction: `[H, W, C]`, the model's reconstruction of the image; None if unknown.
        note: remarks for the user, or empty.
    """

    name: str
    real: np.ndarray
    samples: list[np.ndarray]
    reconstruction: np.ndarray | None = None
    note: str = ""


def of_run(path: str, *, num_samples: int, seed: int) -> list[SampleSet]:
    """Loads a run or a model, and draws samples of it with consecutive seeds."""
    return [of_model(restore.load(path), num_samples=num_samples, seed=seed)]


def of_model(model: Model, *, num_samples: int, seed: int) -> SampleSet:
    """Returns the training image of a model and samples with consecutive seeds."""
    samples = [_rounded(sample) for sample in model.samples(seed, num_samples)]
    name = pathlib.Path(model.config.image).stem
    real, reconstruction = _rounded(model.real[0]), _rounded(model.reconstruct()[0])
    return SampleSet(name, real, samples, reconstruction, model.describe())


def of_folders(real: str, samples: str) -> list[SampleSet]:
    """Pairs the images of one folder with samples in another: `K.*` with `K.*` or `K_J.*`.

    If `real` is one photo, its samples are all files of the most common size, and the photo is
    shrunk to that size as for a training. Other files are skipped, and a note says so.

    Raises:
        InputError: a directory is missing or has no images, an image has no samples, two images
            have the same name, or sizes differ by more than a pixel.
    """
    files = _files("samples", samples)
    sizes = _readable_sizes(files)
    if pathlib.Path(real).is_file():
        return [_of_photo(pathlib.Path(real), files, sizes)]
    reals: dict[str, pathlib.Path] = {}
    for path in _files("real", real):
        if path.stem in reals:
            raise InputError(
                f"real {path} and {reals[path.stem]} have one name: rename or remove one"
            )
        reals[path.stem] = path
    owners = {path: _owner(path.stem, reals) for path in sizes}
    note = _skipped(files, [path for path, owner in owners.items() if owner])
    found: list[SampleSet] = []
    for name, image in reals.items():
        paths = [path for path, owner in owners.items() if owner == name]
        if not paths:
            raise InputError(
                f"real {image} has no samples in {samples}: name them after it, as in "
                f"{name}_0.png, or remove it"
            )
        found.append(_load(name, _load_real(image), paths, "" if found else note))
    return found


def _of_photo(real: pathlib.Path, files: Sequence[pathlib.Path], sizes: _Sizes) -> SampleSet:
    sizes = {path: size for path, size in sizes.items() if path.stem != "grid"}
    if not sizes:
        raise InputError(f"samples {files[0].parent} holds no samples, only a grid")
    size = statistics.mode(sizes.values())
    paths = [path for path in sizes if sizes[path] == size]
    photo = _load_real(real)
    top = pyramid.top_level(np.asarray(photo.pixels), max(size)).view(ImageArray)
    photo = dataclasses.replace(photo, pixels=top)
    return _load(real.stem, photo, paths, _skipped(files, paths))


def shrunk(sample_set: SampleSet, max_size: int) -> SampleSet:
    """Shrinks all images to at most `max_size` px, like the top level of a pyramid.

    Samples of different resolutions can then be compared at the smaller one.
    """
    if max_size >= max(sample_set.real.shape[:2]):
        return sample_set

    def shrink(image: np.ndarray) -> np.ndarray:
        return _rounded(pyramid.top_level(image, max_size))

    real, reconstruction = shrink(sample_set.real), sample_set.reconstruction
    note = f"{sample_set.name}: shrunk from {_size(sample_set.real)} to {_size(real)} px"
    return dataclasses.replace(
        sample_set,
        real=real,
        samples=list(map(shrink, sample_set.samples)),
        reconstruction=None if reconstruction is None else shrink(reconstruction),
        note=_joined(sample_set.note, note),
    )


def _rounded(image: np.ndarray) -> np.ndarray:
    # Samples that are measured directly must give the same numbers as their 8-bit files.
    return display.to_uint8(display.shown(image)).astype(np.float32) / 127.5 - 1


def _files(kind: str, directory: str) -> list[pathlib.Path]:
    path = pathlib.Path(directory)
    if not path.is_dir():
        raise InputError(f"{kind} {directory}: no such directory")
    entries = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    found = sorted(filter(formats.has_image_suffix, entries))
    if not found:
        raise InputError(f"{kind} {directory} holds no image files")
    return found


def _readable_sizes(paths: Iterable[pathlib.Path]) -> _Sizes:
    """Returns the size of every file that can be decoded."""
    sizes: _Sizes = {}
    for path in paths:
        with contextlib.suppress(InputError):
            sizes[path] = formats.read(path).values.shape[:2]
    return sizes


def _owner(stem: str, names: Iterable[str]) -> str | None:
    """Returns the image that a sample's file name begins with, the longest match."""
    matches = [name for name in names if stem == name or stem.startswith(f"{name}_")]
    return max(matches, key=len, default=None)


def _load_real(path: pathlib.Path) -> LoadedImage:
    # An image that uses little of its type's range would be nearly one colour. Scale it by the
    # range that it does use, as the warning advises for training on it.
    found = loading.read(Config.create(image=str(path)))
    if not found.is_faint or np.ptp(found.pixels) == 0:
        return found
    return loading.read(Config.create(image=str(path), value_range="data"))


def _load(name: str, real: LoadedImage, paths: Sequence[pathlib.Path], note: str) -> SampleSet:
    like = (Config.create(), real.encoding, real.pixels.shape[-1])
    samples = [loading.read_alike(path, *like, name=f"sample {path.name}") for path in paths]
    images = [np.asarray(one.pixels) for one in (real, *samples)]
    for path, sample in zip(paths, images[1:], strict=True):
        if np.abs(np.subtract(sample.shape[:2], images[0].shape[:2])).max() > MAX_CROP:
            raise InputError(
                f"samples {path} has {_size(sample)} px, but its image {name} "
                f"{_size(images[0])}: give samples of the image's size"
            )
    height, width = np.min([one.shape[:2] for one in images], axis=0)
    first, *others = (one[:height, :width] for one in images)
    # The first note describes how a file was read; the others are warnings.
    notes = [] if real.is_faint else [line for one in (real, *samples) for line in one.notes[1:]]
    if any(one.shape[:2] != (height, width) for one in images):
        notes.append(f"{name}: cropped to {height}x{width} px, the size that all have")
    return SampleSet(name, first, others, note=_joined(*notes, note))


def _skipped(files: Sequence[pathlib.Path], used: Collection[pathlib.Path]) -> str:
    """Returns a note on the files that are not used, or an empty one."""
    skipped = [path for path in files if path not in used]
    if not skipped:
        return ""
    number, more = ("a file", "") if len(skipped) == 1 else (f"{len(skipped)} files", ", ...")
    return f"{number} in {skipped[0].parent} passed over: {skipped[0].name}{more}"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
