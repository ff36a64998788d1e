"""Open HDF5 datasets, lazily and read-only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import ChoiceNeeded, InputError
from .axes import resolve_axes, voxel_size_from_attributes
from .levels import Level, Opened, not_in_place

_HDF5 = re.compile(r"^(?P<file>.+\.(?:h5|hdf5|hdf))(?::(?P<dataset>.*))?$", re.IGNORECASE)


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
        why_not_writable=not_in_place("an HDF5 file"),
    )
