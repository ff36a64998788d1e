"""Open Neuroglancer *precomputed* folders, lazily and read-only; tensorstore reads the chunks."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..disk.folder import Folder
from ..disk.open_root import open_root
from ..errors import FlowInpaintError, InputError, first_line
from ..names import check_name, quoted
from ..types import VoxelSize
from .axes import nanometres, resolve_axes
from .codecs import LARGEST_METADATA
from .levels import Level, ReaderResult, not_in_place
from .metadata import Metadata, axes_of, metadata_in_nm
from .tensorstore_source import TensorStoreArray, grid, open_tensorstore

_INFO = "info"
#: What describes the arrays themselves, or what belongs to them: not carried along.
_OF_ARRAYS = {"@type", "type", "data_type", "num_channels", "scales"} | {
    *("mesh", "meshes", "skeletons", "segment_properties", "mip", "chunk_size"),
}
#: How many files are looked at to see whether they are packed.
_SOME = 32


def is_precomputed(path: Path) -> bool:
    """Return whether a folder is a volume of Neuroglancer."""
    if not (path / _INFO).is_file():
        return False
    with (path / _INFO).open("rb") as file:
        return b'"scales"' in file.read(1 << 16)


def open_precomputed(path: Path, *, channel: int | None = None) -> ReaderResult:
    """Open a precomputed volume with all its scales; no pixel is read.

    Parameters
    ----------
    path
        The folder with the file ``info``.
    channel
        Which channel.

    Raises
    ------
    InputError
        If it is damaged, or its chunks are packed, or tensorstore is not installed.
    """
    try:
        with open_root(path) as root:
            told = json.loads(root.read(_INFO, LARGEST_METADATA))
            return _opened(path, root, told, channel)
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged metadata lead to
        raise InputError(
            f"{path} cannot be read as a Neuroglancer precomputed volume ({first_line(error)}); "
            "restore it from a copy."
        ) from error


def _opened(path: Path, root: Folder, told: Mapping[str, Any], channel: int | None) -> ReaderResult:
    """Return the scales of a volume, full resolution first."""
    scales = list(enumerate(told["scales"]))
    scales.sort(key=lambda scale: math.prod(map(float, scale[1]["resolution"])))
    levels: list[Level] = []
    first: VoxelSize | None = None
    for number, scale in scales:
        size = nanometres([float(n) for n in reversed(scale["resolution"])], ["nm"] * 3)
        if size is None:
            raise InputError(f"{path} gives no voxel size in {_INFO}; correct it.")
        first = first or size
        source = _array(path, root, number, scale)
        axes = resolve_axes(list("czyx"), source.shape, what=str(path), channel=channel)
        ratio = (size[0] / first[0], size[1] / first[1], size[2] / first[2])
        levels.append(Level(source, axes, ratio))
    return ReaderResult(
        kind="precomputed",
        name=path.name,
        levels=tuple(levels),
        voxel_size=first,
        metadata=_metadata(told, scales[0][1], first),
        why_not_writable=not_in_place("a Neuroglancer precomputed folder"),
    )


def _metadata(
    told: Mapping[str, Any], scale: Mapping[str, Any], voxel_size: VoxelSize | None
) -> Metadata:
    """Return what ``info`` says beyond the arrays; ``voxel_offset`` counts voxels x, y, z."""
    offset = [float(n) for n in reversed(scale.get("voxel_offset", (0, 0, 0)))]
    place = [n * size for n, size in zip(offset, voxel_size or (1.0, 1.0, 1.0), strict=True)]
    others = axes_of(channels=int(told.get("num_channels", 1)))
    kept = {key: value for key, value in told.items() if key not in _OF_ARRAYS}
    return metadata_in_nm(voxel_size, place, attributes=kept, other_axes=others)


def _array(path: Path, root: Folder, number: int, scale: Mapping[str, Any]) -> TensorStoreArray:
    """Return one scale as an array ``czyx``."""
    key = [check_name(name) for name in str(scale["key"]).split("/")]
    folder = root.folder(*key)
    _check_unpacked(path.joinpath(*key))
    if scale.get("sharding") is not None:
        for name in folder.names():  # few, and which of them holds a region is not told here
            folder.is_file(name)

        def files(region: Sequence[range]) -> Iterator[tuple[str, ...]]:
            return iter(())
    else:
        chunk = [int(n) for n in scale["chunk_sizes"][0]]
        start = [int(n) for n in scale.get("voxel_offset", (0, 0, 0))]
        size = [int(n) for n in scale["size"]]

        def files(region: Sequence[range]) -> Iterator[tuple[str, ...]]:
            for position in grid(region[:3], chunk):
                bounds = (
                    f"{n * c + o}-{min((n + 1) * c, s) + o}"
                    for n, c, s, o in zip(position, chunk, size, start, strict=True)
                )
                yield ("_".join(bounds),)

    store = open_tensorstore(path, "neuroglancer_precomputed", scale_index=number)
    return TensorStoreArray(store, folder, files)


def _check_unpacked(folder: Path) -> None:
    """Refuse chunks that are packed as a whole: they would be taken for chunks that are not stored.

    cloud-volume packs them on disk, and a web server unpacks what it sends.
    """
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, _SOME):
            if entry.name.endswith((".gz", ".br", ".zst", ".xz", ".bz2")):
                raise InputError(
                    f"{folder} has compressed chunk files ({entry.name}), which are not read; "
                    f"unpack them (for gzip: gunzip -r {quoted(folder)})"
                )
