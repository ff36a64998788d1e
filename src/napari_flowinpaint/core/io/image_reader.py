"""Open folders with one image per section, lazily and read-only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlowInpaintError, InputError, first_line
from ..types import AnyImage
from .formats import IMAGE_SUFFIXES, is_mrc, not_read_folder
from .levels import Level, Planes, ReaderResult, allow, not_in_place
from .memory import check_fits

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_TIFF_SUFFIXES = (".tif", ".tiff")
#: Formats that Pillow reads, by their suffixes.
_PILLOW = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
#: Deflate makes at most this of a byte: a PNG file cannot hold more.
_MOST_OF_A_BYTE = 1032


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
        found = read_image(file)
        if found.shape != self.shape[1:]:
            raise OSError(f"{file.name} has changed: its shape is {found.shape}")
        return found[rows, columns].astype(self.dtype, copy=False)


def read_image(file: Path, *, single: bool = False) -> AnyImage:
    """Read the pixels of a PNG, JPEG, BMP or MRC image or of the first image of a TIFF.

    Parameters
    ----------
    file
        Of the format that its suffix says.
    single
        Whether a file with anything but one section is refused.

    Returns
    -------
    numpy.ndarray
        (Y, X) of a single section, whatever else is stored.

    Raises
    ------
    InputError
        If there are several sections.
    StoreError
        If they do not fit in memory.
    """
    if file.suffix.lower() in _PILLOW:
        with _open_pillow(file) as image:
            return np.asarray(image)
    if is_mrc(file):
        from .mrc_reader import read_sections

        sections, _ = read_sections(file)
        if single and len(sections) > 1:
            raise InputError(f"{file} is not a single image.")
        check_fits(sections.dtype.itemsize * math.prod(sections.shape[1:]), str(file))
        return sections[0, :, :]
    from .tiff_reader import open_tiff_file

    with open_tiff_file(file) as tiff:
        series = tiff.series[0]
        if single and (len(tiff.series) > 1 or set(series.shape[:-2]) - {1}):
            raise InputError(f"{file} is not a single image.")
        check_fits(series.nbytes, str(file))
        found = np.asarray(series.asarray())
        return found.reshape(series.shape[-2:]) if single else found


@contextmanager
def _open_pillow(file: Path) -> Iterator[ImageFile]:
    """Yield an image whose header promises no more than the file can hold, and memory has.

    Pillow's own limit, which belongs to the whole process, is smaller than an honest section.
    """
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    kind = _PILLOW[file.suffix.lower()]
    plugin: Any = {"PNG": PngImageFile, "JPEG": JpegImageFile, "BMP": BmpImageFile}[kind]
    # as by Image.open, but for that limit
    with file.open("rb") as opened, plugin(opened, str(file)) as image:
        pixels = image.width * image.height
        smallest = {"1": 1, "P": 1, "L": 1, "I;16": 16, "I": 16}.get(image.mode, 8)  # bits
        if kind == "PNG" and pixels * smallest > 8 * _MOST_OF_A_BYTE * file.stat().st_size:
            raise OSError(f"the file is too small for {image.width} x {image.height} pixels")
        largest = 4  # bytes of a pixel in Pillow, whatever the mode
        check_fits(pixels * largest, str(file))
        yield image


def open_folder(path: Path, *, allow_external: bool = False) -> ReaderResult:
    """Open a folder with one image per section, in natural order; no pixel is read.

    Parameters
    ----------
    path
        The folder.
    allow_external
        Whether images may be links that lead out of the folder.

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
        raise not_read_folder(path)
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds {' and '.join(kinds)} images; keep those of the stack only."
        )
    files = natsorted(files, key=lambda f: f.name, alg=ns.IGNORECASE)
    here = path.resolve()
    for file in files:
        if file.is_symlink() and file.resolve().parent != here:
            allow(allow_external, f"{file} is a link to another folder")
    first = _image_header(files[0])
    for file in files[1:]:
        header = _image_header(file)
        if header != first:
            raise InputError(
                f"{path} is not one stack: {file.name} is {header[0]} {header[1]} but "
                f"{files[0].name} is {first[0]} {first[1]}; keep images of one shape and type."
            )
    return ReaderResult(
        kind="images",
        name=path.name,
        levels=(Level(ImageFiles(files, *first)),),
        why_not_writable=not_in_place("a folder of images"),
    )


def _kind(file: Path) -> str:
    """Return the format of an image by its suffix."""
    suffix = file.suffix.lower()
    return "TIFF" if suffix in _TIFF_SUFFIXES else _PILLOW.get(suffix, "MRC")


# Older Pillow opens 16-bit PNG as int32 ("I"), which PNG does not have.
_PILLOW_DTYPES = {"1": "bool", "L": "uint8", "I;16": "uint16", "I": "uint16"}


def _image_header(file: Path) -> tuple[tuple[int, int], str]:
    """Return (Y, X) and the dtype of an image from its header."""
    try:
        shape: tuple[int, ...]
        if file.suffix.lower() in _PILLOW:
            with _open_pillow(file) as image:
                dtype = _PILLOW_DTYPES.get(image.mode)
                shape = (image.height, image.width)
        elif is_mrc(file):
            from .mrc_reader import read_sections

            sections, _ = read_sections(file)
            dtype = sections.dtype.name
            shape = sections.shape[1:] if len(sections) == 1 else sections.shape
        else:
            from .tiff_reader import open_tiff_file

            with open_tiff_file(file) as tiff:
                series = tiff.series[0]
                shape = series.shape
                dtype = None if "S" in series.axes else series.dtype.name
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged header leads to
        raise InputError(
            f"{file} is not an image that can be read ({first_line(error)})."
        ) from error
    if dtype is None:
        raise InputError(f"{file} is colour; convert the images to grey first.")
    if len(shape) != 2:
        raise InputError(
            f"{file} is an image of shape {shape}, not one section; give the file itself or a "
            "folder with one image per section."
        )
    return (int(shape[0]), int(shape[1])), dtype
