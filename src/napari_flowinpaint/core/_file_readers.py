"""Open TIFF stacks, folders of images and HDF5 datasets, lazily. All of them read-only."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._axes import Axes, nanometres, resolve_axes, voxel_size_from_attributes
from ._levels import Level, Opened, check_dtype
from .errors import ChoiceNeeded, InputError
from .types import AnyImage, VoxelSize

IMAGE_SUFFIXES = (".tif", ".tiff", ".png")
_HDF5 = re.compile(r"^(?P<file>.+\.(?:h5|hdf5|hdf))(?::(?P<dataset>.*))?$", re.IGNORECASE)


def _not_in_place(kind: str) -> str:
    return (
        f"{kind} cannot be written in place; write the result elsewhere with --output "
        "(or Save as OME-Zarr)"
    )


class _Planes:
    """Base of the sources that are one image per section: ``zyx``, indexed lazily."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""
        raise NotImplementedError

    def __getitem__(self, key: tuple[Any, Any, Any]) -> AnyImage:
        z, y, x = key
        # An integer row or column is read as a line and dropped at the end.
        rows, columns = (
            k if isinstance(k, slice) else slice(k % n, k % n + 1)
            for k, n in zip((y, x), self.shape[1:], strict=True)
        )
        drop = tuple(slice(None) if isinstance(k, slice) else 0 for k in (y, x))
        if not isinstance(z, slice):
            if not -self.shape[0] <= z < self.shape[0]:
                raise IndexError(f"section {z} of {self.shape[0]}")
            return self.plane(int(z) % self.shape[0], rows, columns)[drop]
        sections = range(*z.indices(self.shape[0]))
        height, width = (
            len(range(*k.indices(n))) for k, n in zip((rows, columns), self.shape[1:], strict=True)
        )
        out = np.empty((len(sections), height, width), self.dtype)
        for i, section in enumerate(sections):
            out[i] = self.plane(section, rows, columns)
        return out[(slice(None), *drop)]


class TiffPages(_Planes):
    """The sections of a TIFF series: pages, or planes of one contiguous block.

    Only the strips or tiles that a region touches are read and decoded. File positions are
    shared by all threads, so that reading the bytes (not decoding them) is under a lock.

    Parameters
    ----------
    series
        A ``tifffile.TiffPageSeries``.
    axes
        Its axes, with c and t chosen.
    """

    def __init__(self, series: Any, axes: Axes) -> None:
        self.shape = axes.shape(series.shape)
        self.dtype = np.dtype(series.dtype)
        self._series = series
        self._lock = threading.Lock()
        leading = [np.intp(n) for n in series.shape[:-2]]
        self._numbers = [
            int(np.ravel_multi_index(axes.index(z, 0, 0)[:-2], leading))
            for z in range(self.shape[0])
        ]

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""
        top, bottom, step = rows.indices(self.shape[1])
        left, right, across = columns.indices(self.shape[2])
        number = self._numbers[z]
        if self._series.dataoffset is not None:
            block = self._contiguous(number, top, bottom)[:, left:right]
        else:
            block = self._segments(number, top, bottom, left, right)
        return block[::step, ::across]

    def _contiguous(self, number: int, top: int, bottom: int) -> AnyImage:
        """Read rows of plane ``number`` of a block without compression, whole rows."""
        handle = self._series.parent.filehandle
        width = self.shape[2]
        stored = self.dtype.newbyteorder(self._series.parent.byteorder)
        start = (number * self.shape[1] + top) * width * stored.itemsize
        with self._lock:
            handle.seek(self._series.dataoffset + start)
            data = handle.read((bottom - top) * width * stored.itemsize)
        return np.frombuffer(data, stored).reshape(bottom - top, width)

    def _segments(self, number: int, top: int, bottom: int, left: int, right: int) -> AnyImage:
        """Read and decode the strips or tiles of page ``number`` that touch a region."""
        out = np.zeros((bottom - top, right - left), self.dtype)
        with self._lock:  # pages are parsed on first access
            page = self._series.pages[number]
            frame = page.keyframe
            decode = frame.decode
            places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        high, wide = (
            (frame.tilelength, frame.tilewidth)
            if frame.is_tiled
            else (frame.rowsperstrip, frame.imagewidth)
        )
        per_row = -(-frame.imagewidth // wide)
        extra = {}
        if frame.compression in (6, 7, 34892, 33007):  # JPEG keeps its tables apart
            extra = {"jpegtables": page.jpegtables, "jpegheader": frame.jpegheader}
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                index = row * per_row + column
                offset, count = places[index]
                if count == 0:
                    continue  # a sparse TIFF leaves empty segments out
                with self._lock:
                    handle = self._series.parent.filehandle
                    handle.seek(offset)
                    data = handle.read(count)
                if len(data) != count:
                    raise OSError(f"the file ends within strip or tile {index}")
                segment = np.asarray(decode(data, index, **extra)[0])[0, :, :, 0]
                y, x = row * high, column * wide
                y0, y1 = max(y, top), min(y + segment.shape[0], bottom)
                x0, x1 = max(x, left), min(x + segment.shape[1], right)
                out[y0 - top : y1 - top, x0 - left : x1 - left] = segment[
                    y0 - y : y1 - y, x0 - x : x1 - x
                ]
        return out


class ImageFiles(_Planes):
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
        return found[rows, columns]


def open_tiff(path: Path, *, channel: int | None = None, time: int | None = None) -> Opened:
    """Open the first stack of a TIFF file; no pixel is read.

    Raises
    ------
    InputError
        If it is no TIFF, colour, or a single image.
    """
    import tifffile

    try:
        file = tifffile.TiffFile(path)
        series = file.series
    except Exception as error:  # whatever the damaged tags lead to
        raise InputError(f"{path} is not a TIFF file that can be read ({error}).") from error
    stacks = [s for s in series if s.ndim >= 3 and "S" not in s.axes]
    if not stacks:
        shape = series[0].shape if series else ()
        colour = bool(series) and "S" in series[0].axes
        file.close()
        raise InputError(
            f"{path} is colour (shape {shape}); convert it to one grey channel first."
            if colour
            else f"{path} is not a stack but a single image of shape {shape}; give a stack "
            "with several sections, or a folder with one image per section."
        )
    found = stacks[0]
    check_dtype(found.dtype, str(path), ("uint8", "uint16", "int16", "float32", *_LABELS))
    names, messages = _tiff_axes(found)
    axes = resolve_axes(names, found.shape, what=str(path), channel=channel, time=time)
    return Opened(
        kind="tiff",
        name=path.name.partition(".")[0],
        levels=(Level(TiffPages(found, axes)),),
        voxel_size=_tiff_voxel_size(file, found),
        why_not_writable=_not_in_place("a TIFF file"),
        messages=messages,
    )


#: More dtypes that label images come in; :func:`open_stack` refuses them for stacks.
_LABELS = ("bool", "int8", "int32", "int64", "uint32", "uint64", "float64")


def _tiff_axes(series: Any) -> tuple[list[str], tuple[str, ...]]:
    """Name the axes of a series; an axis of unknown meaning, or time, may be z."""
    names = [a.lower() for a in series.axes]
    if "z" in names:
        return names, ()
    for candidate in ("q", "i", "t"):  # unknown, pages, frames: ImageJ's default for a stack
        if candidate in names and series.shape[names.index(candidate)] > 1:
            names[names.index(candidate)] = "z"
            told = f"The file calls its sections time points ({series.axes}); they are read as z."
            return names, (told,) if candidate == "t" else ()
    return names, ()


def _tiff_voxel_size(file: Any, series: Any) -> VoxelSize | None:
    """Return the voxel size from OME-XML or ImageJ; plain resolution tags know no z."""
    if file.is_ome and file.ome_metadata:
        from tifffile import xml2dict

        image = xml2dict(file.ome_metadata).get("OME", {}).get("Image", {})
        image = image[0] if isinstance(image, list) else image
        pixels = image.get("Pixels", {})
        sizes = [pixels.get(f"PhysicalSize{a}") for a in "ZYX"]
        units = [pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "ZYX"]
        if all(isinstance(s, (int, float)) for s in sizes):
            return nanometres(sizes, units)
        return None
    if file.is_imagej:
        spacing, unit = (
            (file.imagej_metadata or {}).get("spacing"),
            file.imagej_metadata.get("unit"),
        )
        tags = file.pages[0].tags
        if spacing is None or "XResolution" not in tags or "YResolution" not in tags:
            return None
        per_unit = [_ratio(tags[name].value) for name in ("YResolution", "XResolution")]
        if 0 in per_unit:
            return None
        return nanometres([abs(spacing), 1 / per_unit[0], 1 / per_unit[1]], [unit] * 3)
    return None


def _ratio(value: Any) -> float:
    """Return a TIFF rational as a number."""
    above, below = value
    return float(above) / float(below) if below else 0.0


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
        why_not_writable=_not_in_place("a folder of images"),
    )


_PNG_DTYPES = {"1": "bool", "L": "uint8", "I;16": "uint16", "I": "int32"}


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


def split_hdf5(path: str) -> tuple[str, str | None] | None:
    """Return the file and the dataset of ``file.h5:/dataset``; None where it is no HDF5 path."""
    match = _HDF5.match(path)
    return (match["file"], match["dataset"] or None) if match else None


def open_hdf5(
    path: Path, dataset: str | None, *, channel: int | None = None, time: int | None = None
) -> Opened:
    """Open a dataset of an HDF5 file; no pixel is read.

    Parameters
    ----------
    path
        The file.
    dataset
        Name of the dataset; None takes the only one with three or more axes.

    Raises
    ------
    InputError
        If the file or the dataset cannot be opened, or there are several to choose from.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file that can be read ({error}).") from error
    candidates: list[str] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 3:
            candidates.append("/" + name)

    if dataset is None:
        file.visititems(collect)
        if len(candidates) != 1:
            found = ", ".join(candidates[:8]) or "none"
            file.close()
            message = (
                f"{path} holds {len(candidates)} datasets that could be the stack ({found}); "
                f"name one: {path}:{candidates[0] if candidates else '/volumes/raw'}."
            )
            raise (
                ChoiceNeeded(message, "dataset", candidates) if candidates else InputError(message)
            )
        dataset = candidates[0]
    item = file.get(dataset)
    if not isinstance(item, h5py.Dataset):
        file.visititems(collect)
        found = ", ".join(candidates[:8]) or "no stack"
        file.close()
        raise InputError(f"{path} has no dataset {dataset!r}; it holds {found}.")
    labels = [dim.label for dim in item.dims]
    names = labels if all(labels) and {"z", "y", "x"} <= set(labels) else None
    what = f"{path}:{dataset}"
    axes = resolve_axes(names, item.shape, what=what, channel=channel, time=time)
    return Opened(
        kind="hdf5",
        name=f"{path.stem} {dataset.strip('/')}",
        levels=(Level(item, axes),),
        voxel_size=voxel_size_from_attributes(dict(item.attrs)),
        why_not_writable=_not_in_place("an HDF5 file"),
    )
