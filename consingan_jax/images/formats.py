"""Reads image files of any format into an `ImageFile`, and writes pixel values."""

import dataclasses
import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from consingan_jax.errors import InputError
from consingan_jax.files import missing, whole
from consingan_jax.images import decoders, profiles
from consingan_jax.images.image_file import DecodeOptions, ImageFile, is_installed

MAX_PIXELS = 10**8  # default limit on the pixels of an image
LOSSLESS = (".png", ".tif", ".tiff", ".npy")  # suffixes that can be written, by preference
MAX_NODATA = -999.0  # without a nodata tag, only a value as low as this may mean "missing"
_SIGNATURES = (  # (offset, bytes, format) of the formats that Pillow does not know
    (128, b"DICM", "DICOM"),  # before TIFF: the first 128 bytes are free, and may hold one
    (0, b"\x93NUMPY", ".npy"),
    *((0, mark, "TIFF") for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?R", "Radiance HDR"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"%PDF", "PDF"),
    *((344, mark, "NIfTI") for mark in (b"n+1\0", b"ni1\0")),
)
_DECODERS = {
    ".npy": decoders.decode_array,
    "TIFF": decoders.decode_tiff,
    "OpenEXR": decoders.decode_codec,
    "Radiance HDR": decoders.decode_codec,
    "DICOM": decoders.decode_dicom,
}
_SUFFIXES = {  # formats without a signature of their own; most camera raws look like a TIFF
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "camera raw"),
    **dict.fromkeys((".nii", ".gz"), "NIfTI"),
    ".svg": "SVG",
}
_MORE_SUFFIXES = {".npy", ".exr", ".hdr", ".dcm", ".heic", ".heif"}  # unknown to Pillow
_ALTERNATIVES = {  # to formats that are recognised but not read
    "SVG": "render it, and give the PNG",
    "PDF": "export the page as a PNG or TIFF",
    "FITS": "save it as .npy or as a float TIFF",
    "NIfTI": "save a slice as .npy or as a float TIFF",
    "camera raw": "develop it to a TIFF or PNG of 16 bits",
}


def read(
    path: str | pathlib.Path,
    *,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    is_mask: bool = False,
) -> ImageFile:
    """Reads an image file upright and in sRGB; its content decides the format, not its suffix.

    Args:
        path: the file.
        channels: channels wanted; if the file has as many grey pages, they become the channels.
            Otherwise only the first page is read.
        max_pixels: limit on height times width, checked before decoding.
        is_mask: whether values are labels, which no colour profile may change.

    Raises:
        InputError: the file is missing, damaged, too large, of an unsupported format, or needs
            a library that is not installed.
    """
    path, candidates = pathlib.Path(path), list[str]()
    try:
        found = _decode(path, DecodeOptions(channels, max_pixels), candidates)
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"image {path}: {missing(path)}") from None
    except IsADirectoryError:
        raise InputError(f"image {path} is a directory: give an image file") from None
    except Exception as error:  # no decoder documents what it raises on damaged files
        if isinstance(error, OSError) and error.errno is not None and error.strerror:
            raise InputError(f"image {path}: {error.strerror}") from None
        if not candidates:
            raise InputError(
                f"image {path} is of no known image format: give PNG, JPEG, TIFF or .npy"
            ) from None
        reason = str(error).partition("\n")[0].rstrip(".:")
        raise InputError(
            f"image {path} cannot be read, a damaged or unusual {candidates[0]}: {reason}; "
            "save it anew"
        ) from None
    return _normalised(found, is_mask)


def _decode(path: pathlib.Path, options: DecodeOptions, candidates: list[str]) -> ImageFile:
    with path.open("rb") as file:
        head = file.read(512)
    kind = next((name for at, mark, name in _SIGNATURES if head[at:].startswith(mark)), "")
    kind = "SVG" if b"<svg" in head else _SUFFIXES.get(path.suffix.lower(), kind)
    if kind in _ALTERNATIVES:
        raise InputError(f"image {path} is {kind}, which is not read: {_ALTERNATIVES[kind]}")
    candidates += [kind] if kind else []
    found = _DECODERS[kind](path, options) if kind in _DECODERS else None
    return found or decoders.decode_pillow(path, options, candidates)


def _normalised(file: ImageFile, is_mask: bool) -> ImageFile:
    """Returns an image upright and in sRGB, with its nodata value."""
    notes, warnings = file.notes, file.warnings
    nodata = file.nodata if file.nodata is not None or is_mask else _guess_nodata(file.known)
    file = dataclasses.replace(file, profile=b"") if is_mask else file
    origin = "its colour profile" if file.profile else file.space
    try:
        values = profiles.to_srgb(file.values, file.space, file.profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError) as error:
        warnings += (f"its colour profile is ignored: {error}",)
        origin, values = file.space, profiles.to_srgb(file.values, file.space, b"")
    if values is not file.values:
        notes += (f"converted to sRGB from {origin}",)
    turn = file.orientation if file.orientation in range(1, 9) else 1
    found = dataclasses.replace(
        file,
        values=upright(values, turn),
        alpha=None if file.alpha is None else upright(file.alpha, turn),
        labels=None if file.labels is None else upright(file.labels, turn),
        nodata=nodata,
        orientation=turn,
        notes=notes,
        warnings=tuple(f"image {file.path}: {words}" for words in warnings),
    )
    if not found.known.size:
        raise InputError(f"image {file.path} has no pixel with a value: give an image")
    return found


def _guess_nodata(values: np.ndarray) -> float | None:
    """Returns a value that plainly marks missing pixels, such as -9999, although no tag says so.

    Requires of the smallest value that fewer than half of the pixels have it, that the others have
    many values, and that it lies farther below them than they are apart.
    """
    if values.dtype.kind == "u" or not values.size or (least := values.min()) > MAX_NODATA:
        return None
    others = values[values > least].astype(np.float64)
    if 2 * others.size < values.size or len(np.unique(others)) < 8:
        return None
    return float(least) if others.min() - least > np.ptp(others) else None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns pixels `[H, W, ...]` that were stored in an EXIF orientation, turned upright."""
    pixels = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def has_image_suffix(path: pathlib.Path) -> bool:
    """Returns whether a path is a file with the suffix of an image format that can be read."""
    suffix, known = path.suffix.lower(), Image.registered_extensions()
    return path.is_file() and (known.get(suffix) in Image.OPEN or suffix in _MORE_SUFFIXES)


def refusal(suffix: str, dtype: str, channels: int, *, alpha: bool) -> str:
    """Returns why an image cannot be written in a format, or "" if it can."""
    if suffix != ".png":
        return "" if suffix in LOSSLESS else f"{suffix or 'no suffix'} is not written"
    if dtype not in ("uint8", "uint16") or channels not in ((1, 2, 3, 4) if alpha else (1, 3)):
        return f".png cannot hold {channels} channel{'s' * (channels > 1)} of {dtype}"
    if dtype == "uint8" or channels == 1 or is_installed("imagecodecs"):
        return ""
    return "this .png needs imagecodecs (python -m pip install imagecodecs, the extra depth)"


def writable(dtype: str, channels: int, *, alpha: bool) -> list[str]:
    """Returns the suffixes of the formats that can hold an image, by preference."""
    return [s for s in LOSSLESS if not refusal(s, dtype, channels, alpha=alpha)]


def write(path: pathlib.Path, values: np.ndarray, **meaning: bool) -> None:
    """Writes values `[H, W, C]` atomically as .png, .tif, .tiff or .npy.

    Args:
        path: the file.
        values: the pixel values.
        meaning: as for `tiff_tags`; a .png has only `alpha` and `profile`, a .npy none.
    """
    planes = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
    suffix = path.suffix.lower()
    with whole(path) as part, part.open("wb") as file:
        if suffix == ".npy":
            np.save(file, values)
        elif suffix == ".png":
            has_colour = values.shape[-1] - meaning.get("alpha", False) == 3
            file.write(_png(planes, meaning.get("profile", False) and has_colour))
        else:
            import tifffile

            tifffile.imwrite(file, planes, **tiff_tags(values.shape[-1], **meaning))


def _png(planes: np.ndarray, profile: bool) -> bytes:
    buffer = io.BytesIO()
    if planes.dtype == np.uint16 and planes.ndim == 3:  # which Pillow cannot write
        import imagecodecs

        buffer.write(imagecodecs.png_encode(planes))
    else:
        Image.fromarray(planes).save(buffer, "PNG")
    data = buffer.getvalue()
    # imagecodecs writes no profile, so that the chunk is inserted here, after the 33 bytes of
    # signature and IHDR.
    chunk = b"iCCPsRGB\0\0" + zlib.compress(profiles.srgb())
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + framed + data[33:] if profile else data


def tiff_tags(
    channels: int, *, alpha: bool = False, white_is_zero: bool = False, profile: bool = False
) -> dict[str, Any]:
    """Returns the arguments with which tifffile describes the channels of an image.

    Args:
        channels: number of channels.
        alpha: whether the last channel is transparency.
        white_is_zero: whether the smallest value is white.
        profile: whether to embed the sRGB profile in a file with colours.
    """
    colours = 3 if channels in (3, 4) and not white_is_zero else 1
    grey = "miniswhite" if white_is_zero else "minisblack"
    return {
        "photometric": "rgb" if colours == 3 else grey,
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unspecified"] * (channels - colours - alpha) + ["unassalpha"] * alpha
        or None,
        "iccprofile": profiles.srgb() if profile and colours == 3 else None,
    }
