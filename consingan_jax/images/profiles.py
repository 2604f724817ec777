"""Converts colours to sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms

from consingan_jax.images.image_file import is_installed

FLOAT_WHITE = 2.0  # floats count to 1, or to 255 if a value is above this
_SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}  # ICC's names
_TOLERANCE = 1  # of 255: a profile that changes no colour by more is sRGB under another name


def srgb() -> bytes:
    """Returns the ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(values: np.ndarray, space: str, data: bytes) -> np.ndarray:
    """Converts colours to sRGB in the same dtype; returns `values` itself if they are in sRGB.

    Args:
        values: `[H, W, C]`.
        space: "L", "RGB", "CMYK", "LAB", or "" for channels of unknown meaning.
        data: the ICC profile; if empty, grey and RGB are taken as sRGB.

    Raises:
        ValueError: the profile is damaged or for another space, or the dtype cannot be converted.
    """
    if not data and space == "CMYK":
        return np.asarray(Image.fromarray(values, "CMYK").convert("RGB"))
    if not data and space == "LAB":
        data = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if not data:
        return values
    if space == "L" and values.shape[-1] > 1:
        planes = np.split(values, values.shape[-1], axis=-1)
        return np.concatenate([to_srgb(plane, space, data) for plane in planes], axis=-1)
    if space == "RGB" and values.shape[-1] > 3:  # further channels are not colours
        return np.concatenate([to_srgb(values[..., :3], space, data), values[..., 3:]], axis=-1)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    own = _SPACES.get(profile.profile.xcolor_space.strip(), "another kind")
    if own != space and (space, own) != ("L", "RGB"):
        raise ValueError(f"it is for {own}, not for {space or 'such channels'}")
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), own, "RGB")
    if _is_identity(transform, own):
        return values
    colours = values.repeat(3, axis=-1) if own != space else values  # grey with an RGB profile
    to_8_bits = values.dtype == np.uint8
    made = _apply(transform, colours, own) if to_8_bits else _convert_deep(colours, own, data)
    return made[..., : values.shape[-1] if space in ("L", "RGB") else 3]


def _is_identity(transform: ImageCms.ImageCmsTransform, space: str) -> bool:
    if space not in ("L", "RGB"):
        return False
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    probe = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3)
    probe = probe[..., :1].repeat(3, -1) if space == "L" else probe
    return np.abs(_apply(transform, probe, space) - probe.astype(int)).max() <= _TOLERANCE


def _apply(transform: ImageCms.ImageCmsTransform, colours: np.ndarray, space: str) -> np.ndarray:
    flat = np.ascontiguousarray(colours[..., 0] if space == "L" else colours)
    size = (flat.shape[1], flat.shape[0])
    return np.asarray(transform.apply(Image.frombytes(space, size, flat.tobytes())))


def _convert_deep(colours: np.ndarray, space: str, data: bytes) -> np.ndarray:
    """Converts uint16 or float32 colours, for which Pillow's transform has no mode."""
    if colours.dtype not in (np.uint16, np.float32):
        raise ValueError(f"numbers of {colours.dtype} cannot be converted")
    if not is_installed("imagecodecs"):
        raise ValueError("this depth needs imagecodecs: python -m pip install imagecodecs")
    import imagecodecs

    finite = np.isfinite(colours)
    is_float, white = colours.dtype == np.float32, np.float32(1)
    if is_float:  # LittleCMS wants floats from 0 to 1; what is not finite becomes NaN afterwards
        white = np.float32(255 if colours[finite].max(initial=0) > FLOAT_WHITE else 1)
        colours = np.where(finite, colours / white, 0)
    flat = np.ascontiguousarray(colours[..., 0] if space == "L" else colours)
    own = {"L": "gray"}.get(space, space.lower())
    made = imagecodecs.cms_transform(flat, data, srgb(), colorspace=own, outcolorspace="rgb")
    return np.where(finite, made * white, np.nan) if is_float else made
