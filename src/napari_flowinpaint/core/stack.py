"""Stacks: lazy sections of OME-Zarr, zarr, TIFF, image folders, HDF5 and arrays.

Responsibilities: find the axes, the voxel size and the pyramid; read one section, or a box of it,
touching nothing else; say whether the data may be written in place, and why not.

Not responsible for: writing (:mod:`.writeback`), what a damaged pixel is, caching.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ._axes import check_voxel_size, resolve_axes
from ._hdf5_reader import open_hdf5, split_hdf5
from ._image_reader import open_folder
from ._levels import DTYPES, Level, Opened, ZyxView, check_dtype
from ._polarity import contrast_polarity
from ._tiff_reader import open_tiff
from ._zarr_reader import is_zarr_node, open_zarr
from .errors import FlowInpaintError, InputError, StoreError, first_line
from .types import AnyImage, Box, VoxelSize

__all__ = [
    "Level",
    "Stack",
    "ZyxView",
    "contrast_polarity",
    "open_mask",
    "open_stack",
    "split_hdf5",
]

_URL = r"^[a-z0-9+]{2,}://"
_LABEL_DTYPES = (*DTYPES, "bool", "int8", "int32", "int64", "uint32", "uint64", "float64")


class Stack:
    """A volume with axes ``zyx`` that is read section by section.

    Made by :func:`open_stack` or :meth:`from_array`. Reading is safe from several threads. A
    stack that was opened from a path can be pickled: it is opened again where it arrives.

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
        opened: Opened,
        path: Path | None = None,
        reopen: Callable[[], Stack] | None = None,
    ) -> None:
        self._opened = opened
        self._reopen = reopen
        self.path = path

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        voxel_size: Sequence[float] | None = None,
        name: str = "array",
        path: Path | str | None = None,
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
            Where the array came from, if that is known. It is remembered, not opened: a stack
            that is to be written in place comes from :func:`open_stack`.

        Raises
        ------
        InputError
            If it is no stack (2-D, colour), or of a dtype that is not supported.
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
            z, y, x = (a / b for a, b in zip(first, shape, strict=True))
            # Only odd lengths make the ratio of two lengths differ from a factor of the pyramid.
            levels.append(Level(reduced, axes, (float(round(z)), float(round(y)), float(round(x)))))
        why = (
            "it is an array that a viewer or a script holds; open the file itself to write to "
            "it, or write the result elsewhere with --output (or Save as OME-Zarr)"
        )
        opened = Opened(
            kind="array",
            name=name,
            levels=tuple(levels),
            voxel_size=check_voxel_size(voxel_size),
            why_not_writable=why,
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
    def name(self) -> str:
        """Short name, for layers and messages."""
        return self._opened.name

    @property
    def kind(self) -> str:
        """One of ``ome-zarr``, ``zarr``, ``tiff``, ``images``, ``hdf5``, ``array``."""
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
    def zarr_format(self) -> int | None:
        """2 or 3; None where it is not zarr."""
        return self._opened.zarr_format

    @property
    def ngff_version(self) -> str | None:
        """``"0.4"`` or ``"0.5"``; None where it is not OME-Zarr."""
        return self._opened.ngff_version

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value the dtype can hold; infinite for float32."""
        if self.dtype.kind == "f":
            return (-np.inf, np.inf)
        info = np.iinfo(self.dtype)
        return (float(info.min), float(info.max))

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


def open_stack(
    path: Path | str,
    *,
    channel: int | None = None,
    time: int | None = None,
    dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
    recover: bool = True,
) -> Stack:
    """Open a stack lazily; no pixel is read and no permission to write is needed.

    Parameters
    ----------
    path
        OME-Zarr group (0.4, 0.5), zarr array (v2, v3; also ``group.zarr/sub/array``), multi-page
        TIFF, folder with one TIFF or PNG per section, ``file.h5:/dataset``, or the URL of a
        zarr store.
    channel, time
        Index on the c and the t axis; needed only where that axis is longer than 1.
    dataset
        Name of the array within a zarr group or an HDF5 file, instead of in ``path``.
    voxel_size
        z, y, x in nm; overrules the file.
    recover
        Whether a write that was interrupted is finished or rolled back first.

    Returns
    -------
    Stack

    Notes
    -----
    The voxel size is None where the file gives no unit, an unknown one, or no z: a guess would
    be wrong by a thousand without anyone noticing.

    Raises
    ------
    InputError
        If there is no such path or it holds no stack: a single image, colour, a dtype other
        than uint8, uint16, int16 and float32; or if a channel, time or dataset must be chosen.
    """
    given = {"channel": channel, "time": time, "dataset": dataset, "voxel_size": voxel_size}
    return _open(path, DTYPES, recover, given)


def open_mask(
    path: Path | str,
    *,
    channel: int | None = None,
    time: int | None = None,
    dataset: str | None = None,
) -> Stack:
    """Open a mask or label volume: as :func:`open_stack`, but of any number dtype or bool.

    Parameters
    ----------
    path, channel, time, dataset
        As for :func:`open_stack`.

    Returns
    -------
    Stack
        Whose non-zero pixels are damaged.

    Raises
    ------
    InputError
        As for :func:`open_stack`.
    """
    given = {"channel": channel, "time": time, "dataset": dataset, "voxel_size": None}
    return _open(path, _LABEL_DTYPES, False, given)


def _open(path: Path | str, dtypes: Sequence[str], recover: bool, given: dict[str, Any]) -> Stack:
    """Open a path, check what was found, and finish an interrupted write."""
    voxel_size = check_voxel_size(given["voxel_size"])
    chosen = {"channel": given["channel"], "time": given["time"]}
    opened, where = _read(str(path), given["dataset"], chosen)
    check_dtype(opened.levels[0].dtype, str(path), dtypes)
    messages = opened.messages
    if voxel_size is not None:
        messages = tuple(m for m in messages if not m.startswith("The voxel size"))
        opened = replace(opened, voxel_size=voxel_size, messages=messages)
    if recover and opened.group_path is not None:
        opened = replace(opened, messages=messages + _recover(opened))
    return Stack(opened, where, _Reopen(str(path), tuple(dtypes), given))


class _Reopen:
    """Open the same stack again; a class so that it can be pickled."""

    def __init__(self, path: str, dtypes: Sequence[str], given: dict[str, Any]) -> None:
        # Wherever it is opened again may be another working directory.
        path = path.removeprefix("file://")
        local = re.match(_URL, path) is None
        where = str(Path(path).expanduser().absolute()) if local else path
        self._arguments = (where, dtypes, False, given)

    def __call__(self) -> Stack:
        return _open(*self._arguments)


def _read(
    path: str, dataset: str | None, chosen: dict[str, int | None]
) -> tuple[Opened, Path | None]:
    """Find the reader for a path. Returns also the path as remembered by the stack."""
    path = path.removeprefix("file://")
    if not path.strip():  # in a shell: a variable that is not set
        raise InputError("the path of the stack or mask is empty; give one.")
    if re.match(_URL, path):
        return open_zarr(path if dataset is None else f"{path}/{dataset}", **chosen), None
    where = Path(path).expanduser()
    hdf5 = split_hdf5(path)
    if hdf5 is not None and not where.is_dir():
        where = Path(hdf5[0]).expanduser()
        _must_exist(where)
        return open_hdf5(where, dataset or hdf5[1], **chosen), Path(path)
    if where.is_dir() and is_zarr_node(where):
        where = where.absolute() if dataset is None else where.absolute() / dataset.strip("/")
        _must_exist(where)
        return open_zarr(where, **chosen), where
    _must_exist(where)
    if _is_hdf5(where):
        return open_hdf5(where, dataset, **chosen), where
    if dataset is not None:
        raise InputError(f"{path} has no datasets within; leave out dataset {dataset!r}.")
    if where.is_dir():
        return open_folder(where), where
    return open_tiff(where, **chosen), where


def _is_hdf5(path: Path) -> bool:
    """Return whether a file of any name is HDF5, by its first bytes."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _must_exist(path: Path) -> None:
    """Refuse a path that leads nowhere, naming how far it leads."""
    if path.is_file() or path.is_dir():
        return
    if path.exists():  # a pipe would be waited for
        raise InputError(f"{path} is neither a file nor a folder; give a file.")
    parent = next((p for p in path.parents if p.exists()), None)
    told = parent is not None and (parent != path.parent or is_zarr_node(parent))
    hint = f" ({parent} exists)" if told else ""
    raise InputError(f"{path} does not exist{hint}; check the path.")


def _recover(opened: Opened) -> tuple[str, ...]:
    """Finish or roll back an interrupted write; say so if that is not possible."""
    if opened.group_path is None:
        return ()
    array = opened.group_path / opened.levels[0].path
    if not (array / ".flowinpaint").is_dir():
        return ()
    from .journal import needs_recovery, recover

    if not opened.why_not_writable:
        return recover(array)
    if not needs_recovery(array):
        return ()
    return (
        "A write to this stack was interrupted, so that some pixels may be old and some new; it "
        f"cannot be finished here, because {opened.why_not_writable.partition(';')[0]}.",
    )
