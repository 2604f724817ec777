"""Makes a composite and an edit of the scene, with their masks: `python examples/composites.py`.

`scene_naive.png` has a sailing boat in flat colours pasted on the lake, for harmonization.
`scene_edit.png` has parts of the image moved, for editing. Their masks have `_mask` in the name.
"""

from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SCALE = 4  # the boat is drawn larger, then filtered down
HULL = [(0, 26), (40, 26), (33, 35), (7, 35)]  # in pixels of the scene, from the boat's corner
SAILS = [([(19, 0), (19, 23), (2, 23)], "#ff3d6e"), ([(22, 4), (22, 23), (38, 23)], "#ffe14d")]
BOAT = (122, 96)  # left and top, in pixels of the scene
MOVES = [  # (left, top, width, height) of a part, and its new (left, top)
    ((50, 30, 28, 38), (108, 36)),
    ((176, 8, 46, 34), (96, 8)),
]


def polygons(image, corner, shapes):
    """Fills polygons on the enlarged image; points are in pixels of the scene, from `corner`."""
    draw = ImageDraw.Draw(image)
    for points, colour in shapes:
        draw.polygon(
            [(SCALE * (x + corner[0]), SCALE * (y + corner[1])) for x, y in points], colour
        )


def boat(scene):
    """Returns the scene with a boat, and the mask of the boat."""
    shapes = [(HULL, "#20c4f4"), *SAILS]
    large = scene.resize([SCALE * n for n in scene.size])
    mask = Image.new("L", large.size)
    polygons(large, BOAT, shapes)
    polygons(mask, BOAT, [(points, 255) for points, _ in shapes])
    small, mask = (
        picture.resize(scene.size, Image.Resampling.LANCZOS) for picture in (large, mask)
    )
    return Image.composite(small, scene, mask), mask.point(lambda value: 255 * (value > 0))


def moved(scene):
    """Returns the scene with some parts moved, and the mask of their new places."""
    edit, mask = scene.copy(), Image.new("L", scene.size)
    for (left, top, width, height), place in MOVES:
        edit.paste(scene.crop((left, top, left + width, top + height)), place)
        mask.paste(255, (*place, place[0] + width, place[1] + height))
    return edit, mask


def main():
    """Writes the four files beside the scene."""
    scene = Image.open(HERE / "scene.png").convert("RGB")
    for name, (picture, mask) in {"naive": boat(scene), "edit": moved(scene)}.items():
        picture.save(HERE / f"scene_{name}.png", optimize=True)
        mask.save(HERE / f"scene_{name}_mask.png", optimize=True)


if __name__ == "__main__":
    main()
