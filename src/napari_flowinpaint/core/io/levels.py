"""What every reader returns: the resolutions of a stack, read and written as ``zyx``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..types import AnyImage, Box, VoxelSize
from .axes import Axes
from .memory import check_fits
from .metadata import Metadata

#: dtypes a stack may have (native byte order; stored in any order).
DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
#: No stack is larger: a whole mouse brain has some 10^6 sections of 10^7 pixels a side.
MOST_SECTIONS = 10**7
LONGEST_SIDE = 10**8
#: Bytes that zarr takes for its notes on one chunk, about.
_PER_CHUNK = 1000


class ZyxView:
    """A lazy array-like with the axes ``zyx`` over an array that has others, or over a file.

    Understands integers, slices and ``...``; nothing is read before it is indexed and nothing is
    kept, so that a viewer that indexes it again after a write sees the new pixels.

    Parameters
    ----------
    level
        What to read from.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self.shape = level.shape
        self.dtype = level.dtype
        self.ndim = 3
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<ZyxView {self.shape} {self.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyImage:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> AnyImage:
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (4 - len(keys))
        keys += [slice(None)] * (3 - len(keys))
        if len(keys) != 3:
            raise IndexError(f"too many indices for a stack: {key!r}")
        return self.level.select(*keys)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One resolution of a stack.

    Parameters
    ----------
    source
        The array as it is stored: a ``zarr.Array`` (opened ``r+`` when the stack is writable), an
        HDF5 dataset, pages of a TIFF, or any array-like.
    axes
        Where z, y and x are in ``source``, and the index on its other axes.
    scale
        Size of a voxel of this level in voxels of the full resolution, (z, y, x); from the
        metadata, so (1, 2, 2) or (1, 2.001, 2.001) for a level half as large.
    path
        Where ``source`` is within the group of the pyramid ("" for an array of its own).
    shown
        ``shown(found, (z, y, x))`` returns what is to be shown instead of what was found at
        these indices; None where that is the same.
    """

    source: Any
    axes: Axes = field(default_factory=Axes)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    path: str = ""
    shown: Callable[[AnyImage, tuple[Any, Any, Any]], AnyImage] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (Z, Y, X)."""
        return self.axes.shape(self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, in native byte order."""
        return np.dtype(self.source.dtype).newbyteorder("=")

    @property
    def is_zarr(self) -> bool:
        """Whether ``source`` is a zarr array."""
        return type(self.source).__module__.partition(".")[0] == "zarr"

    @property
    def array(self) -> Any:
        """Lazy array-like ``zyx`` for viewers: the zarr array itself where it is ``zyx``."""
        plain = self.axes.plain and self.shown is None
        if plain and (self.is_zarr or isinstance(self.source, np.ndarray)):
            return self.source
        return ZyxView(self)

    def select(self, z: Any, y: Any, x: Any) -> AnyImage:
        """Return the pixels at ``z``, ``y``, ``x`` (integers or slices), axes in this order."""
        self._check_fits(z, y, x)
        found = np.asarray(self.source[self.axes.index(z, y, x)])
        kept = [r for r, k in zip(self.axes.order, (z, y, x), strict=True) if isinstance(k, slice)]
        if kept != sorted(kept):
            found = found.transpose([sorted(kept).index(r) for r in kept])
        found = found.astype(self.dtype, copy=False)
        return found if self.shown is None else self.shown(found, (z, y, x))

    def _check_fits(self, z: Any, y: Any, x: Any) -> None:
        """Refuse to read what does not fit in memory: the pixels, or one chunk of the file."""
        if isinstance(self.source, np.ndarray):
            return
        wanted = math.prod(
            len(range(*key.indices(n))) if isinstance(key, slice) else 1
            for key, n in zip((z, y, x), self.shape, strict=True)
        )
        size = wanted * self.dtype.itemsize
        chunks = getattr(self.source, "chunks", None)
        if chunks and all(isinstance(n, int) for n in chunks):  # dask has lists of them
            chunk = math.prod(chunks)
            size += chunk * self.dtype.itemsize + wanted // max(chunk, 1) * _PER_CHUNK
        check_fits(size, f"what is to be read of an array of shape {tuple(self.source.shape)}")

    def read(self, z: int | slice, box: Box | None = None) -> AnyImage:
        """Return one section, or several, or the ``box`` of them; only what is asked is read.

        Parameters
        ----------
        z
            Section of this level, or a slice of sections.
        box
            In pixels of this level; None for whole sections.

        Returns
        -------
        numpy.ndarray
            (H, W), or (n, H, W) for a slice, in the native byte order.

        Raises
        ------
        StackGone
            If the files were removed since they were opened.
        """
        rows, columns = (slice(None), slice(None)) if box is None else box.slices
        found = self.select(z, rows, columns)
        if self.is_zarr:
            check_there = getattr(self.source.store, "check_there", None)
            if check_there is not None:
                check_there()
        return found

    def write(self, z: int | slice, values: AnyImage, box: Box | None = None) -> None:
        """Write one section, or several, or the ``box`` of them, to a zarr array opened ``r+``.

        Parameters
        ----------
        z, box
            As for :meth:`read`.
        values
            (H, W), or (n, H, W) for a slice.
        """
        rows, columns = (slice(None), slice(None)) if box is None else box.slices
        keys = (z, rows, columns)
        kept = [r for r, k in zip(self.axes.order, keys, strict=True) if isinstance(k, slice)]
        if kept != sorted(kept):
            values = values.transpose(np.argsort(kept))
        self.source[self.axes.index(*keys)] = values


@dataclass(frozen=True, slots=True)
class Origin:
    """Which file or folder of this machine a stack is, and which image within it.

    Parameters
    ----------
    file
        The file, or the folder.
    dataset
        Name of the array, or number of the image, where one was chosen.
    """

    file: Path
    dataset: str | None = None


class Filled(Protocol):
    """What is kept beside a file: a store over it, see :mod:`..writing.kept`."""

    @property
    def base(self) -> tuple[Level, ...]:
        """The pyramid of the file itself."""
        ...

    def fill(self, z: int, box: Box) -> None:
        """Get the chunks around a box of the full resolution ready to be written to."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ReaderResult:
    """What a reader found; :class:`~napari_flowinpaint.core.io.stack.Stack` is made of it.

    Parameters
    ----------
    kind
        ``"ome-zarr"``, ``"zarr"``, ``"n5"``, ``"precomputed"``, ``"tiff"``, ``"mrc"``,
        ``"images"``, ``"hdf5"`` or ``"array"``.
    name
        Short name for layers and messages.
    levels
        The pyramid, full resolution first.
    voxel_size
        z, y, x in nm, or None where the file does not say.
    why_not_writable
        Empty where the data may be written in place.
    messages
        What the user should know about how it was read.
    group_path
        Local zarr only: the group that holds the multiscales; for a bare array its own directory.
    zarr_format
        2 or 3; None where it is not zarr.
    ngff_version
        ``"0.4"``, ``"0.5"``, ``"0.6"`` (or a draft of it), or None where it is not OME-Zarr.
    metadata
        What is carried along into copies and layers.
    no_data
        Grey value that somebody declared to mean that nothing was imaged, or None.
    origin
        The file or folder; None for arrays and addresses.
    beside
        What is kept beside a file that cannot be written to itself, and shown over it; else None.
    opening
        What was chosen when it was opened, by the names of the arguments.
    """

    kind: str
    name: str
    levels: tuple[Level, ...]
    voxel_size: VoxelSize | None = None
    why_not_writable: str = ""
    messages: tuple[str, ...] = ()
    group_path: Path | None = None
    zarr_format: int | None = None
    ngff_version: str | None = None
    metadata: Metadata = field(default_factory=Metadata)
    no_data: float | None = None
    origin: Origin | None = None
    beside: Filled | None = None
    opening: Mapping[str, Any] = field(default_factory=dict)


class Planes(ABC):
    """Base of the sources that are one image per section: ``zyx``, indexed lazily."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""

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


def scale_by_shape(first: Sequence[int], shape: Sequence[int]) -> tuple[float, float, float]:
    """Return the scale of a level whose file does not give it, from its shape and the first's.

    Only odd lengths make the ratio of two lengths differ from a factor of the pyramid, which is a
    whole number.
    """
    z, y, x = (max(1.0, float(round(a / b))) for a, b in zip(first, shape, strict=True))
    return (z, y, x)


def write_grid(array: Any) -> tuple[int, ...]:
    """Return the shape of what is written as one file: the shard, or else the chunk."""
    return tuple(getattr(array, "shards", None) or array.chunks)


def not_in_place(kind: str) -> str:
    """Return why data of a kind that is not a zarr store may not be written in place."""
    return (
        f"{kind} cannot be written in place; write the result elsewhere with --output "
        "(or Save as OME-Zarr)"
    )


def allow(asked_for: bool, what: str) -> None:
    """Refuse a file that shows what is elsewhere, unless that was asked for.

    Parameters
    ----------
    asked_for
        Whether it was.
    what
        What leads where: "a.h5:/raw is a link to another file (b.h5)".

    Raises
    ------
    InputError
        If it was not.
    """
    if not asked_for:
        raise InputError(
            f"{what}, which is not followed; copy the data, or, if you trust whoever made this, "
            "permit it with --allow-external (in Python: allow_external=True)."
        )


def check_shape(shape: Sequence[int], what: str) -> None:
    """Refuse a shape that no microscope makes; even to count its sections takes for ever.

    Raises
    ------
    InputError
        If there are more sections, or longer ones, than can be.
    """
    if shape[0] > MOST_SECTIONS or max(shape[1:]) > LONGEST_SIDE:
        raise InputError(
            f"{what} has the shape {tuple(shape)}, more than {MOST_SECTIONS:,} sections or "
            f"{LONGEST_SIDE:,} pixels on a side; its metadata are damaged: correct them."
        )


def check_dtype(dtype: Any, what: str, allowed: Sequence[str] = DTYPES) -> None:
    """Refuse pixels of a type the engine does not know.

    Raises
    ------
    InputError
        Naming the type to convert to.
    """
    dtype = np.dtype(dtype)
    if dtype.name in allowed:
        return
    if dtype.kind == "f":
        advice = "float32"
    elif dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize == 1):
        advice = "uint8"
    else:
        advice = "uint16 (or float32)"
    raise InputError(
        f"{what} has pixels of type {dtype.name}, which is not supported; convert it to {advice}."
    )
