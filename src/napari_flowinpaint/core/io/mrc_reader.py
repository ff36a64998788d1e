"""Open MRC files (also .rec, .st, .map of IMOD, SerialEM and tomography), lazily and read-only.

The header is read by mrcfile. The pixels are not mapped into memory, as mrcfile would do: where a
mapped file is cut short while it is open, the process dies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlowInpaintError, InputError, first_line
from ..types import AnyImage, VoxelSize
from .axes import choose_index, nanometres
from .levels import Level, Planes, ReaderResult, check_shape, not_in_place
from .metadata import Metadata, axes_of, metadata_in_nm

_HEADER = 1024
#: dtypes of the modes that hold one grey value per pixel, as stored.
_MODES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_OTHER_MODES = {3: "complex", 4: "complex", 16: "colour", 101: "4-bit"}
#: Word 39 of a header by IMOD, and the bits of word 40 that say that bytes are signed, and that the
#: origin has the sign that the standard gives it.
_IMOD_STAMP = 1146047817
_SIGNED, _ORIGIN_AS_STANDARD = 1, 4
#: Space groups from here on are stacks of volumes.
_VOLUME_STACK = 401


class MrcSections(Planes):
    """The sections of an MRC file.

    Parameters
    ----------
    path
        The file.
    offset
        Of the first section, bytes.
    shape
        (Z, Y, X).
    stored
        dtype as it is stored; float16 is read as float32.
    """

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, int, int], stored: np.dtype[Any]
    ) -> None:
        self.path = path
        self.shape = shape
        self._offset, self._stored = offset, stored
        self.dtype = np.dtype("float32") if stored.kind == "f" else stored.newbyteorder("=")

    def __len__(self) -> int:
        return self.shape[0]

    def volume(self, first: int, depth: int) -> MrcSections:
        """Return ``depth`` sections from ``first`` on."""
        offset = self._offset + first * math.prod(self.shape[1:]) * self._stored.itemsize
        return MrcSections(self.path, offset, (depth, *self.shape[1:]), self._stored)

    def plane(self, z: int, rows: slice, columns: slice) -> AnyImage:
        """Return a part of section ``z``."""
        height, width = self.shape[1:]
        top, bottom, step = rows.indices(height)
        start = self._offset + (z * height + top) * width * self._stored.itemsize
        found = np.fromfile(self.path, self._stored, (bottom - top) * width, offset=start)
        block = found.reshape(bottom - top, width)  # fails where the file has ended
        return block[::step, columns].astype(self.dtype, copy=False)


def open_mrc(path: Path, *, time: int | None = None) -> ReaderResult:
    """Open an MRC file; no pixel is read.

    Parameters
    ----------
    path
        The file.
    time
        Which volume, where the file is a stack of volumes.

    Raises
    ------
    InputError
        If it is damaged, cut short, a single image, or of complex numbers or colour.
    """
    sections, header = read_sections(path)
    depth, height, width = sections.shape
    if depth == 1:
        raise InputError(
            f"{path} is not a stack but a single image of shape {(height, width)}; give a stack "
            "with several sections, or a folder with one image per section."
        )
    messages = _notes(header, sections.dtype)
    per_volume, volumes = int(header.mz), 1
    if int(header.ispg) >= _VOLUME_STACK and 0 < per_volume < depth and depth % per_volume == 0:
        volumes = depth // per_volume
        chosen = choose_index("t", "time", time, volumes, str(path))
        sections = sections.volume(chosen * per_volume, per_volume)
    elif time:
        choose_index("t", "time", time, 1, str(path))
    voxel_size = _voxel_size(header)
    return ReaderResult(
        kind="mrc",
        name=path.name.partition(".")[0],
        levels=(Level(sections),),
        voxel_size=voxel_size,
        why_not_writable=not_in_place("an MRC file"),
        messages=messages,
        metadata=_metadata(header, voxel_size, volumes),
    )


def read_sections(path: Path) -> tuple[MrcSections, Any]:
    """Return the sections of an MRC file, which may be one, and its header.

    Raises
    ------
    InputError
        If it is damaged, cut short, or of complex numbers or colour.
    """
    try:
        header = _read_header(path)
        return _sections(path, header), header
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged header leads to
        raise InputError(
            f"{path} cannot be read as MRC ({first_line(error)}); restore it from a copy."
        ) from error


def _read_header(path: Path) -> Any:
    """Return the header as mrcfile's record."""
    import warnings

    import mrcfile

    # mrcfile reads the extended header with the header: it must be in the file.
    with path.open("rb") as file:
        head = file.read(_HEADER)
    if len(head) < _HEADER:
        raise InputError(f"{path} is shorter than an MRC header; restore it from a copy.")
    size = path.stat().st_size
    if not any(0 <= int.from_bytes(head[92:96], end) < size for end in ("little", "big")):
        raise InputError(f"{path} has an MRC header that is damaged; restore it from a copy.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files say less of themselves; they are read
        with mrcfile.open(path, mode="r", permissive=True, header_only=True) as opened:
            return opened.header.copy()


def _sections(path: Path, header: Any) -> MrcSections:
    """Return the sections that a header claims."""
    mode = int(header.mode)
    if mode not in _MODES:
        kind = _OTHER_MODES.get(mode, "an unknown kind of")
        raise InputError(
            f"{path} has {kind} pixels (MRC mode {mode}); convert it to bytes or 16 bits, for "
            "example with IMOD's newstack -mode."
        )
    shape = (int(header.nz), int(header.ny), int(header.nx))
    if min(shape) < 1:
        raise InputError(f"{path} claims the shape {shape}; its header is damaged.")
    check_shape(shape, str(path))
    stored = np.dtype(_MODES[mode]).newbyteorder(header.dtype["mode"].byteorder)
    if mode == 0 and not _is_signed(header):
        stored = np.dtype("uint8")
    offset = _HEADER + int(header.nsymbt)
    if int(header.nsymbt) < 0 or path.stat().st_size < offset + math.prod(shape) * stored.itemsize:
        raise InputError(
            f"{path} claims {shape[0]} sections of {shape[1]} x {shape[2]} {stored.name} but "
            "is too short for them: it was cut short; restore it from a copy."
        )
    return MrcSections(path, offset, shape, stored)


def _words(header: Any) -> tuple[int, int]:
    """Return words 39 and 40 of a header: IMOD's stamp and flags."""
    raw = np.frombuffer(header.tobytes(), np.uint8)
    stamp, flags = raw[152:160].view(header.dtype["mode"])
    return int(stamp), int(flags)


def _is_signed(header: Any) -> bool:
    """Return whether bytes (mode 0) are signed.

    The standard of 2014 says so. IMOD, which wrote unsigned bytes before and does still, says which
    in a flag. Without either, the extremes in the header tell, if they are there.
    """
    stamp, flags = _words(header)
    if stamp == _IMOD_STAMP:
        return bool(flags & _SIGNED)
    if int(header.nversion) >= 20140:
        return True
    return not (float(header.dmax) > 127 and float(header.dmin) >= 0)


def _notes(header: Any, dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return what there is to say about how a file is read."""
    notes = []
    if dtype.itemsize == 1:
        stamp, _ = _words(header)
        if stamp != _IMOD_STAMP and int(header.nversion) < 20140:
            notes.append(
                "The file does not say whether its bytes are signed; by the extremes in its header "
                f"they are read as {dtype.name}."
            )
    order = (int(header.mapc), int(header.mapr), int(header.maps))
    if order not in ((1, 2, 3), (0, 0, 0)):
        names = ["xyz"[n - 1] if 1 <= n <= 3 else "?" for n in order]
        notes.append(
            f"The header calls columns, rows and sections {', '.join(names)}; they are read as "
            "x, y, z."
        )
    return tuple(notes)


def _voxel_size(header: Any) -> VoxelSize | None:
    """Return the voxel size from the cell, in the order of the stored axes; None where unset.

    Programs that know none write a cell of one ångström per voxel.
    """
    cell = [float(header.cella[name]) for name in "xyz"]
    counts = [int(header[name]) for name in ("mx", "my", "mz")]
    if min(counts) < 1:
        return None
    sizes = _as_stored(header, [a / n for a, n in zip(cell, counts, strict=True)])
    return None if sizes == [1.0, 1.0, 1.0] else nanometres(sizes, ["angstrom"] * 3)


def _as_stored(header: Any, lengths: Sequence[float]) -> list[float]:
    """Return lengths x, y, z in the order of sections, rows and columns."""
    order = [int(header[name]) - 1 for name in ("maps", "mapr", "mapc")]
    if sorted(order) != [0, 1, 2]:
        order = [2, 1, 0]
    return [float(f"{lengths[n]:.6g}") for n in order]  # stored in 32 bits


def _metadata(header: Any, voxel_size: VoxelSize | None, volumes: int) -> Metadata:
    """Return where the first voxel lies, and the labels of a header.

    The origin of the standard of 2014 is the place of the first voxel. IMOD means its negative,
    unless a flag says that it is stored as in the standard.
    """
    stamp, flags = _words(header)
    sign = -1.0 if stamp == _IMOD_STAMP and not flags & _ORIGIN_AS_STANDARD else 1.0
    origin = [sign * float(header.origin[name]) / 10 for name in "xyz"]  # ångström
    place = _as_stored(header, origin)
    labels = [bytes(label).decode("latin-1").strip("\0 ") for label in header.label]
    labels = [label for label in labels[: max(0, int(header.nlabl))] if label.isprintable()]
    return metadata_in_nm(
        voxel_size,
        place,
        attributes={"mrc": {"labels": labels}} if any(labels) else {},
        other_axes=axes_of(times=volumes),
    )
