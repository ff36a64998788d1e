"""Open folders with one image per section, lazily and read-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import AnyImage
from .levels import Level, Opened, Planes, not_in_place

IMAGE_SUFFIXES = (".tif", ".tiff", ".png")


class ImageFiles(Planes):
    """One image file per section.

    Parameters
    ----------
    files
        In the order of the sections.
    shape, dtype
        Of every one of them.
    """

    def __init__(self, files: Sequence[Path], shape: tuple[int, int], dtype: Any) -> None:
        self.files = tuple(files)
        self.shape = (len(self.files), *shape)
        self.dtype = np.dtype(dtype)

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""
        file = self.files[z]
        if file.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(file) as image:
                found = np.asarray(image)
        else:
            import tifffile

            found = tifffile.imread(file)
        if found.shape != self.shape[1:]:
            raise OSError(f"{file.name} has changed: its shape is {found.shape}")
        return found[rows, columns].astype(self.dtype, copy=False)


def open_folder(path: Path) -> Opened:
    """Open a folder with one TIFF or PNG per section, in natural order; no pixel is read.

    Raises
    ------
    InputError
        If there is none, or if they differ in format, shape or type.
    """
    from natsort import natsorted, ns

    files = [
        f
        for f in path.iterdir()
        if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".") and f.is_file()
    ]
    if not files:
        raise InputError(
            f"{path} is a folder without zarr metadata and without TIFF or PNG images; "
            "give an OME-Zarr, a zarr array or a folder with one image per section."
        )
    if len({f.suffix.lower() == ".png" for f in files}) > 1:
        raise InputError(f"{path} holds TIFF and PNG images; keep those of the stack only.")
    files = natsorted(files, key=lambda f: f.name, alg=ns.IGNORECASE)
    first = _image_header(files[0])
    for file in files[1:]:
        header = _image_header(file)
        if header != first:
            raise InputError(
                f"{path} is not one stack: {file.name} is {header[0]} {header[1]} but "
                f"{files[0].name} is {first[0]} {first[1]}; keep images of one shape and type."
            )
    return Opened(
        kind="images",
        name=path.name,
        levels=(Level(ImageFiles(files, *first)),),
        why_not_writable=not_in_place("a folder of images"),
    )


# Older Pillow opens 16-bit PNG as int32 ("I"), which PNG does not have.
_PNG_DTYPES = {"1": "bool", "L": "uint8", "I;16": "uint16", "I": "uint16"}


def _image_header(file: Path) -> tuple[tuple[int, int], str]:
    """Return (Y, X) and the dtype of an image from its header."""
    try:
        if file.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(file) as image:
                dtype = _PNG_DTYPES.get(image.mode)
                shape: tuple[int, ...] = (image.height, image.width)
        else:
            import tifffile

            with tifffile.TiffFile(file) as tiff:
                series = tiff.series[0]
                shape = series.shape
                dtype = None if "S" in series.axes else series.dtype.name
    except Exception as error:  # whatever the damaged header leads to
        raise InputError(f"{file} is not an image that can be read ({error}).") from error
    if dtype is None:
        raise InputError(f"{file} is colour; convert the images to grey first.")
    if len(shape) != 2:
        raise InputError(
            f"{file} is an image of shape {shape}, not one section; give the file itself or a "
            "folder with one image per section."
        )
    return (int(shape[0]), int(shape[1])), dtype
