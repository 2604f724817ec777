"""Decodes image files by library: Pillow, tifffile, imagecodecs, NumPy, pydicom."""

import dataclasses
import functools
import importlib.util
import io
import pathlib
import re
import struct
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from consingan_jax.errors import InputError

_MOST_CHANNELS = 16  # more on the last axis, and as few on the first: channels come first
_CODECS = {b"\x89PNG": "png", b"v/1\x01": "exr", b"#?R": "rgbe", b"\xff\x4f": "jpeg2k"}
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # Pillow's modes beyond 8 bits, all grey


class Wanted(NamedTuple):
    """The number of channels asked for (0: the file's), and the most pixels that may be decoded."""

    channels: int
    max_pixels: int


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """The image of a file in the file's own numbers, and what they mean.

    Attributes:
        path: the file.
        values: `[H, W, C]`, uint8, int16, uint16, int32, uint32 or float32; alpha is not in it.
        alpha: `[H, W]`, the opacity from 0 to 1; None without transparency.
        labels: `[H, W]`, the indices of a palette that has colours; None of other files.
        space: L (each channel a grey of its own), RGB, CMYK or LAB; empty if it is not known.
        white_is_zero: whether the smallest number is white; None where the format cannot say.
        nodata: the number that stands for a missing value.
        bits: how many the numbers use; 0: all of their type.
        profile: an ICC profile.
        orientation: as EXIF has it, 1 to 8.
        is_lossy: whether compression changes values.
        notes: what was done, a few words each.
        warnings: what was left out or could not be used, a sentence each.
    """

    path: pathlib.Path
    values: np.ndarray
    alpha: np.ndarray | None = None
    labels: np.ndarray | None = None
    space: str = ""
    white_is_zero: bool | None = False
    nodata: float | None = None
    bits: int = 0
    profile: bytes = b""
    orientation: int = 1
    is_lossy: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def missing(self) -> np.ndarray | None:
        """`[H, W]`, where a value is not finite or stands for none; None if all have one."""
        is_float = self.values.dtype == np.float32
        if not is_float and self.nodata is None:
            return None
        lost = ~np.isfinite(self.values)
        if self.nodata is not None:
            lost |= self.values == (np.float32(self.nodata) if is_float else self.nodata)
        return lost.any(-1) if lost.any() else None

    @functools.cached_property
    def known(self) -> np.ndarray:
        """The values, in a row, of the pixels that have one and are not transparent."""
        seen = None if self.missing is None else ~self.missing
        if self.alpha is not None and (self.alpha > 0).any():
            seen = self.alpha > 0 if seen is None else seen & (self.alpha > 0)
        return (self.values if seen is None else self.values[seen]).reshape(-1)

    @functools.cached_property
    def extremes(self) -> tuple[float, float]:
        """The least and the largest known value."""
        return float(self.known.min()), float(self.known.max())


def is_there(module: str) -> bool:
    """Returns whether a library is installed."""
    return importlib.util.find_spec(module.replace("-", "_")) is not None


def needs(module: str, path: pathlib.Path, extra: str) -> None:
    """Raises an InputError if a library is not installed."""
    if not is_there(module):
        raise InputError(
            f"image {path} needs {module}: python -m pip install {module} (the extra {extra})"
        )


def check_pixels(path: pathlib.Path, height: int, width: int, wanted: Wanted) -> None:
    """Raises an InputError if an image has more pixels than may be decoded."""
    if height * width > wanted.max_pixels:
        raise InputError(
            f"image {path} has {height}x{width} px, more than {wanted.max_pixels / 1e6:g} "
            f"megapixels: shrink it, or give --config.max_megapixels={-(-height * width // 10**6)}"
        )


def pillow(path: pathlib.Path, wanted: Wanted, kinds: list[str]) -> ImageFile:
    """Decodes what Pillow opens; the names of formats that the file begins like go to `kinds`."""
    with path.open("rb") as file:
        picture: Any = _identified(file, kinds)
        check_pixels(path, picture.height, picture.width, wanted)
        kind, frames = picture.format or "", getattr(picture, "n_frames", 1)
        tile = str(picture.tile)
        is_deep = kind == "PNG" and "16B" in tile and picture.mode != "I;16"
        is_deep |= kind == "JPEG2000" and is_there("imagecodecs")
        key, mode, alpha, labels = picture.info.get("transparency"), "L", "", None
        if is_deep:  # Pillow would cut it to 8 bits
            found = codec(path, wanted)
        elif picture.mode in _DEEP:
            values = np.asarray(picture)
            values = values.astype(np.uint16) if kind == "PPM" else values  # which is mode I
            found = ImageFile(path, plain(values, path), space="L")
        else:
            if picture.mode in ("P", "PA"):
                labels = np.asarray(picture if picture.mode == "P" else picture.getchannel("P"))
                colours = np.asarray(picture.convert("RGB"))
                labels = labels if np.ptp(colours, axis=-1).any() else None
            alpha, key = "straight" if picture.has_transparency_data else "", None
            mode = picture.mode if picture.mode in ("CMYK", "LAB") else "RGB"
            values = np.asarray(picture.convert("RGBA" if alpha else mode))
            if picture.mode in ("1", "L", "LA", "La"):
                mode, values = "L", values[..., 2:]
            found = ImageFile(path, *split(values, path, alpha), labels, mode)
        if key is not None and found.alpha is None:
            seen = (found.values != np.reshape(key, (1, 1, -1))).any(-1)
            found = dataclasses.replace(found, alpha=seen.astype(np.float64))
        cut = kind == "PPM" and picture.mode == "RGB" and re.search(r"\d{3,}\)", tile)
        return dataclasses.replace(
            found,
            profile=picture.info.get("icc_profile", b""),
            orientation=picture.getexif().get(274, 1),
            is_lossy=kind in ("JPEG", "MPO", "WEBP", "HEIF", "AVIF", "JPEG2000"),
            warnings=(
                *left_out(frames, 1, "frames"),
                *(["cut to 8 bits: give PNG or TIFF"] * bool(cut)),
            ),
        )


def _identified(file: io.BufferedReader, kinds: list[str]) -> Image.Image:
    """Returns `Image.open`, without its limit of pixels, which is one for the whole process."""
    head = file.read(64)
    Image.preinit()
    Image.init()
    openers = {name: Image.OPEN[name] for name in Image.ID}
    if head[4:8] == b"ftyp" and re.search(rb"hei[cxms]|hev[cms]", head[8:40]):  # its brands
        needs("pillow-heif", pathlib.Path(file.name), "formats")
        import pillow_heif

        openers = {"HEIF": (lambda fp, _: pillow_heif.HeifImageFile(fp), lambda _: True)}
    for kind, (factory, accepts) in openers.items():
        accepted = accepts(head[:16]) if accepts else True
        if accepted and not isinstance(accepted, str):
            kinds += [kind] if accepts else []  # the others look at all of the file
            file.seek(0)
            try:
                return factory(file, file.name)
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise SyntaxError("no image format begins like this")


def tiff(path: pathlib.Path, wanted: Wanted) -> ImageFile | None:
    """Decodes a TIFF of grey, colours or any channels.

    Returns None of what Pillow must read: other colour spaces, and without imagecodecs what is
    compressed and has 8 bits.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            every: list[Any] = list(file.pages)
            page = next((one for one in every if not one.is_reduced), every[0])  # no thumbnail
            check_pixels(path, page.imagelength, page.imagewidth, wanted)
            small = page.bitspersample <= 8
            packed = small and page.photometric in (1, 2) and page.compression != 1
            if (page.photometric not in (0, 1, 2) and not small) or page.imagedepth > 1:
                raise InputError(
                    f"image {path} is a TIFF of an unusual kind: save it as RGB or grey"
                )
            if page.photometric not in (0, 1, 2) or (packed and not is_there("imagecodecs")):
                return None
            series, single = file.series[0], page.samplesperpixel == 1
            like = [one for one in every if (one.shape, one.dtype) == (page.shape, page.dtype)]
            # ImageJ keeps large stacks behind one page.
            in_series = series.size // page.size if page is every[0] else 1
            pages = max(len(like), in_series)
            taken = pages if single and pages == wanted.channels else 1
            if taken == 1:
                values = page.asarray()
                values = np.moveaxis(values, page.axes.index("S"), -1) if not single else values
            elif in_series == pages:
                values = np.moveaxis(series.asarray().reshape(pages, *page.shape), 0, -1)
            else:
                values = np.stack([p.asarray() for p in like], axis=-1)
            tags = {tag.code: tag.value for tag in page.tags.values()}
            extra = page.extrasamples[-1:] if values.shape[-1] in (2, 4) else ()
    except ValueError as error:
        if "imagecodecs" in str(error):  # which decompresses
            needs("imagecodecs", path, "depth")
        raise
    alpha = {1: "associated", 2: "straight"}.get(int(extra[0]), "") if extra else ""
    return ImageFile(
        path,
        *split(values, path, alpha),
        space="RGB" if page.photometric == 2 else "L",
        white_is_zero=page.photometric == 0,
        nodata=_number(tags.get(42113)),  # GDAL's
        bits=page.bitspersample if values.dtype.kind in "iu" else 0,
        profile=page.iccprofile or b"",
        orientation=tags.get(274, 1),
        is_lossy=page.compression in (6, 7, 34892),  # JPEG
        warnings=left_out(pages, taken, "pages", mend=single),
    )


def _number(text: Any) -> float | None:
    """Returns the number that a tag holds as text, None if it holds none."""
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def left_out(pages: int, taken: int, what: str, *, mend: bool = False) -> tuple[str, ...]:
    """Returns a sentence on pages that are not used, if there are some."""
    all_of_them = f"; --config.channels={pages} takes all as channels" if mend else ""
    return () if pages == taken else (f"only the first of {pages} {what} is used{all_of_them}",)


def codec(path: pathlib.Path, wanted: Wanted) -> ImageFile:
    """Decodes with imagecodecs: PNG of 16 bits, OpenEXR, Radiance HDR, JPEG 2000."""
    needs("imagecodecs", path, "depth")
    import imagecodecs

    data = path.read_bytes()
    if size := _size(data[: 2**16]):
        check_pixels(path, *size, wanted)
    name = next((name for head, name in _CODECS.items() if data.startswith(head)), "jpeg2k")
    if not hasattr(imagecodecs, f"{name}_decode"):
        raise InputError(f"image {path}: install a newer imagecodecs, or save it as a float TIFF")
    values = getattr(imagecodecs, f"{name}_decode")(data)
    channels = values.shape[-1] if values.ndim == 3 else 1
    alpha = {"exr": "associated"}.get(name, "straight") if channels in (2, 4) else ""
    return ImageFile(
        path,
        *split(values, path, alpha),
        space={1: "L", 2: "L", 3: "RGB", 4: "RGB"}.get(channels, ""),
        is_lossy=name == "jpeg2k",
        notes=("linear light",) if values.dtype.kind == "f" else (),
    )


def _size(head: bytes) -> tuple[int, int] | None:
    """Returns height and width from the beginning of an OpenEXR or HDR file; Pillow has others."""
    if box := re.search(rb"dataWindow\0box2i\0.{4}(.{16})", head, re.DOTALL):
        left, top, right, bottom = struct.unpack("<4i", box[1])
        return bottom - top + 1, right - left + 1
    sides = re.search(rb"\n[-+]Y (\d+) [-+]X (\d+)\n", head)
    return (int(sides[1]), int(sides[2])) if sides else None


def array(path: pathlib.Path, wanted: Wanted) -> ImageFile:
    """Decodes a .npy of one array, `[H, W]`, `[H, W, C]` or `[C, H, W]`."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)  # so far its shape alone
    if not isinstance(values, np.ndarray):
        raise InputError(f"image {path} holds several arrays: give one")
    first = values.ndim == 3 and values.shape[0] <= _MOST_CHANNELS < values.shape[-1]
    values = np.moveaxis(values, 0, -1) if first else values
    height, width = [*values.shape, 1, 1][:2]
    check_pixels(path, height, width, wanted)
    notes = ("taken as channels first",) if first else ()
    bits = 8 * values.dtype.itemsize if values.dtype.kind in "iu" else 0
    values = plain(np.array(values), path)  # no more of the file
    return ImageFile(path, values, white_is_zero=None, bits=min(bits, 32), notes=notes)


def dicom(path: pathlib.Path, wanted: Wanted) -> ImageFile:
    """Decodes a DICOM image, in the units that its rescaling gives, such as Hounsfield units."""
    needs("pydicom", path, "formats")
    import pydicom.pixels

    about = pydicom.dcmread(path)
    check_pixels(path, about.Rows, about.Columns, wanted)
    stored, kind = pydicom.pixels.pixel_array(about), about.PhotometricInterpretation
    values, frames = stored, int(about.get("NumberOfFrames") or 1)
    if kind == "PALETTE COLOR":
        values = pydicom.pixels.apply_color_lut(stored, about)
    elif kind.startswith("MONOCHROME"):
        values = pydicom.pixels.apply_modality_lut(stored, about)
    single = values.shape[-1] != 3 or kind.startswith("MONOCHROME")
    if values.dtype.kind == "f" and (values == np.rint(values)).all():  # as Hounsfield units are
        values = values.astype(np.int16 if np.abs(values).max() < 2**15 else np.int64)
    taken = frames if single and frames == wanted.channels else 1
    if frames > 1:
        values = np.moveaxis(values, 0, -1) if taken > 1 else values[0]
    padding = about.get("PixelPaddingValue")
    if padding is not None:  # a stored number
        number = np.array([padding]).astype(stored.dtype)
        padding = float(pydicom.pixels.apply_modality_lut(number, about)[0])
    return ImageFile(
        path,
        plain(values, path),
        space="L" if single else "RGB",
        white_is_zero=kind == "MONOCHROME1",
        nodata=padding,
        bits=about.BitsStored if values is stored or values.dtype == stored.dtype else 0,
        warnings=left_out(frames, taken, "frames", mend=single),
    )


def split(
    values: np.ndarray, path: pathlib.Path, alpha: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns numbers `[H, W, C]` in a type of ours, and the opacity apart from them.

    Args:
        values: as a library has them.
        path: their file.
        alpha: empty if there is none; "associated" if the colours are multiplied by it.
    """
    values = plain(values, path)
    if not alpha:
        return values, None
    top = 1.0 if values.dtype == np.float32 else float(np.iinfo(values.dtype).max)
    values, opacity = values[..., :-1], np.clip(values[..., -1] / top, 0, 1)
    if alpha == "associated":
        undone = values / np.maximum(opacity, 1e-6)[..., None]
        values = (undone if top == 1 else undone.clip(0, top).round()).astype(values.dtype)
    return values, opacity


def plain(values: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Returns numbers `[H, W, C]` in a type of ours.

    Raises:
        InputError: these are no numbers, too large ones, or not those of an image.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize
    is_long = size == 8 and kind in "iu" and values.size
    low, high = (values.min(), values.max()) if is_long else (0, 0)
    if kind == "b":
        values = 255 * values.astype(np.uint8)
    elif kind not in "iuf" or low < -(2**31) or high >= 2**32:
        raise InputError(f"image {path} is of {values.dtype}: give float32 or smaller numbers")
    else:
        wide = {"f": "f4", "i": "i2" if size < 4 else "i4", "u": f"u{size}"}[kind]
        wide = ("u4" if high >= 2**31 else "i4") if size == 8 and kind != "f" else wide
        with np.errstate(over="ignore"):  # of float64: it is infinite then, which is said
            values = np.asarray(values, wide)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise InputError(f"image {path} has the shape {values.shape}: give [H, W] or [H, W, C]")
    return values
