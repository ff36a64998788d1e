"""Open multi-page TIFF stacks (plain, ImageJ, OME), lazily and read-only."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlowInpaintError, InputError, first_line
from ..types import AnyImage, VoxelSize
from .axes import Axes, nanometres, resolve_axes
from .levels import Level, Planes, ReaderResult, allow, check_shape, not_in_place
from .memory import check_fits
from .tiff_metadata import tiff_metadata
from .tiff_pages import check_complete, look_at_pages
from .tiff_series import find_series

#: Characters; some hundred bytes describe a plane.
_LONGEST_XML = 10**8


class TiffPages(Planes):
    """The sections of a TIFF series: pages, or planes of one contiguous block.

    Only the rows of the block, or the strips or tiles of the page, that a region touches are read.

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
        weakref.finalize(self, series.parent.close)  # tifffile leaves that to the caller
        self._lock = threading.RLock()  # threads share the position in the file
        # Where all planes lie one behind the other, without compression (also the planes of a
        # large ImageJ file, which has one page only).
        self._offset = None if series.is_multifile else series.dataoffset
        self.axes = axes
        self._leading = tuple(int(n) for n in series.shape[:-2])

    @property
    def complete(self) -> bool:
        """Whether there is a page for every plane that the metadata announce."""
        last = self._number(self.shape[0] - 1)
        return self._offset is not None or last < len(self._series.pages)

    @property
    def cut(self) -> bool:
        """Whether the file ends before the pixels of its last section do."""
        if self._series.is_multifile:
            return False  # a file that is missing is told when its sections are read
        size = self._series.parent.filehandle.size
        last = self._number(self.shape[0] - 1)
        if self._offset is not None:
            plane = self.shape[1] * self.shape[2] * self.dtype.itemsize
            return bool(self._offset + (last + 1) * plane > size)
        page = self._series.pages[last]
        ends = zip(page.dataoffsets, page.databytecounts, strict=False)
        return any(offset + count > size for offset, count in ends)

    def _number(self, z: int) -> int:
        """Return the number of the plane of section ``z``."""
        number = 0
        for index, length in zip(self.axes.index(z, 0, 0)[:-2], self._leading, strict=True):
            number = number * length + index
        return number

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""
        top, bottom, step = rows.indices(self.shape[1])
        left, right, across = columns.indices(self.shape[2])
        if self._offset is not None:
            block = self._contiguous(self._offset, self._number(z), top, bottom)[:, left:right]
        else:
            block = self._segments(self._number(z), top, bottom, left, right)
        return block[::step, ::across]

    def _contiguous(self, offset: int, number: int, top: int, bottom: int) -> AnyImage:
        """Read rows of plane ``number`` of the block without compression at ``offset``."""
        file, width = self._series.parent, self.shape[2]
        stored = self.dtype.newbyteorder(file.byteorder)
        start = offset + (number * self.shape[1] + top) * width * stored.itemsize
        # Not mapped into memory: where a mapped file is cut short the process dies.
        found = np.fromfile(file.filehandle.path, stored, (bottom - top) * width, offset=start)
        return found.reshape(bottom - top, width)  # fails where the file has ended

    def _segments(self, number: int, top: int, bottom: int, left: int, right: int) -> AnyImage:
        """Read and decode the strips or tiles of page ``number`` that touch a region."""
        with self._lock:  # pages are parsed on first access
            page = self._series.pages[number]
            if page is None:
                raise OSError("the file with this section is missing")
            if page.parent.filehandle.closed:  # a further file of a multi-file OME-TIFF
                page.parent.filehandle.open()
        frame = page.keyframe
        high, wide = frame.chunks
        y0, x0 = top // high, left // wide
        y1, x1 = -(-bottom // high), -(-right // wide)
        if (y1 - 1) * frame.chunked[1] + x1 > len(page.dataoffsets):
            raise OSError("the file has fewer strips or tiles than the image")
        size = ((y1 - y0) * high) * ((x1 - x0) * wide) + high * wide
        check_fits(
            size * self.dtype.itemsize, f"a part of a page of {self._series.parent.filename}"
        )
        wanted = [y * frame.chunked[1] + x for y in range(y0, y1) for x in range(x0, x1)]
        out = np.zeros(((y1 - y0) * high, (x1 - x0) * wide), self.dtype)
        jpeg = {"jpegtables": page.jpegtables, "jpegheader": frame.jpegheader}
        for data, index in page.parent.filehandle.read_segments(
            [page.dataoffsets[i] for i in wanted],
            [page.databytecounts[i] for i in wanted],
            wanted,
            lock=self._lock,
        ):
            if data is None:
                continue  # a sparse TIFF leaves empty segments out
            if len(data) != page.databytecounts[index]:
                raise OSError(f"the file ends within strip or tile {index}")
            segment, (_, _, y, x, _), _ = frame.decode(data, index, **jpeg)
            y, x = y - y0 * high, x - x0 * wide
            out[y : y + segment.shape[1], x : x + segment.shape[2]] = segment[0, :, :, 0]
        return out[top - y0 * high : bottom - y0 * high, left - x0 * wide : right - x0 * wide]


def open_tiff_file(path: Path) -> Any:
    """Return a ``tifffile.TiffFile``, after a look at the XML in it."""
    import tifffile

    file = tifffile.TiffFile(path)
    try:
        _check_xml(file)
    except Exception:
        file.close()
        raise
    return file


def _check_xml(file: Any) -> None:
    """Refuse XML that is too long, damaged, or defines entities.

    A kilobyte of entities can stand for gigabytes of text. No microscope writes any.
    """
    text = file.pages.first.description
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(
            f"{file.filename} has a description that defines XML entities, which no microscope "
            "writes and which can do harm; save the stack again."
        )
    if not file.is_ome:
        return
    if len(text) > _LONGEST_XML:
        raise InputError(f"{file.filename} has {len(text):,} characters of OME-XML; save it again.")
    from xml.etree import ElementTree

    try:
        ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(
            f"{file.filename} has damaged OME-XML ({first_line(error)}); save it again."
        ) from error


def open_tiff(
    path: Path,
    dataset: str | None = None,
    *,
    channel: int | None = None,
    time: int | None = None,
    allow_external: bool = False,
) -> ReaderResult:
    """Open the stack of a TIFF file; no pixel is read.

    Parameters
    ----------
    path
        The file.
    dataset
        Number of the image, where the file holds several; see :func:`.find_series`.
    channel, time
        Index on the c and the t axis.
    allow_external
        Whether further files of a multi-file OME-TIFF may lie in other folders.

    Raises
    ------
    InputError
        If it is not a TIFF, damaged, colour, or a single image.
    """
    file = None
    try:
        file = open_tiff_file(path)
        opened = _open_file(path, file, dataset, channel, time, allow_external)
        file = None  # closed with the last of its pages
        return opened
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged tags lead to
        raise InputError(
            f"{path} cannot be read as a TIFF stack ({first_line(error)}); give an OME-Zarr, a "
            "zarr array, a multi-page TIFF, an HDF5 dataset or a folder with one image per section."
        ) from error
    finally:
        if file is not None:
            file.close()


def _open_file(
    path: Path,
    file: Any,
    dataset: str | None,
    channel: int | None,
    time: int | None,
    allow_external: bool,
) -> ReaderResult:
    """Return the stack of an open TIFF file."""
    looks, ended = look_at_pages(file)
    whole = len(looks)
    try:
        found, notes = find_series(path, file, looks, dataset)
    except FlowInpaintError:
        if ended:
            check_complete(path, file, None, whole, ended)
        raise
    except Exception:
        check_complete(path, file, None, whole, ended)
        raise
    _check_not_colours(path, file, found)
    check_complete(path, file, found, whole, ended)
    if found.ndim < 3 or "S" in found.axes:
        raise InputError(
            f"{path} is colour (shape {found.shape}); convert it to one grey channel first."
            if "S" in found.axes
            else f"{path} is not a stack but a single image of shape {found.shape}; give a stack "
            "with several sections, or a folder with one image per section."
        )
    if found.is_multifile:
        _check_folder(path, found, allow_external)
    pages, messages, names = _open_pages(path, found, channel, time)
    voxel_size = _tiff_voxel_size(file, found)
    return ReaderResult(
        kind="tiff",
        name=path.name.partition(".")[0],
        levels=(Level(pages),),
        voxel_size=voxel_size,
        why_not_writable=not_in_place("a TIFF file"),
        messages=notes + messages,
        metadata=tiff_metadata(file, found, pages.axes, names, voxel_size),
    )


def _check_not_colours(path: Path, file: Any, series: Any) -> None:
    """Refuse the planes of a single page that are stored as the colours of one image.

    tifffile writes an array of three or four sections so, unless it is told that they are grey.
    Where the planes lie one behind the other and the file says that they are sections, they are.
    """
    page = file.pages.first
    planar = page.planarconfig is not None and int(page.planarconfig) == 2
    if not planar or page.samplesperpixel < 2 or len(file.pages) > 1:
        return
    if "S" in series.axes or series.dataoffset is None:
        raise InputError(
            f"{path} stores its {page.samplesperpixel} planes as the colours of one image. If they "
            f"are sections, {_write_again(path, ', key=0')}; if it is a colour image, convert it "
            "to one grey channel first."
        )


def _write_again(path: Path, page: str = "") -> str:
    """Return the advice to write planes as sections, which works as it is given."""
    new = str(path.with_name(f"{path.stem} grey.tif"))
    return (
        f"write them again as such, in Python with tifffile.imwrite({new!r}, "
        f"tifffile.imread({str(path)!r}{page}), photometric='minisblack')"
    )


def _check_folder(path: Path, series: Any, allow_external: bool) -> None:
    """Refuse further files of a multi-file OME-TIFF that lie in other folders."""
    here = path.resolve().parent
    for file in {page.parent.filehandle.path for page in series.pages if page is not None}:
        if Path(file).resolve().parent != here:
            allow(allow_external, f"{path} names a file in another folder ({file})")


def _open_pages(
    path: Path, series: Any, channel: int | None, time: int | None
) -> tuple[TiffPages, tuple[str, ...], list[str]]:
    """Return the sections of a series, what there is to say about them, and its axes."""
    if series.dtype is None:
        raise InputError(f"{path} has pixels of an unusual size; convert it to uint8 or uint16.")
    names, messages = _tiff_axes(series, channel is None)
    if sorted(names) == ["c", "x", "y"]:
        raise InputError(
            f"{path} has {series.shape[names.index('c')]} channels (axes {series.axes}) and no z; "
            f"if they are sections, {_write_again(path)}; else give a stack with several sections."
        )
    axes = resolve_axes(names, series.shape, what=str(path), channel=channel, time=time)
    if axes.zyx[1:] != (series.ndim - 2, series.ndim - 1):
        raise InputError(
            f"{path} has its axes in the order {series.axes}; save it with Y and X last."
        )
    check_shape(axes.shape(series.shape), str(path))
    pages = TiffPages(series, axes)
    if not pages.complete:
        raise InputError(f"{path} holds fewer pages than it says; restore it from a copy.")
    if pages.cut:
        raise InputError(
            f"{path} claims {pages.shape[0]} sections but ends within the last of them, or "
            "before it: it was cut short; restore it from a copy."
        )
    return pages, messages, names


#: Axes that are z where a file has no z, and what it calls them: unknown, pages, frames
#: (ImageJ's default for a stack), channels (tifffile's default for ImageJ).
_STAND_INS = {"q": "", "i": "", "t": "time points", "c": "channels"}
#: From how many channels on they must be sections.
_MANY_CHANNELS = 5


def _tiff_axes(series: Any, any_channel: bool) -> tuple[list[str], tuple[str, ...]]:
    """Name the axes of a series; an axis of unknown meaning, time or channels may be z."""
    names = [a.lower() for a in series.axes]
    if "z" in names:
        return names, ()
    for name, told in _STAND_INS.items():
        fewest = _MANY_CHANNELS if name == "c" else 2
        for axis, size in enumerate(series.shape):
            if names[axis] == name and size >= fewest and (name != "c" or any_channel):
                names[axis] = "z"
                message = f"The file calls its sections {told} ({series.axes}); they are read as z."
                return names, (message,) if told else ()
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
        told = file.imagej_metadata or {}
        tags = file.pages[0].tags
        spacing, unit = told.get("spacing"), told.get("unit")
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
