"""Masks that were drawn in ImageJ: a ROI (``.roi``), or many of them (``RoiSet.zip``)."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlowInpaintError, InputError, first_line
from .outlines import Outline, OutlineMasks, ellipse

#: Bytes of one ROI, and of all: an outline of a million corners has some ten million.
_LARGEST = 1 << 24
_LARGEST_SET = 1 << 28
_MOST = 100_000
#: The ROI Manager names what has no other name by slice, y and x.
_NAME = re.compile(r"(\d{4,})-\d{4,}-\d{4,}")


def is_roi_file(path: Path) -> bool:
    """Return whether a file is an ImageJ ROI, or a ZIP that holds such."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".roi":
        return True
    if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.lower().endswith(".roi") for name in file.namelist())


def open_rois(
    path: Path, shape: tuple[int, int, int], section: int | None
) -> tuple[OutlineMasks, tuple[str, ...]]:
    """Open ROIs as masks; their slices, which ImageJ counts from 1, become sections from 0.

    Parameters
    ----------
    path
        A ``.roi`` file or a ``.zip`` of them.
    shape
        (Z, Y, X) of the stack.
    section
        The section of ROIs that say none; None where nobody knows.

    Returns
    -------
    tuple of OutlineMasks and tuple of str
        Also what there is to say: ROIs that are no regions are passed over.

    Raises
    ------
    InputError
        If a ROI cannot be read, or belongs to no section.
    """
    outlines: dict[int, list[Outline]] = {}
    notes: list[str] = []
    for name, roi in _read(path):
        try:
            outline = _outline(roi)
        except Exception as error:  # whatever a damaged ROI leads to
            raise _unreadable(f"{path}: {name}", error) from error
        if outline is None:
            kind = str(getattr(roi.roitype, "name", "")).lower()
            notes.append(
                f"{name} in {path.name} is of the kind '{kind}', not a region; it is left out."
            )
            continue
        outlines.setdefault(_section(roi, name, path, shape[0], section), []).append(outline)
    if not outlines:
        raise InputError(f"{path} holds no region; draw the damage with ImageJ's area tools.")
    return OutlineMasks(outlines, (shape[1], shape[2])), tuple(notes)


def _read(path: Path) -> list[tuple[str, Any]]:
    """Return the ROIs of a file by name; none is larger than a ROI can be."""
    import roifile

    try:
        if path.suffix.lower() == ".roi":
            if path.stat().st_size > _LARGEST:
                raise ValueError("it is too large")
            return [(path.name, roifile.ImagejRoi.frombytes(path.read_bytes()))]
        with zipfile.ZipFile(path) as file:
            members = [m for m in file.infolist() if m.filename.lower().endswith(".roi")]
            sizes = [m.file_size for m in members]
            if len(members) > _MOST or max(sizes) > _LARGEST or sum(sizes) > _LARGEST_SET:
                raise ValueError("it is too large")
            found = []
            for member in members:
                with file.open(member) as opened:
                    content = opened.read(_LARGEST)
                found.append((member.filename, roifile.ImagejRoi.frombytes(content)))
            return found
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged file leads to
        raise _unreadable(str(path), error) from error


def _unreadable(what: str, error: Exception) -> InputError:
    return InputError(
        f"{what} cannot be read as an ImageJ ROI ({first_line(error)}); save it again."
    )


def _section(roi: Any, name: str, path: Path, depth: int, section: int | None) -> int:
    """Return the section of a ROI, from 0."""
    slice_number = roi.z_position or (0 if roi.c_position or roi.t_position else roi.position)
    if not slice_number:
        named = _NAME.match(Path(name).stem)
        slice_number = int(named[1]) if named else 0
    if not slice_number:
        if section is None:
            raise InputError(
                f"{name} in {path.name} has no slice; name its section with --sections, or add it "
                "to the ROI Manager on its slice."
            )
        return section
    if not 1 <= slice_number <= depth:
        raise InputError(
            f"{name} in {path.name} lies on slice {slice_number}, and the stack has slices 1 to "
            f"{depth} (sections 0 to {depth - 1}); give the ROIs of this stack."
        )
    return int(slice_number) - 1


def _outline(roi: Any) -> Outline | None:
    """Return a ROI as an outline; None for points, texts and images.

    ImageJ's coordinates are edges of pixels; ours are their centres.
    """
    kind = str(roi.roitype.name)
    if kind == "RECT" and roi.composite:
        rings = tuple(_points(ring) for ring in roi.coordinates(multi=True) if len(ring) > 2)
        return Outline(rings) if rings else None
    if kind in ("RECT", "OVAL"):
        top, left, bottom, right = roi.top, roi.left, roi.bottom, roi.right
        if getattr(roi, "subpixelrect", False):
            left, top = roi.xd, roi.yd
            right, bottom = left + roi.widthd, top + roi.heightd
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
        corners -= 0.5
        return Outline((ellipse(corners) if kind == "OVAL" else corners,))
    if kind in ("POLYGON", "FREEHAND", "TRACED"):
        points = _points(roi.coordinates())
        return Outline((points,)) if len(points) > 2 else None
    if kind in ("LINE", "POLYLINE", "FREELINE", "ANGLE"):
        points = _points(roi.coordinates())
        if roi.subpixel_coordinates is None:
            points = points + 0.5  # whole numbers are pixels that the line goes through
        return Outline((points,), width=max(1.0, float(roi.stroke_width)))
    return None


def _points(coordinates: Any) -> Any:
    """Return (n, 2) x, y of ImageJ as y, x of centres of pixels."""
    points = np.asarray(coordinates, dtype=float).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("its corners are not finite")
    return points[:, ::-1] - 0.5
