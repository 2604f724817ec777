"""Decodes image files with Pillow, tifffile, imagecodecs, NumPy and pydicom."""

import dataclasses
import io
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.images import image_file
from consingan_jax.images.image_file import (
    DecodeOptions,
    ImageFile,
    require,
    split_alpha,
    supported,
)

_MAX_CHANNELS = 16  # a longer last axis after a first axis of at most this: channels come first
_CODECS = {b"\x89PNG": "png", b"v/1\x01": "exr", b"#?R": "rgbe", b"\xff\x4f": "jpeg2k"}
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # Pillow's beyond 8 bits: grey only


def decode_pillow(path: pathlib.Path, options: DecodeOptions, candidates: list[str]) -> ImageFile:
    """Decodes a file with Pillow; adds the formats that its signature fits to `candidates`."""
    with path.open("rb") as file:
        picture: Any = _open(file, candidates)
        image_file.check_pixels(path, picture.height, picture.width, options)
        # Pillow drops the tiles when it loads the pixels.
        kind, tile, key = picture.format or "", str(picture.tile), picture.info.get("transparency")
        is_deep = kind == "PNG" and "16B" in tile and picture.mode != "I;16"
        if is_deep or (kind == "JPEG2000" and image_file.is_installed("imagecodecs")):
            found = decode_codec(path, options)  # Pillow would reduce it to 8 bits
        elif picture.mode in _DEEP_MODES:
            values = np.asarray(picture)
            values = values.astype(np.uint16) if kind == "PPM" else values  # Pillow has int32
            found = ImageFile(path, supported(values, path), space="L")
        else:
            found = _decode_8_bits(picture, path)
        if key is not None and found.alpha is None:  # one value, or one colour, is transparent
            opaque = (found.values != np.reshape(key, (1, 1, -1))).any(-1)
            found = dataclasses.replace(found, alpha=opaque.astype(np.float64))
        # Pillow reads a PPM in colour of more than 8 bits as 8 bits; its tile holds the maximum.
        is_reduced = kind == "PPM" and picture.mode == "RGB" and re.search(r"\d{3,}\)", tile)
        return dataclasses.replace(
            found,
            profile=picture.info.get("icc_profile", b""),
            orientation=picture.getexif().get(274, 1),
            is_lossy=kind in ("JPEG", "MPO", "WEBP", "HEIF", "AVIF", "JPEG2000"),
            warnings=(
                *image_file.unused_pages(getattr(picture, "n_frames", 1), 1, "frames"),
                *(["reduced to 8 bits: give PNG or TIFF"] if is_reduced else []),
            ),
        )


def _open(file: io.BufferedReader, candidates: list[str]) -> Image.Image:
    """Opens an image like `Image.open`, but without Pillow's limit on pixels.

    That limit is a global of the process: changing it here would change it in other threads too.
    """
    head = file.read(64)
    Image.preinit()
    Image.init()
    openers = {name: Image.OPEN[name] for name in Image.ID}
    if head[4:8] == b"ftyp" and re.search(rb"hei[cxms]|hev[cms]", head[8:40]):  # HEIC brands
        require("pillow-heif", pathlib.Path(file.name), "formats")
        import pillow_heif

        openers = {"HEIF": (lambda fp, _: pillow_heif.HeifImageFile(fp), lambda _: True)}
    for name, (factory, accepts) in openers.items():
        accepted = accepts(head[:16]) if accepts else True
        if accepted and not isinstance(accepted, str):  # a string tells what Pillow lacks for it
            candidates += [name] if accepts else []  # without `accepts` any file might fit
            file.seek(0)
            try:
                return factory(file, file.name)
            except (SyntaxError, IndexError, TypeError, struct.error):  # as `Image.open` has it
                continue
    raise SyntaxError("no image format begins like this")


def _decode_8_bits(picture: Image.Image, path: pathlib.Path) -> ImageFile:
    labels = None
    if picture.mode in ("P", "PA"):
        has_colours = np.ptp(np.asarray(picture.convert("RGB")), axis=-1).any()
        indices = picture if picture.mode == "P" else picture.getchannel("P")
        labels = np.asarray(indices) if has_colours else None
    alpha = "straight" if picture.has_transparency_data else ""
    space = picture.mode if picture.mode in ("CMYK", "LAB") else "RGB"
    values = np.asarray(picture.convert("RGBA" if alpha else space))
    if picture.mode in ("1", "L", "LA", "La"):
        space, values = "L", values[..., 2:]  # red, green and blue are alike: one of them is left
    return ImageFile(path, *split_alpha(values, path, alpha), labels, space)


def decode_tiff(path: pathlib.Path, options: DecodeOptions) -> ImageFile | None:
    """Decodes a grey, RGB or multi-channel TIFF; returns None if Pillow must decode it."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return _decode_tiff(file, path, options)
    except ValueError as error:
        if "imagecodecs" in str(error):  # tifffile needs it to decompress
            require("imagecodecs", path, "depth")
        raise


def _decode_tiff(file: Any, path: pathlib.Path, options: DecodeOptions) -> ImageFile | None:
    page = next(
        (page for page in _pages(file) if not page.is_reduced), file.pages[0]
    )  # no thumbnail
    image_file.check_pixels(path, page.imagelength, page.imagewidth, options)
    is_plain, is_8_bits = page.photometric in (0, 1, 2), page.bitspersample <= 8  # grey or RGB
    if page.imagedepth > 1 or not (is_plain or is_8_bits):
        raise InputError(f"image {path} is a TIFF of an unusual kind: save it as RGB or grey")
    # Pillow converts other colour spaces, and decompresses 8 bits where imagecodecs is missing;
    # what it would invert, white-is-zero, stays here.
    is_packed = is_8_bits and page.photometric in (1, 2) and page.compression != 1
    if not is_plain or (is_packed and not image_file.is_installed("imagecodecs")):
        return None
    values, count, used = _tiff_values(file, page, options.channels)
    extra = page.extrasamples[-1:] if values.shape[-1] in (2, 4) else ()
    alpha = {1: "associated", 2: "straight"}.get(int(extra[0]), "") if extra else ""
    return ImageFile(
        path,
        *split_alpha(values, path, alpha),
        space="RGB" if page.photometric == 2 else "L",
        white_is_zero=page.photometric == 0,
        nodata=_number(page.tags.valueof(42113)),  # GDAL_NODATA
        bits=page.bitspersample if values.dtype.kind in "iu" else 0,
        profile=page.iccprofile or b"",
        orientation=page.tags.valueof(274, 1),
        is_lossy=page.compression in (6, 7, 34892),  # JPEG
        warnings=image_file.unused_pages(
            count, used, "pages", selectable=page.samplesperpixel == 1
        ),
    )


def _pages(file: Any) -> Iterator[Any]:
    """Yields the pages of a TIFF.

    Raises:
        ValueError: the file is damaged: a page names an earlier one as the next.
    """
    seen = set()
    for page in file.pages:  # each has the place of the next, so damage can make a circle of them
        if page.offset in seen:
            raise ValueError("its pages go round in a circle")
        seen.add(page.offset)
        yield page


def _tiff_values(file: Any, page: Any, channels: int) -> tuple[np.ndarray, int, int]:
    """Returns the values, how many pages there are, and how many of them became channels."""
    alike = [p for p in _pages(file) if (p.shape, p.dtype) == (page.shape, page.dtype)]
    series = file.series[0]
    # ImageJ keeps a large stack behind one page, so that only the series tells how many there are.
    in_series = series.size // page.size if page is file.pages[0] else 1
    count = max(len(alike), in_series)
    if page.samplesperpixel > 1:
        return np.moveaxis(page.asarray(), page.axes.index("S"), -1), count, 1
    if count == 1 or count != channels:
        return page.asarray(), count, 1
    if in_series == count:
        stack = series.asarray().reshape(count, *page.shape)
        return np.moveaxis(stack, 0, -1), count, count
    return np.stack([p.asarray() for p in alike], axis=-1), count, count


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def decode_codec(path: pathlib.Path, options: DecodeOptions) -> ImageFile:
    """Decodes PNG of 16 bits, OpenEXR, Radiance HDR and JPEG 2000 with imagecodecs."""
    require("imagecodecs", path, "depth")
    import imagecodecs

    data = path.read_bytes()
    if size := _size(data[: 2**16]):
        image_file.check_pixels(path, *size, options)
    name = next((name for head, name in _CODECS.items() if data.startswith(head)), "jpeg2k")
    if not hasattr(imagecodecs, f"{name}_decode"):  # OpenEXR is not in every build
        raise InputError(f"image {path}: install a newer imagecodecs, or save it as a float TIFF")
    values = getattr(imagecodecs, f"{name}_decode")(data)
    channels = values.shape[-1] if values.ndim == 3 else 1
    alpha = {"exr": "associated"}.get(name, "straight") if channels in (2, 4) else ""
    return ImageFile(
        path,
        *split_alpha(values, path, alpha),
        space={1: "L", 2: "L", 3: "RGB", 4: "RGB"}.get(channels, ""),
        is_lossy=name == "jpeg2k",
        notes=("linear light",) if values.dtype.kind == "f" else (),
    )


def _size(head: bytes) -> tuple[int, int] | None:
    """Returns height and width of an OpenEXR or HDR file; Pillow has checked those of others."""
    if box := re.search(rb"dataWindow\0box2i\0.{4}(.{16})", head, re.DOTALL):
        left, top, right, bottom = struct.unpack("<4i", box[1])
        return bottom - top + 1, right - left + 1
    sides = re.search(rb"\n[-+]Y (\d+) [-+]X (\d+)\n", head)
    return (int(sides[1]), int(sides[2])) if sides else None


def decode_array(path: pathlib.Path, options: DecodeOptions) -> ImageFile:
    """Decodes a .npy file of one array, `[H, W]`, `[H, W, C]` or `[C, H, W]`."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: the size is checked first
    if not isinstance(values, np.ndarray):
        raise InputError(f"image {path} holds several arrays: give one")
    first = values.ndim == 3 and values.shape[0] <= _MAX_CHANNELS < values.shape[-1]
    values = np.moveaxis(values, 0, -1) if first else values
    height, width = [*values.shape, 1, 1][:2]
    image_file.check_pixels(path, height, width, options)
    return ImageFile(
        path,
        supported(np.array(values), path),
        white_is_zero=None,
        bits=min(8 * values.dtype.itemsize, 32) if values.dtype.kind in "iu" else 0,
        notes=("taken as channels first",) if first else (),
    )


def decode_dicom(path: pathlib.Path, options: DecodeOptions) -> ImageFile:
    """Decodes a DICOM image in its rescaled units, such as Hounsfield units."""
    require("pydicom", path, "formats")
    import pydicom.pixels

    data = pydicom.dcmread(path)
    image_file.check_pixels(path, data.Rows, data.Columns, options)
    stored, kind = pydicom.pixels.pixel_array(data), data.PhotometricInterpretation
    values, frames = stored, int(data.get("NumberOfFrames") or 1)
    if kind == "PALETTE COLOR":
        values = pydicom.pixels.apply_color_lut(stored, data)
    elif kind.startswith("MONOCHROME"):
        values = pydicom.pixels.apply_modality_lut(stored, data)
    is_grey = values.shape[-1] != 3 or kind.startswith("MONOCHROME")
    # Rescaling gives floats; Hounsfield units are whole numbers, and are kept as such.
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int16 if np.abs(values).max() < 2**15 else np.int64)
    used = frames if is_grey and frames == options.channels else 1
    if frames > 1:
        values = np.moveaxis(values, 0, -1) if used > 1 else values[0]
    padding = data.get("PixelPaddingValue")
    if padding is not None:  # a stored value, to be rescaled as the pixels are
        padding = np.array([padding]).astype(stored.dtype)
        padding = float(pydicom.pixels.apply_modality_lut(padding, data)[0])
    return ImageFile(
        path,
        supported(values, path),
        space="L" if is_grey else "RGB",
        white_is_zero=kind == "MONOCHROME1",
        nodata=padding,
        bits=data.BitsStored if values.dtype == stored.dtype else 0,
        warnings=image_file.unused_pages(frames, used, "frames", selectable=is_grey),
    )
