"""Reduces pictures to the colours of another: clusters of its pixels, by k-means."""

import numpy as np

MAX_STEPS = 100


def of_image(image: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean colours `[count, C]` of the clusters of an image `[H, W, C]`.

    They start from pixels at equal steps of brightness, so that no random numbers are needed.
    """
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    by_brightness = np.argsort(pixels.mean(1), kind="stable")
    ranks = ((np.arange(count) + 0.5) / count * len(pixels)).astype(int)
    colours = pixels[by_brightness[ranks]]
    for _ in range(MAX_STEPS):
        labels = _nearest(pixels, colours)
        used = np.unique(labels)  # a colour without pixels stays where it is
        moved = colours.copy()
        moved[used] = [pixels[labels == label].mean(0) for label in used]
        if np.allclose(moved, colours, atol=1e-4):
            break
        colours = moved
    return colours.astype(np.float32)


def reduced(picture: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns a picture `[H, W, C]` of the given colours `[K, C]`, the nearest at each pixel."""
    pixels = picture.reshape(-1, picture.shape[-1])
    return colours[_nearest(pixels, colours)].reshape(picture.shape)


def _nearest(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns the number of the nearest colour of each pixel."""
    # One colour at a time: an array of all differences would be large.
    return np.stack([np.square(pixels - colour).sum(1) for colour in colours]).argmin(0)
