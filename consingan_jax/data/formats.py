"""Image files: reads one into an `ImageFile`, and writes numbers in the formats that hold them."""

import dataclasses
import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from consingan_jax.data import decoders, profiles
from consingan_jax.data.decoders import Decoded, Wanted, is_there
from consingan_jax.errors import InputError
from consingan_jax.files import missing, whole

MAX_PIXELS = 10**8  # that an image may have, unless more is asked for
LOSSLESS = (".png", ".tif", ".tiff", ".npy")  # written as they came; all else as the first that can
LEAST_VALUE = -999.0  # a lone number as low, farther from all others than these lie apart, is none
_MARKS = (  # where some bytes lie, and of which format they are; Pillow knows the others
    (0, b"\x93NUMPY", ".npy"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?R", "Radiance HDR"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (128, b"DICM", "DICOM"),
    (0, b"%PDF", "PDF"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
)
_SUFFIXES = {  # of formats that are known by it
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "camera raw"),
    **dict.fromkeys((".nii", ".gz"), "NIfTI"),
    ".svg": "SVG",
}
_MORE_SUFFIXES = {".npy", ".exr", ".hdr", ".dcm", ".heic", ".heif"}  # than Pillow's own
_WAYS_OUT = {  # of formats that are not read
    "SVG": "render it, and give the PNG",
    "PDF": "export the page as a PNG or TIFF",
    "NIfTI": "save a slice as .npy or as a float TIFF",
    "camera raw": "develop it to a TIFF or PNG of 16 bits",
}


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """The image of a file: upright, in sRGB where it has colours, in the file's own numbers.

    Attributes:
        path: the file.
        values: `[H, W, C]`, uint8, int16, uint16, int32, uint32 or float32; alpha is not in it.
        missing: `[H, W]`, where a value is not finite or stands for none.
        alpha: `[H, W]`, the opacity from 0 to 1; None without transparency.
        labels: `[H, W]`, the indices of a palette that has colours; None of other files.
        found: what else the file says.
        notes: what was done, a few words each.
        warnings: what was left out or could not be used, a sentence each.
    """

    path: pathlib.Path
    values: np.ndarray
    missing: np.ndarray
    alpha: np.ndarray | None
    labels: np.ndarray | None
    found: Decoded
    notes: list[str]
    warnings: list[str]

    @property
    def known(self) -> np.ndarray:
        """The values, in a row, of the pixels that have one and are not transparent."""
        seen = ~self.missing if self.alpha is None else ~self.missing & (self.alpha > 0)
        return self.values[seen if seen.any() else ~self.missing].ravel()


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
    except Exception as error:  # decoders fail on damaged files in all ways
        if not kinds:
            raise InputError(
                f"image {path} is of no known image format: give PNG, JPEG, TIFF or .npy"
            ) from None
        words = str(error).rstrip(".")
        raise InputError(
            f"image {path} cannot be read, a damaged or unusual {kinds[0]}: {words}; save it anew"
        ) from None
    return _finished(path, found._replace(profile=b"") if is_mask else found)


def _decoded(path: pathlib.Path, wanted: Wanted, kinds: list[str]) -> Decoded:
    with path.open("rb") as file:
        head = file.read(512)
    kind = next((name for at, mark, name in _MARKS if head[at:].startswith(mark)), "")
    kind = "SVG" if b"<svg" in head else _SUFFIXES.get(path.suffix.lower(), kind)
    if kind in _WAYS_OUT:
        raise InputError(f"image {path} is {kind}, which is not read: {_WAYS_OUT[kind]}")
    kinds += [kind] if kind else []
    by_codec = {"OpenEXR": decoders.codec, "Radiance HDR": decoders.codec}
    if is_there("imagecodecs"):  # Pillow cuts colours to 8 bits
        by_codec["JPEG 2000"] = decoders.codec
    known = {".npy": decoders.array, "DICOM": decoders.dicom, "TIFF": decoders.tiff, **by_codec}
    found = known[kind](path, wanted) if kind in known else None
    return found or decoders.pillow(path, wanted, kinds)


def _finished(path: pathlib.Path, found: Decoded) -> ImageFile:
    """Returns an image upright, in sRGB, and its alpha apart."""
    values, alpha, notes = _plain(found.values, path), None, [found.note] if found.note else []
    warnings = [f"image {path}: {found.left_out}"] if found.left_out else []
    top = 1.0 if values.dtype == np.float32 else float(np.iinfo(values.dtype).max)
    if found.alpha:
        alpha, values = np.clip(values[..., -1] / top, 0, 1), values[..., :-1]
    elif found.key is not None and np.size(found.key) == values.shape[-1]:
        alpha = (values != np.reshape(found.key, (1, 1, -1))).any(-1).astype(np.float64)
    if found.alpha == "associated":
        straight = values / np.maximum(alpha, 1 / top if top > 1 else 1e-6)[..., None]
        values = straight.clip(0, top).round().astype(values.dtype) if top > 1 else straight
    shown = values
    if found.profile or found.space in ("CMYK", "LAB"):
        try:
            shown = _in_srgb(values, found)
            notes += ["converted to sRGB from its colour profile"] if shown is not values else []
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError) as error:
            warnings.append(f"image {path}: its colour profile is ignored: {error}")
            shown = _in_srgb(values, found._replace(profile=b""))
    lost = ~np.isfinite(values).all(-1)
    found = found if found.nodata is not None else found._replace(nodata=_nodata(values[~lost]))
    if found.nodata is not None:
        lost |= (values == np.float32(found.nodata)).any(-1)
    if lost.all():
        raise InputError(f"image {path} has no pixel with a value: give an image")
    values, lost = upright(shown, found.turn), upright(lost, found.turn)
    alpha = None if alpha is None else upright(alpha, found.turn)
    labels = None if found.labels is None else upright(found.labels, found.turn)
    return ImageFile(path, values, lost, alpha, labels, found, notes, warnings)


def _nodata(values: np.ndarray) -> float | None:
    """Returns the number that plainly stands for none where no tag says so, such as -9999."""
    if values.dtype.kind == "u" or not values.size:
        return None
    values = np.unique(values).astype(np.float64)
    is_none = values[0] <= LEAST_VALUE and len(values) > 1
    return values[0] if is_none and values[1] - values[0] > values[-1] - values[1] else None


def _in_srgb(values: np.ndarray, found: Decoded) -> np.ndarray:
    if found.profile:
        return profiles.to_srgb(values, found.space, found.profile)
    if found.space == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        return profiles.to_srgb(values, "LAB", lab)
    if found.space == "CMYK":
        return np.asarray(Image.fromarray(values, "CMYK").convert("RGB"))
    return values


def _plain(values: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Returns numbers `[H, W, C]` in one of the types of `ImageFile.values`."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    low, high = (values.min(), values.max()) if values.size and kind in "iu" else (0, 0)
    if kind == "b":
        values = 255 * values.astype(np.uint8)
    elif kind not in "iuf" or low < -(2**31) or high >= 2**32:
        raise InputError(f"image {path} is of {values.dtype}: give float32 or smaller numbers")
    else:
        wide = {"f": "f4", "i": "i2" if size < 4 else "i4", "u": f"u{size}"}[kind]
        wide = ("u4" if high >= 2**31 else "i4") if size == 8 and kind != "f" else wide
        values = np.array(values, wide)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise InputError(f"image {path} has the shape {values.shape}: give [H, W] or [H, W, C]")
    return values


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
