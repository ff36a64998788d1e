"""``gap_patches``: fill gaps of isotropic volumes, whatever their orientation.

After Masto, "Deep Learning for Bragg Coherent Diffraction Imaging", chapter 4, carried over to
volume EM: missing sections, and planes of missing pixels that go through all sections (a seam
between tiles, a gap between detectors, a curtain). Overlapping patches, 32 voxels deep across the
gap, are filled by a network and averaged (:mod:`.gap_filling`). Which way a gap lies does
not matter: the volume is turned so that it lies along the patches.

A window is filled across the direction in which it is narrowest: across z between its neighbours,
or across x or y between the pixels of the section beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import RepairRefused
from ..networks.released import GAP
from ..reference.gap_geometry import Bar, bars_of, check_isotropic
from ..repair_options import RepairOptions
from ..types import BoolImage, Box, FloatImage, Progress
from ..window import Volume, Window, WindowRepair
from .gap_filling import AROUND, PIXELS, SECTIONS, fill_patch, tiles, weights
from .gap_texture import Told, gap_texture
from .learned import LearnedMethod
from .missing_section import FEWEST_INTACT

#: Context for texture and brightness.
_HALO = 64
#: Rotated and mirrored copies of a patch that the network predicts and averages.
_VIEWS = 1
#: A section shows the damage of another one if at least this share of it is known there.
_MOSTLY = 0.5
#: Patches side by side that are read together.
_ROW = 8
#: How the axes of the volume are ordered for patches, by the axis across the gap.
_ORDER = ((0, 1, 2), (1, 0, 2), (2, 0, 1))


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Part of a gap, as it shows in one section.

    Parameters
    ----------
    axis
        Across the gap: 0 is z, 1 is y, 2 is x.
    first, width
        First missing layer in the volume, and how many there are.
    box
        Where it lies in the section.
    where
        (H, W) bool over ``box``.
    """

    axis: int
    first: int
    width: int
    box: Box
    where: BoolImage


class GapPatchesMethod(LearnedMethod):
    """Learned filling of gaps; see the module's description."""

    name = "gap_patches"
    neighbours = 0
    architecture = "gap"
    shipped = GAP
    #: Most of a gap shows nothing that neighbours could be compared with.
    gates_itself = True
    #: It is not tried on intact places: there is no second gap.
    untried = True

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box; the volume is looked at besides."""
        return _HALO

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`.

        Raises
        ------
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        from ..device import resolve_device

        volume = _volume(window)
        device = resolve_device(device)
        net = self.network(options, device)
        parts = _parts(window, volume, net.config.widest, options.max_gap)
        fill = partial(
            fill_patch, net, self.weights_sha256, device=device, views=options.views or _VIEWS
        )
        found = np.stack([window.section, window.section, *np.ones((3, *window.mask.shape))])
        found = found.astype(np.float32)
        for number, part in enumerate(parts):
            told = f"section {window.z}: filling the gap"
            progress(0.05 + 0.85 * number / len(parts), told)
            across = lambda share: progress(0.05 + 0.85 * (number + share) / len(parts), told)  # noqa: B023, E731
            inside = found[(slice(None), *part.box.within(window.box))]
            inside[:, part.where] = _filled(part, window.z, volume, fill, across)[:, part.where]
        progress(0.95, f"section {window.z}: adding texture")
        return _finished(window, options, parts, found)


def _volume(window: Window) -> Volume:
    """Return the volume of a window, or refuse one that cannot be turned."""
    if window.volume is None:
        raise RepairRefused("method 'gap_patches' needs the volume around the window")
    check_isotropic(window.voxel_size)
    return window.volume


def _parts(window: Window, volume: Volume, widest: int, max_gap: int) -> list[_Part]:
    """Return the gap of a window, in parts that go across one axis each.

    Raises
    ------
    RepairRefused
        If any of it is too wide in every direction.
    """
    sides = [None if n is None else n.z for n in (window.previous, window.following)]
    bars, rest = bars_of(window.mask, window.intact, widest)
    if rest.any() and None in sides:  # where gaps cross, the sections beside are damaged, too
        sides = [_shown_from(window, volume, step, max_gap) for step in (-1, 1)]
    across_z = _across_z(window, sides, widest)
    if across_z is not None:
        widths = [min(_sides(bar)[0], widest) for bar in bars]
        if rest.any() or not bars or across_z.width <= max(widths):
            return [across_z]
    if rest.any():
        raise RepairRefused(
            f"section {window.z} has damage that is wider than {widest} voxels in every direction "
            "or of which only one side is known (at the border of the stack, padding or other "
            "damage); method 'gap_patches' fills narrower gaps only, between two sides: permit a "
            "larger gap (--max-gap) if sections are missing, choose method 'auto', or leave it out "
            "of the mask"
        )
    return [part for bar in bars for part in _pieces(bar, window, widest)]


def _shown_from(window: Window, volume: Volume, step: int, max_gap: int) -> int | None:
    """Return the first section on one side that shows most of what is under the mask."""
    for distance in range(1, max_gap + 1):
        z = window.z + step * distance
        if not 0 <= z < volume.shape[0]:
            return None
        _, known = volume.read(z, window.box)
        if known[window.mask].mean() >= _MOSTLY:
            return z
    return None


def _across_z(window: Window, sides: list[int | None], widest: int) -> _Part | None:
    """Return the gap across z between two sections, if they are near enough."""
    before, after = sides
    if before is None or after is None or after - before - 1 > widest:
        return None
    box = Box.of_mask(window.mask)
    assert box is not None
    here = box.shifted(window.box.y0, window.box.x0)
    return _Part(0, before + 1, after - before - 1, here, window.mask[box.slices])


def _sides(bar: Bar) -> tuple[int, int]:
    """Return the width and the length of a bar."""
    height, width = bar.box.shape
    return (height, width) if bar.axis == 1 else (width, height)


def _pieces(bar: Bar, window: Window, widest: int) -> list[_Part]:
    """Return a bar as parts of a gap: one, if it is straight, or a part per patch."""
    axis = bar.axis - 1
    length = bar.box.shape[1 - axis]
    steps = [(0, length)] if _sides(bar)[0] <= widest else _steps(length)
    found = []
    for start, stop in steps:
        cut = [slice(None), slice(None)]
        cut[1 - axis] = slice(start, stop)
        inner = Box.of_mask(bar.where[tuple(cut)])
        if inner is None:
            continue
        where = bar.where[tuple(cut)][inner.slices]
        offset = (bar.box.y0 + (start if axis else 0), bar.box.x0 + (0 if axis else start))
        box = inner.shifted(offset[0] + window.box.y0, offset[1] + window.box.x0)
        width = where.shape[axis]
        if width > widest:
            raise RepairRefused(
                f"section {window.z} has a gap that is not straight: within {_STEP} pixels it "
                f"takes up {width}, and method 'gap_patches' fills gaps of up to {widest} voxels "
                "along x, y or z; choose method 'auto'"
            )
        first = box.y0 if axis == 0 else box.x0
        found.append(_Part(bar.axis, first, width, box, where))
    return found


#: Length of the parts that a gap which is not straight is cut into.
_STEP = 12


def _steps(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + _STEP, length)) for start in range(0, length, _STEP)]


@dataclass(slots=True, eq=False)
class _Sum:
    """Predictions of patches for a part of a gap in one section, summed with their weights.

    Parameters
    ----------
    total
        (5, H, W): interpolated, taken, certainty, the network's share and the gain.
    weight
        (H, W).
    """

    total: FloatImage
    weight: FloatImage

    def add(self, values: FloatImage, shares: FloatImage, there: Box, box: Box) -> None:
        """Add what a patch shows of a section: (5, h, w), its weights (h, w), and where it lies."""
        here = there.intersection(box)
        if 0 in here.shape:
            return
        inner, outer = here.within(there), here.within(box)
        self.total[(slice(None), *outer)] += values[(slice(None), *inner)] * shares[inner]
        self.weight[outer] += shares[inner]

    def mean(self) -> FloatImage:
        """Return the weighted mean, (5, H, W)."""
        return np.asarray(self.total / np.maximum(self.weight, 1e-6), dtype=np.float32)


def _filled(part: _Part, z: int, volume: Volume, fill: Any, report: Any) -> FloatImage:
    """Return a part of a gap in section ``z``, (5, H, W), see :class:`_Sum`."""
    box, axis = part.box, part.axis
    spans = [(z, z + 1), (box.y0, box.y1), (box.x0, box.x1)]
    sizes = (SECTIONS, PIXELS, PIXELS)
    a, b = (n for n in range(3) if n != axis)
    along = list(tiles(*spans[b], volume.shape[b], sizes[b]))
    rows = [along[n : n + _ROW] for n in range(0, len(along), _ROW)]
    places = [(first, row) for first in tiles(*spans[a], volume.shape[a], sizes[a]) for row in rows]
    found = _Sum(np.zeros((5, *box.shape), np.float32), np.zeros(box.shape, np.float32))
    ramps = [sizes[n][0] - sizes[n][1] for n in (a, b)]
    for number, (first, row) in enumerate(places):
        bounds = [(0, 0)] * 3
        bounds[axis] = (part.first - AROUND, part.first + part.width + AROUND)
        bounds[a], bounds[b] = first, (row[0][0], row[-1][1])
        block, known = _read(volume, bounds)
        block, known = block.transpose(_ORDER[axis]), known.transpose(_ORDER[axis])
        if axis == 0:  # what a missing section is stored as is no tissue, masked or not
            known[AROUND : AROUND + part.width] = False
        for step, (b0, b1) in enumerate(row):
            report((number + step / len(row)) / len(places))
            here = (..., slice(b0 - row[0][0], b1 - row[0][0]))
            mean, deviation = _grey(block[here], known[here])
            patch = (block[here] - mean) / deviation
            filled = fill(patch, ~known[here], part.width)
            edges = np.outer(weights(first[1] - first[0], ramps[0]), weights(b1 - b0, ramps[1]))
            bounds[axis], bounds[b] = (part.first, part.first + part.width), (b0, b1)
            layers = [*(filled.images.astype(np.float32) * deviation + mean)]
            told = (filled.certainty, filled.share, filled.gain)
            layers += [np.full_like(layers[0], value) for value in told]
            # back to the axes of the volume, then the one section
            section = np.stack(layers).transpose(0, *_back(axis))[:, z - bounds[0][0]]
            shares = np.broadcast_to(edges, layers[0].shape).transpose(np.argsort(_ORDER[axis]))
            there = Box(bounds[1][0], bounds[2][0], bounds[1][1], bounds[2][1])
            found.add(section, shares[z - bounds[0][0]], there, box)
    return found.mean()


def _back(axis: int) -> tuple[int, int, int]:
    """Return the order that undoes the one for patches, behind a leading axis."""
    back = np.argsort(_ORDER[axis]) + 1
    return int(back[0]), int(back[1]), int(back[2])


def _read(volume: Volume, bounds: list[tuple[int, int]]) -> tuple[FloatImage, BoolImage]:
    """Read a block, which may extend beyond the volume: nothing is known there."""
    shape = tuple(stop - start for start, stop in bounds)
    block, known = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    inside = [
        (max(start, 0), min(stop, n)) for (start, stop), n in zip(bounds, volume.shape, strict=True)
    ]
    (z0, z1), (y0, y1), (x0, x1) = inside
    rows = slice(y0 - bounds[1][0], y1 - bounds[1][0])
    columns = slice(x0 - bounds[2][0], x1 - bounds[2][0])
    for z in range(z0, z1):
        layer = z - bounds[0][0]
        block[layer, rows, columns], known[layer, rows, columns] = volume.read(
            z, Box(y0, x0, y1, x1)
        )
    return block, known


def _grey(block: FloatImage, known: BoolImage) -> tuple[np.float32, np.float32]:
    """Return mean and deviation of what is known of a block."""
    seen = block[known]
    if seen.size == 0:
        return np.float32(0), np.float32(1)
    return np.float32(seen.mean()), np.float32(max(float(seen.std()), 1e-6))


def _nearest(window: Window, gap: _Part) -> tuple[FloatImage, BoolImage]:
    """Return the nearer section beside a gap across z, and what is known of it."""
    assert window.volume is not None
    faces = (gap.first - 1, gap.first + gap.width)
    return window.volume.read(min(faces, key=lambda z: abs(z - window.z)), window.box)


def _finished(
    window: Window, options: RepairOptions, parts: list[_Part], found: FloatImage
) -> WindowRepair:
    """Add texture: that of the section, or of the nearer neighbour of a missing one."""
    interpolated, filled, certainty, share, gain = found
    like, known = window.section, window.intact
    if known.sum() < FEWEST_INTACT:
        like, known = _nearest(window, parts[0])
    longest = max(parts, key=lambda part: part.where.size)
    along = None if longest.axis == 0 else 2 - longest.axis
    told = Told(float(certainty[window.mask].mean()), float(gain[window.mask].mean()))
    result = gap_texture(filled, like, known, window, options, along, told)
    low, high = window.value_range
    return WindowRepair(
        initial_reference=interpolated,
        refined_reference=filled,
        result=np.clip(result, low, high).astype(np.float32),
        confidence=np.where(window.mask, certainty, 1).astype(np.float32),
        scores={
            "gap_width": float(max(part.width for part in parts)),
            "gap_certainty": told.certainty,
            "gap_network_share": float(share[window.mask].mean()),
        },
    )
