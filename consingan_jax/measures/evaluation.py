"""Evaluates all metrics of a training image and its samples."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TextIO

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from consingan_jax import numerics
from consingan_jax.generation.model import Model
from consingan_jax.measures import colour, features, metrics, patches, sample_sets, structure
from consingan_jax.measures.metrics import Estimate
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.nn import resize

Row = dict[str, Estimate | None]
"""The metrics of one image by their names in `COLUMNS`; None where one does not apply."""


class Column(NamedTuple):
    """A metric in tables; an optional one is left out where no image has it."""

    heading: str
    meaning: str
    is_optional: bool = False


COLUMNS = {
    "vgg_sifd": Column("VGG-SIFD", "distance of VGG features; lower is closer"),
    "sifid_64": Column("SIFID-64", "distance of Inception features; lower is closer", True),
    "sifid_192": Column("SIFID-192", "distance of Inception features; lower is closer", True),
    "relu3_3_frechet": Column("FD-3_3", "distance of VGG relu3_3; lower is closer", True),
    "relu3_3": Column("near-3_3", "to the nearest relu3_3, both ways; lower is closer", True),
    "relu4_3": Column("near-4_3", "to the nearest relu4_3, both ways; lower is closer", True),
    "edges_7": Column("edges-7", "to the nearest 7x7 edges, both ways; lower is closer", True),
    "edges_11": Column("edges-11", "to the nearest 11x11 edges, both ways; lower is closer", True),
    "coherence_7": Column(
        "coh-7", "of a sample's 7x7 patches to the image's; lower: none invented"
    ),
    "completeness_7": Column(
        "com-7", "of the image's 7x7 patches to a sample's; lower: none missing"
    ),
    "coherence_11": Column("coh-11", "likewise, 11x11", True),
    "completeness_11": Column("com-11", "likewise, 11x11", True),
    "lpips_diversity": Column("LPIPS-div", "distance of two samples; higher is more diverse"),
    "pixel_diversity": Column("div-mean", "spread of a pixel; higher is more diverse"),
    "pixel_diversity_rms": Column("div-rms", "spread of a pixel; higher is more diverse"),
    "swd_1": Column("SWD-1/1", "distance of patches; lower is closer"),
    "swd_2": Column("SWD-1/2", "distance of patches at half the size; lower is closer"),
    "swd_4": Column("SWD-1/4", "distance of patches at a quarter of the size; lower is closer"),
    "rgb": Column("RGB-SWD", "distance of colours; lower is closer"),
    "dark_chroma": Column("dark-chroma", "chroma of dark pixels; ideally dark-real", True),
    "dark_chroma_real": Column("dark-real", "the same of the training image", True),
    "bright_chroma": Column("bright-chroma", "chroma of bright pixels; ideally bright-real", True),
    "bright_chroma_real": Column("bright-real", "the same of the training image", True),
    "same_place": Column("place", "share of patches left in place; near p-copy: copies"),
    "same_place_copy": Column("p-copy", "place of a copy of the image"),
    "same_place_shuffled": Column("p-shuffled", "place of a shuffled image: chance"),
    "reconstruction_rmse": Column("rec-RMSE", "reconstruction error; lower is better", True),
    "reconstruction_psnr": Column("rec-PSNR", "the same in dB; higher is better", True),
}
QUICK_SAMPLES = 8  # samples for `quick_metrics`
SCALES = (1, 2, 4)  # divisors of the image's sides for the sliced Wasserstein distance


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    """Weights of the pretrained networks; `inception` is None unless the user gives a file."""

    vgg: features.Weights
    lpips: features.Weights
    inception: features.Weights | None


@numerics.independent
def networks(inception: str = "") -> Networks:
    """Loads the pretrained networks to the device; `inception` is a file, or empty.

    Raises:
        InputError: the extra `metrics` is not installed, or the file has no such weights.
    """
    stem = features.inception_weights(inception) if inception else None
    weights = jax.device_put((features.vgg_weights(), features.lpips_weights(), stem))
    return Networks(*weights)


@numerics.independent
def evaluate(sample_set: SampleSet, networks: Networks | None) -> Row:
    """Computes all metrics of an image and its samples; None: those that need no networks."""
    real, samples = sample_set.real, sample_set.samples
    row: Row = dict.fromkeys(COLUMNS)
    if networks is not None:
        row |= _network_metrics(real, samples, networks)
    if len(samples) > 1 and not _is_constant(real.mean(-1)):
        mean_std, rms = metrics.pixel_diversity(jnp.stack(samples), jnp.asarray(real))
        row |= {"pixel_diversity": mean_std, "pixel_diversity_rms": rms}
    row |= _patches(real, samples) | _structure(real, samples) | _colours(real, samples)
    if sample_set.reconstruction is not None:
        error = metrics.rmse(sample_set.reconstruction, real)
        row["reconstruction_rmse"] = Estimate(error, None, 1)
        row["reconstruction_psnr"] = Estimate(metrics.psnr(error), None, 1)
    return row


def quick_metrics(model: Model) -> dict[str, float]:
    """Returns a few metrics of a model that need no networks, by their headings."""
    row = evaluate(sample_sets.of_model(model, num_samples=QUICK_SAMPLES, seed=0), None)
    return {
        COLUMNS[name].heading: estimate.value
        for name in (
            "swd_1",
            "rgb",
            "edges_11",
            "coherence_11",
            "pixel_diversity_rms",
            "same_place",
        )
        if (estimate := row[name]) is not None
    }


def gaps(sample_set: SampleSet) -> list[str]:
    """Returns the reasons why metrics of a sample set are missing, a line each."""
    real = sample_set.real
    reasons = {
        "one sample: no diversity and no errors": len(sample_set.samples) == 1,
        "an image of one brightness: no pixel diversity": _is_constant(real.mean(-1)),
        "an image of one colour: no place": _is_constant(real),
        f"less than {features.LEAST_SIDE} px: no LPIPS and no SIFID": _is_small(real),
    }
    return [f"{sample_set.name}: {reason}" for reason, applies in reasons.items() if applies]


def table(
    sample_sets: Sequence[SampleSet], networks: Networks, *, progress: TextIO | None = None
) -> dict[str, tuple[int, Row]]:
    """Returns the number of samples and the metrics of every image, by name.

    Shows a progress bar on the file `progress`, if one is given.
    """
    bar = tqdm.tqdm(sample_sets, unit="image", file=progress, disable=progress is None, leave=False)
    return {one.name: (len(one.samples), evaluate(one, networks)) for one in bar}


def summary(rows: Sequence[Row]) -> Row:
    """Returns the mean of every metric over the images that have it.

    The error of a mean is taken over images; that of a single image stays the one over its samples.
    """
    result: Row = {}
    for name in COLUMNS:
        known = [estimate for row in rows if (estimate := row[name]) is not None]
        mean = metrics.mean([estimate.value for estimate in known]) if len(known) > 1 else None
        result[name] = mean or next(iter(known), None)
    return result


def _is_constant(image: np.ndarray) -> bool:
    """Returns whether all pixels `[H, W, ...]` of an image are equal up to rounding."""
    return bool(np.ptp(image, axis=(0, 1)).max() < 1e-6)


def _is_small(image: np.ndarray) -> bool:
    return min(image.shape[:2]) < features.LEAST_SIDE


def _network_metrics(real: np.ndarray, samples: Sequence[np.ndarray], networks: Networks) -> Row:
    def frechet(layers: Iterable[jax.Array]) -> Estimate:
        """Returns the mean distance of a sample to the image, whose features come first."""
        of_real, *of_samples = map(metrics.moments, layers)
        return metrics.mean([metrics.frechet_distance(one, of_real) for one in of_samples])

    images = [image[None] for image in (real, *samples)]
    row: Row = {"vgg_sifd": frechet(features.vgg_relu1_2(networks.vgg, x) for x in images)}
    if _is_small(real):
        return row
    if networks.inception is not None:
        stems = [features.inception_features(networks.inception, x) for x in images]
        row["sifid_64"], row["sifid_192"] = map(frechet, zip(*stems, strict=True))
    relu3_3, relu4_3 = zip(*(features.vgg_structure(networks.vgg, x) for x in images), strict=True)
    row["relu3_3_frechet"] = frechet(relu3_3)
    for name, (of_real, *of_samples) in {"relu3_3": relu3_3, "relu4_3": relu4_3}.items():
        nearest = [structure.of_features(one, of_real) for one in of_samples]
        row[name] = metrics.mean([np.mean(both).item() for both in nearest])
    if len(samples) > 1:
        layers = [features.lpips_features(networks.lpips, x) for x in images[1:]]
        row["lpips_diversity"] = metrics.lpips_diversity(layers)
    return row


def _patches(real: np.ndarray, samples: Sequence[np.ndarray]) -> Row:
    row: Row = {}
    for scale in SCALES:
        size = (round(real.shape[0] / scale), round(real.shape[1] / scale))
        if min(size) >= patches.PATCH:
            of_real, *of_samples = (
                patches.projections(jnp.asarray(resize.fit(image, size)))
                for image in (real, *samples)
            )
            row[f"swd_{scale}"] = _mean_distance(of_real, of_samples)
    if min(real.shape[:2]) < 2 * patches.PATCH or _is_constant(real):
        return row
    row["same_place"] = metrics.mean([patches.copy_rate(image, real) for image in samples])
    # The range of `place`: a copy has the highest rate, and shuffled content that of chance.
    for name, image in (("copy", real), ("shuffled", patches.shuffled(real))):
        row[f"same_place_{name}"] = Estimate(patches.copy_rate(image, real), None, 1)
    return row


def _structure(real: np.ndarray, samples: Sequence[np.ndarray]) -> Row:
    row: Row = {}
    for side in (7, 11):
        if min(real.shape[:2]) < side:
            continue
        found = [structure.of_patches(image, real, side) for image in samples]
        row[f"coherence_{side}"] = metrics.mean([one.coherence for one in found])
        row[f"completeness_{side}"] = metrics.mean([one.completeness for one in found])
        edges = [np.mean(structure.of_edges(image, real, side)).item() for image in samples]
        if np.isfinite(edges).all():  # else one image is flat everywhere
            row[f"edges_{side}"] = metrics.mean(edges)
    return row


def _colours(real: np.ndarray, samples: Sequence[np.ndarray]) -> Row:
    of_real, *of_samples = map(colour.projections, (real, *samples))
    row: Row = {"rgb": _mean_distance(of_real, of_samples)}
    if real.shape[-1] == 1:
        return row
    for part in colour.PARTS:
        for name, images in ((f"{part}_chroma", samples), (f"{part}_chroma_real", [real])):
            known = [one for x in images if (one := colour.chroma(x, part)) is not None]
            row[name] = metrics.mean(known) if known else None
    return row


def _mean_distance(of_real: np.ndarray, of_samples: Sequence[np.ndarray]) -> Estimate:
    return metrics.mean([patches.sliced_wasserstein(one, of_real) for one in of_samples])
