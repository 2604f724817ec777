"""Converts colours to sRGB by their ICC profile."""

import io

import numpy as np
from PIL import Image, ImageCms

from consingan_jax.data.decoders import is_there

_SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}  # of a profile
FLOAT_WHITE = 2.0  # floats with a larger value count to 255, all others to 1
_SAME = 1  # of 255; a profile that changes no colour by more is sRGB, under whatever name


def srgb() -> bytes:
    """Returns the profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(values: np.ndarray, space: str, data: bytes) -> np.ndarray:
    """Returns colours in sRGB, of the same type; the array itself if they are in it already.

    Args:
        values: `[H, W, C]`.
        space: L, RGB, CMYK or LAB.
        data: the profile.

    Raises:
        ValueError: the profile is damaged or for other colours, or this depth cannot be converted.
    """
    if space == "L" and values.shape[-1] > 1:
        return np.concatenate([to_srgb(one, space, data) for one in _channels(values)], axis=-1)
    if space == "RGB" and values.shape[-1] > 3:  # the others are no colours
        return np.concatenate([to_srgb(values[..., :3], space, data), values[..., 3:]], axis=-1)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    own = _SPACES.get(profile.profile.xcolor_space.strip(), "another kind")
    if own != space and (space, own) != ("L", "RGB"):
        raise ValueError(f"it is for {own}, not for {space or 'such channels'}")
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), own, "RGB")
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    probe = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3)
    probe = probe[..., :1].repeat(3, -1) if own == "L" else probe
    if (
        own in ("L", "RGB")
        and np.abs(_applied(transform, probe, own) - probe.astype(int)).max() <= _SAME
    ):
        return values
    channels = values.shape[-1] if space in ("L", "RGB") else 3
    colours = values.repeat(3, axis=-1) if own != space else values
    if values.dtype == np.uint8:
        return _applied(transform, colours, own)[..., :channels]
    if values.dtype not in (np.uint16, np.float32):
        raise ValueError(f"numbers of {values.dtype} cannot be converted")
    if not is_there("imagecodecs"):
        raise ValueError("this depth needs imagecodecs: python -m pip install imagecodecs")
    import imagecodecs

    kind, is_float = {"L": "gray"}.get(own, own.lower()), values.dtype == np.float32
    finite = np.isfinite(colours) if is_float else True
    white = np.float32(255 if is_float and colours[finite].max(initial=0) > FLOAT_WHITE else 1)
    colours = np.where(finite, colours / white, 0).astype(np.float32) if is_float else colours
    colours = np.ascontiguousarray(colours[..., 0] if own == "L" else colours)
    made = imagecodecs.cms_transform(colours, data, srgb(), colorspace=kind, outcolorspace="rgb")
    made = made[..., :channels]
    return np.where(finite, made * white, np.nan)[..., :channels] if is_float else made


def _channels(values: np.ndarray) -> list[np.ndarray]:
    return [values[..., k : k + 1] for k in range(values.shape[-1])]


def _applied(transform: ImageCms.ImageCmsTransform, colours: np.ndarray, mode: str) -> np.ndarray:
    flat = np.ascontiguousarray(colours[..., 0] if mode == "L" else colours)
    size = (flat.shape[1], flat.shape[0])
    return np.asarray(transform.apply(Image.frombytes(mode, size, flat.tobytes())))
