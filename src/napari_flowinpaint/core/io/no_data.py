"""No data: pixels of a section where nothing was imaged.

Aligned stacks are padded where a section does not reach, with a border that changes from section to
section; other programs write NaN, or a value of their own. Such pixels are neither intact nor
damaged. What counts as not imaged is decided here, and nowhere else:

* NaN and infinite pixels;
* pixels of the value that somebody declared, wherever they are;
* constant regions that lie along the border of the section. Any value will do, and there may be
  several. Padding meets the border on a length like its own; tissue that is saturated does not,
  nor is it constant without a gap;
* constant regions of the file's fill value, where that is not zero, that touch the border.

A section that is constant as a whole is a missing one, and not no data.

It is decided from the pixels that are read anyway. Only where a constant region leaves them is more
read, in its direction, until the border of the section is found.

Not responsible for: which pixels are damaged, or who may look at them.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage, Box

#: A constant region along the border is no data if it meets it on so many pixels, and on such a
#: share of its own extent: padding of a straight section reaches as far along the border as it does
#: anywhere, and a saturated cell body that touches it does not.
_LEAST_CONTACT = 20
_CONTACT = 0.75
#: So many equal pixels in a row on the border itself are padding one pixel wide.
_RUN = 32
#: A constant region that leaves what was read is followed this far, in pixels.
_FAR = 2048
#: A region as long as this that still goes on is no tissue.
_LONG = 1024
#: A larger step is not taken at once, nor a smaller one.
_LEAST_STEP = 256
#: Regions that meet the edges of an image on fewer pixels than this are not looked at.
_FEWEST = 12
#: Least step from a constant region to what is beside it, as a share of the range of grey values.
_ABRUPT = 0.1
#: More constant values than this are not padding but a label image.
_MOST_VALUES = 16
#: Answers that are remembered: those for which more had to be read.
_KEPT = 256
#: Spots by which a section that is constant as a whole is known, per side, and their side.
_SPOTS, _SPOT = 3, 32

#: No data of which so much is masked, and that is so much of the mask or ends with it, is what the
#: mask outlines.
_OUTLINED, _MOSTLY = 0.95, 0.5
#: Pixels beside a mask that count as masked there.
_BESIDE = 3

#: Which sides of an image are the border of the section: top, left, bottom, right.
Sides = tuple[bool, bool, bool, bool]
#: The pixels along them.
_EDGES: tuple[Any, ...] = (
    (0, slice(None)),
    (slice(None), 0),
    (-1, slice(None)),
    (slice(None), -1),
)
ALL_SIDES: Sides = (True, True, True, True)


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """A constant region that reaches the edge of the image it was found in.

    Parameters
    ----------
    box
        Around it.
    mask
        (H, W) bool over ``box``.
    padding
        Whether it is no data.
    leaves
        The sides by which it leaves the image, where that is not the border of the section.
    """

    box: Box
    mask: BoolImage
    padding: bool
    leaves: Sides

    @property
    def extent(self) -> int:
        """Its longer side, pixels."""
        return max(self.box.shape)


def imaged_pixels(
    pixels: AnyImage, declared: float | None = None, fill: float | None = None
) -> BoolImage:
    """Return where a whole section, of any resolution, was imaged.

    Parameters
    ----------
    pixels
        (Y, X), any number dtype.
    declared
        A value that means no data.
    fill
        The fill value of the file; None where it has none.

    Returns
    -------
    BoolImage
        (Y, X), False where there is no data; all True where the section is one constant value.
    """
    imaged = _not_void(pixels, declared)
    if _is_constant(pixels):
        return np.ones_like(imaged)
    for region in _regions(pixels, imaged, ALL_SIDES, fill):
        if region.padding:
            imaged[region.box.slices] &= ~region.mask
    return imaged


def mirror_tissue(pixels: AnyImage, imaged: BoolImage) -> AnyImage:
    """Return a section with its tissue mirrored at the border into where nothing was imaged.

    So that no edge is left, and statistics over all of it are those of tissue.

    Parameters
    ----------
    pixels
        (Y, X), any dtype.
    imaged
        (Y, X) bool.
    """
    from scipy.ndimage import distance_transform_edt

    if imaged.all() or not imaged.any():
        return pixels if imaged.all() else np.zeros_like(pixels)
    nearest = distance_transform_edt(~imaged, return_distances=False, return_indices=True)
    places = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    mirrored = [
        np.clip(2 * near - place, 0, side - 1)
        for near, place, side in zip(nearest, places, pixels.shape, strict=True)
    ]
    there = imaged[tuple(mirrored)]
    y, x = (np.where(there, far, near) for far, near in zip(mirrored, nearest, strict=True))
    return np.asarray(pixels[y, x])


def padding_of(imaged: BoolImage, mask: BoolImage) -> BoolImage:
    """Return which pixels are no data, and not damage that looks like it.

    What a mask outlines is damage, though it be constant up to the border: a lost corner, say. So
    is NaN in the midst of tissue.

    Parameters
    ----------
    imaged
        (H, W) bool, of a box with the mask and some pixels around it.
    mask
        (H, W) bool, True = damaged.
    """
    void = ~imaged
    if not void.any():
        return void
    from scipy.ndimage import binary_dilation

    # saturated tissue beside a hole of the same value belongs to it
    masked = binary_dilation(mask, np.ones((3, 3), bool), iterations=_BESIDE)
    names = _touching(void)
    sizes = np.bincount(names.ravel())
    covered = np.bincount(names[masked], minlength=sizes.size)
    beyond = np.zeros(sizes.size, dtype=bool)  # goes on where nobody has masked it
    for edge in _EDGES:
        beyond[names[edge][~masked[edge]]] = True
    mostly = covered >= _MOSTLY * np.count_nonzero(mask)
    outlined = (covered >= _OUTLINED * sizes) & (mostly | ~beyond)
    return np.asarray(void & ~outlined[names] & ~enclosed(imaged))


def enclosed(imaged: BoolImage) -> BoolImage:
    """Return the gaps in what was imaged that do not reach an edge of the image.

    NaN in the midst of tissue is such a gap: what was lost there can be repaired.
    """
    if imaged.all():
        return np.zeros_like(imaged)
    names = _touching(~imaged)
    outer = np.unique(np.concatenate([names[edge] for edge in _EDGES]))
    return np.asarray(~imaged & ~np.isin(names, outer))


def _touching(void: BoolImage) -> npt.NDArray[np.int32]:
    """Return the number of the part of no data, parts that touch at a corner being one."""
    from scipy.ndimage import label

    names, _ = label(void, np.ones((3, 3), bool))
    return np.asarray(names, dtype=np.int32)


class NoData:
    """Where the sections of one stack were imaged; safe to be used by several threads.

    Parameters
    ----------
    read
        ``read(z, box)`` returns pixels of the full resolution.
    shape
        (Y, X) of a section.
    declared, fill
        As for :func:`imaged_pixels`.
    """

    def __init__(
        self,
        read: Callable[[int, Box], AnyImage],
        shape: tuple[int, int],
        declared: float | None = None,
        fill: float | None = None,
    ) -> None:
        self._read = read
        self._shape = shape
        self._values = (declared, fill)
        self._kept: OrderedDict[tuple[int, Box, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def imaged(self, z: int, box: Box, pixels: AnyImage) -> BoolImage:
        """Return where a part of a section was imaged.

        Parameters
        ----------
        z
            Section number.
        box
            The part.
        pixels
            (H, W), what was read of it.

        Returns
        -------
        BoolImage
            (H, W), False where there is no data.
        """
        declared, fill = self._values
        imaged = _not_void(pixels, declared)
        found = list(_regions(pixels, imaged, self._sides(box), fill))
        if not found:
            return imaged
        certain = all(region.padding or not any(region.leaves) for region in found)
        if certain and not _is_constant(pixels):
            for region in found:
                if region.padding:
                    imaged[region.box.slices] &= ~region.mask
            return imaged
        key = (z, box, zlib.crc32(pixels.tobytes()))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            kept = np.packbits(self._followed(z, box, pixels))
            with self._lock:
                self._kept[key] = kept
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        count = imaged.size
        return np.unpackbits(kept, count=count).astype(bool).reshape(imaged.shape)

    def _sides(self, box: Box) -> Sides:
        height, width = self._shape
        return (box.y0 == 0, box.x0 == 0, box.y1 == height, box.x1 == width)

    def _followed(self, z: int, box: Box, pixels: AnyImage) -> BoolImage:
        """Return where a part was imaged, reading more where a constant region leaves it."""
        declared, fill = self._values
        whole = Box.whole(self._shape)
        seen = box
        while True:
            imaged = _not_void(pixels, declared)
            if _is_constant(pixels) and self._is_missing(z, pixels.flat[0]):
                return np.ones(box.shape, dtype=bool)
            again: list[bool] = [False] * 4
            for region in _regions(pixels, imaged, self._sides(seen), fill):
                ours = region.box.intersection(box.shifted(-seen.y0, -seen.x0))
                if not region.mask[ours.within(region.box)].any():
                    continue
                open_ended = any(region.leaves) and not region.padding
                endless = max(seen.shape) >= _FAR and region.extent >= _LONG
                if region.padding or (open_ended and endless):
                    imaged[region.box.slices] &= ~region.mask
                elif open_ended and max(seen.shape) < _FAR:
                    again = [a or b for a, b in zip(again, region.leaves, strict=True)]
            if not any(again) or seen == whole:
                return imaged[box.within(seen)]
            seen = _towards(seen, again, self._shape)
            pixels = self._read(z, seen)

    def _is_missing(self, z: int, value: Any) -> bool:
        """Tell a section that is one value everywhere, by looking at spots all over it."""
        height, width = self._shape
        rows, columns = (
            np.linspace(0, max(side - _SPOT, 0), _SPOTS).astype(int) for side in (height, width)
        )
        for y in rows.tolist():
            for x in columns.tolist():
                spot = Box(y, x, min(y + _SPOT, height), min(x + _SPOT, width))
                if (self._read(z, spot) != value).any():
                    return False
        return True


def _towards(box: Box, sides: list[bool], shape: tuple[int, int]) -> Box:
    """Return a box grown by its own size towards some of its sides."""
    step = min(max(*box.shape, _LEAST_STEP), _FAR)
    top, left, bottom, right = (step * side for side in sides)
    return Box(
        max(box.y0 - top, 0),
        max(box.x0 - left, 0),
        min(box.y1 + bottom, shape[0]),
        min(box.x1 + right, shape[1]),
    )


def _not_void(pixels: AnyImage, declared: float | None) -> BoolImage:
    """Return which pixels are finite numbers, and not the declared value."""
    good = np.ones(pixels.shape, dtype=bool)
    if pixels.dtype.kind == "f":
        good = np.isfinite(pixels)
    if declared is not None and np.isfinite(declared):
        good &= pixels != declared
    return good


def _is_constant(pixels: AnyImage) -> bool:
    return bool(pixels.size) and bool((pixels == pixels.flat[0]).all())


def _regions(
    pixels: AnyImage, good: BoolImage, sides: Sides, fill: float | None
) -> Iterator[_Region]:
    """Yield the constant regions that reach an edge of an image."""
    from scipy.ndimage import binary_dilation, find_objects, label

    if not any(_solid(*strip)[edge].any() for strip, edge in _strips(pixels, sides)):
        return  # as in tissue: nothing but a few rows and columns was looked at
    solid = _solid(pixels, sides) & good
    values = np.concatenate([pixels[edge][solid[edge]] for edge in _EDGES])
    found, counts = np.unique(values, return_counts=True)
    spread = _spread(pixels, good & ~solid)
    order = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    for value in found[order[counts[order] >= _FEWEST]]:
        alike = (pixels == value) & good
        # blocks leave the steps of a slanted border out
        grown = binary_dilation(solid & alike, np.ones((3, 3), bool), iterations=2) & alike
        names, _ = label(grown)
        boxes = find_objects(names)
        edges = np.concatenate([names[edge] for edge in _EDGES])
        for name in np.flatnonzero(np.bincount(edges, minlength=2)[1:] >= _FEWEST) + 1:
            rows, columns = boxes[name - 1]
            box = Box(rows.start, columns.start, rows.stop, columns.stop)
            mask = names[box.slices] == name
            if value == fill or _is_abrupt(pixels, good, box, mask, _ABRUPT * spread):
                yield _described(box, mask, pixels.shape, sides, bool(value == fill))


def _spread(pixels: AnyImage, tissue: BoolImage) -> float:
    """Return how far grey values of tissue are apart, most of them; 0 where there is none."""
    values = pixels[::4, ::4][tissue[::4, ::4]]
    if not values.size:
        return 0.0
    low, high = np.percentile(values.astype(np.float64), (10, 90))
    return float(high - low)


def _is_abrupt(pixels: AnyImage, good: BoolImage, box: Box, mask: BoolImage, least: float) -> bool:
    """Tell padding from tissue that happens to be constant: that fades into what is beside it."""
    from scipy.ndimage import binary_dilation

    seen = box.expand(1, (pixels.shape[0], pixels.shape[1]))
    inside = np.zeros(seen.shape, dtype=bool)
    inside[box.within(seen)] = mask
    beside = binary_dilation(inside) & ~inside & good[seen.slices]
    if not beside.any():
        return True
    value = float(pixels[seen.slices][inside][0])
    steps = np.abs(pixels[seen.slices][beside].astype(np.float64) - value)
    return float(np.median(steps)) > least


def _strips(
    pixels: AnyImage, sides: Sides
) -> Iterator[tuple[tuple[AnyImage, Sides], tuple[Any, Any]]]:
    """Yield the rows and columns along every edge that tell whether its pixels are solid."""
    top, left, bottom, right = sides
    yield (pixels[:3], (top, left, False, right)), _EDGES[0]
    yield (pixels[:, :3], (top, left, bottom, False)), _EDGES[1]
    yield (pixels[-3:], (False, left, bottom, right)), _EDGES[2]
    yield (pixels[:, -3:], (top, False, bottom, right)), _EDGES[3]


def _described(
    box: Box, mask: BoolImage, shape: tuple[int, ...], sides: Sides, filled: bool
) -> _Region:
    """Return a region, and whether it is padding."""
    reaches = (box.y0 == 0, box.x0 == 0, box.y1 == shape[0], box.x1 == shape[1])
    lines = (mask[0], mask[:, 0], mask[-1], mask[:, -1])
    contact, leaves = 0, []
    for line, reached, border in zip(lines, reaches, sides, strict=True):
        leaves.append(bool(reached and not border))
        if reached and border:
            contact += int(np.count_nonzero(line))
    padding = contact >= max(_LEAST_CONTACT, _CONTACT * max(box.shape)) or (filled and contact > 0)
    return _Region(box, mask, padding, (leaves[0], leaves[1], leaves[2], leaves[3]))


def _solid(pixels: AnyImage, sides: Sides) -> BoolImage:
    """Return the pixels that lie in blocks of 3 x 3 equal ones, or in a long run on the border.

    Outside of an image all is as on its edge, so that blocks there may be two pixels wide.
    """
    around = np.pad(pixels, 1, mode="edge")
    # three equal pixels in a row, in three rows below each other that are equal as well
    alike = around[:, 1:] == around[:, :-1]
    alike = alike[:, 1:] & alike[:, :-1]
    below = around[1:, 1:-1] == around[:-1, 1:-1]
    same = alike[:-2] & alike[1:-1] & alike[2:] & below[1:] & below[:-1]
    solid = np.zeros(pixels.shape, dtype=bool)
    if same.any():
        block = np.pad(same, 1)
        rows = block[:-2] | block[1:-1] | block[2:]
        solid = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    top, left, bottom, right = sides
    if top:
        solid[0] |= _runs(pixels[0])
    if left:
        solid[:, 0] |= _runs(pixels[:, 0])
    if bottom:
        solid[-1] |= _runs(pixels[-1])
    if right:
        solid[:, -1] |= _runs(pixels[:, -1])
    return solid


def _runs(line: AnyImage) -> npt.NDArray[np.bool_]:
    """Return where a row or column has many equal pixels one after the other."""
    starts = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
    lengths = np.diff(np.append(starts, line.size))
    return np.repeat(lengths >= _RUN, lengths)
