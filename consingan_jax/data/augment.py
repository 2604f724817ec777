"""Random augmentations of the training image, for harmonization and editing (paper, section 4).

Functions of a key and an image `[1, h, w, C]` in [-1, 1], which run inside the compiled training
loop. They compute every possible change and select one: at the size of the coarsest level that
costs less than a branch would.
"""

import jax
import jax.numpy as jnp
import numpy as np

CUTOUT_SIDE = 120  # short side of the image, in pixels, for which cutout sizes are stated
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
# Sides of the tiles as fractions of the image's, smallest and largest, for one to five tiles.
TILE_SIDES = ((0.2, 0.15, 0.1, 0.1, 0.1), (0.5, 0.3, 0.2, 0.15, 0.15))


def harmonization(key: jax.Array, image: jax.Array) -> jax.Array:
    """Augments an image for harmonization: a change of colours, then cutout.

    With probability 0.25 one operation of one family changes the colours: noise, invert or sepia,
    channels, or HSV; then, with probability 0.9, one or two rectangles of one random colour cover
    parts. Of a grey image, sepia inverts, HSV changes the value alone, and channels do nothing.

    Args:
        key: a random key.
        image: `[1, h, w, C]` in [-1, 1].

    Returns:
        `[1, h, w, C]` in [-1, 1].
    """
    colour_key, if_colour_key, cutout_key, if_cutout_key = jax.random.split(key, 4)
    x = (image[0] + 1) * 127.5
    changed = _colours(colour_key, x)
    x = jnp.where(jax.random.uniform(if_colour_key) < 0.25, changed, x).clip(0, 255)
    x = jnp.where(jax.random.uniform(if_cutout_key) < 0.9, _cutout(cutout_key, x), x)
    return x[None] / 127.5 - 1


def shuffle(key: jax.Array, image: jax.Array) -> jax.Array:
    """Pastes one to five tiles of an image a little beside their places, one over the other.

    All tiles are cut from the original image.

    Args:
        key: a random key.
        image: `[1, h, w, C]`.

    Returns:
        `[1, h, w, C]`.
    """
    num_key, *keys = jax.random.split(key, 6)
    num = jax.random.randint(num_key, (), 1, 6)
    x = image[0]
    for i, tile_key in enumerate(keys):
        x = jnp.where(i < num, _paste_tile(tile_key, image[0], x, num), x)
    return x[None]


# Colour changes, of values in 0 .. 255.


def _colours(key: jax.Array, x: jax.Array) -> jax.Array:
    """Applies one random operation, chosen by weight of family and operation; does not clip."""
    family_key, op_key, *keys = jax.random.split(key, 6)
    families = [
        ([0.2, 0.5, 0.5], [_scaled_values, _grey_noise, _noise]),
        ([1.0, 1.0], [_invert, _sepia]),
        ([1.0, 1.0], [_drop_channel, _shuffle_channels]),
        ([1.0], [_shift_hue_saturation_value]),
    ]
    changed = [
        _pick(op_key, weights, [op(ops_key, x) for op in ops])
        for (weights, ops), ops_key in zip(families, keys, strict=True)
    ]
    return _pick(family_key, [0.5, 0.5, 0.5, 0.1], changed)


def _pick(key: jax.Array, weights: list[float], images: list[jax.Array]) -> jax.Array:
    return jnp.stack(images)[jax.random.categorical(key, jnp.log(jnp.array(weights)))]


def _scaled_values(key: jax.Array, x: jax.Array) -> jax.Array:
    return x * jax.random.uniform(key, x.shape, minval=0.5, maxval=1.5)


def _grey_noise(key: jax.Array, x: jax.Array) -> jax.Array:
    sigma_key, noise_key = jax.random.split(key)
    sigma = jax.random.uniform(sigma_key, minval=2.55, maxval=12.75)
    return x + sigma * jax.random.normal(noise_key, (*x.shape[:2], 1))


def _noise(key: jax.Array, x: jax.Array) -> jax.Array:
    variance_key, noise_key = jax.random.split(key)
    variance = jax.random.uniform(variance_key, minval=10, maxval=50)
    return x + jnp.sqrt(variance) * jax.random.normal(noise_key, x.shape)


def _invert(key: jax.Array, x: jax.Array) -> jax.Array:
    del key
    return 255 - x


def _sepia(key: jax.Array, x: jax.Array) -> jax.Array:
    return x @ jnp.asarray(SEPIA.T, x.dtype) if x.shape[-1] == 3 else _invert(key, x)


def _drop_channel(key: jax.Array, x: jax.Array) -> jax.Array:
    channels = x.shape[-1]
    dropped = jax.random.randint(key, (), 0, channels)
    return jnp.where(jnp.arange(channels) == dropped, 0, x) if channels > 1 else x


def _shuffle_channels(key: jax.Array, x: jax.Array) -> jax.Array:
    return jax.random.permutation(key, x, axis=-1)


def _shift_hue_saturation_value(key: jax.Array, x: jax.Array) -> jax.Array:
    hue, saturation, value = jax.random.uniform(key, (3,), minval=-1, maxval=1)
    if x.shape[-1] != 3:
        return x + 20 * value
    h, s, v = _to_hsv(x.clip(0, 255) / 255)
    h = h + 20 / 180 * hue
    s = (s + 30 / 255 * saturation).clip(0, 1)
    v = (v + 20 / 255 * value).clip(0, 1)
    return 255 * _from_hsv(h, s, v)


def _to_hsv(rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Converts `[h, w, 3]` in [0, 1] to hue (period 1), saturation and value, each `[h, w]`."""
    # `safe` keeps the branches that are not selected finite: grey pixels have no hue.
    value, chroma = rgb.max(-1), rgb.max(-1) - rgb.min(-1)
    r, g, b = jnp.moveaxis(rgb, -1, 0)
    safe = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.select(
        [value == r, value == g], [(g - b) / safe, 2 + (b - r) / safe], 4 + (r - g) / safe
    )
    saturation = jnp.where(value > 0, chroma / jnp.where(value > 0, value, 1), 0)
    return jnp.where(chroma > 0, sixths / 6, 0) % 1, saturation, value


def _from_hsv(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    distance = jnp.stack([(n + 6 * hue) % 6 for n in (5, 3, 1)], -1)
    fall = jnp.minimum(distance, 4 - distance).clip(0, 1)
    return value[..., None] * (1 - saturation[..., None] * fall)


def _cutout(key: jax.Array, x: jax.Array) -> jax.Array:
    """Covers one rectangle, or two of half the sides, with one random colour."""
    two_key, size_key, centre_key, colour_key = jax.random.split(key, 4)
    height, width, channels = x.shape
    two = jax.random.bernoulli(two_key)
    sides = jax.random.uniform(size_key, (2,), minval=30, maxval=60) * jnp.where(two, 0.5, 1)
    sides = sides * min(height, width) / CUTOUT_SIDE
    centres = jax.random.uniform(centre_key, (2, 2)) * jnp.array([[height, width]])
    rows, columns = jnp.arange(height)[None] + 0.5, jnp.arange(width)[None] + 0.5
    in_rows = jnp.abs(rows - centres[:, :1]) <= sides[0] / 2  # [2, height]
    in_columns = jnp.abs(columns - centres[:, 1:]) <= sides[1] / 2  # [2, width]
    covered = in_rows[:, :, None] & in_columns[:, None, :]
    covered = covered[0] | (two & covered[1])
    colour = jax.random.uniform(colour_key, (1, 1, channels), maxval=255)
    return jnp.where(covered[..., None], colour, x)


def _paste_tile(key: jax.Array, source: jax.Array, x: jax.Array, num: jax.Array) -> jax.Array:
    """Returns `x` with one of `num` tiles of `source` pasted near its own place."""
    # Every array of two holds a number for the rows and one for the columns.
    side_key, corner_key, sign_key, move_key = jax.random.split(key, 4)
    least, most = (jnp.array(bounds)[num - 1] for bounds in TILE_SIDES)
    image_sides = jnp.array(x.shape[:2])
    sides = _between(side_key, least, most) * image_sides
    start = jnp.floor(jax.random.uniform(corner_key, (2,)) * image_sides)
    end = jnp.minimum(jnp.floor(start + jnp.maximum(sides, 1)), image_sides)
    sides = end - start  # whole pixels, cropped at the border

    farthest = jnp.where(num == 1, 0.15, 0.1)
    distance = jnp.rint(_between(move_key, 0.05, farthest) * image_sides)
    moved = start + distance * jax.random.rademacher(sign_key, ())  # both axes by the same sign
    new_start = moved.clip(0, image_sides - sides)

    in_rows = _covers(new_start[0], sides[0], x.shape[0])
    in_columns = _covers(new_start[1], sides[1], x.shape[1])
    inside = in_rows[:, None] & in_columns[None]
    # Sides are traced, so the tile cannot be a slice: the whole image is shifted, then masked.
    shifted = jnp.roll(source, (new_start - start).astype(int), (0, 1))
    return jnp.where(inside[..., None], shifted, x)


def _covers(start: jax.Array, side: jax.Array, length: int) -> jax.Array:
    pixels = jnp.arange(length)
    return (pixels >= start) & (pixels < start + side)


def _between(key: jax.Array, low: jax.Array | float, high: jax.Array) -> jax.Array:
    return low + (high - low) * jax.random.uniform(key, (2,))
