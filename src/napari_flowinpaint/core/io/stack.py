"""A stack: a volume that is read section by section, whatever holds it.

Responsibilities: read one section, or a box of it, touching nothing else; say whether the data
may be written in place, and why not.

Not responsible for: opening a path (:func:`.open_stack`), writing (:mod:`..writing.writeback`),
what a damaged pixel is, caching.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlowInpaintError, InputError, StoreError, first_line
from ..types import AnyImage, BoolImage, Box, VoxelSize
from .axes import check_voxel_size, resolve_axes
from .levels import Filled, Level, Origin, ReaderResult, check_dtype, scale_by_shape
from .metadata import Metadata
from .no_data import imaged_pixels, mirror_tissue
from .stack_no_data import NoData

#: Pixels around a part that are looked at to tell what of it was imaged.
_RIM = 2


class Stack:
    """A volume with axes ``zyx`` that is read section by section.

    Made by :func:`~napari_flowinpaint.core.open.open_stack` or :meth:`from_array`. Reading is
    safe from several threads. A stack that was opened from a path can be pickled: it is opened
    again where it arrives.

    Parameters
    ----------
    opened
        What a reader found.
    path
        Where it came from; None for an array.
    reopen
        Opens the same stack again, in another process.
    """

    def __init__(
        self,
        opened: ReaderResult,
        path: Path | None = None,
        reopen: Callable[[], Stack] | None = None,
    ) -> None:
        self._opened = opened
        self._reopen = reopen
        self.path = path
        first = opened.levels if opened.beside is None else opened.beside.base
        self._fill = _fill_value(first[0])
        shape = (self.shape[1], self.shape[2])
        self._no_data = NoData(self.read, shape, opened.no_data, self._fill)

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        voxel_size: Sequence[float] | None = None,
        name: str = "array",
        path: Path | str | None = None,
        metadata: Metadata | None = None,
    ) -> Stack:
        """Make a stack of an array, for example the data of a viewer's layer.

        Parameters
        ----------
        array
            (Z, Y, X) NumPy, dask, zarr or HDF5 array, or a sequence of such arrays that is a
            pyramid, full resolution first. Further axes must have length 1.
        voxel_size
            z, y, x in nm.
        name
            Name of the stack.
        path
            Where the array came from, if that is known. It is remembered, not opened: a stack that
            is to be written in place comes from :func:`~napari_flowinpaint.core.open.open_stack`.
        metadata
            What is carried along into copies.

        Raises
        ------
        InputError
            If it is not a stack (2-D, colour), or of a dtype that is not supported.
        """
        # No array type is a Sequence; lists, tuples and a viewer's multiscale data are.
        arrays = list(array) if isinstance(array, Sequence) else [array]
        if not arrays or not all(hasattr(a, "shape") and hasattr(a, "dtype") for a in arrays):
            raise InputError(f"{name} is not an array but {type(array).__name__}; give an array.")
        check_dtype(arrays[0].dtype, name)
        levels: list[Level] = []
        for reduced in arrays:
            axes = resolve_axes(None, reduced.shape, what=name)
            shape = axes.shape(reduced.shape)
            first = levels[0].shape if levels else shape
            levels.append(Level(reduced, axes, scale_by_shape(first, shape)))
        why = (
            "it is an array held by a viewer or a script; open the file itself to write to it, "
            "or write the result elsewhere with --output (or Save as OME-Zarr)"
        )
        opened = ReaderResult(
            kind="array",
            name=name,
            levels=tuple(levels),
            voxel_size=check_voxel_size(voxel_size),
            why_not_writable=why,
            metadata=metadata or Metadata(),
        )
        return cls(opened, None if path is None else Path(path))

    def __repr__(self) -> str:
        return f"<Stack {self.name!r} {self.kind} {self.shape} {self.dtype}>"

    def __reduce__(self) -> Any:
        if self._reopen is not None:
            return self._reopen, ()
        return Stack, (self._opened, self.path)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (Z, Y, X)."""
        return self.levels[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, in native byte order."""
        return self.levels[0].dtype

    @property
    def voxel_size(self) -> VoxelSize | None:
        """Size of a voxel z, y, x in nm; None where nobody knows."""
        return self._opened.voxel_size

    @property
    def metadata(self) -> Metadata:
        """What the file says beyond the pixels; copies and layers get it, too."""
        return self._opened.metadata

    @property
    def name(self) -> str:
        """Short name, for layers and messages."""
        return self._opened.name

    @property
    def kind(self) -> str:
        """What it is: ``ome-zarr``, ``tiff``, ``array``, …; see :class:`.ReaderResult`."""
        return self._opened.kind

    @property
    def writable(self) -> bool:
        """Whether the data may be written in place: a local zarr store with permission."""
        return not self.why_not_writable

    @property
    def why_not_writable(self) -> str:
        """Why the data may not be written in place, with advice; empty where they may."""
        return self._opened.why_not_writable

    @property
    def messages(self) -> tuple[str, ...]:
        """What opening had to say: an unfinished write rolled back, an unknown unit."""
        return self._opened.messages

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, full resolution first; one level where there is no pyramid."""
        return self._opened.levels

    @property
    def array(self) -> Any:
        """Lazy array-like ``zyx`` of the full resolution, for viewers."""
        return self.levels[0].array

    @property
    def group_path(self) -> Path | None:
        """Local zarr only: the OME-Zarr group, or the directory of a bare array."""
        return self._opened.group_path

    @property
    def origin(self) -> Origin | None:
        """The file or folder of this machine; None for arrays and addresses."""
        return self._opened.origin

    @property
    def beside(self) -> Filled | None:
        """What is kept beside a file that cannot be written to itself, and shown over it."""
        return self._opened.beside

    @property
    def opening(self) -> Mapping[str, Any]:
        """What was chosen when it was opened (``channel``, ``dataset``, …), by argument."""
        return self._opened.opening

    def reopened(self) -> Stack:
        """Return the same stack, opened again; itself where nothing tells how."""
        return self if self._reopen is None else self._reopen()

    @property
    def zarr_format(self) -> int | None:
        """2 or 3; None where it is not zarr."""
        return self._opened.zarr_format

    @property
    def ngff_version(self) -> str | None:
        """``"0.4"``, ``"0.5"`` or ``"0.6"``; None where it is not OME-Zarr."""
        return self._opened.ngff_version

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value the dtype can hold; infinite for float32."""
        if self.dtype.kind == "f":
            return (-np.inf, np.inf)
        info = np.iinfo(self.dtype)
        return (float(info.min), float(info.max))

    @property
    def no_data(self) -> float | None:
        """Grey value that was declared to mean that nothing was imaged; None where none was."""
        return self._opened.no_data

    def with_no_data(self, value: float | None) -> Stack:
        """Return the same stack, with a grey value declared to mean that nothing was imaged.

        Parameters
        ----------
        value
            The grey value; None, NaN and infinity (of float32) declare none: they are no data
            anyway.

        Raises
        ------
        InputError
            If pixels of the stack cannot have that value.
        """
        if value is not None and not self._may_have(value):
            raise InputError(
                f"no pixel of {self.name} can be {value:g}, since they are {self.dtype}; "
                "declare a value of that type as no data."
            )
        if value is not None and not np.isfinite(value):
            value = None
        opened = replace(self._opened, no_data=value)
        reopen = None if self._reopen is None else _Redeclare(self._reopen, value)
        return Stack(opened, self.path, reopen)

    def _may_have(self, value: float) -> bool:
        """Return whether a pixel can have a value, rounded as its type is."""
        if self.dtype.kind == "f":
            with np.errstate(over="ignore"):
                return not np.isfinite(value) or bool(np.isfinite(self.dtype.type(value)))
        low, high = self.value_range
        return low <= value <= high and value == round(value)

    def imaged(self, z: int, box: Box, pixels: AnyImage) -> BoolImage:
        """Return where a part of a section was imaged, see :mod:`.no_data`.

        Parameters
        ----------
        z
            Section number.
        box
            Part of the section.
        pixels
            (H, W), what :meth:`read` returned of it.

        Returns
        -------
        BoolImage
            (H, W), False where there is no data.
        """
        return self._no_data.imaged(z, box, pixels)

    def read_imaged(self, z: int, box: Box) -> tuple[AnyImage, BoolImage]:
        """Read a part of a section, and where it was imaged.

        A little more is read: of padding that reaches only one pixel into the part nobody could
        tell that it is constant.

        Returns
        -------
        pixels
            (H, W), dtype of the stack.
        imaged
            (H, W) bool, False where there is no data.
        """
        seen = box.expand(_RIM, (self.shape[1], self.shape[2]))
        pixels = self.read(z, seen)
        imaged = self.imaged(z, seen, pixels)
        inner = box.within(seen)
        return np.ascontiguousarray(pixels[inner]), np.ascontiguousarray(imaged[inner])

    def imaged_level(self, pixels: AnyImage) -> BoolImage:
        """Return where a whole section was imaged, read from any level of the pyramid."""
        return imaged_pixels(pixels, self.no_data, self._fill)

    def read_tissue(self, z: int) -> tuple[AnyImage, BoolImage]:
        """Read a section with tissue mirrored into where nothing was imaged.

        Returns
        -------
        pixels
            (Y, X), dtype of the stack.
        imaged
            (Y, X) bool, False where there is no data.
        """
        pixels = self.read(z)
        imaged = self.imaged_level(pixels)
        return mirror_tissue(pixels, imaged), imaged

    def read(self, z: int, box: Box | None = None) -> AnyImage:
        """Read one section, or the ``box`` of it.

        Parameters
        ----------
        z
            Section number, 0 to Z - 1.
        box
            Part of the section; None for all of it.

        Returns
        -------
        numpy.ndarray
            (Y, X) or the shape of the box, dtype of the stack. Only the chunks, strips or tiles
            that the box touches are read.

        Raises
        ------
        InputError
            If there is no such section, or the box leaves it.
        StoreError
            If the data are truncated, damaged or gone.
        """
        depth, height, width = self.shape
        if not 0 <= z < depth:
            raise InputError(
                f"section {z} does not exist: {self.name} has sections 0 to {depth - 1}."
            )
        if box is not None and not (
            0 <= box.y0 <= box.y1 <= height and 0 <= box.x0 <= box.x1 <= width
        ):
            raise InputError(f"{box} leaves the section, which is {height} x {width} pixels.")
        try:
            return self.levels[0].read(int(z), box)
        except (FlowInpaintError, MemoryError):
            raise
        except Exception as error:  # each format and codec has its own way to fail
            raise StoreError(
                f"section {z} of {self.path or self.name} cannot be read ({first_line(error)}); "
                "the data are damaged or incomplete: restore them from a copy or leave this "
                "section out."
            ) from error


@dataclass(frozen=True)
class _Redeclare:
    """Open a stack again and declare its no data; a class so that it can be pickled."""

    reopen: Callable[[], Stack]
    value: float | None

    def __call__(self) -> Stack:
        return self.reopen().with_no_data(self.value)


def _fill_value(level: Level) -> float | None:
    """Return the fill value that whoever made a file has chosen.

    Zero is what files have that say nothing; NaN is no number anyway.
    """
    for name in ("fill_value", "fillvalue"):  # of zarr, of HDF5
        found = getattr(level.source, name, None)
        if isinstance(found, int | float | np.number) and found != 0 and np.isfinite(found):
            return float(found)
    return None
