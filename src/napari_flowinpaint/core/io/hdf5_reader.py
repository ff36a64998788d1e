"""Open HDF5 datasets, lazily and read-only.

A file may show what is in others: links to objects of other files, raw data kept elsewhere, virtual
datasets. Whoever made the file chose which; so none is followed unless that is asked for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..errors import ChoiceNeeded, FlowInpaintError, InputError, first_line
from ..names import quoted
from .axes import resolve_axes, say_guess, voxel_size_from_attributes
from .hdf5_layouts import as_meant, in_layout, matlab_axes
from .levels import DTYPES, Level, ReaderResult, allow, not_in_place
from .metadata import array_metadata

_SUFFIXES = "h5|hdf5|hdf|he5|ims|mat|nxs|nx|emd"
_HDF5 = re.compile(rf"^(?P<file>.+\.(?:{_SUFFIXES}))(?::(?P<dataset>.*))?$", re.IGNORECASE)
#: More links one behind the other lead in circles.
_MOST_LINKS = 16


def split_hdf5(path: str) -> tuple[str, str | None] | None:
    """Return the file and the dataset of ``file.h5:/dataset``; None where it is no HDF5 path."""
    file, colon, dataset = path.rpartition(":/")
    if colon and Path(file).expanduser().is_file():  # of any name
        return file, f"/{dataset}"
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
    file = None
    try:
        file = _open_file(path)
        opened = _opened(path, file, dataset, channel, time, allow_external)
        file = None  # closed with the last of its datasets
        return opened
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged headers lead to
        raise _unreadable(path, error) from error
    finally:
        if file is not None:
            file.close()


def _open_file(path: Path) -> Any:
    """Return the open ``h5py.File``."""
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} is not an HDF5 file that can be read ({first_line(error)})."
        ) from error


def open_dataset(path: Path, dataset: str | None, *, allow_external: bool) -> tuple[Any, str]:
    """Return an open ``h5py.Dataset`` and its name; see :func:`open_hdf5`."""
    file = _open_file(path)
    try:
        dataset = dataset or _only_stack(path, file)
        return _dataset(path, file, dataset, allow_external), dataset
    except FlowInpaintError:
        file.close()
        raise
    except Exception as error:  # whatever the damaged headers lead to
        file.close()
        raise _unreadable(path, error) from error


def _dataset(path: Path, file: Any, dataset: str, allow_external: bool) -> Any:
    """Return the dataset of a name."""
    import h5py

    item = _follow(file, dataset, f"{path}:{dataset}", allow_external)
    if not isinstance(item, h5py.Dataset):
        found = ", ".join(_stacks(file)) or "no stack"
        raise InputError(f"{path} has no dataset {dataset!r}; it holds {found}.")
    return item


def _opened(
    path: Path,
    file: Any,
    dataset: str | None,
    channel: int | None,
    time: int | None,
    allow_external: bool,
) -> ReaderResult:
    """Return a dataset, or what a program keeps in several, as a stack."""

    def find(name: str) -> Any:
        return _follow(file, name, f"{path}:{name}", allow_external)

    layout = in_layout(path, file, find, channel, time) if dataset is None else None
    if layout is not None:
        found = [resolve_axes(list("zyx"), s.shape, what=str(path)) for s in layout.sources]
        return ReaderResult(
            kind="hdf5",
            name=path.stem,
            levels=tuple(map(Level, layout.sources, found, layout.scales)),
            voxel_size=layout.voxel_size,
            why_not_writable=not_in_place("an HDF5 file"),
            metadata=layout.metadata,
        )
    dataset = dataset or _only_stack(path, file)
    item = _dataset(path, file, dataset, allow_external)
    what = f"{path}:{dataset}"
    if item.shape is None:
        raise InputError(f"{what} is empty; give a dataset with pixels.")
    names, messages = matlab_axes(path, item.shape)
    names = names or _axis_names(item)
    axes = resolve_axes(names, item.shape, what=what, channel=channel, time=time)
    attributes = dict(item.attrs)
    voxel_size = voxel_size_from_attributes(attributes)
    return ReaderResult(
        kind="hdf5",
        name=f"{path.stem} {dataset.strip('/')}",
        levels=(Level(as_meant(dataset, item, find), axes),),
        voxel_size=voxel_size,
        why_not_writable=not_in_place("an HDF5 file"),
        messages=messages + say_guess(names, None, item.ndim, axes),
        metadata=array_metadata(attributes, voxel_size, axes, names),
    )


def _axis_names(item: Any) -> list[str] | None:
    """Return what a dataset calls its axes: dimension labels, or the axis tags of ilastik."""
    labels = [dim.label for dim in item.dims]
    try:
        tags = json.loads(item.attrs.get("axistags", "null"))
        labels = labels if tags is None else [str(tag["key"]) for tag in tags["axes"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    named = len(labels) == item.ndim and all(labels) and {"z", "y", "x"} <= set(labels)
    return labels if named else None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} holds HDF5 that cannot be read ({first_line(error)}); restore it from a copy."
    )


def _stacks(file: Any) -> list[str]:
    """Return the names of the datasets that could be a stack; links are not followed.

    Those of pixels come first, labels and measurements behind them.
    """
    import h5py

    found: list[tuple[bool, str]] = []

    def collect(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.shape is None or item.ndim < 3:
            return
        if item.dtype.kind in "biuf" and not name.startswith("#"):  # MATLAB's own
            found.append((item.dtype.name not in DTYPES, "/" + name))

    file.visititems(collect)
    return [name for _, name in sorted(found, key=lambda one: one[0])]


def _only_stack(path: Path, file: Any) -> str:
    """Return the only dataset that could be the stack."""
    candidates = _stacks(file)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(f"{path} holds no dataset with three axes; give a file with a stack.")
    found = ", ".join(candidates[:8])
    message = (
        f"{path} holds {len(candidates)} datasets that could be the stack ({found}"
        f"{', …' if len(candidates) > 8 else ''}); name one: {quoted(f'{path}:{candidates[0]}')}"
    )
    raise ChoiceNeeded(message, "dataset", candidates)


def _follow(file: Any, dataset: str, what: str, allow_external: bool) -> Any:
    """Return the dataset or group of a name, link by link; None where there is none.

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
                raise InputError(
                    f"{what} is a link that leads back to itself; name the dataset instead."
                )
            names = _names(link.path) + names
            here = here.file if link.path.startswith("/") else here
            continue
        if isinstance(link, h5py.ExternalLink):
            allow(allow_external, f"{what} is a link to another file ({link.filename})")
        here = None if link is None else here.get(name)
        if here is None:
            return None
    if not isinstance(here, h5py.Dataset):
        return here
    if here.external:
        allow(allow_external, f"{what} keeps its pixels in another file ({here.external[0][0]})")
    if here.is_virtual:
        allow(allow_external, f"{what} is virtual and can take its pixels from another file")
    return here


def _names(dataset: str) -> list[str]:
    """Return the names on the way to a dataset."""
    return [name for name in dataset.split("/") if name not in ("", ".")]
