"""Samples beside their training images: what is measured, for a run or for two folders."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import TextIO

import jax.numpy as jnp
import numpy as np
import tqdm

from consingan_jax import features, image, metrics, resize, restore
from consingan_jax.metrics import Estimate

Row = dict[str, Estimate | None]
"""The measures of one image by their names in `COLUMNS`; None where one does not apply."""

COLUMNS = {
    "vgg_sifd": "VGG-SIFD",
    "sifid_64": "SIFID-64",
    "sifid_192": "SIFID-192",
    "lpips_diversity": "LPIPS-div",
    "pixel_diversity": "div-mean",
    "pixel_diversity_rms": "div-rms",
    "swd_1": "SWD-1/1",
    "swd_2": "SWD-1/2",
    "swd_4": "SWD-1/4",
    "same_place": "place",
    "same_place_copy": "p-copy",
    "same_place_shuffled": "p-shuffled",
    "reconstruction_rmse": "rec-RMSE",
    "reconstruction_psnr": "rec-PSNR",
}
SCALES = (1, 2, 4)  # of the sliced Wasserstein distance: image sides are divided by these
CROPPED = 1  # pixels by which a sample may differ from its image, and is cropped


@dataclasses.dataclass(frozen=True)
class Subject:
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


@dataclasses.dataclass(frozen=True)
class Networks:
    """Weights of the pretrained networks; `inception` is None unless the user has it."""

    vgg: features.Weights
    lpips: features.Weights
    inception: features.Weights | None


def networks(inception: str = "") -> Networks:
    """Reads the pretrained networks; `inception` is a file, or empty.

    Raises:
        ValueError: the extra `metrics` is missing, or the file is no such file.
    """
    stem = features.inception_weights(inception) if inception else None
    return Networks(features.vgg_weights(), features.lpips_weights(), stem)


def of_run(path: str, *, num_samples: int, seed: int) -> list[Subject]:
    """Returns the image of a run or a model, and samples of it.

    All are rounded to 8 bits, so that files of them have the same measures.
    """
    model = restore.load(path)
    samples = [_rounded(one) for one in model.samples(seed, num_samples)]
    name = pathlib.Path(model.config["image"]).stem
    real, reconstruction = _rounded(model.real[0]), _rounded(model.reconstruct()[0])
    return [Subject(name, real, samples, reconstruction, model.describe())]


def of_folders(real: str, samples: str) -> list[Subject]:
    """Returns the images of a folder with their samples of another: `K.*` with `K.*` or `K_J.*`.

    Raises:
        ValueError: a folder is none or holds no images, files do not pair, or sizes differ by more
            than a pixel.
    """
    reals: dict[str, pathlib.Path] = {}
    for path in _files("real", real):
        if path.stem in reals:
            raise ValueError(f"real {path} and {reals[path.stem]} have one name: take one out")
        reals[path.stem] = path
    found: dict[str, list[pathlib.Path]] = {name: [] for name in reals}
    for path in _files("samples", samples):
        name = _image_of(path.stem, reals)
        if name is None:
            raise ValueError(
                f"samples {path} belongs to no image of {real}: name it K.{path.suffix[1:]} or "
                f"K_<anything>.{path.suffix[1:]} after an image K"
            )
        found[name].append(path)
    alone = [str(reals[name]) for name, paths in found.items() if not paths]
    if alone:
        raise ValueError(f"real {alone[0]} has no samples in {samples}: take it out, or add some")
    return [_subject(name, reals[name], paths) for name, paths in found.items()]


def shrunk(subject: Subject, max_size: int) -> Subject:
    """Returns a subject with all pictures made `max_size` px long, as a pyramid would be.

    So samples of different resolutions can be compared at the smaller one.
    """
    height, width = subject.real.shape[:2]
    scale = max_size / max(height, width)
    if scale >= 1:
        return subject
    size = (math.ceil(scale * height), math.ceil(scale * width))

    def shrink(picture):
        return _rounded(resize.resize(picture, scale, size))

    again = None if subject.reconstruction is None else shrink(subject.reconstruction)
    note = f"{subject.name}: shrunk from {height}x{width} to {size[0]}x{size[1]} px"
    return dataclasses.replace(
        subject,
        real=shrink(subject.real),
        samples=list(map(shrink, subject.samples)),
        reconstruction=again,
        note="; ".join(filter(None, [subject.note, note])),
    )


def evaluate(subject: Subject, networks: Networks) -> Row:
    """Returns every measure of an image and its samples."""
    real, samples = subject.real, subject.samples
    row: Row = dict.fromkeys(COLUMNS)
    row |= _frechet(subject, networks)
    if len(samples) > 1 and np.ptp(real) > 0:
        mean_std, rms = metrics.pixel_diversity(jnp.stack(samples), jnp.asarray(real))
        row |= {"pixel_diversity": mean_std, "pixel_diversity_rms": rms}
    if len(samples) > 1 and min(real.shape[:2]) >= features.LEAST_SIDE:
        layers = [features.lpips_features(networks.lpips, one[None]) for one in samples]
        row["lpips_diversity"] = metrics.lpips_diversity(layers)
    row |= _patches(real, samples)
    if subject.reconstruction is not None:
        error = metrics.rmse(subject.reconstruction, real)
        row["reconstruction_rmse"] = Estimate(error, None, 1)
        row["reconstruction_psnr"] = Estimate(metrics.psnr(error), None, 1)
    return row


def table(
    subjects: Sequence[Subject], networks: Networks, *, progress: TextIO | None = None
) -> dict[str, tuple[int, Row]]:
    """Returns the number of samples and the measures of every image, by its name.

    Args:
        subjects: the images with their samples.
        networks: pretrained.
        progress: where a progress bar is shown, None for none.
    """
    bar = tqdm.tqdm(subjects, unit="image", file=progress, disable=progress is None, leave=False)
    return {one.name: (len(one.samples), evaluate(one, networks)) for one in bar}


def summary(rows: Sequence[Row]) -> Row:
    """Returns the mean of every measure over the images that have it.

    Of a single image it is that image's, with the error over its samples.
    """
    result: Row = {}
    for name in COLUMNS:
        known = [estimate for row in rows if (estimate := row[name]) is not None]
        if len(known) > 1:
            result[name] = metrics.mean([estimate.value for estimate in known])
        else:
            result[name] = known[0] if known else None
    return result


def _frechet(subject: Subject, networks: Networks) -> Row:
    def distances(extract):
        """Returns an estimate for each layer that `extract` gives."""
        of_real, *of_samples = (
            list(map(metrics.moments, extract(one[None])))
            for one in (subject.real, *subject.samples)
        )
        rows = [list(map(metrics.frechet_distance, one, of_real)) for one in of_samples]
        return [metrics.mean(layer) for layer in zip(*rows, strict=True)]

    (vgg,) = distances(lambda x: [features.vgg_relu1_2(networks.vgg, x)])
    row: Row = {"vgg_sifd": vgg}
    if networks.inception is not None and min(subject.real.shape[:2]) >= features.LEAST_SIDE:
        extract = functools.partial(features.inception_features, networks.inception)
        row["sifid_64"], row["sifid_192"] = distances(extract)
    return row


def _patches(real: np.ndarray, samples: Sequence[np.ndarray]) -> Row:
    row: Row = {}
    for scale in SCALES:
        size = (round(real.shape[0] / scale), round(real.shape[1] / scale))
        if min(size) < metrics.PATCH:
            continue
        of_real, *of_samples = (
            metrics.projections(jnp.asarray(resize.fit(one, size))) for one in (real, *samples)
        )
        distances = [metrics.sliced_wasserstein(one, of_real) for one in of_samples]
        row[f"swd_{scale}"] = metrics.mean(distances)
    if min(real.shape[:2]) < 2 * metrics.PATCH:
        return row
    row["same_place"] = metrics.mean([metrics.same_place_share(one, real) for one in samples])
    for name, picture in (("copy", real), ("shuffled", metrics.shuffled(real))):
        share = metrics.same_place_share(picture, real)
        row[f"same_place_{name}"] = Estimate(share, None, 1)
    return row


def _rounded(picture: np.ndarray) -> np.ndarray:
    return image.to_uint8(picture).astype(np.float32) / 127.5 - 1


def _files(what: str, directory: str) -> list[pathlib.Path]:
    path = pathlib.Path(directory)
    if not path.is_dir():
        raise ValueError(f"{what} {directory}: no such directory")
    found = sorted(entry for entry in path.iterdir() if image.has_image_suffix(entry))
    if not found:
        raise ValueError(f"{what} {directory} holds no image files")
    return found


def _image_of(stem: str, names: Iterable[str]) -> str | None:
    """Returns the name that a sample is called after, the longest if there are several."""
    fitting = [name for name in names if stem == name or stem.startswith(f"{name}_")]
    return max(fitting, key=len, default=None)


def _subject(name: str, real_path: pathlib.Path, paths: Sequence[pathlib.Path]) -> Subject:
    real = image.load(real_path)
    samples = [image.load(path, channels=real.shape[-1]) for path in paths]
    for path, sample in zip(paths, samples, strict=True):
        if any(abs(a - b) > CROPPED for a, b in zip(sample.shape[:2], real.shape[:2], strict=True)):
            raise ValueError(
                f"samples {path} has {_size(sample)} px, but its image {real_path} {_size(real)}: "
                "give samples of the image's size"
            )
    height, width = np.min([one.shape[:2] for one in (real, *samples)], axis=0)
    cropped = [one[:height, :width] for one in (real, *samples)]
    changed = any(one.shape[:2] != (height, width) for one in (real, *samples))
    note = f"{name}: cropped to {height}x{width} px, the size that all have" if changed else ""
    return Subject(name, cropped[0], cropped[1:], note=note)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
