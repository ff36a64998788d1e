"""Open HDF5 datasets, lazily and read-only.

A file may show what is in others: links to objects of other files, raw data kept elsewhere, virtual
datasets. Whoever made the file chose which; so none is followed unless that is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import ChoiceNeeded, FlowInpaintError, InputError, first_line
from .axes import resolve_axes, say_guess, voxel_size_from_attributes
from .levels import Level, ReaderResult, allow, not_in_place
from .metadata import array_metadata

_HDF5 = re.compile(r"^(?P<file>.+\.(?:h5|hdf5|hdf))(?::(?P<dataset>.*))?$", re.IGNORECASE)
#: More links one behind the other lead in circles.
_MOST_LINKS = 16


def split_hdf5(path: str) -> tuple[str, str | None] | None:
    """Return the file and the dataset of ``file.h5:/dataset``; None where it is no HDF5 path."""
    match = _HDF5.match(path)
    return (match["file"], match["dataset"] or None) if match else None


def open_hdf5(
    path: Path,
    dataset: str | None,
    *,
    channel: int | None = None,
    time: int | None = None,
    allow_external: bool = False,
) -> ReaderResult:
    """Open a dataset of an HDF5 file; no pixel is read.

    Parameters
    ----------
    path
        The file.
    dataset
        Name of the dataset; None takes the only one with three or more axes.
    channel, time
        Index on the c and the t axis.
    allow_external
        Whether the dataset may be, or lie, in another file.

    Raises
    ------
    InputError
        If the file or the dataset cannot be opened, or there are several to choose from.
    """
    with_file = open_dataset(path, dataset, allow_external=allow_external)
    try:
        return _opened(path, *with_file, channel, time)
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged headers lead to
        raise _unreadable(path, error) from error


def open_dataset(path: Path, dataset: str | None, *, allow_external: bool) -> tuple[Any, str]:
    """Return an open ``h5py.Dataset`` and its name; see :func:`open_hdf5`."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} is not an HDF5 file that can be read ({first_line(error)})."
        ) from error
    try:
        dataset = dataset or _only_stack(path, file)
        item = _follow(file, dataset, f"{path}:{dataset}", allow_external)
        if item is None:
            found = ", ".join(_stacks(file)) or "no stack"
            raise InputError(f"{path} has no dataset {dataset!r}; it holds {found}.")
        return item, dataset
    except FlowInpaintError:
        file.close()
        raise
    except Exception as error:  # whatever the damaged headers lead to
        file.close()
        raise _unreadable(path, error) from error


def _opened(
    path: Path, item: Any, dataset: str, channel: int | None, time: int | None
) -> ReaderResult:
    """Return a dataset as the only resolution of a stack."""
    what = f"{path}:{dataset}"
    if item.shape is None:
        raise InputError(f"{what} is empty; give a dataset with pixels.")
    labels = [dim.label for dim in item.dims]
    names = labels if all(labels) and {"z", "y", "x"} <= set(labels) else None
    axes = resolve_axes(names, item.shape, what=what, channel=channel, time=time)
    attributes = dict(item.attrs)
    voxel_size = voxel_size_from_attributes(attributes)
    return ReaderResult(
        kind="hdf5",
        name=f"{path.stem} {dataset.strip('/')}",
        levels=(Level(item, axes),),
        voxel_size=voxel_size,
        why_not_writable=not_in_place("an HDF5 file"),
        messages=say_guess(names, None, item.ndim, axes),
        metadata=array_metadata(attributes, voxel_size, axes, names),
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} holds HDF5 that cannot be read ({first_line(error)}); restore it from a copy."
    )


def _stacks(file: Any) -> list[str]:
    """Return the names of the datasets that could be a stack; links are not followed."""
    import h5py

    found: list[str] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None and item.ndim >= 3:
            found.append("/" + name)

    file.visititems(collect)
    return found


def _only_stack(path: Path, file: Any) -> str:
    """Return the only dataset that could be the stack."""
    candidates = _stacks(file)
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(candidates[:8]) or "none"
    message = (
        f"{path} holds {len(candidates)} datasets that could be the stack ({found}); "
        f"name one: {path}:{candidates[0] if candidates else '/volumes/raw'}."
    )
    raise ChoiceNeeded(message, "dataset", candidates) if candidates else InputError(message)


def _follow(file: Any, dataset: str, what: str, allow_external: bool) -> Any:
    """Return the dataset of a name, link by link; None where there is none.

    Raises
    ------
    InputError
        If the links lead in circles, or the data are those of another file.
    """
    import h5py

    names = _names(dataset)
    here: Any = file
    links = 0
    while names:
        name = names.pop(0)
        link = here.get(name, getlink=True) if isinstance(here, h5py.Group) else None
        if isinstance(link, h5py.SoftLink):
            links += 1
            if links > _MOST_LINKS:
                raise InputError(f"{what} is a link that leads in circles; name the dataset.")
            names = _names(link.path) + names
            here = here.file if link.path.startswith("/") else here
            continue
        if isinstance(link, h5py.ExternalLink):
            allow(allow_external, f"{what} is a link to another file ({link.filename})")
        here = None if link is None else here.get(name)
        if here is None:
            return None
    if not isinstance(here, h5py.Dataset):
        return None
    if here.external:
        allow(allow_external, f"{what} keeps its pixels in another file ({here.external[0][0]})")
    if here.is_virtual:
        allow(allow_external, f"{what} is virtual: its pixels can be those of another file")
    return here


def _names(dataset: str) -> list[str]:
    """Return the names on the way to a dataset."""
    return [name for name in dataset.split("/") if name not in ("", ".")]
