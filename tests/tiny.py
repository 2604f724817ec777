"""What most tests train: a picture of 40 x 30 px, and settings that train in seconds."""

import pathlib
import signal

import numpy as np

from consingan_jax.generation import inputs
from consingan_jax.images import display

CONFIG = {  # stage 2 has a frozen stage below it
    "num_layers": 1,
    "num_stages": 3,
    "min_size": 14,
    "max_size": 28,
    "num_filters": 4,
    "num_iters": 4,
    "train_depth": 2,
    "log_every": 2,
    "sample_every": 4,
}
HARMONIZATION = CONFIG | {
    "task": "harmonization",
    "num_stages": 2,
    "num_iters": 2,
    "batch_norm": True,
}


def paint(path: pathlib.Path) -> None:
    """Writes the picture: smooth colours and a little noise."""
    rows, columns = np.mgrid[0:30, 0:40] / 40
    rng = np.random.default_rng(0)
    colours = np.stack([rows, columns, 1 - rows * columns], -1) * 2 - 1
    display.save(path, colours + 0.1 * rng.standard_normal(colours.shape))


def z_star(model):
    """Returns z*_0 .. z*_d of a model, each `[1, h, w, channels]`."""
    return inputs.z_star(model).draw(model.generator.view(model.sizes).noise(model.arch))


def hear_interrupts() -> None:
    """Lets processes begun here hear Ctrl-C, also below a shell that has this one ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def dicom(path, values, **about):
    """Writes numbers `[H, W]` or `[T, H, W]` of 16 bits as a DICOM file; `about` are its fields."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Rows, data.Columns = values.shape[-2:]
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(values.dtype == np.int16)
    data.PixelData = values.tobytes()
    for name, value in about.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
