"""What a viewer session asks for, as plain functions that run in a thread.

Each takes frozen inputs and returns a result; none touches a viewer, a layer or the session. The
ones that can take long report through ``progress`` and are cancelled by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.detection.flag_table import Flagged
from ...core.notes import Notes
from ...core.types import (
    BoolImage,
    Box,
    Progress,
    RepairRequest,
    SectionRepair,
    VoxelSize,
    no_progress,
)
from .review import Review, find_components

if TYPE_CHECKING:
    from ...core.io.metadata import Metadata
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SectionTiles, SparseMask
    from ...core.writing.recovery import JournalEntry

#: Edge of the tiles from which the grey values of a stack are estimated.
_TILE = 256
#: Largest damaged box, in pixels, under which the neighbours are looked up while painting.
_CHEAP = 2048 * 2048
#: Most windows whose neighbours are looked up then.
_FEW = 12


@dataclass(frozen=True, eq=False)
class LoadedStack:
    """An opened stack and what a viewer wants to know before it shows it."""

    stack: Stack
    limits: tuple[float, float]
    polarity: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerSource:
    """Where the pixels of a layer come from: its file, if there is one, and its array."""

    path: str | None
    data: Any
    voxel_size: VoxelSize | None
    name: str
    metadata: Metadata | None = None


@dataclass(frozen=True, eq=False)
class SectionJob:
    """One resolved request with everything it needs, unchanged while the user paints on."""

    request_id: int
    request: RepairRequest
    stack: Stack
    mask: SparseMask


@dataclass(frozen=True)
class MaskStatus:
    """What is damaged in a section.

    ``neighbours`` are those of each window; None where they were too dear to find.
    """

    z: int
    components: int
    pixels: int
    neighbours: tuple[tuple[int | None, int | None], ...] | None


def load(
    path: str,
    *,
    dataset: str | None = None,
    channel: int | None = None,
    time: int | None = None,
    no_data: float | None = None,
    progress: Progress,
) -> LoadedStack:
    """Open a stack and look at a few tiles of it."""
    from ...core.io.polarity import contrast_polarity
    from ...core.open import open_stack

    progress(0.0, f"opening {path}")
    stack = open_stack(path, dataset=dataset, channel=channel, time=time, no_data=no_data)
    progress(0.5, "measuring grey values")
    return LoadedStack(stack, contrast_limits(stack), contrast_polarity(stack))


def contrast_limits(stack: Stack) -> tuple[float, float]:
    """Return sensible display limits from nine tiles in the first, middle and last section.

    Blank tiles and padding are left out, where there is anything else.
    """
    depth, height, width = stack.shape
    low, high = [], []
    for z in sorted({0, depth // 2, depth - 1}):
        for part in (1, 2, 3):
            y, x = (max(n * part // 4 - _TILE // 2, 0) for n in (height, width))
            box = Box(y, x, min(y + _TILE, height), min(x + _TILE, width))
            tile = stack.read(z, box)
            values = tile[stack.imaged(z, box, tile)]
            if values.size and values.min() < values.max():
                low.append(float(np.percentile(values, 0.2)))
                high.append(float(np.percentile(values, 99.8)))
    if not low or min(low) >= max(high):
        smallest, largest = stack.value_range
        return (smallest, largest) if np.isfinite(smallest) else (0.0, 1.0)
    return (min(low), max(high))


def open_layer(source: LayerSource, *, progress: Progress) -> Stack:
    """Return the stack behind a layer that some other reader opened.

    The file itself where it is a supported one and shows the same pixels, since that can be
    written to; else the layer's array.
    """
    from ...core.errors import FlowInpaintError
    from ...core.io.stack import Stack
    from ...core.open import open_stack

    progress(0.0, f"opening {source.name}")
    array = Stack.from_array(
        source.data,
        voxel_size=source.voxel_size,
        name=source.name,
        path=source.path,
        metadata=source.metadata,
    )
    if source.path is None:
        return array
    try:
        stack = open_stack(source.path)
    except FlowInpaintError:
        return array  # the layer holds pixels all the same; they cannot be written in place
    if stack.shape == array.shape and stack.dtype == array.dtype and _same_pixels(stack, array):
        return stack
    return array


def _same_pixels(first: Stack, second: Stack) -> bool:
    """Compare one tile in the middle: a file may hold several stacks of one shape."""
    depth, height, width = first.shape
    y, x = max((height - _TILE) // 2, 0), max((width - _TILE) // 2, 0)
    box = Box(y, x, min(y + _TILE, height), min(x + _TILE, width))
    a, b = (stack.read(depth // 2, box) for stack in (first, second))
    return bool(np.array_equal(a, b, equal_nan=first.dtype.kind == "f"))


def repair(job: SectionJob, *, progress: Progress) -> Review:
    """Repair a section and prepare what is needed to look at it."""
    from ...core.masks.stack_mask import StackMask
    from ...core.repair.repair_section import repair_section

    request = job.request

    def engine(fraction: float, message: str) -> None:
        progress(0.95 * fraction, message)

    progress(0.0, f"section {request.z}: reading the mask")
    around = job.mask.damaged_box(request.z)
    damage = StackMask(job.mask, job.stack.shape)
    result = repair_section(
        job.stack,
        request.z,
        job.mask.read(request.z),
        masks=job.mask.read,
        kinds=None if around is None else damage.section_kinds(request.z, around),
        method=request.method,
        device=request.device,
        options=request.options,
        progress=engine,
    )
    review = Review(result, job.stack.read(result.z, result.box), find_components(result))
    progress(1.0, f"section {request.z}: repaired")
    return review


def mask_status(
    stack: Stack | None, mask: SparseMask, z: int, max_gap: int, *, progress: Progress
) -> MaskStatus:
    """Count the damage of a section and find its neighbours, where that is cheap."""
    import cv2

    from ...core.repair.neighbours import find_neighbours
    from ...core.repair.windows import windows_of

    progress(0.0, "counting the damage")
    around = mask.damaged_box(z)
    damage = None if around is None else mask.read(z, around)
    inner = None if damage is None else Box.of_mask(damage)
    if around is None or damage is None or inner is None:
        return MaskStatus(z, 0, 0, None)
    damage = damage[inner.slices]
    pixels = int(np.count_nonzero(damage))
    if stack is None or damage.size > _CHEAP:
        count, _ = cv2.connectedComponents(damage.view(np.uint8), connectivity=8)
        return MaskStatus(z, count - 1, pixels, None)
    windows = list(windows_of(damage))
    count = max(int(components.max()) for _, components in windows)
    if len(windows) > _FEW:
        return MaskStatus(z, count, pixels, None)
    y, x = around.y0 + inner.y0, around.x0 + inner.x0
    neighbours = []
    for box, components in windows:
        place = Box(box.y0 + y, box.x0 + x, box.y1 + y, box.x1 + x)
        neighbours.append(find_neighbours(stack, z, place, components > 0, max_gap, mask.read))
    return MaskStatus(z, count, pixels, tuple(neighbours))


def edit_mask(
    mask: SparseMask, z: int, operation: str, pixels: int, *, progress: Progress
) -> SectionTiles:
    """Return the tiles of a section after an edit.

    ``"grow"``, ``"shrink"``, ``"clear"``, ``"invert"``, or ``"missing"``: all of it is.
    """
    progress(0.0, f"section {z}: {operation}")
    if operation == "invert":
        return mask.edit(z, np.logical_not, -1)
    if operation == "missing":
        return mask.edit(z, np.ones_like, -1)
    if operation == "clear":
        return mask.edit(z, np.zeros_like, 0)
    sign = {"grow": 1, "shrink": -1}[operation]
    return mask.edit(z, lambda damage: _dilate(damage, sign * pixels), pixels)


def _dilate(damage: BoolImage, pixels: int) -> BoolImage:
    """Grow damage by a disc; negative shrinks it. The border of a section is no edge of it."""
    import cv2

    size = 2 * abs(pixels) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.asarray(change(damage.view(np.uint8), disc)) > 0


@dataclass(frozen=True, eq=False)
class StackHistory:
    """The repairs in a stack.

    Parameters
    ----------
    changed
        Numbers of the repairs that were written or reverted just now.
    entries
        Every repair whose pixels are in the stack, oldest first.
    synthetic
        Arrays of ``labels/synthetic``, full resolution first; empty where there is none.
    notes
        What was done otherwise than expected when it was written.
    """

    changed: tuple[int, ...]
    entries: tuple[JournalEntry, ...]
    synthetic: tuple[Any, ...]
    notes: tuple[str, ...] = ()


def accept(stack: Stack, selected: SectionRepair, *, progress: Progress) -> StackHistory:
    """Write a repair into the stack."""
    from ...core.writing.writeback import write_back

    notes = Notes()
    ids = write_back(stack, selected, progress=progress, note=notes)
    # from here on it is too late to cancel
    return replace(read_history(stack), changed=ids, notes=tuple(notes.texts))


def revert(stack: Stack, repair_id: int, *, progress: Progress) -> StackHistory:
    """Take a repair back."""
    from ...core.writing import writeback

    notes = Notes()
    ids = writeback.revert(stack, repair_id=repair_id, progress=progress, note=notes)
    return replace(read_history(stack), changed=ids, notes=tuple(notes.texts))


def read_history(stack: Stack, *, progress: Progress = no_progress) -> StackHistory:
    """Return the repairs that are in a stack; none where nothing can be written."""
    if not stack.writable or stack.group_path is None:
        return StackHistory((), (), ())
    from ...core.open import open_mask
    from ...core.writing.synthetic import label_folder
    from ...core.writing.writeback import history

    progress(1.0, "reading the history")
    entries = tuple(entry for entry in history(stack) if entry.state == "committed")
    marks = label_folder(stack.group_path, stack.levels)
    levels = open_mask(marks).levels if entries and marks.exists() else ()
    return StackHistory((), entries, tuple(level.array for level in levels))


def save(
    stack: Stack,
    path: Path,
    repairs: Iterable[SectionRepair],
    rows: tuple[Flagged, ...] = (),
    mask: SparseMask | None = None,
    *,
    progress: Progress,
) -> LoadedStack:
    """Save a stack with its accepted repairs as OME-Zarr, named so, and open the result.

    The list of flagged sections and the mask, which is frozen, are kept beside it.
    """
    from ...core.export import save_ome_zarr
    from .follow import follow

    if path.suffix != ".zarr":
        path = path.with_name(path.name + ".zarr")
    notes, repairs = Notes(), list(repairs)
    save_ome_zarr(stack, path, repairs=repairs, progress=progress, note=notes)
    # from here on it is too late to cancel
    loaded = load(str(path), progress=no_progress)
    follow(loaded.stack, rows, mask, repairs, progress=no_progress)
    return replace(loaded, notes=tuple(notes.texts))


def list_devices(*, progress: Progress) -> tuple[str, ...]:
    """Return the devices torch could use here.

    Another process is asked, since importing torch would hold up the viewer for seconds.
    """
    import subprocess
    import sys
    from importlib.util import find_spec

    progress(0.0, "looking for a GPU")
    if find_spec("torch") is None:
        return ("auto", "cpu")
    code = (
        "import torch\n"
        "if torch.cuda.is_available(): print('cuda')\n"
        "if getattr(torch.backends, 'mps', None) and torch.backends.mps.is_available():"
        " print('mps')"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ("auto", "cpu")
    found = [name for name in done.stdout.split() if name in ("cuda", "mps")]
    return ("auto", "cpu", *found)
