"""Where programs keep a stack in an HDF5 file: BigDataViewer, Imaris, MATLAB.

These say more than a dataset does: which datasets are a pyramid, that numbers are unsigned, how
much of them is image, how long a voxel is, what the axes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .hdf5_bdv import BDV_CELLS, bdv_layout, bdv_times, unsigned
from .hdf5_imaris import IMARIS_DATA, imaris_layout, without_padding
from .hdf5_parts import Find, StackLayout

_MATLAB = b"MATLAB 7.3 MAT-file"


def in_layout(
    path: Path, file: Any, find: Find, channel: int | None, time: int | None
) -> StackLayout | None:
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
    times = bdv_times(file)
    if times:
        return bdv_layout(path, file, find, times, channel, time)
    if "DataSet" in file and (
        "ImarisDataSet" in file.attrs or find("DataSet/ResolutionLevel 0") is not None
    ):
        return imaris_layout(path, find, channel, time)
    return None


def as_meant(name: str, dataset: Any, find: Find) -> Any:
    """Return a dataset that was named, its numbers and its size as the program means them."""
    if BDV_CELLS.fullmatch(name):
        return unsigned(dataset)
    match = IMARIS_DATA.fullmatch(name)
    return dataset if match is None else without_padding(dataset, find(match[1]))


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
