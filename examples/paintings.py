"""Draws two flat landscapes for paint-to-image: `python examples/paintings.py`.

`scene_painting.png` and `scene_painting_2.png` have the colours of the scene, in other places.
"""

from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SCALE, SIZE = 4, (250, 188)  # drawn larger, then filtered down
SKY, HAZE, SNOW, ROCK = "#6f9fce", "#c3cfe0", "#e6e6ee", "#8e8a92"
LAKE, TREE, LARCH, MEADOW, HILL = "#6d8db0", "#25331f", "#b07a2c", "#7f8c3c", "#5d6b3a"
RED, BLUE = "#c8382c", "#2f5fae"


def tree(x, foot, tall, colour=TREE):
    """Returns the polygon of a conifer; `x` and `foot` are its lowest point, in pixels."""
    return [(x, foot - tall), (x + tall / 5, foot), (x - tall / 5, foot)], colour


def balloon(x, y, radius, colour):
    """Returns the corners of a balloon's circle, and its colour."""
    return [(x - radius, y - radius), (x + radius, y + radius)], colour


PAINTINGS = {  # flat shapes, far to near; two corners are those of an ellipse
    "scene_painting": [
        ([(0, 90), (60, 70), (130, 88), (250, 80), (250, 120), (0, 120)], HAZE),
        ([(10, 118), (70, 28), (95, 62), (112, 50), (160, 118)], ROCK),
        ([(46, 64), (70, 28), (86, 50), (74, 58), (64, 52)], SNOW),
        ([(0, 118), (250, 106), (250, 150), (0, 150)], LAKE),
        ([(0, 150), (120, 146), (250, 128), (250, 188), (0, 188)], MEADOW),
        *(tree(*each) for each in [(176, 166, 96), (204, 172, 112), (232, 162, 84)]),
        tree(150, 170, 50, LARCH),
        balloon(196, 34, 12, RED),
        balloon(132, 22, 8, BLUE),
    ],
    "scene_painting_2": [
        ([(0, 60), (90, 84), (250, 66), (250, 130), (0, 130)], HILL),
        ([(120, 100), (196, 12), (250, 70), (250, 100)], SNOW),
        ([(120, 100), (160, 54), (182, 70), (210, 60), (250, 92), (250, 112)], ROCK),
        ([(0, 112), (110, 98), (250, 112), (250, 188), (0, 188)], MEADOW),
        ([(60, 128), (190, 160)], LAKE),
        *(tree(*each) for each in [(18, 132, 70), (40, 150, 104), (66, 140, 60), (230, 180, 90)]),
        tree(206, 176, 48, LARCH),
        balloon(100, 36, 15, RED),
    ],
}


def main():
    """Writes both beside the scene."""
    for name, shapes in PAINTINGS.items():
        large = Image.new("RGB", [SCALE * n for n in SIZE], SKY)
        draw = ImageDraw.Draw(large)
        for points, colour in shapes:
            scaled = [(SCALE * x, SCALE * y) for x, y in points]
            (draw.ellipse if len(points) == 2 else draw.polygon)(scaled, colour)
        small = large.resize(SIZE, Image.Resampling.LANCZOS)
        small.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
