"""Evaluates all metrics of a training image and its samples."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import TextIO

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from consingan_jax import numerics
from consingan_jax.generation.model import Model
from consingan_jax.measures import colour, features, metrics, patches, sample_sets
from consingan_jax.measures.metrics import Estimate
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.nn import resize

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
    "rgb": "RGB-SWD",
    "dark_chroma": "dark-chroma",
    "dark_chroma_real": "dark-real",
    "bright_chroma": "bright-chroma",
    "bright_chroma_real": "bright-real",
    "same_place": "place",
    "same_place_copy": "p-copy",
    "same_place_shuffled": "p-shuffled",
    "reconstruction_rmse": "rec-RMSE",
    "reconstruction_psnr": "rec-PSNR",
}
CLOSER, DIVERSE = "less is closer to the image", "more is more diverse"
MEANINGS = {
    "vgg_sifd": f"distance of features; {CLOSER}",
    "sifid_64": f"distance of features; {CLOSER}",
    "sifid_192": f"distance of features; {CLOSER}",
    "lpips_diversity": f"difference of two samples; {DIVERSE}",
    "pixel_diversity": f"spread of a pixel; {DIVERSE}",
    "pixel_diversity_rms": f"spread of a pixel; {DIVERSE}",
    "swd_1": f"distance of patches; {CLOSER}",
    "swd_2": f"distance of patches at half the size; {CLOSER}",
    "swd_4": f"distance of patches at a quarter; {CLOSER}",
    "rgb": f"distance of colours; {CLOSER}",
    "dark_chroma": "colour of dark pixels; best as dark-real",
    "dark_chroma_real": "the same of the image",
    "bright_chroma": "colour of bright pixels; best as bright-real",
    "bright_chroma_real": "the same of the image",
    "same_place": "share of patches where the image has them; near p-copy: copies",
    "same_place_copy": "the same of a copy of the image",
    "same_place_shuffled": "the same of a shuffled image: chance",
    "reconstruction_rmse": "error of the image as learned, on [-1, 1]; less is better",
    "reconstruction_psnr": "the same in dB; more is better",
}
QUICK_SAMPLES = 8  # samples that a glance takes
SCALES = (1, 2, 4)  # of the sliced Wasserstein distance: image sides are divided by these


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    """Weights of the pretrained networks; `inception` is None unless the user has it."""

    vgg: features.Weights
    lpips: features.Weights
    inception: features.Weights | None


@numerics.independent
def networks(inception: str = "") -> Networks:
    """Reads the pretrained networks to the device; `inception` is a file, or empty.

    Raises:
        InputError: the extra `metrics` is missing, or the file is no such file.
    """
    stem = features.inception_weights(inception) if inception else None
    weights = jax.device_put((features.vgg_weights(), features.lpips_weights(), stem))
    return Networks(*weights)


@numerics.independent
def evaluate(subject: SampleSet, networks: Networks | None) -> Row:
    """Returns every measure of an image and its samples; without networks, what needs none."""
    real, samples = subject.real, subject.samples
    row: Row = dict.fromkeys(COLUMNS)
    row |= _frechet(subject, networks) if networks is not None else {}
    if len(samples) > 1 and not _is_of_one(real.mean(-1)):
        mean_std, rms = metrics.pixel_diversity(jnp.stack(samples), jnp.asarray(real))
        row |= {"pixel_diversity": mean_std, "pixel_diversity_rms": rms}
    is_large = min(real.shape[:2]) >= features.LEAST_SIDE
    if networks is not None and len(samples) > 1 and is_large:
        layers = [features.lpips_features(networks.lpips, one[None]) for one in samples]
        row["lpips_diversity"] = metrics.lpips_diversity(layers)
    row |= _patches(real, samples) | _colours(real, samples)
    if subject.reconstruction is not None:
        error = metrics.rmse(subject.reconstruction, real)
        row["reconstruction_rmse"] = Estimate(error, None, 1)
        row["reconstruction_psnr"] = Estimate(metrics.psnr(error), None, 1)
    return row


def quick_metrics(model: Model) -> dict[str, float]:
    """Returns what is soon measured of a model, without networks, by names as in a table."""
    row = evaluate(sample_sets.of_model(model, num_samples=QUICK_SAMPLES, seed=0), None)
    return {
        COLUMNS[name]: estimate.value
        for name in ("swd_1", "rgb", "pixel_diversity_rms", "same_place")
        if (estimate := row[name]) is not None
    }


def gaps(subject: SampleSet) -> list[str]:
    """Returns in words what cannot be measured of an image and its samples, and why."""
    words = []
    if len(subject.samples) == 1:
        words.append("one sample: no diversity and no errors")
    if _is_of_one(subject.real.mean(-1)):
        words.append("an image of one brightness: no pixel diversity")
    if _is_of_one(subject.real):
        words.append("an image of one colour: no place")
    if min(subject.real.shape[:2]) < features.LEAST_SIDE:
        words.append(f"less than {features.LEAST_SIDE} px: no LPIPS and no SIFID")
    return [f"{subject.name}: {one}" for one in words]


def table(
    sample_sets: Sequence[SampleSet], networks: Networks, *, progress: TextIO | None = None
) -> dict[str, tuple[int, Row]]:
    """Returns the number of samples and the measures of every image, by its name.

    Args:
        sample_sets: the images with their samples.
        networks: pretrained.
        progress: where a progress bar is shown, None for none.
    """
    bar = tqdm.tqdm(sample_sets, unit="image", file=progress, disable=progress is None, leave=False)
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


def _is_of_one(image: np.ndarray) -> bool:
    """Returns whether all pixels `[H, W, ...]` of an image are alike, but for rounding."""
    return bool(np.ptp(image, axis=(0, 1)).max() < 1e-6)


def _frechet(subject: SampleSet, networks: Networks) -> Row:
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
        if min(size) < patches.PATCH:
            continue
        of_real, *of_samples = (
            patches.projections(jnp.asarray(resize.fit(one, size))) for one in (real, *samples)
        )
        distances = [patches.sliced_wasserstein(one, of_real) for one in of_samples]
        row[f"swd_{scale}"] = metrics.mean(distances)
    if min(real.shape[:2]) < 2 * patches.PATCH or _is_of_one(real):
        return row
    row["same_place"] = metrics.mean([patches.copy_rate(one, real) for one in samples])
    for name, picture in (("copy", real), ("shuffled", patches.shuffled(real))):
        share = patches.copy_rate(picture, real)
        row[f"same_place_{name}"] = Estimate(share, None, 1)
    return row


def _colours(real: np.ndarray, samples: Sequence[np.ndarray]) -> Row:
    of_real, *of_samples = map(colour.projections, (real, *samples))
    row: Row = {}
    row["rgb"] = metrics.mean([patches.sliced_wasserstein(one, of_real) for one in of_samples])
    if real.shape[-1] == 1:
        return row
    for part in colour.PARTS:
        for name, pictures in ((f"{part}_chroma", samples), (f"{part}_chroma_real", [real])):
            known = [one for x in pictures if (one := colour.chroma(x, part)) is not None]
            row[name] = metrics.mean(known) if known else None
    return row
