"""HDF5 as BigDataViewer lays it out, and the XML beside it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import VoxelSize
from .axes import choose_index, nanometres
from .hdf5_parts import Find, PartOfDataset, StackLayout
from .levels import scale_by_shape
from .metadata import axes_of, metadata_in_nm

BDV_CELLS = re.compile(r"/?t\d{5,}/s\d{2,}/\d+/cells")
_TIME = re.compile(r"t\d{5,}")
_SETUP = re.compile(r"s\d{2,}")
#: Bytes of the XML beside a file; a large project has some hundred thousand.
_LARGEST_XML = 1 << 26


@dataclass(frozen=True, slots=True)
class _Beside:
    """What the XML says of one setup."""

    voxel_size: VoxelSize | None = None
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    name: str = ""


def bdv_times(file: Any) -> list[str]:
    """Return the names of the time points; none where the file is not of BigDataViewer."""
    return sorted(name for name in file if _TIME.fullmatch(name))


def bdv_layout(
    path: Path,
    file: Any,
    find: Find,
    times: list[str],
    channel: int | None,
    time: int | None,
) -> StackLayout:
    """Return the pyramid ``tNNNNN/sNN/L/cells``."""
    setups = sorted(name for name in file if _SETUP.fullmatch(name))
    if not setups:
        setups = sorted(name for name in find(times[0]) or () if _SETUP.fullmatch(name))
    if not setups:
        raise InputError(
            f"{path} is laid out like BigDataViewer but has no setup; export it again."
        )
    setup = setups[choose_index("setup", "channel", channel, len(setups), str(path))]
    moment = times[choose_index("t", "time", time, len(times), str(path))]
    sources: list[Any] = []
    while (dataset := find(f"{moment}/{setup}/{len(sources)}/cells")) is not None:
        sources.append(unsigned(dataset))
    if not sources:
        raise InputError(f"{path} has no pixels at {moment}/{setup}; export it again.")
    factors = find(f"{setup}/resolutions")
    scales = [scale_by_shape(sources[0].shape, source.shape) for source in sources]
    if factors is not None and factors.shape == (len(sources), 3):
        given = [tuple(float(n) for n in row[::-1]) for row in factors[...]]
        if all(math.isfinite(n) and n > 0 for row in given for n in row):
            scales = [(a[0] / given[0][0], a[1] / given[0][1], a[2] / given[0][2]) for a in given]
    told = _beside(path, int(setup[1:]), int(moment[1:]))
    metadata = metadata_in_nm(
        told.voxel_size,
        told.translation,
        display={"label": told.name} if told.name else None,
        other_axes=axes_of(len(times), len(setups)),
    )
    return StackLayout(tuple(sources), tuple(scales), told.voxel_size, metadata)


def unsigned(dataset: Any) -> Any:
    """Return cells as BigDataViewer means them: it wrote uint16 as int16, the type of Java."""
    if np.dtype(dataset.dtype).name != "int16":
        return dataset
    return PartOfDataset(dataset, dataset.shape, "uint16")


def _beside(path: Path, setup: int, time: int) -> _Beside:
    """Return what the XML beside the file says; the file has only the factors of the pyramid."""
    from xml.etree import ElementTree

    beside = path.with_suffix(".xml")
    if beside.is_symlink() or not beside.is_file() or beside.stat().st_size > _LARGEST_XML:
        return _Beside()
    text = beside.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # they can stand for any amount of text
        return _Beside()
    try:
        tree = ElementTree.fromstring(text)
        return _of_setup(tree, setup, time)
    except (ElementTree.ParseError, ValueError):  # numbers that are none
        return _Beside()


def _of_setup(tree: Any, setup: int, time: int) -> _Beside:
    """Return the voxel size, the place and the name of a setup."""
    for found in tree.iter("ViewSetup"):
        number = (found.findtext("id") or "").strip()
        size = (found.findtext("voxelSize/size") or "").split()
        if not (number.isdecimal() and int(number) == setup and len(size) == 3):
            continue
        unit = (found.findtext("voxelSize/unit") or "").strip()
        voxel_size = nanometres([float(n) for n in reversed(size)], [unit] * 3)
        name = (found.findtext("name") or "").strip()
        if voxel_size is None:
            return _Beside(name=name)
        z, y, x = (n * nm for n, nm in zip(_moved(tree, setup, time), voxel_size, strict=True))
        return _Beside(voxel_size, (z, y, x), name)
    return _Beside()


def _moved(tree: Any, setup: int, time: int) -> tuple[float, ...]:
    """Return by how many voxels z, y, x a setup is moved; by none where it is also turned."""
    still = (0.0, 0.0, 0.0)
    for found in tree.iter("ViewRegistration"):
        if (found.get("setup"), found.get("timepoint")) != (str(setup), str(time)):
            continue
        whole = np.eye(4)
        for affine in found.iter("affine"):
            numbers = [float(n) for n in (affine.text or "").split()]
            if len(numbers) != 12:
                return still
            whole @= np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
        factors, moved = np.diag(whole)[:3], whole[:3, 3]
        turned = np.abs(whole[:3, :3] - np.diag(factors)).max() > 1e-9 * np.abs(factors).max()
        if turned or not np.isfinite(whole).all() or factors.min() <= 0:
            return still
        return tuple(float(n) for n in (moved / factors)[::-1])
    return still
