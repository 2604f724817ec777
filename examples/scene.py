"""Paints the default training image, a landscape: `python examples/scene.py [output.png]`.

The landscape is a small ray-cast terrain under a fractal sky, with conifers, flowers and balloons.
It is drawn at four times the size and filtered down, for the soft grain of a photograph.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

SCALE, WIDTH, HEIGHT = 4, 1000, 752  # times the final size, and the pixels drawn
HORIZON, FOCAL, EYE = 0.62 * HEIGHT, 0.96 * WIDTH, 1.05  # row, pixels, height above the lake
DEPTHS = np.geomspace(2.2, 190, 1200)[:, None]  # the ground is sampled at these distances
SUN = (-0.78, 0.42, -0.46)  # low, from the left, a little behind the viewer
SUNLIGHT, SKYLIGHT = np.array([1.20, 0.92, 0.60]), np.array([0.28, 0.38, 0.55])
# The far air takes up the colour of the low sky: warm towards the sun, blue away from it.
HAZE = np.linspace((0.97, 0.80, 0.66), (0.66, 0.75, 0.88), WIDTH)
FLOWERS = np.array([(0.92, 0.27, 0.17), (0.98, 0.84, 0.27), (0.97, 0.96, 0.92), (0.59, 0.41, 0.84)])
BALLOONS = [(62, 40), (118, 24), (205, 22), (231, 50), (28, 25), (95, 66), (179, 62), (126, 60)]
SIZES = [22, 17, 20, 14, 12, 10, 10, 8]  # of the balloons, in pixels of the result
DYES = ["#c8281e", "#2456a8", "#f2b21b", "#e2711d", "#6a3fa0", "#2f8f6b", "#1f7a9c", "#d0342c"]
TRIMS = ["#f6c544", "#f4efe2", "#8c1f5a", "#fbe7b0", "#f3a6b5", "#f4e9c8", "#f5d04c", "#f7f0e0"]
rng = np.random.default_rng(7)
# All texture is made of this seamless tile: white noise kept near a single frequency.
FREQUENCY = np.hypot(*np.meshgrid(np.fft.fftfreq(256) * 16, np.fft.fftfreq(256) * 16))
SPECTRUM = np.fft.fft2(rng.standard_normal((256, 256))) * np.exp(-4 * (FREQUENCY - 1) ** 2)
TILE = np.pad(8 * np.fft.ifft2(SPECTRUM).real, (0, 1), "wrap")  # 8 makes the variance about 1


def step(low, high, value):
    """Rises smoothly from 0 to 1 as value goes from low to high."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a, b, share):
    """Blends from colour a to colour b, by one share or an array of shares."""
    return a + (np.asarray(b) - a) * np.asarray(share)[..., None]


def noise(x, y):
    """Samples the noise tile bilinearly, with about one feature per unit of length."""
    (fx, left), (fy, top) = (np.modf(c * 16 + 2**20) for c in (x, y))  # 2**20 keeps it positive
    i, j = top.astype(int) & 255, left.astype(int) & 255
    upper = TILE[i, j] * (1 - fx) + TILE[i, j + 1] * fx
    return upper * (1 - fy) + (TILE[i + 1, j] * (1 - fx) + TILE[i + 1, j + 1] * fx) * fy


def fractal(x, y, octaves=6, gain=0.5):
    """Sums octaves of noise, each rotated as well as doubled so that no grid is visible."""
    total = 0.0
    for octave in range(octaves):
        total = total + gain**octave * noise(x, y)
        x, y = 1.6 * x - 1.2 * y + 3.7, 1.2 * x + 1.6 * y + 9.1
    return total


def terrain(x, z):
    """Returns the ground height: a near meadow, a lake at level 0, hills, then high mountains."""
    valley = np.abs(x / z + 0.12)
    shore = 0.55 * step(7.5, 3, z + 0.44 * x) + 0.1 * fractal(x / 5, z / 5, 7) * step(60, 5, z)
    banks = 2.2 * step(0.20, 0.62, valley) * step(3, 26, z)
    hills = step(24, 60, z) * (1.2 + 8 * valley) * (1 + 0.35 * fractal(x / 18, z / 18, 6))
    massif = np.exp(-(((x - 26) / 30) ** 2) - ((z - 128) / 34) ** 2)
    crests = 1.6 / (1 + fractal(x / 75 + 0.4, z / 75, 7, 0.4) ** 2)
    peaks = step(60, 125, z) * (17 * crests * (0.55 + 0.8 * massif) + 14.5 * massif - 4)
    return shore + banks + hills + peaks + 9 * step(90, 150, z) * step(0.05, -0.4, x / z) - 0.22


def sky():
    """Returns a graded sky with a sheet of clouds in perspective, lit from the left."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    up = np.clip(1 - y / HORIZON, 0, 1)
    u, v = 1.95 * (x / WIDTH - 0.5) / (0.3 + up), 2.25 / (0.3 + up)
    density = fractal(u, v, 8, 0.55)
    lit = step(-0.8, 1.0, density - fractal(u - 0.12, v + 0.1, 5, 0.55) + 0.2)
    cloud = mix(np.array([0.62, 0.62, 0.74]), [1.0, 0.93, 0.84], lit)
    clear = mix(HAZE, [0.22, 0.44, 0.75], step(0.05, 1.1, up) ** 0.9)
    return mix(clear, cloud, 0.9 * step(-0.2, 2.0, density) * step(0.05, 0.3, up))


def ground_colour(x, height):
    """Returns colours of meadow, forest floor, rock and snow, by distance, height and slope."""
    dx = np.gradient(height, x[0], axis=1) * DEPTHS[0] / DEPTHS
    dz = np.gradient(height, DEPTHS[:, 0], axis=0) - dx * x / DEPTHS
    slope = np.hypot(dx, dz)
    facing = np.maximum(SUN[1] - dx * SUN[0] - dz * SUN[2], 0) / np.hypot(1, slope)
    beam = height + 0.42 * x  # higher ground further left throws a shadow
    lit = step(1.4, 0, np.maximum.accumulate(beam, axis=1) - beam - 0.01 * DEPTHS)
    mottle = fractal(x / 3, (DEPTHS + 1.5 * height) / 3, 7, 0.6)
    colour = mix(np.array([0.30, 0.36, 0.13]), [0.52, 0.47, 0.20], step(-1.2, 1.6, mottle))
    colour = mix(colour, [0.19, 0.27, 0.13], step(20, 34, DEPTHS + 3 * mottle))
    rock = mix(np.array([0.32, 0.30, 0.31]), [0.56, 0.49, 0.45], step(-1.5, 1.5, mottle))
    colour = mix(colour, rock, step(8, 13, height + 1.5 * mottle + 2 * slope))
    snow = step(14, 19, height + 1.5 * fractal(x / 7, DEPTHS / 7, 4)) * step(2.6, 1.2, slope)
    return mix(colour, [0.96, 0.97, 1.0], snow) * (SKYLIGHT + (facing * lit)[..., None] * SUNLIGHT)


def landscape():
    """Returns the ground under the sky, the distance of dry ground, and a mask of the water."""
    x = np.linspace(-0.5, 0.5, WIDTH) * WIDTH / FOCAL * DEPTHS
    land = terrain(x, DEPTHS)
    height = np.maximum(land, 0)
    colour = mix(ground_colour(x, height), HAZE, 1 - np.exp(0 * x - DEPTHS / 170))
    # Going away from the viewer, a pixel shows the first ground that rises to its row.
    skyline = np.maximum.accumulate(FOCAL * (height - EYE) / DEPTHS - HORIZON, axis=0)
    hit = np.stack([np.searchsorted(c, -np.arange(HEIGHT)) for c in skyline.T], axis=1)
    seen, hit = hit < len(DEPTHS), np.minimum(hit, len(DEPTHS) - 1)
    wet = land[hit, np.arange(WIDTH)] <= 0
    image = np.where(seen[..., None], colour[hit, np.arange(WIDTH)], sky())
    return image, np.where(seen & ~wet, DEPTHS[hit, 0], np.inf), seen & wet


def flood(image, water):
    """Mirrors the far shore in the lake, with ripples that grow towards the viewer."""
    y, x = np.nonzero(water)
    near = (y - y.min()) / HEIGHT
    ripple = fractal(x / (6 + 240 * near), 14 / (0.1 + 4 * near), 4)
    mirrored = np.clip(2 * y.min() - y + ripple * (3 + 60 * near), 0, HEIGHT - 1).astype(int)
    sheen = np.clip(0.08 + 1.6 * near + 0.12 * ripple, 0, 0.6)
    image[y, x] = mix(image[mirrored, x] * 0.92, [0.36, 0.50, 0.66], sheen)


def paint(image, colour, alpha, x, y):
    """Blends a sprite into the image, its top left corner at (x, y), cropped at the borders."""
    inside = np.s_[max(0, -y) : max(0, HEIGHT - y), max(0, -x) : max(0, WIDTH - x)]
    colour, alpha = np.broadcast_to(colour, (*alpha.shape, 3))[inside], alpha[inside]
    place = image[max(0, y) :, max(0, x) :][: alpha.shape[0], : alpha.shape[1]]
    place[:] = mix(place, colour, alpha)


def conifer(tall, tint):
    """Returns a conifer sprite: ragged tiers of drooping branches, lit from the left."""
    wide = max(3, int(tall * rng.uniform(0.20, 0.29)))
    t, s = np.linspace(0, 1, int(tall))[:, None], np.linspace(-1, 1, 2 * wide)
    droop = t - 0.16 * np.abs(s)
    ragged = fractal(s * 2 + rng.uniform(0, 99), droop * 9 + rng.uniform(0, 99), 4, 0.8)
    tier = (droop * rng.uniform(9, 13) + 0.15 * ragged + 0.6 * (s > 0)) % 1
    reach = t * (0.55 + 0.40 * tier) + (0.02 + 0.12 * t) * ragged
    alpha = ((np.abs(s) < reach) & (t < 0.95)) | (np.abs(s) < 0.02 + 0.05 * t)
    light = np.clip(0.38 - 0.5 * s / (t + 0.15) + 0.22 * ragged - 0.5 * (tier - 0.4), 0.02, 1)
    return tint * (0.7 * SKYLIGHT + light[..., None] * SUNLIGHT), alpha.astype(float)


def scatter(depth, nearest, farthest, count):
    """Returns column, row, distance and side offset of random dry pixels, far ones first."""
    ground = np.argwhere((depth > nearest) & (depth < farthest))  # argwhere sorts by row: far first
    y, x = ground[np.sort(rng.integers(0, len(ground), count))].T
    return x, y, depth[y, x], (x - WIDTH / 2) / FOCAL * depth[y, x]


def plant(image, depth, nearest, farthest, count):
    """Plants conifers in groves that leave a view of the lake, and some golden larches."""
    x, y, z, side = scatter(depth, nearest, farthest, count)
    bare = 0.6 * noise(side / 9, z / 9) - 0.5 + step(36, 4, z) * (1 + step(320, 100, abs(x - 580)))
    golden = noise(side / 5 + 2, z / 5) > rng.normal(1.4, 0.4, count)
    for k in np.flatnonzero(bare < rng.normal(0, 0.3, count)):
        tall = max(5, FOCAL / z[k] * min(1.4, 0.28 + rng.exponential(0.25)))
        tint = np.array((0.62, 0.45, 0.13) if golden[k] else (0.20, 0.30, 0.17))
        colour, alpha = conifer(tall, tint * rng.uniform(0.7, 1.2) + rng.normal(0, 0.012, 3))
        colour = mix(colour, HAZE[x[k]], 1 - np.exp(-z[k] / 170))
        shadow = alpha.T[::4, ::-1] * 0.5 * step(25, 8, z[k])  # the sprite, rotated to the ground
        paint(image, (0.06, 0.10, 0.11), shadow, x[k], y[k] - len(shadow) // 2)
        paint(image, colour, alpha, x[k] - alpha.shape[1] // 2, y[k] - len(alpha))


def sow(image, depth):
    """Scatters grass and patches of flowers over the near meadow."""
    x, y, z, side = scatter(depth, 2, 9, 16000)
    drifts = np.stack([noise(side / 1.5 + 11 * k, z / 1.5) for k in range(len(FLOWERS))])
    blooms, soil = drifts.max(0) > rng.normal(1.75, 0.4, len(z)), image[y, x]
    for k, size in enumerate(FOCAL / z):
        tip = max(0, y[k] - int(rng.uniform(0.01, 0.07) * size))
        image[tip : y[k] + 1, x[k] : x[k] + 2] = soil[k] * rng.uniform(0.6, 1.5) + (0.02, 0.03, 0)
        if blooms[k]:
            petal = FLOWERS[drifts[:, k].argmax()] * np.clip(1.3 * soil[k].sum(), 0.45, 1)
            r = int(rng.uniform(1, 1 + 0.011 * size))
            image[max(0, tip - r) : tip + r, max(0, x[k] - r) : x[k] + r] = petal


def balloon(size, *palette):
    """Returns a balloon sprite: a round envelope in coloured gores over a small basket."""
    t = np.linspace(0, 1.28, size * SCALE)[:, None]
    s = np.linspace(-1, 1, int(size * SCALE * 0.74))
    radius = np.interp(t, (0, 0.03, 0.1, 0.25, 0.45, 0.7, 1), (0, 0.34, 0.64, 0.9, 1, 0.8, 0.2))
    turn = np.arcsin(np.clip(s / (radius + 1e-6), -1, 1)) / np.pi
    gores = np.floor((turn + rng.uniform(0, 1)) * (8 if size > 10 else 6)).astype(int)
    light = 0.62 + 0.55 * np.clip(0.35 * np.cos(turn * np.pi) - 0.8 * s - 0.5 * (t - 0.4), -0.6, 1)
    colour = np.array([ImageColor.getrgb(c) for c in palette])[gores % 2] * light[..., None] / 255
    gondola = (t > 1) & (np.abs(np.abs(s) - 0.13) < 0.03) | (t >= 1.12) & (np.abs(s) < 0.17)
    colour[gondola] = (0.30, 0.18, 0.10)
    return colour, ((np.abs(s) < radius) & (t < 1) | gondola).astype(float)


def fly(image):
    """Paints the balloons in the sky, the smaller ones paler as if farther away."""
    for (x, y), size, dye, trim in zip(BALLOONS, SIZES, DYES, TRIMS, strict=True):
        colour, alpha = balloon(size, dye, trim)
        colour = mix(colour, HAZE[x * SCALE], 1.6 / size)
        paint(image, colour, alpha, x * SCALE - alpha.shape[1] // 2, y * SCALE - len(alpha) // 2)


def main():
    """Paints the image, mostly from far to near, and saves it."""
    image, depth, water = landscape()
    fly(image)
    plant(image, depth, 27, 75, 3500)
    flood(image, water)
    sow(image, depth)
    plant(image, depth, 3, 27, 1100)
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    target = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    picture.resize((WIDTH // SCALE, HEIGHT // SCALE), Image.Resampling.LANCZOS).save(target)


if __name__ == "__main__":
    main()
