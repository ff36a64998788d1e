"""Open N5 folders (of Fiji, BigDataViewer, Janelia's volumes), lazily and read-only.

tensorstore reads the chunks. N5 has no metadata of images of its own: here are the conventions of
n5-viewer and of BigDataViewer for pyramids, and those for the size of voxels. Axes are
``x, y, z, …`` in N5 and reversed on reading.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..disk.folder import Folder
from ..disk.open_root import open_root
from ..errors import ChoiceNeeded, FlowInpaintError, InputError, first_line
from ..names import check_name, quoted
from ..types import VoxelSize
from .axes import nanometres, resolve_axes
from .codecs import LARGEST_METADATA
from .levels import Level, ReaderResult, not_in_place, scale_by_shape
from .metadata import axes_of, metadata_in_nm
from .tensorstore_source import TensorStoreArray, grid, open_tensorstore

_ATTRIBUTES = "attributes.json"
_Numbers = tuple[float, float, float]
#: What describes the arrays themselves, or became voxel size and place: not carried along.
_OF_ARRAYS = {"n5", "dimensions", "blockSize", "dataType", "compression", "name"} | {
    *("downsamplingFactors", "scales", "pixelResolution", "resolution", "units", "unit"),
    *("offset", "transform", "axes"),
}
_LEVEL = re.compile(r"s\d+")
#: How deep datasets are looked for, and how many are listed.
_DEEPEST = 4
_MOST = 100


def is_n5(path: Path) -> bool:
    """Return whether a folder is a dataset or a group of N5."""
    return path.is_dir() and ((path / _ATTRIBUTES).is_file() or path.suffix.lower() == ".n5")


def open_n5(
    path: Path, dataset: str | None, *, channel: int | None = None, time: int | None = None
) -> ReaderResult:
    """Open a dataset of N5, or a group ``s0``, ``s1``, … that is a pyramid; no pixel is read.

    Parameters
    ----------
    path
        Folder of a dataset or group.
    dataset
        Name of a dataset or group in it; None takes the only one.
    channel, time
        Index on the fourth and fifth axis.

    Raises
    ------
    InputError
        If it is damaged, or there are several to choose from, or tensorstore is not installed.
    """
    try:
        names = [check_name(n) for n in (dataset or "").split("/") if n not in ("", ".")]
        with open_root(path) as root:
            key = "/".join(names) if names else _only_image(path, root)
            try:
                with root.folder(*key.split("/") if key else ()) as folder:
                    return _opened(path, key, folder, channel, time)
            except (FileNotFoundError, NotADirectoryError):
                raise InputError(f"{path} has no dataset {key!r}; check its name.") from None
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged metadata lead to
        raise InputError(
            f"{path} cannot be read as N5 ({first_line(error)}); restore it from a copy."
        ) from error


def _opened(
    path: Path, key: str, folder: Folder, channel: int | None, time: int | None
) -> ReaderResult:
    """Return a dataset, or the levels of a group, as a stack."""
    attributes = _attributes(folder)
    names = [""] if _is_dataset(attributes) else _levels(folder)
    if not names:
        raise InputError(f"{path / key} is an N5 group without levels s0, s1, …; name a dataset.")
    levels: list[Level] = []
    for name in names:
        at = folder.folder(name) if name else folder.folder()
        told = _attributes(at)
        if not _is_dataset(told):
            raise InputError(f"{path / key / name} is not a dataset of N5; restore it from a copy.")
        source = _array(path / key / name, at, told)
        given = source.ndim > 3
        axes = resolve_axes(
            None,
            source.shape,
            what=str(path / key),
            channel=channel if given else None,
            time=time if given else None,
        )
        shape = axes.shape(source.shape)
        first = levels[0].shape if levels else shape
        factors = _factors(told, attributes, len(levels)) or scale_by_shape(first, shape)
        levels.append(Level(source, axes, factors))
    told = _attributes(folder.folder(names[0])) if names[0] else attributes
    voxel_size, place = _space(told)
    if voxel_size is None:
        voxel_size, place = _space(attributes)
    kept = {k: v for k, v in {**attributes, **told}.items() if k not in _OF_ARRAYS}
    stored = levels[0].source.shape
    *_, times, channels = (1, 1, *(stored[p] for p, _ in sorted(levels[0].axes.fixed)))
    return ReaderResult(
        kind="n5",
        name=(key.rpartition("/")[2] or path.name).removesuffix(".n5"),
        levels=tuple(levels),
        voxel_size=voxel_size,
        why_not_writable=not_in_place("an N5 folder"),
        metadata=metadata_in_nm(
            voxel_size,
            place,
            name=_text(attributes.get("name")),
            attributes=kept,
            other_axes=axes_of(times, channels),
        ),
    )


def _array(path: Path, folder: Folder, attributes: Mapping[str, Any]) -> TensorStoreArray:
    """Return a dataset as an array with the axes reversed."""
    block = [int(n) for n in attributes["blockSize"]]

    def files(region: Sequence[range]) -> Any:
        for position in grid(region, block):
            yield tuple(str(n) for n in position)

    return TensorStoreArray(open_tensorstore(path, "n5"), folder, files)


def _attributes(folder: Folder) -> dict[str, Any]:
    """Return the attributes of a dataset or group; empty where there are none."""
    try:
        told = json.loads(folder.read(_ATTRIBUTES, LARGEST_METADATA))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{folder.path} has attributes that are damaged ({first_line(error)}); restore them "
            "from a copy."
        ) from error
    return told if isinstance(told, dict) else {}


def _is_dataset(attributes: Mapping[str, Any]) -> bool:
    return {"dimensions", "blockSize", "dataType"} <= attributes.keys()


def _levels(folder: Folder) -> list[str]:
    """Return the names ``s0``, ``s1``, … in a group, full resolution first."""
    found = [n for n in folder.names() if _LEVEL.fullmatch(n) and folder.is_folder(n)]
    return sorted(found, key=lambda name: int(name[1:]))


def _only_image(path: Path, root: Folder) -> str:
    """Return the only dataset or pyramid in a folder; refuse to guess among several."""
    found: list[str] = []
    _collect(root, "", found, 0)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{path} is an N5 folder without a dataset; give the path of the stack.")
    shown = ", ".join(found[:8])
    raise ChoiceNeeded(
        f"{path} holds {len(found)} stacks ({shown}{', …' if len(found) > 8 else ''}); give the "
        f"path of one: {quoted(path / found[0])}",
        "dataset",
        found,
    )


def _collect(folder: Folder, key: str, found: list[str], depth: int) -> None:
    """Collect the keys of datasets of three axes or more, and of pyramids."""
    attributes = _attributes(folder)
    dimensions = attributes.get("dimensions")
    if _is_dataset(attributes):
        if isinstance(dimensions, list) and len(dimensions) >= 3:
            found.append(key)
        return
    names = [n for n in folder.names() if not n.startswith(".") and folder.is_folder(n)]
    if "s0" in names:
        found.append(key)
        return
    for name in sorted(names):
        if depth < _DEEPEST and len(found) < _MOST:
            with folder.folder(name) as child:
                _collect(child, f"{key}/{name}".strip("/"), found, depth + 1)


def _factors(told: Mapping[str, Any], group: Mapping[str, Any], level: int) -> _Numbers | None:
    """Return the downsampling factors z, y, x of a level; None where they are not given."""
    for attributes, nested in ((told, False), (group, True)):
        for key in ("downsamplingFactors", "scales"):
            value = attributes.get(key)
            if nested:
                value = value[level] if isinstance(value, list) and level < len(value) else None
            numbers = _three(value)
            if numbers is not None:
                return numbers
    return None


def _three(value: Any, positive: bool = True) -> _Numbers | None:
    """Return three numbers x, y, z as z, y, x; None where they are not that."""
    if not isinstance(value, list) or len(value) < 3:
        return None
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in value[:3]):
        return None
    x, y, z = (float(n) for n in value[:3])
    return None if positive and min(x, y, z) <= 0 else (z, y, x)


def _space(attributes: Mapping[str, Any]) -> tuple[VoxelSize | None, _Numbers]:
    """Return the voxel size and the place of the first voxel, in nm.

    Understood are ``transform`` (Janelia's COSEM, which names its axes), ``pixelResolution``
    (n5-viewer, BigDataViewer) and ``resolution`` with ``offset`` (n5-ij, funlib). The voxel size is
    None where it is not told.
    """
    transform = attributes.get("transform")
    if isinstance(transform, dict):
        axes = transform.get("axes")
        if isinstance(axes, list) and sorted(map(str, axes)) == ["x", "y", "z"]:
            by_axis = [axes.index(name) for name in "xyz"]
            parts = (transform.get(key) for key in ("scale", "translate", "units"))
            return _in_nm(*(_picked(part, by_axis) for part in parts))
    value: Any = attributes.get("pixelResolution")
    unit: Any = attributes.get("units", attributes.get("unit"))
    if isinstance(value, dict):
        value, unit = value.get("dimensions"), value.get("unit")
    elif value is None:
        value = attributes.get("resolution")
        unit = unit if unit is not None else "nm"
    return _in_nm(value, attributes.get("offset"), unit)


def _picked(values: Any, order: Sequence[int]) -> Any:
    """Return three entries in another order; what is no list of three as it is."""
    return [values[n] for n in order] if isinstance(values, list) and len(values) == 3 else values


def _in_nm(sizes: Any, place: Any, units: Any) -> tuple[VoxelSize | None, _Numbers]:
    """Return a voxel size and a place, both x, y, z in some units, as z, y, x in nm."""
    origin = (0.0, 0.0, 0.0)
    units = list(reversed(units[:3])) if isinstance(units, list) else [units] * 3
    size = _three(sizes)
    if size is None or len(units) != 3 or not all(isinstance(u, str) for u in units):
        return None, origin
    voxel_size = nanometres(size, units)
    first = _three(place, positive=False)
    if voxel_size is None or first is None:
        return voxel_size, origin
    z, y, x = (p / s * nm for p, s, nm in zip(first, size, voxel_size, strict=True))
    return voxel_size, (z, y, x)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
