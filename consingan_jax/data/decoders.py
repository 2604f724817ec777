"""Decodes image files by library: Pillow, tifffile, imagecodecs, NumPy, pydicom."""

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


class Decoded(NamedTuple):
    """What a library finds in a file.

    Attributes:
        values: `[H, W]` or `[H, W, C]`, as they lie in the file; alpha is the last channel.
        space: L (each channel a grey of its own), RGB, CMYK or LAB; empty if it is not known.
        alpha: empty, "straight", or "associated": the colours are multiplied by it.
        key: the colour that is transparent, if one is.
        labels: `[H, W]`, the indices of a palette that has colours.
        white_is_zero: whether the smallest number is white; None where the format cannot say.
        nodata: the number that stands for a missing value.
        profile: an ICC profile.
        turn: the EXIF orientation.
        is_lossy: whether compression changes values.
        note: what should be known, in a few words.
        left_out: a sentence on pages or frames that are not used.
    """

    values: np.ndarray
    space: str = ""
    alpha: str = ""
    key: Any = None
    labels: np.ndarray | None = None
    white_is_zero: bool | None = False
    nodata: float | None = None
    profile: bytes = b""
    turn: int = 1
    is_lossy: bool = False
    note: str = ""
    left_out: str = ""


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


def pillow(path: pathlib.Path, wanted: Wanted, kinds: list[str]) -> Decoded:
    """Decodes what Pillow opens; the names of formats that the file begins like go to `kinds`."""
    with path.open("rb") as file:
        picture = _identified(file, kinds)
        check_pixels(path, picture.height, picture.width, wanted)
        kind, frames = picture.format or "", getattr(picture, "n_frames", 1)
        is_deep = (
            kind == "PNG" and "16B" in str(getattr(picture, "tile", "")) and picture.mode != "I;16"
        )
        picture.load()
        key, profile = picture.info.get("transparency"), picture.info.get("icc_profile", b"")
        found = Decoded(
            np.empty(0),
            key=key,
            profile=profile,
            turn=picture.getexif().get(274, 1),
            is_lossy=kind in ("JPEG", "MPO", "WEBP", "HEIF", "AVIF", "JPEG2000"),
            left_out=left_out(frames, 1, "frames"),
        )
        if is_deep:  # Pillow cuts it to 8 bits
            deep = codec(path, wanted)
            return found._replace(values=deep.values, space=deep.space, alpha=deep.alpha)
        labels = None
        if picture.mode in ("P", "PA"):
            colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
            labels = np.asarray(picture if picture.mode == "P" else picture.getchannel("P"))
            labels = labels if np.ptp(colours, axis=-1).any() else None
        if picture.mode in _DEEP:
            values, mode = np.asarray(picture), "L"
            values = values.astype(np.uint16) if picture.mode == "I" else values  # of a .pgm
            return found._replace(values=values, space=mode)
        mode = picture.mode if picture.mode in ("CMYK", "LAB") else "RGB"
        mode = "L" if picture.mode in ("1", "L", "LA", "La") else mode
        alpha = "A" if picture.has_transparency_data else ""
        values = np.asarray(picture.convert(mode + alpha if mode != "L" or not alpha else "RGBA"))
        values = values[..., 2:] if mode == "L" and alpha else values
    return found._replace(
        values=values, space=mode, alpha=alpha and "straight", key=None, labels=labels
    )


def _identified(file: io.BufferedReader, kinds: list[str]) -> Image.Image:
    """Returns `Image.open`, without its limit of pixels, which is one for the whole process."""
    head = file.read(16)
    Image.preinit()
    Image.init()
    openers = {name: Image.OPEN[name] for name in Image.ID}
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        needs("pillow-heif", pathlib.Path(file.name), "formats")
        import pillow_heif

        openers = {"HEIF": (lambda fp, _: pillow_heif.HeifImageFile(fp), lambda _: True)}
    for kind, (factory, accepts) in openers.items():
        accepted = accepts(head) if accepts else False  # the few that look at all of it come last
        if accepted and not isinstance(accepted, str):
            kinds.append(kind)
            file.seek(0)
            try:
                return factory(file, file.name)
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise SyntaxError("no image format begins like this")


def tiff(path: pathlib.Path, wanted: Wanted) -> Decoded | None:
    """Decodes a TIFF of grey, colours or any channels.

    Returns None of what Pillow must read: other colour spaces, and without imagecodecs what is
    compressed and has 8 bits.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            check_pixels(path, page.imagelength, page.imagewidth, wanted)
            small = page.bitspersample <= 8 and page.photometric in (1, 2) and page.compression != 1
            if page.photometric not in (0, 1, 2) or (small and not is_there("imagecodecs")):
                return None
            series, single = file.series[0], page.samplesperpixel == 1
            like = [p for p in file.pages if (p.shape, p.dtype) == (page.shape, page.dtype)]
            in_series = series.size // page.size  # ImageJ keeps large stacks behind one page
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
    nodata = re.fullmatch(r"\s*([-+\w.]+)[\s\0]*", str(tags.get(42113, "")))  # GDAL's
    return Decoded(
        values,
        space="RGB" if page.photometric == 2 else "L",
        alpha={1: "associated", 2: "straight"}.get(int(extra[0]), "") if extra else "",
        white_is_zero=page.photometric == 0,
        nodata=float(nodata[1]) if nodata else None,
        profile=page.iccprofile or b"",
        turn=tags.get(274, 1),
        is_lossy=page.compression in (6, 7, 34892),  # JPEG
        left_out=left_out(pages, taken, "pages", mend=single),
    )


def left_out(pages: int, taken: int, what: str, *, mend: bool = False) -> str:
    """Returns a sentence on pages that are not used; empty if all are."""
    if pages == taken:
        return ""
    all_of_them = f"; --config.channels={pages} takes all as channels" if mend else ""
    return f"only the first of {pages} {what} is used{all_of_them}"


def codec(path: pathlib.Path, wanted: Wanted) -> Decoded:
    """Decodes with imagecodecs: PNG of 16 bits, OpenEXR, Radiance HDR, JPEG 2000."""
    needs("imagecodecs", path, "depth")
    import imagecodecs

    data = path.read_bytes()
    check_pixels(path, *_size(data[: 2**16]), wanted)
    name = next((name for head, name in _CODECS.items() if data.startswith(head)), "jpeg2k")
    if not hasattr(imagecodecs, f"{name}_decode"):
        raise InputError(f"image {path}: install a newer imagecodecs, or save it as a float TIFF")
    values = getattr(imagecodecs, f"{name}_decode")(data)
    channels = values.shape[-1] if values.ndim == 3 else 1
    return Decoded(
        values,
        space={1: "L", 2: "L", 3: "RGB", 4: "RGB"}.get(channels, ""),
        alpha={"exr": "associated"}.get(name, "straight") if channels in (2, 4) else "",
        is_lossy=name == "jpeg2k",
        note="linear light" if values.dtype.kind == "f" else "",
    )


def _size(head: bytes) -> tuple[int, int]:
    """Returns height and width from the beginning of an OpenEXR, HDR, JPEG 2000 or PNG file."""
    if box := re.search(rb"dataWindow\0box2i\0.{4}(.{16})", head, re.DOTALL):
        left, top, right, bottom = struct.unpack("<4i", box[1])
        return bottom - top + 1, right - left + 1
    if sides := re.search(rb"\n[-+]Y (\d+) [-+]X (\d+)\n", head):
        return int(sides[1]), int(sides[2])
    sides = re.search(rb"IHDR(.{8})|\xff\x4f\xff\x51.{4}(.{8})", head, re.DOTALL)
    if sides is None:
        raise ValueError("its header names no size")
    width, height = struct.unpack(">II", sides[1] or sides[2])
    return height, width


def array(path: pathlib.Path, wanted: Wanted) -> Decoded:
    """Decodes a .npy of one array, `[H, W]`, `[H, W, C]` or `[C, H, W]`."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)  # so far its shape alone
    if not isinstance(values, np.ndarray):
        raise InputError(f"image {path} holds several arrays: give one")
    first = values.ndim == 3 and values.shape[0] <= _MOST_CHANNELS < values.shape[-1]
    values = np.moveaxis(values, 0, -1) if first else values
    height, width = [*values.shape, 1, 1][:2]
    check_pixels(path, height, width, wanted)
    return Decoded(values, white_is_zero=None, note="taken as channels first" if first else "")


def dicom(path: pathlib.Path, wanted: Wanted) -> Decoded:
    """Decodes a DICOM image, in the units that its rescaling gives, such as Hounsfield units."""
    needs("pydicom", path, "formats")
    import pydicom.pixels

    about = pydicom.dcmread(path)
    check_pixels(path, about.Rows, about.Columns, wanted)
    values = pydicom.pixels.apply_modality_lut(pydicom.pixels.pixel_array(about), about)
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int64)  # as Hounsfield units are
    frames, single = int(about.get("NumberOfFrames") or 1), about.SamplesPerPixel == 1
    taken = frames if single and frames == wanted.channels else 1
    if frames > 1:
        values = np.moveaxis(values, 0, -1) if taken > 1 else values[0]
    padding = about.get("PixelPaddingValue")
    return Decoded(
        values,
        space="L" if single else "RGB",
        white_is_zero=about.PhotometricInterpretation == "MONOCHROME1",
        nodata=None if padding is None else float(padding),
        left_out=left_out(frames, taken, "frames", mend=single),
    )
