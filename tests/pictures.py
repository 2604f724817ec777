"""Files of every kind, read and written in every role: is each pixel what it should be?

    python -m tests.pictures

Makes an image in every depth, colour, transparency, profile, polarity, number of pages, orientation
and format that can be, by libraries other than the project's own reader, and reads each file as a
training image, a mask, a composite, a composite's mask, an image to evaluate, and a picture of the
studio. What was read as a training image is written in every format and read by another library.
Prints how many were right (within 1 of 255), refused with a line, and wrong; exits with 1 if any
was wrong.
"""

import collections
import dataclasses
import functools
import io
import itertools
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
import tensorstore
import tifffile
from PIL import Image, ImageCms, ImageOps

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.generation import video
from consingan_jax.images import loading, masks, pixels
from consingan_jax.measures import sample_sets
from consingan_jax.studio.service import StudioService
from consingan_jax.tiled import writer

DEPTHS = ("uint8", "uint16", "int16", "int32", "float32")
FORMATS = (".png", ".tif", ".npy", ".jpg")
OUTPUTS = (".png", ".PNG", ".tif", ".npy", ".zarr", ".gif")
SIZE = (24, 32)
D50, D65 = (0.3457, 0.3585, 1.0), (0.3127, 0.3290, 1.0)
PRIMARIES = [0.64, 0.33, 1.0, 0.30, 0.60, 1.0, 0.15, 0.06, 1.0]  # sRGB's


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        suffix: of its name.
        dtype: of its numbers.
        channels: 1 for grey, 3 for colour.
        alpha: whether it has transparency.
        learned: whether the transparency is learned as a channel.
        linear: whether a profile says that its numbers are linear in light.
        inverted: whether its smallest number is white.
        pages: how many it has.
        turn: the EXIF orientation.
    """

    suffix: str
    dtype: str
    channels: int
    alpha: bool = False
    learned: bool = False
    linear: bool = False
    inverted: bool = False
    pages: int = 1
    turn: int = 1

    @property
    def wanted(self) -> int:
        """What `config.channels` is for it."""
        return self.channels + 1 if self.learned else self.pages if self.pages > 1 else 0

    def exists(self) -> bool:
        """Returns whether a file can be so."""
        if self.suffix != ".tif" and (self.inverted or self.pages > 1):
            return False
        if self.suffix == ".npy" and (self.alpha or self.linear or self.turn != 1):
            return False
        if self.suffix == ".png" and self.dtype not in ("uint8", "uint16"):
            return False
        if self.suffix == ".jpg" and (self.dtype != "uint8" or self.alpha):
            return False
        if self.channels == 3 and (self.inverted or self.pages > 1):
            return False
        if self.alpha and (self.inverted or self.pages > 1):
            return False
        if self.linear and (self.dtype not in ("uint8", "uint16") or self.inverted):
            return False
        return self.alpha or not self.learned


def kinds() -> Iterator[Kind]:
    """Yields every kind that there is."""
    yes_or_no = (False, True)
    every = itertools.product(
        *(FORMATS, DEPTHS, (1, 3), yes_or_no, yes_or_no, yes_or_no, yes_or_no, (1, 2, 3), (1, 3, 6))
    )
    return filter(Kind.exists, itertools.starmap(Kind, every))


@functools.cache
def truth(channels: int) -> np.ndarray:
    """Returns the image, `[24, 32, channels]` from 0 to 1: squares of 8 px, each of one colour."""
    squares = np.random.default_rng(channels).uniform(0.35, 1, (3, 4, channels))
    squares[0, 0] = 1
    return squares.repeat(8, 0).repeat(8, 1)


@functools.cache
def opacity() -> np.ndarray:
    """Returns the alpha, `[24, 32]` from 0 to 1."""
    return np.random.default_rng(9).choice([0.0, 0.4, 1.0], (3, 4)).repeat(8, 0).repeat(8, 1)


def meant(kind: Kind) -> np.ndarray:
    """Returns what a file of a kind shows, `[24, 32, C]` from 0 to 1, on white."""
    image = truth(max(kind.channels, kind.pages))
    if kind.learned:
        return np.concatenate([image, opacity()[..., None]], axis=-1)
    return opacity()[..., None] * image + 1 - opacity()[..., None] if kind.alpha else image


def limits(dtype: str) -> tuple[float, float]:
    """Returns what is black and white in a type."""
    if dtype == "float32":
        return 0.0, 1.0
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def numbers(unit: np.ndarray, dtype: str) -> np.ndarray:
    """Returns brightness from 0 to 1 as numbers of a type."""
    low, high = limits(dtype)
    values = low + (high - low) * unit
    return (values if dtype == "float32" else np.rint(values)).astype(dtype)


def stored(kind: Kind) -> np.ndarray:
    """Returns the numbers of a file `[H, W, C]`, as they lie in it."""
    image = truth(max(kind.channels, kind.pages))
    image = ((image + 0.055) / 1.055) ** 2.4 if kind.linear else image
    image = 1 - image if kind.inverted else image
    values = numbers(image, kind.dtype)
    if kind.alpha:
        top = 1 if kind.dtype == "float32" else np.iinfo(kind.dtype).max
        alpha = np.array(top * opacity()[..., None]).astype(kind.dtype)
        values = np.concatenate([values, alpha], axis=-1)
    return np.rot90(values, {1: 0, 3: 2, 6: 1}[kind.turn])


def linear_profile(channels: int) -> bytes:
    """Returns the profile of grey or of sRGB's colours, linear in light."""
    if channels == 1:
        return imagecodecs.cms_profile("gray", whitepoint=D50, gamma=1.0)
    return imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=PRIMARIES, gamma=1.0)


def write(kind: Kind, path: pathlib.Path) -> None:
    """Writes the file of a kind."""
    values = stored(kind)
    planes = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
    profile = linear_profile(kind.channels) if kind.linear else None
    if kind.suffix == ".npy":
        np.save(path, planes)
    elif kind.suffix == ".tif":
        _write_tiff(kind, path, planes, profile)
    else:
        exif = Image.Exif()
        exif[274] = kind.turn
        about = {"exif": exif} if kind.turn != 1 else {}
        about |= {"icc_profile": profile} if profile else {}
        about |= {"quality": 100, "subsampling": 0} if kind.suffix == ".jpg" else {}
        if kind.dtype == "uint16" and planes.ndim == 3:
            _write_deep_png(path, planes, about)
        else:
            Image.fromarray(planes).save(path, **about)


def _write_tiff(kind: Kind, path: pathlib.Path, planes: np.ndarray, profile: bytes | None) -> None:
    colour = kind.channels == 3
    about = {
        "photometric": "rgb" if colour else "miniswhite" if kind.inverted else "minisblack",
        "extratags": [(274, "H", 1, kind.turn, True)] if kind.turn != 1 else [],
        "iccprofile": profile,
    }
    if kind.pages > 1:
        with tifffile.TiffWriter(path) as writer:
            for page in range(kind.pages):
                writer.write(planes[..., page], contiguous=False, **about)
        return
    about |= {"planarconfig": "contig"} if planes.ndim == 3 else {}
    about |= {"extrasamples": ["unassalpha"]} if kind.alpha else {}
    tifffile.imwrite(path, planes, **about)


def _write_deep_png(path: pathlib.Path, planes: np.ndarray, about: dict) -> None:
    """Writes the pixels with imagecodecs, the rest as Pillow does, in chunks before the pixels."""
    small, deep = io.BytesIO(), bytes(imagecodecs.png_encode(planes))
    Image.new("RGB", (1, 1)).save(small, "PNG", **about)
    data, chunks, place = small.getvalue(), b"", 8
    while place < len(data):
        length = 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in (b"iCCP", b"eXIf"):
            chunks += data[place : place + length]
        place += length
    path.write_bytes(deep[:33] + chunks + deep[33:])


def shown(path: pathlib.Path, encoding: pixels.PixelFormat) -> np.ndarray:
    """Returns what other programs show of a file that was written, `[H, W, C]` from 0 to 1."""
    suffix = path.suffix.lower()
    if suffix == ".gif":
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("RGB"))
    elif suffix == ".png":
        values = imagecodecs.png_decode(path.read_bytes())
    elif suffix == ".npy":
        values = np.load(path)
    elif suffix == ".zarr":
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
        values = tensorstore.open(spec).result().read().result()
    else:
        values = tifffile.imread(path)
    values = values.reshape(*SIZE, -1)
    low, high = limits(str(values.dtype))
    unit = (values.astype(np.float64) - low) / (high - low)
    if encoding.alpha:
        top = 1 if values.dtype == np.float32 else np.iinfo(values.dtype).max
        unit[..., -1] = values[..., -1] / top
    with_polarity = suffix in (".npy", ".zarr") and encoding.white_is_zero  # the file's own numbers
    if suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            with_polarity = int(file.pages.first.photometric) == 0
    return 1 - unit if with_polarity else unit


def _training_image(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    found = loading.read(Config.create(image=str(path), channels=kind.wanted))
    return _alike(found.pixels / 2 + 0.5, meant_by(kind, path))


def _mask(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    """A mask's values are the numbers of the file, as they lie in it but upright."""
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "image.png")
    found = loading.read(Config.create(image=str(folder / "image.png"), mask=str(path)))
    values = np.rot90(stored(kind), {1: 0, 3: 2, 6: -1}[kind.turn])[..., 0]
    made = found.encoding.mask(found.pixels)
    if kind.suffix == ".jpg":
        return made is not None and bool(np.abs(made.astype(int) - values.astype(int)).max() <= 16)
    return made is not None and np.array_equal(made, values)


def _composite(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    models = [pixels.PixelFormat(), pixels.PixelFormat(0, 65535, "uint16", ".tif")]
    models += [pixels.PixelFormat(65535, 0, "uint16", ".tif")] if kind.suffix != ".npy" else []
    channels = kind.wanted or kind.channels
    return all(
        _alike(
            loading.read_alike(path, Config.create(), model, channels).pixels / 2 + 0.5,
            meant_by(kind, path),
        )
        for model in models
    )


def _composite_mask(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Inside is what is brighter than half in some channel, on black, counted from 0 in every type.

    Of pages the first counts.
    """
    values, (low, high) = stored(kind), limits(kind.dtype)
    count = 1 if kind.pages > 1 else kind.channels
    bright = values[..., :count].astype(np.float64)
    bright = (low + high - bright if kind.inverted else bright).max(-1) / high
    if kind.alpha:
        top = 1 if kind.dtype == "float32" else np.iinfo(kind.dtype).max
        bright = bright * values[..., -1] / top
    expected = np.rot90(bright > 0.5, {1: 0, 3: 2, 6: -1}[kind.turn])
    mask, _ = masks.read_inside(path, lambda shape: True)
    return np.array_equal(mask > 0, expected)


def _evaluation(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    real, others = folder / "real", folder / "samples"
    for place, name in ((real, "a"), (others, "a_0")):
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        (place / f"{name}{kind.suffix}").write_bytes(path.read_bytes())
    (subject,) = sample_sets.of_folders(str(real), str(others))
    expected = meant_by(dataclasses.replace(kind, learned=False), path)
    expected = expected[..., :1] if kind.pages > 1 else expected
    return all(_alike(one / 2 + 0.5, expected) for one in (subject.real, *subject.samples))


def _studio(kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    service = StudioService(folder / "service")
    name = service.pictures.keep(str(path))
    view = service.preview(name, "generation", "quick", "")[0] / 255
    expected = meant_by(dataclasses.replace(kind, learned=False), path)
    expected = expected[..., :1] if kind.pages > 1 else expected
    return _alike(view, np.broadcast_to(expected, (*SIZE, 3)))


def _written(suffix: str, kind: Kind, path: pathlib.Path, folder: pathlib.Path) -> bool:
    found = loading.read(Config.create(image=str(path), channels=kind.wanted))
    out, expected = folder / f"out{suffix}", meant_by(kind, path)
    if suffix == ".gif":
        video.save(out, iter([np.asarray(found.pixels)]), frames_per_second=10)
        expected = expected[..., :3] if expected.shape[-1] > 2 else expected[..., :1]
        expected = np.broadcast_to(expected, (*SIZE, 3))
    elif suffix in writer.FORMATS:
        made = found.encoding.numbers(found.pixels)
        about = {"identity": {}, "tile": SIZE, "encoding": found.encoding}
        for _ in writer.write(out, made.shape, lambda top, left: made, **about):
            pass
        if suffix == ".tif":  # also as samples are written
            own = folder / "own.tif"
            found.encoding.save(own, found.pixels)
            if not _alike(shown(own, found.encoding), expected):
                return False
    else:
        found.encoding.check(out, found.pixels.shape[-1])
        if found.encoding.save(out, found.pixels) != [out]:
            return False
    return _alike(shown(out, found.encoding), expected)


def meant_by(kind: Kind, path: pathlib.Path) -> np.ndarray:
    """Returns `meant`, of a JPEG, which changes colours, as Pillow and LittleCMS read it."""
    if kind.suffix != ".jpg":
        return meant(kind)
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file)
    if kind.linear:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        target = ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, profile, target, outputMode="RGB")
    return np.asarray(picture).reshape(*SIZE, -1)[..., : kind.channels] / 255


def _alike(found: np.ndarray, expected: np.ndarray) -> bool:
    found = np.asarray(found, np.float64)
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= 1.001 / 255)


ROLES: dict[str, Callable[[Kind, pathlib.Path, pathlib.Path], bool]] = {
    "training image": _training_image,
    "mask": _mask,
    "composite": _composite,
    "composite's mask": _composite_mask,
    "evaluation": _evaluation,
    "studio": _studio,
    **{f"written as {suffix}": functools.partial(_written, suffix) for suffix in OUTPUTS},
}


def is_refused(kind: Kind, role: str) -> bool:
    """Returns whether a role cannot take a kind of file."""
    if role == "mask":
        return kind.channels == 3  # whose values are no classes
    if role in ("written as .png", "written as .PNG"):
        if kind.dtype not in ("uint8", "uint16"):
            return True
        return kind.pages == 2  # two channels of which none is transparency
    return False


def outcome(kind: Kind, role: str) -> str:
    """Returns right, refused, or wrong with what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        return _outcome(kind, role, pathlib.Path(folder))


def _outcome(kind: Kind, role: str, folder: pathlib.Path) -> str:
    path = folder / f"in{kind.suffix}"
    write(kind, path)
    try:
        is_right = ROLES[role](kind, path, folder)
    except InputError as error:
        is_line = "\n" not in str(error) and is_refused(kind, role)
        return "refused" if is_line else f"wrong: refused with {error}"
    if is_refused(kind, role):
        return "wrong: not refused"
    return "right" if is_right else "wrong: another value"


def main() -> None:
    """Tries every kind in every role, and prints the table."""
    counts = {role: collections.Counter() for role in ROLES}
    for kind in kinds():
        for role, count in counts.items():
            found = outcome(kind, role)
            count[found.partition(":")[0]] += 1
            if found.startswith("wrong"):
                print(f"{role}: {kind}: {found}")
    print(f"{'role':<20}{'right':>8}{'refused':>9}{'wrong':>7}")
    for role, count in {**counts, "all": sum(counts.values(), collections.Counter())}.items():
        print(f"{role:<20}{count['right']:>8}{count['refused']:>9}{count['wrong']:>7}")
    sys.exit(any(count["wrong"] for count in counts.values()))


if __name__ == "__main__":
    main()
