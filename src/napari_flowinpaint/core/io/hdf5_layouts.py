"""Where programs keep a stack in an HDF5 file: BigDataViewer, Imaris, MATLAB.

These say more than a dataset does: which datasets are a pyramid, that numbers are unsigned, how
much of them is image, how long a voxel is, what the axes are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import AnyImage, VoxelSize
from .axes import choose_index, nanometres

#: Finds an object by its name as far as links may be followed; None where there is none.
Find = Callable[[str], Any]
_Scale = tuple[float, float, float]

_BDV_TIME = re.compile(r"t\d{5,}")
_BDV_SETUP = re.compile(r"s\d{2,}")
_BDV_CELLS = re.compile(r"/?t\d{5,}/s\d{2,}/\d+/cells")
_IMARIS_DATA = re.compile(r"/?(DataSet/ResolutionLevel \d+/TimePoint \d+/Channel \d+)/Data")
#: Bytes of the XML beside a BigDataViewer file; a large project has some hundred thousand.
_LARGEST_XML = 1 << 26
_MATLAB = b"MATLAB 7.3 MAT-file"


@dataclass(frozen=True, slots=True)
class Layout:
    """A stack in an HDF5 file.

    Parameters
    ----------
    sources
        The pyramid, full resolution first, as :class:`PartOfDataset` or datasets.
    scales
        Size of a voxel of every level in voxels of the first, (z, y, x).
    voxel_size
        z, y, x in nm, or None.
    """

    sources: tuple[Any, ...]
    scales: tuple[_Scale, ...]
    voxel_size: VoxelSize | None = None


class PartOfDataset:
    """The leading part of a dataset, its numbers of the type that they are meant as.

    Parameters
    ----------
    dataset
        An ``h5py.Dataset`` of three axes.
    shape
        Of the part; not larger than the dataset.
    dtype
        Of the same size as that of the dataset.
    """

    def __init__(self, dataset: Any, shape: Sequence[int], dtype: Any) -> None:
        self.dataset = dataset
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self.chunks = dataset.chunks
        order = np.dtype(dataset.dtype).byteorder
        self.dtype = np.dtype(dtype).newbyteorder(order)

    def __getitem__(self, key: tuple[Any, ...]) -> AnyImage:
        within = tuple(
            slice(*k.indices(n)) if isinstance(k, slice) else range(n)[k]
            for k, n in zip(key, self.shape, strict=True)
        )
        return np.asarray(self.dataset[within]).view(self.dtype)


def in_layout(
    path: Path, file: Any, find: Find, channel: int | None, time: int | None
) -> Layout | None:
    """Return the stack of a file of BigDataViewer or Imaris; None where it is of neither.

    Parameters
    ----------
    path, file
        The file, and the ``h5py.File``.
    find
        Finds a dataset or group.
    channel, time
        Which one; a setup of BigDataViewer counts as a channel.
    """
    times = sorted(name for name in file if _BDV_TIME.fullmatch(name))
    if times:
        return _bdv(path, file, find, times, channel, time)
    if "DataSet" in file and (
        "ImarisDataSet" in file.attrs or find("DataSet/ResolutionLevel 0") is not None
    ):
        return _imaris(path, find, channel, time)
    return None


def as_meant(name: str, dataset: Any, find: Find) -> Any:
    """Return a dataset that was named, its numbers and its size as the program means them."""
    if _BDV_CELLS.fullmatch(name):
        return _unsigned(dataset)
    match = _IMARIS_DATA.fullmatch(name)
    return dataset if match is None else _without_padding(dataset, find(match[1]))


def matlab_axes(path: Path, shape: Sequence[int]) -> tuple[list[str] | None, tuple[str, ...]]:
    """Return the axes of a dataset of MATLAB, and what there is to say; None for other files.

    MATLAB keeps the first axis closest together: rows, columns, sections of an array appear in
    HDF5 as sections, columns, rows.

    Raises
    ------
    InputError
        If the array has more than three axes longer than 1.
    """
    with path.open("rb") as opened:
        if opened.read(len(_MATLAB)) != _MATLAB:
            return None, ()
    long = [n for n, size in enumerate(shape) if size != 1]
    if len(shape) > 3 and len(long) != 3:
        raise InputError(
            f"{path} holds a MATLAB array of the size {' x '.join(map(str, reversed(shape)))}; "
            "save one stack of rows, columns and sections."
        )
    names = ["-"] * len(shape)
    for position, name in zip(long if len(shape) > 3 else range(len(shape)), "zxy", strict=False):
        names[position] = name
    return names, ("The MATLAB array is read as rows, columns, sections.",)


# ---- BigDataViewer


def _bdv(
    path: Path,
    file: Any,
    find: Find,
    times: list[str],
    channel: int | None,
    time: int | None,
) -> Layout:
    """Return the pyramid ``tNNNNN/sNN/L/cells``."""
    setups = sorted(name for name in file if _BDV_SETUP.fullmatch(name))
    if not setups:
        setups = sorted(name for name in find(times[0]) or () if _BDV_SETUP.fullmatch(name))
    if not setups:
        raise InputError(f"{path} is laid out like BigDataViewer but has no setup; export it anew.")
    setup = setups[choose_index("setup", "channel", channel, len(setups), str(path))]
    moment = times[choose_index("t", "time", time, len(times), str(path))]
    sources: list[Any] = []
    while (dataset := find(f"{moment}/{setup}/{len(sources)}/cells")) is not None:
        sources.append(_unsigned(dataset))
    if not sources:
        raise InputError(f"{path} has no pixels at {moment}/{setup}; export it anew.")
    factors = find(f"{setup}/resolutions")
    scales = [_ratio(sources[0], source) for source in sources]
    if factors is not None and factors.shape == (len(sources), 3):
        given = [tuple(float(n) for n in row[::-1]) for row in factors[...]]
        if all(math.isfinite(n) and n > 0 for row in given for n in row):
            scales = [(a[0] / given[0][0], a[1] / given[0][1], a[2] / given[0][2]) for a in given]
    return Layout(tuple(sources), tuple(scales), _bdv_voxel_size(path, setup))


def _unsigned(dataset: Any) -> Any:
    """Return cells as BigDataViewer means them: it wrote uint16 as int16, the type of Java."""
    if np.dtype(dataset.dtype).name != "int16":
        return dataset
    return PartOfDataset(dataset, dataset.shape, "uint16")


def _bdv_voxel_size(path: Path, setup: str) -> VoxelSize | None:
    """Return the voxel size from the XML beside the file; None where it does not say.

    The file itself has only the factors of the pyramid.
    """
    from xml.etree import ElementTree

    beside = path.with_suffix(".xml")
    if beside.is_symlink() or not beside.is_file() or beside.stat().st_size > _LARGEST_XML:
        return None
    text = beside.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # they can stand for any amount of text
        return None
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    for found in tree.iter("ViewSetup"):
        number = (found.findtext("id") or "").strip()
        size = (found.findtext("voxelSize/size") or "").split()
        if number.isdecimal() and int(number) == int(setup[1:]) and len(size) == 3:
            try:
                sizes = [float(n) for n in reversed(size)]
            except ValueError:
                return None
            unit = (found.findtext("voxelSize/unit") or "").strip()
            return nanometres(sizes, [unit] * 3)
    return None


# ---- Imaris


def _imaris(path: Path, find: Find, channel: int | None, time: int | None) -> Layout:
    """Return the pyramid ``DataSet/ResolutionLevel r/TimePoint t/Channel c/Data``."""
    levels = _numbered(find("DataSet"), "ResolutionLevel")
    times = _numbered(find("DataSet/ResolutionLevel 0"), "TimePoint")
    moment = choose_index("t", "time", time, max(times, 1), str(path))
    channels = _numbered(find(f"DataSet/ResolutionLevel 0/TimePoint {moment}"), "Channel")
    chosen = choose_index("c", "channel", channel, max(channels, 1), str(path))
    sources = []
    for level in range(levels):
        where = f"DataSet/ResolutionLevel {level}/TimePoint {moment}/Channel {chosen}"
        dataset = find(f"{where}/Data")
        if dataset is None:
            break
        sources.append(_without_padding(dataset, find(where)))
    if not sources:
        raise InputError(f"{path} is an Imaris file without pixels; export it anew.")
    scales = tuple(_ratio(sources[0], source) for source in sources)
    return Layout(tuple(sources), scales, _imaris_voxel_size(find, sources[0].shape))


def _numbered(group: Any, name: str) -> int:
    """Return how many members ``name 0``, ``name 1``, … a group has."""
    number = 0
    while group is not None and f"{name} {number}" in group:
        number += 1
    return number


def _without_padding(dataset: Any, group: Any) -> Any:
    """Return what of a dataset is image: Imaris fills it up to whole chunks."""
    size = [_number(group, f"ImageSize{axis}") for axis in "ZYX"]
    if dataset.ndim != 3 or any(n is None for n in size):
        return dataset
    shape = [int(n) for n in size if n is not None]
    if any(n < 1 or n > stored for n, stored in zip(shape, dataset.shape, strict=True)):
        raise InputError(
            f"{dataset.file.filename} says that its image has the shape {tuple(shape)}, but stores "
            f"{tuple(dataset.shape)}; its metadata are damaged: export it anew."
        )
    return PartOfDataset(dataset, shape, dataset.dtype)


def _imaris_voxel_size(find: Find, shape: Sequence[int]) -> VoxelSize | None:
    """Return the voxel size from the extent of the image."""
    image = find("DataSetInfo/Image")
    sizes = []
    for axis, length in zip("210", shape, strict=True):
        low, high = _number(image, f"ExtMin{axis}"), _number(image, f"ExtMax{axis}")
        if low is None or high is None:
            return None
        sizes.append(float(f"{(high - low) / length:.9g}"))
    return nanometres(sizes, [_text(image, "Unit") or ""] * 3)


def _text(group: Any, name: str) -> str | None:
    """Return an attribute that is text, which Imaris writes letter by letter."""
    value = None if group is None else group.attrs.get(name)
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if isinstance(value, str):
        return value.strip("\0 ")
    letters = np.ravel(value)[:100]
    return "".join(n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in letters).strip(
        "\0 "
    )


def _number(group: Any, name: str) -> float | None:
    """Return an attribute that is a number, written as text."""
    try:
        number = float(_text(group, name) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ratio(first: Any, level: Any) -> _Scale:
    """Return the scale of a level by its shape; lengths are rounded, factors are whole."""
    z, y, x = (max(1.0, float(round(a / b))) for a, b in zip(first.shape, level.shape, strict=True))
    return (z, y, x)
