"""Masks that are pictures: what counts is what they show, not the numbers that are stored.

A palette may have the background at any index, a layer of a drawing program is transparent where
nothing was painted, a JPEG is never quite black. Here a picture becomes an array of values: 0 where
it shows nothing (black, or transparent), its grey value, or its colour as 0xrrggbb.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlowInpaintError, InputError, first_line
from ..io.levels import Planes
from ..io.memory import check_fits
from ..types import AnyImage

#: Names that pictures end with, besides TIFF.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
TIFFS = (".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg")
#: Half of the brightness that a picture can have.
_HALF = 128
#: With more colours than that a picture is no drawing, or was blurred.
_MOST_COLOURS = 256
#: A picture of which more than this part is neither dark nor bright is a photograph.
_MID_GREY = 0.2
#: At most this is made of a byte of a file: deflate's limit; other codecs stay far below.
_MOST_OF_A_BYTE = 1032


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture as a mask.

    Parameters
    ----------
    values
        (Y, X) integers: 0 where nothing is shown, else the grey value or 0xrrggbb.
    notes
        What was taken for granted.
    """

    values: AnyImage
    notes: tuple[str, ...] = ()


def read_picture(file: Path) -> Picture:
    """Read a PNG, JPEG, BMP or GIF as a mask.

    Parameters
    ----------
    file
        The file.

    Raises
    ------
    InputError
        If it cannot be read, or shows a photograph rather than a mask.
    """
    with _opened(file) as image:
        if image.mode in ("P", "PA", "La", "CMYK", "YCbCr") or "transparency" in image.info:
            image = image.convert("RGBA" if image.mode != "CMYK" else "RGB")
        pixels = np.asarray(image)
    if file.suffix.lower() in _LOSSY:
        return _lossy(pixels, file.name)
    return shown(pixels, file.name)


def picture_shape(file: Path) -> tuple[int, int]:
    """Return (Y, X) of a picture from its header."""
    with _opened(file) as image:
        return (image.height, image.width)


def shown(pixels: AnyImage, name: str) -> Picture:
    """Return what pixels show.

    Parameters
    ----------
    pixels
        (Y, X), or (Y, X, n) of grey and alpha, RGB or RGBA; bool or an integer type.
    name
        Of the picture, for the notes.
    """
    if pixels.ndim == 2:
        return Picture(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    if pixels.dtype != np.uint8:
        pixels = (pixels >> (8 * (pixels.dtype.itemsize - 1))).astype(np.uint8)
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    values, notes = _colours(pixels[..., :colours], name)
    if colours == pixels.shape[2]:
        return Picture(values, notes)
    visible = pixels[..., -1] >= _HALF
    if visible.all():
        return Picture(values, notes)
    if not values[visible].any():
        return Picture(np.where(visible, 255, 0).astype(np.uint8), notes)  # painted in black
    if not values[visible].all():
        notes += (f"{name}: black pixels count as intact, like transparent ones.",)
    return Picture(np.where(visible, values, 0), notes)


def _colours(pixels: AnyImage, name: str) -> tuple[AnyImage, tuple[str, ...]]:
    """Return grey values, or 0xrrggbb where there is any colour."""
    if pixels.shape[2] == 1 or (pixels == pixels[..., :1]).all():
        return pixels[..., 0], ()
    red, green, blue = (pixels[..., i].astype(np.int32) for i in range(3))
    values = red << 16 | green << 8 | blue
    if np.unique(values).size <= _MOST_COLOURS:
        return values, ()
    bright = pixels.max(axis=2) >= _HALF
    return np.where(bright, 255, 0).astype(np.uint8), (
        f"{name} has more than {_MOST_COLOURS} colours; pixels brighter than mid-grey count as "
        "damaged.",
    )


def _lossy(pixels: AnyImage, name: str) -> Picture:
    """Return what a JPEG shows: it keeps no exact values."""
    grey = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    middle = np.count_nonzero((grey > 48) & (grey < 208)) / grey.size
    if middle > _MID_GREY:
        raise InputError(
            f"{name} is a JPEG of which {100 * middle:.0f} % is neither dark nor bright: not a "
            "mask, but a picture of the section. Paint the damage white on black and save it as "
            "PNG."
        )
    if grey.max(initial=0) < _HALF and grey.max(initial=0) > 0:
        raise InputError(
            f"{name} is a nearly black JPEG, which does not keep small values exactly; save the "
            "mask as PNG."
        )
    note = f"{name} is a JPEG, which is not exact; pixels brighter than mid-grey count as damaged."
    return Picture(np.where(grey >= _HALF, 255, 0).astype(np.uint8), (note,))


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Yield a picture whose header promises no more than the file can hold, and memory has."""
    try:
        with file.open("rb") as opened, _plugin(file)(opened, str(file)) as image:
            pixels = image.width * image.height
            bits = {"1": 1, "P": 1, "L": 1}.get(image.mode, 8)
            if pixels * bits > 8 * _MOST_OF_A_BYTE * file.stat().st_size:
                raise OSError(f"the file is too small for {image.width} x {image.height} pixels")
            check_fits(8 * pixels, str(file))
            if getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{file} is an animation; save the mask as a single image.")
            yield image
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged file leads to
        raise InputError(
            f"{file} is not an image that can be read ({first_line(error)})."
        ) from error


def _plugin(file: Path) -> Any:
    """Return Pillow's class for a file; its own limit of pixels belongs to the whole process."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin

    return {
        ".png": PngImagePlugin.PngImageFile,
        ".bmp": BmpImagePlugin.BmpImageFile,
        ".gif": GifImagePlugin.GifImageFile,
    }.get(file.suffix.lower(), JpegImagePlugin.JpegImageFile)


# ---- TIFF


class TiffPictures(Planes):
    """The pages of a TIFF that stores colours or a palette, as masks.

    Parameters
    ----------
    file
        A ``tifffile.TiffFile``; it stays open.
    path
        Where it is.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        first = file.pages[0]
        self.shape = (len(file.pages), int(first.imagelength), int(first.imagewidth))

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of what page ``z`` shows."""
        picture = show_page(self._file.pages[z], self._path.name)
        if picture.values.shape != self.shape[1:]:
            raise InputError(
                f"{self._path}: page {z + 1} has the shape {picture.values.shape}, the first one "
                f"{self.shape[1:]}; give pages of one shape."
            )
        return picture.values[rows, columns].astype(self.dtype)


def show_page(page: Any, name: str) -> Picture:
    """Return what a page of a TIFF shows, whatever its colours are."""
    check_fits(4 * page.nbytes, name)
    pixels = np.asarray(page.asarray())
    if page.photometric == 3 and page.colormap is not None:
        table = np.asarray(page.colormap)
        if table.max(initial=0) > 255:  # 16 bits; some write 8
            table = table >> 8
        return shown(table.T.astype(np.uint8)[pixels], name)
    pixels = np.squeeze(pixels)
    if pixels.ndim == 3 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    picture = shown(pixels, name)
    if page.photometric != 0:
        return picture
    note = (
        f"{name} is shown with white as 0 (inverting LUT); non-zero pixels, which are shown dark, "
        "count as damaged."
    )
    return Picture(picture.values, (*picture.notes, note))


def is_pictured(page: Any) -> bool:
    """Return whether the numbers of a page are not what it shows: colour, palette, white as 0."""
    return int(page.photometric) in (0, 2, 3)
