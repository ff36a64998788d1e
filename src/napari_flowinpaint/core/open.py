"""Open what a path names: a zarr store, TIFF, MRC, HDF5, N5, precomputed, a folder of images.

Responsibilities: choose the reader; show what will be where a write was interrupted; refuse what is
no stack, in words that help. Nothing is written.

Not responsible for: what the readers find (axes, voxel size, pyramid), arrays that are open
already (:meth:`.Stack.from_array`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import InputError
from .io.addresses import check_address, is_address
from .io.axes import check_voxel_size
from .io.formats import not_read, recognise, split_archive
from .io.hdf5_reader import open_hdf5, split_hdf5
from .io.image_reader import open_folder
from .io.levels import DTYPES, Origin, ReaderResult, check_dtype, check_shape
from .io.links import check_links_of_store
from .io.mrc_reader import open_mrc
from .io.n5_reader import is_n5, open_n5
from .io.precomputed_reader import is_precomputed, open_precomputed
from .io.replace import put_right
from .io.stack import Stack
from .io.tiff_reader import open_tiff
from .io.zarr_node import is_zarr_node
from .io.zarr_reader import open_zarr

#: Arguments of :func:`open_stack` that tell which stack it is, or what of it is read.
_TOLD = ("channel", "time", "dataset", "voxel_size", "allow_external")
_LABEL_DTYPES = (*DTYPES, "bool", "int32", "int64", "uint32", "uint64", "float64")


def open_stack(
    path: Path | str,
    *,
    channel: int | None = None,
    time: int | None = None,
    dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
    no_data: float | None = None,
    recover: bool = True,
    allow_external: bool = False,
    kept: bool = True,
) -> Stack:
    """Open a stack lazily; no pixel is read and no permission to write is needed.

    Parameters
    ----------
    path
        OME-Zarr group (0.4, 0.5, 0.6), zarr array (v2, v3; also ``group.zarr/sub/array``), either
        of them in a ZIP archive, multi-page TIFF, MRC, ``file.h5:/dataset``, folder with one image
        per section (TIFF, PNG, JPEG, BMP, MRC), of N5 or of a Neuroglancer precomputed volume, or
        the address of a zarr store (http, https, s3, gs, az).
    channel, time
        Index on the c and the t axis; needed only where that axis is longer than 1.
    dataset
        Name of the array within a zarr group, an N5 folder or an HDF5 file, instead of in
        ``path``; or the number of the image in a TIFF that holds several.
    voxel_size
        z, y, x in nm; overrides that of the file.
    no_data
        Grey value that means that nothing was imaged, besides the padding that is found anyway.
    recover
        Whether a write that was interrupted is shown as :func:`.recovery.recover` will finish it;
        if not, pixels are what is on disk, old or new. Nothing is written in either case.
    allow_external
        Whether a file may show what is in others: HDF5 with links to other files, external or
        virtual datasets; OME-TIFF or a folder of images with files of other folders. Whoever made
        it chose which.
    kept
        Whether repairs are shown that are kept beside a file which cannot be written to; if not,
        pixels are those of the file.

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
        than uint8, int8, uint16, int16 and float32; if a channel, time or dataset must be chosen;
        or if no pixel can have the value ``no_data``.
    """
    given = {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "voxel_size": voxel_size,
        "allow_external": allow_external,
        "kept": kept,
    }
    stack = _open(path, DTYPES, recover, given)
    return stack if no_data is None else stack.with_no_data(no_data)


def open_mask(
    path: Path | str,
    *,
    channel: int | None = None,
    time: int | None = None,
    dataset: str | None = None,
    allow_external: bool = False,
) -> Stack:
    """Open a mask or label volume: as :func:`open_stack`, but of any number dtype or bool.

    Parameters
    ----------
    path, channel, time, dataset, allow_external
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
    given = {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "voxel_size": None,
        "allow_external": allow_external,
        "kept": False,
    }
    return _open(path, _LABEL_DTYPES, False, given)


def _open(path: Path | str, dtypes: Sequence[str], recover: bool, given: dict[str, Any]) -> Stack:
    """Open a path, check what was found, and show an interrupted write finished."""
    voxel_size = check_voxel_size(given["voxel_size"])
    chosen = {"channel": given["channel"], "time": given["time"]}
    put = put_right(str(path))
    opened, where = _read(str(path), given["dataset"], chosen, given["allow_external"])
    if opened.group_path is not None:
        check_links_of_store(opened.group_path, [level.path for level in opened.levels])
    check_dtype(opened.levels[0].dtype, str(path), dtypes)
    check_shape(opened.levels[0].shape, str(path))
    messages = opened.messages + put
    if voxel_size is not None:
        messages = tuple(m for m in messages if not m.startswith("The voxel size"))
        metadata = opened.metadata.with_voxel_size(voxel_size)
        opened = replace(opened, voxel_size=voxel_size, metadata=metadata)
    origin = _origin(opened, where, given["dataset"])
    told = {name: given[name] for name in _TOLD if given[name] not in (None, False)}
    opened = replace(opened, messages=messages, origin=origin, opening=told)
    if given["kept"]:
        from .writing.kept import with_kept

        opened = with_kept(opened)
    if recover and opened.group_path is not None:
        from .writing.shown import as_recovered

        opened = as_recovered(opened)
    return Stack(opened, where, _Reopen(str(path), tuple(dtypes), given))


def _origin(opened: ReaderResult, where: Path | None, dataset: str | None) -> Origin | None:
    """Return which image of which file was opened; None of a zarr store."""
    if where is None or opened.group_path is not None:
        return None
    file = Path(os.path.realpath(where))
    if not file.exists():
        within = split_hdf5(str(where)) or split_archive(where)
        if within is None:
            return None
        file, dataset = Path(os.path.realpath(within[0])), dataset or within[1]
    return Origin(file, None if dataset is None else str(dataset).strip("/"))


class _Reopen:
    """Open the same stack again; a class so that it can be pickled."""

    def __init__(self, path: str, dtypes: Sequence[str], given: dict[str, Any]) -> None:
        # Wherever it is opened again may be another working directory.
        path = path.removeprefix("file://")
        where = path if is_address(path) else str(Path(path).expanduser().absolute())
        self._arguments = (where, dtypes, False, given)

    def __call__(self) -> Stack:
        return _open(*self._arguments)


def _read(
    path: str, dataset: str | None, chosen: dict[str, int | None], allow_external: bool
) -> tuple[ReaderResult, Path | None]:
    """Find the reader for a path. Returns also the path as remembered by the stack."""
    path = path.removeprefix("file://")
    if not path.strip():  # in a shell: a variable that is not set
        raise InputError("the path of the stack or mask is empty; give one.")
    if is_address(path):
        check_address(path)
        return open_zarr(path if dataset is None else f"{path}/{dataset}", **chosen), None
    where = Path(path).expanduser()
    hdf5 = split_hdf5(path)
    if hdf5 is not None and hdf5[1] is not None and not where.exists():
        file = Path(hdf5[0]).expanduser()
        _must_exist(file)
        if recognise(file) != "hdf5":
            raise InputError(f"{file} is not HDF5 and has no datasets; leave out :{hdf5[1]}.")
        opened = open_hdf5(file, dataset or hdf5[1], **chosen, allow_external=allow_external)
        return opened, Path(path)
    if split_archive(where) is not None:
        where = where.absolute() if dataset is None else where.absolute() / dataset.strip("/")
        return open_zarr(where, **chosen), where
    if where.is_dir() and is_zarr_node(where):
        where = where.absolute() if dataset is None else where.absolute() / dataset.strip("/")
        _must_exist(where)
        return open_zarr(where, **chosen), where
    _must_exist(where)
    if where.is_dir():
        return _read_folder(where, dataset, chosen, allow_external), where
    return _read_file(where, dataset, chosen, allow_external), where


def _read_file(
    path: Path, dataset: str | None, chosen: dict[str, int | None], allow_external: bool
) -> ReaderResult:
    """Open a file by what it is, whatever its name."""
    kind = recognise(path)
    if kind == "hdf5":
        return open_hdf5(path, dataset, **chosen, allow_external=allow_external)
    if kind == "tiff":
        return open_tiff(path, dataset, **chosen, allow_external=allow_external)
    if kind != "mrc":
        raise not_read(path)
    _no_dataset(path, dataset)
    _no_index(path, "channel", chosen["channel"])
    return open_mrc(path, time=chosen["time"])


def _read_folder(
    path: Path, dataset: str | None, chosen: dict[str, int | None], allow_external: bool
) -> ReaderResult:
    """Open a folder that is not a zarr store."""
    if is_n5(path):
        return open_n5(path, dataset, **chosen)
    _no_dataset(path, dataset)
    _no_index(path, "time", chosen["time"])
    if is_precomputed(path):
        return open_precomputed(path, channel=chosen["channel"])
    _no_index(path, "channel", chosen["channel"])
    return open_folder(path, allow_external=allow_external)


def _no_dataset(path: Path, dataset: str | None) -> None:
    """Refuse a dataset of what has none."""
    if dataset is not None:
        raise InputError(f"{path} contains no datasets; leave out dataset {dataset!r}.")


def _no_index(path: Path, option: str, index: int | None) -> None:
    """Refuse an index on an axis that is not there."""
    if index not in (None, 0):
        raise InputError(f"{path} has no {option} axis; leave out {option} {index}.")


def _must_exist(path: Path) -> None:
    """Refuse a path that leads nowhere, naming how far it leads."""
    if path.is_file() or path.is_dir():
        return
    if path.exists():  # a pipe would be waited for
        raise InputError(f"{path} is neither a file nor a folder; give a file.")
    parent = next((p for p in path.parents if p.exists()), None)
    hint = ""
    if parent is not None and (parent != path.parent or is_zarr_node(parent)):
        hint = f" ({parent.resolve()} exists)"
    raise InputError(f"{path} does not exist{hint}; check the path.")
