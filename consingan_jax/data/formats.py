"""Reads image files of any format into an `ImageFile`, and writes pixel values."""

import dataclasses
import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from consingan_jax.data import decoders, profiles
from consingan_jax.data.decoders import ImageFile, Wanted, is_there
from consingan_jax.errors import InputError
from consingan_jax.files import missing, whole

MAX_PIXELS = 10**8  # that an image may have, unless more is asked for
LOSSLESS = (".png", ".tif", ".tiff", ".npy")  # written as they came; all else as the first that can
LEAST_VALUE = -999.0  # only a number as low may stand for none where no tag says so
_MARKS = (  # where some bytes lie, and of which format they are; Pillow knows the others
    (128, b"DICM", "DICOM"),  # before TIFF: a file may be both
    (0, b"\x93NUMPY", ".npy"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?R", "Radiance HDR"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"%PDF", "PDF"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
)
_DECODERS = {
    ".npy": decoders.array,
    "TIFF": decoders.tiff,
    "OpenEXR": decoders.codec,
    "Radiance HDR": decoders.codec,
    "DICOM": decoders.dicom,
}
_SUFFIXES = {  # of formats that are known by it
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "camera raw"),
    **dict.fromkeys((".nii", ".gz"), "NIfTI"),
    ".svg": "SVG",
}
_MORE_SUFFIXES = {".npy", ".exr", ".hdr", ".dcm", ".heic", ".heif"}  # than Pillow's own
_WAYS_OUT = {  # of formats that are not read
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
    """Reads an image file; its content says which format it has.

    Args:
        path: the file.
        channels: how many are wanted; where that is the number of grey pages, these are the
            channels. Otherwise the first page counts.
        max_pixels: an image of more is refused before it is decoded.
        is_mask: whether numbers are no colours, which a profile would change.

    Raises:
        InputError: the file is missing, damaged, too large, of a format that is not read, or needs
            a library that is not installed.
    """
    path, kinds = pathlib.Path(path), list[str]()
    try:
        found = _decoded(path, Wanted(channels, max_pixels), kinds)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"image {path}: {missing(path)}") from None
    except IsADirectoryError:
        raise InputError(f"image {path} is a directory: give an image file") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders fail on damaged files in all ways
        if isinstance(error, OSError) and error.errno is not None and error.strerror:
            raise InputError(f"image {path}: {error.strerror}") from None
        if not kinds:
            raise InputError(
                f"image {path} is of no known image format: give PNG, JPEG, TIFF or .npy"
            ) from None
        words = str(error).partition("\n")[0].rstrip(".:")
        raise InputError(
            f"image {path} cannot be read, a damaged or unusual {kinds[0]}: {words}; save it anew"
        ) from None
    return _finished(found, is_mask)


def _decoded(path: pathlib.Path, wanted: Wanted, kinds: list[str]) -> ImageFile:
    with path.open("rb") as file:
        head = file.read(512)
    kind = next((name for at, mark, name in _MARKS if head[at:].startswith(mark)), "")
    kind = "SVG" if b"<svg" in head else _SUFFIXES.get(path.suffix.lower(), kind)
    if kind in _WAYS_OUT:
        raise InputError(f"image {path} is {kind}, which is not read: {_WAYS_OUT[kind]}")
    kinds += [kind] if kind else []
    found = _DECODERS[kind](path, wanted) if kind in _DECODERS else None
    return found or decoders.pillow(path, wanted, kinds)


def _finished(file: ImageFile, is_mask: bool) -> ImageFile:
    """Returns an image upright, in sRGB, and with the number that stands for no value."""
    values, notes, warnings = file.values, file.notes, file.warnings
    nodata = file.nodata if file.nodata is not None or is_mask else _nodata(file.known)
    if is_mask:
        file = dataclasses.replace(file, profile=b"")
    if file.profile or file.space in ("CMYK", "LAB"):
        try:
            values = _in_srgb(file)
            origin = "its colour profile" if file.profile else file.space
            notes += (f"converted to sRGB from {origin}",) if values is not file.values else ()
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError) as error:
            warnings += (f"its colour profile is ignored: {error}",)
            values = _in_srgb(dataclasses.replace(file, profile=b""))
    turn = file.orientation if file.orientation in _UPRIGHT else 1
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
    if found.missing is not None and found.missing.all():
        raise InputError(f"image {file.path} has no pixel with a value: give an image")
    return found


def _nodata(values: np.ndarray) -> float | None:
    """Returns the number that plainly stands for none where no tag says so, such as -9999.

    It is the least, is held by less than half of the pixels, and lies farther from the others, of
    which there are many, than these lie apart.
    """
    if values.dtype.kind == "u" or not values.size or (least := values.min()) > LEAST_VALUE:
        return None
    others = values[values > least].astype(np.float64)
    if 2 * others.size < values.size or len(np.unique(others)) < 8:
        return None
    return float(least) if others.min() - least > np.ptp(others) else None


def _in_srgb(file: ImageFile) -> np.ndarray:
    if file.profile:
        return profiles.to_srgb(file.values, file.space, file.profile)
    if file.space == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        return profiles.to_srgb(file.values, "LAB", lab)
    if file.space == "CMYK":
        return np.asarray(Image.fromarray(file.values, "CMYK").convert("RGB"))
    return file.values


_UPRIGHT = {  # by EXIF orientation, what puts rows and columns as they are meant
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns pixels `[H, W, ...]` that lie as an EXIF orientation says as they are meant."""
    return _UPRIGHT.get(orientation, lambda same: same)(pixels)


def has_image_suffix(path: pathlib.Path) -> bool:
    """Returns whether a file is an image by its name."""
    suffix, known = path.suffix.lower(), Image.registered_extensions()
    return path.is_file() and (known.get(suffix) in Image.OPEN or suffix in _MORE_SUFFIXES)


def refusal(suffix: str, dtype: str, channels: int, *, alpha: bool) -> str:
    """Returns why a format cannot hold an image, or why it cannot be written here; else empty."""
    if suffix != ".png":
        return "" if suffix in LOSSLESS else f"{suffix or 'no suffix'} is not written"
    if dtype not in ("uint8", "uint16") or channels not in ((1, 2, 3, 4) if alpha else (1, 3)):
        return f".png cannot hold {channels} channel{'s' * (channels > 1)} of {dtype}"
    if dtype == "uint8" or channels == 1 or is_there("imagecodecs"):
        return ""
    return "this .png needs imagecodecs (python -m pip install imagecodecs, the extra depth)"


def writable(dtype: str, channels: int, *, alpha: bool) -> list[str]:
    """Returns the suffixes of the formats that can hold an image, the most common first."""
    return [s for s in LOSSLESS if not refusal(s, dtype, channels, alpha=alpha)]


def write(path: pathlib.Path, values: np.ndarray, **meaning: bool) -> None:
    """Writes numbers `[H, W, C]` as .png, .tif, .tiff or .npy; the file appears when it is whole.

    Args:
        path: the file.
        values: its numbers.
        meaning: as for `tiff_tags`; of these a .png has `alpha` and `profile`, a .npy none.
    """
    planes = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
    suffix = path.suffix.lower()
    with whole(path) as part, part.open("wb") as file:
        if suffix == ".npy":
            np.save(file, values)
        elif suffix == ".png":
            coloured = values.shape[-1] - meaning.get("alpha", False) == 3
            file.write(_png(planes, meaning.get("profile", False) and coloured))
        else:
            import tifffile

            tifffile.imwrite(file, planes, **tiff_tags(values.shape[-1], **meaning))


def _png(planes: np.ndarray, profile: bool) -> bytes:
    buffer = io.BytesIO()
    if planes.dtype == np.uint16 and planes.ndim == 3:
        import imagecodecs

        buffer.write(imagecodecs.png_encode(planes))
    else:
        Image.fromarray(planes).save(buffer, "PNG")
    data = buffer.getvalue()
    chunk = b"iCCPsRGB\0\0" + zlib.compress(profiles.srgb())
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + framed + data[33:] if profile else data  # behind IHDR


def tiff_tags(
    channels: int, *, alpha: bool = False, white_is_zero: bool = False, profile: bool = False
) -> dict[str, Any]:
    """Returns the arguments of tifffile that say what channels mean.

    Args:
        channels: how many.
        alpha: whether the last one is transparency.
        white_is_zero: whether the smallest number is white.
        profile: whether colours are said to be sRGB.
    """
    colours = 3 if channels in (3, 4) and not white_is_zero else 1
    extra = channels - colours
    grey = "miniswhite" if white_is_zero else "minisblack"
    return {
        "photometric": "rgb" if colours == 3 else grey,
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unspecified"] * (extra - alpha) + ["unassalpha"] * alpha or None,
        "iccprofile": profiles.srgb() if profile and colours == 3 else None,
    }
