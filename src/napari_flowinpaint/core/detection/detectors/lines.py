"""Folds and cracks: dark or bright lines, straight or curved, across the section or ending in it.

"Learning to restore ssTEM images from deformation and corruption" (ECCV workshops 2020), 4.1,
binarises the section and finds straight lines by the Hough transformation. Folds bend and end, and
membranes vote as well. Here short straight pieces are compared with those of the neighbours, as
spots are (:mod:`.spots`): a membrane is as dark as a fold, but hardly straight for so long. Pieces
that are beyond all of them and touch are a line if they go far enough together, however they bend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...filters import enlarge_to
from ...types import BoolImage, Box, FloatImage
from ..features.maps import LINE_REACH, SectionMaps, straight_pieces
from ..features.morphology import ConnectedComponents, grow, highest, reached
from ..features.ridges import CLASSES, ByteImage
from ..features.view import View
from .centre_lines import followed
from .chains import LinePiece, chained
from .detector import Finding
from .outliers import beyond_all, matched, most_of, tail_of

#: By how much a line is darker than what lies beside it in a window of so many pixels, in units of
#: contrast, and the share of it that has to be.
_STEP = 0.2
_STRETCH = 61
_APART = 0.6
#: By how many standard deviations pieces may be within what neighbours show: that many of them go
#: on after each other tells enough.
_WITHIN = 0.05
#: Change of the threshold of pieces per unit of strictness, in standard deviations.
_STRICTER = 0.3
#: Percentage of the neighbours' ridges that go on less far than any that count; and by how much
#: a ridge goes on further; and that per unit of strictness.
_USUAL = 99.9
_RIDGE = 0.03
_STRICTER_RIDGE = 0.1
#: Least share of a line that has to be beyond all neighbours by its grey value as well; else it
#: has to be this much longer.
_MOSTLY = 0.2
_RIDGES_ALONE = 1.3
#: What a line has to reach of its least length at any sensitivity: membranes are shorter.
_SENSITIVE = 0.85
#: What a line counts that is hardly beyond its neighbours; and the standard deviations beyond
#: them, and the ridges that go on further, of one that counts in full.
_BARELY = 0.4
_CLEARLY_BEYOND = 0.5
_CLEARLY_FURTHER = 0.06
#: What a piece beside a line has to count to belong to it.
_CERTAIN = 0.8
#: Gaps that pieces of one line may have between them, in pixels of the maps of lines.
_GAP = 2
#: Least length of further lines beside one that is certain, in units of the least length.
_FURTHER = 0.8
#: Which discs are wider than lines are, and by how much darker than these a line has to be, in
#: units of contrast.
_WIDE_DISC = 3
_NARROWER = 0.5
#: Least length of a line whatever the section, in pixels of the maps: longer than a piece.
_SHORTEST = 48
#: Factor on it for sections so small that membranes are as long as pieces.
_TINY = 1.5
#: How much longer than its extent a line may be, for its bends and branches.
_WINDING = 1.2
#: Pieces of a line that is too faint in between: their least length, in units of the least length
#: of a line, and how far they are from it, in pixels of the maps.
_PIECE = 0.25
_BREAK = 12
#: Least length of a branch, pixels.
_BRANCH = 64
#: Margin, in pixels, in which the border of a line is looked for.
_MARGIN = 4


@dataclass(frozen=True, slots=True)
class LineDetector:
    """Lines that no neighbour shows.

    Parameters
    ----------
    length
        Least length, as a share of the section's side.
    elongation
        Least ratio of length to mean width, by its extent and area.
    slack
        By how many standard deviations a piece of a line may be within what neighbours show
        somewhere.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    """

    length: float = 0.24
    elongation: float = 5.0
    slack: float = 1.0
    tolerance: float = 0.015

    kinds: ClassVar[tuple[str, ...]] = ("fold", "crack")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        findings = []
        for kind, sign in (("fold", -1), ("crack", 1)):
            line = self._lines(view, sign)
            if line is not None:
                findings.append(Finding(kind, line[0], line[1], sharp=True))
        # beside a line lies displaced tissue, which may look like another one
        return sorted(findings, key=lambda f: -f.score)[:1]

    def pieces(self, view: View, sign: int) -> FloatImage:
        """Return by how many standard deviations straight pieces are beyond all neighbours.

        Parameters
        ----------
        view
            The section; must have neighbours.
        sign
            +1 looks for brighter, -1 for darker.

        Returns
        -------
        FloatImage
            Of every second pixel, (ceil(H / 2), ceil(W / 2)); positive where they are.
        """
        radius = max(view.radius(self.tolerance) // 2, 1)
        near = most_of(
            matched(n, sign, _nearby(n.features, sign, radius), 2) for n in view.neighbours
        )
        tails = [n.gain * _tail(n.features, sign) + sign * n.offset for n in view.neighbours]
        return beyond_all(
            sign * _lines_of(view.section, sign), _tail(view.section, sign), tails, near, self.slack
        )

    def ridges(self, view: View, sign: int) -> FloatImage:
        """Return by how much ridges go on further than those of all neighbours.

        Returns
        -------
        FloatImage
            Of every second pixel; 1 is a ridge that stands out all along, where none does.
        """
        shape = view.section.small.shape
        best = np.zeros(shape, np.float32)
        for number, (shrink, _) in enumerate(CLASSES):
            radius = max(view.radius(self.tolerance) // (2 * shrink), 1)
            near = [_near_ridges(n.features, sign, number, radius) for n in view.neighbours]
            moved = [n.moved(m, 2 * shrink) for n, m in zip(view.neighbours, near, strict=True)]
            far = np.median([_far_ridges(n.features, sign, number) for n in view.neighbours])
            own = _ridges_of(view.section, sign)[number].astype(np.float32)
            beyond = own - np.maximum(np.maximum.reduce(moved), np.float32(far))
            if shrink > 1:
                beyond = enlarge_to(beyond, shape)
            np.maximum(best, beyond, out=best)
        return best / np.float32(255)

    def _lines(self, view: View, sign: int) -> tuple[float, BoolImage] | None:
        """Return the score of the longest line and the mask of all."""
        beyond, further = self.pieces(view, sign), self.ridges(view, sign)
        seen = beyond > _STRICTER * (view.strictness - 1) - _WITHIN
        ridges = further > _RIDGE + _STRICTER_RIDGE * max(view.strictness - 1, 0)
        outliers = seen & _narrow(view, sign)
        wide, seen = seen | ridges, outliers | ridges
        least = max(self.length * min(seen.shape), _SHORTEST)
        least *= _TINY if view.section.zoom > 2 else 1.0
        if seen.sum() < least:
            return None
        found = self._pieces(view, sign, seen, outliers, least)
        chains = [
            replace(c, length=c.length * _weight(c.mask, beyond, further)) for c in chained(found)
        ]
        longest = max((chain.length for chain in chains), default=0.0)
        if longest < max(view.strictness, _SENSITIVE) * least:
            return None
        shortest = min(_FURTHER, view.strictness) * least
        lines = np.logical_or.reduce([c.mask for c in chains if c.length >= shortest])
        near = grow(lines, _BREAK)
        for piece in found:
            if (piece.mask & near).any() and _weight(piece.mask, beyond, further) > _CERTAIN:
                lines = lines | piece.mask
        return longest / least, _ribbon(view, sign, self._widened(lines, wide))

    def _pieces(
        self, view: View, sign: int, seen: BoolImage, outliers: BoolImage, least: float
    ) -> list[LinePiece]:
        """Return the connected pieces of what is seen that are narrow, and stand out."""
        import cv2

        joined = grow(seen, _GAP).view(np.uint8)
        _, names, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        areas = np.bincount(names[seen], minlength=len(stats))
        found = []
        for number in np.flatnonzero(areas >= _PIECE * least):
            x, y, width, height = stats[number][:4].tolist()
            most = float(np.hypot(width, height))  # it reaches no further than this
            if _WINDING * most < _PIECE * least or most**2 < self.elongation * areas[number]:
                continue
            box = Box(y, x, y + height, x + width)
            whole = names[box.slices] == number
            length, span = _extent(whole)
            length = min(length, _WINDING * span) - 2 * _GAP
            if length < _PIECE * least or span**2 < self.elongation * areas[number]:
                continue
            place = np.zeros_like(seen)
            place[box.slices] = whole & seen[box.slices]
            if _apart(view, sign, place, box) < _APART:
                continue
            if (place & outliers).sum() < _MOSTLY * areas[number]:
                length /= _RIDGES_ALONE
            found.append(LinePiece(place, length))
        return found

    def _widened(self, lines: BoolImage, seen: BoolImage) -> BoolImage:
        """Add what is as wide as a disc here and there, unless it is tissue beside a line."""
        whole = ConnectedComponents(seen, lines)
        for number in np.flatnonzero(whole.areas):
            place = np.zeros_like(seen)
            place.ravel()[whole.pixels(int(number))] = True
            if _extent(place)[1] ** 2 >= self.elongation * place.sum():
                lines = lines | place
        return lines


def _lines_of(features: SectionMaps, sign: int) -> FloatImage:
    return features.bright_lines if sign > 0 else features.dark_lines


def _ridges_of(features: SectionMaps, sign: int) -> tuple[ByteImage, ...]:
    return features.bright_ridges if sign > 0 else features.dark_ridges


def _nearby(maps: SectionMaps, sign: int, radius: int) -> FloatImage:
    key = ("lines", sign, radius)
    return maps.remembered(key, lambda: highest(sign * _lines_of(maps, sign), radius))


def _tail(maps: SectionMaps, sign: int) -> FloatImage:
    return maps.remembered(("lines", sign), lambda: tail_of(sign * _lines_of(maps, sign)))


def _near_ridges(maps: SectionMaps, sign: int, number: int, radius: int) -> FloatImage:
    key = ("near ridges", sign, number, radius)
    ridges = _ridges_of(maps, sign)[number].astype(np.float32)
    return maps.remembered(key, lambda: highest(ridges, radius))


def _far_ridges(maps: SectionMaps, sign: int, number: int) -> float:
    ridges = _ridges_of(maps, sign)[number][::2, ::2]
    return maps.remembered(
        ("far ridges", sign, number), lambda: float(np.percentile(ridges, _USUAL))
    )


def _weight(line: BoolImage, beyond: FloatImage, further: FloatImage) -> float:
    """Return what a line of so little, or so much, evidence per pixel counts of its length."""
    shown = float(np.maximum(beyond[line], 0).mean()) / _CLEARLY_BEYOND
    shown += float(np.maximum(further[line], 0).mean()) / _CLEARLY_FURTHER
    return min(_BARELY + (1 - _BARELY) * shown, 1.0)


def _narrow(view: View, sign: int) -> BoolImage:
    """Tell where no disc wider than a line is about as dark (or bright): elsewhere is a blob."""
    discs = view.section.discs[min(_WIDE_DISC, len(view.section.discs) - 1)]
    wide = sign * (discs.bright if sign > 0 else discs.dark)
    line = sign * _lines_of(view.section, sign)
    return np.asarray(line - enlarge_to(wide, line.shape) > _NARROWER * view.contrast)


def _extent(mask: BoolImage) -> tuple[float, float]:
    """Return the length of a ribbon, and how far it reaches.

    On the mean its pixels are a quarter of its width away from its border. A ragged blob has a
    long border; it reaches no further for that.
    """
    import cv2

    found = Box.of_mask(mask)
    if found is None:
        return 0.0, 0.0
    width = 2 * _half_width(mask[found.slices])
    rows, columns = np.nonzero(mask)
    points = np.stack([columns, rows], axis=1).astype(np.float32)
    span = float(max(cv2.minAreaRect(points)[1]))
    return min(float(mask.sum()) / width, _WINDING * span), span


def _half_width(mask: BoolImage) -> float:
    """Return half of the usual width of a ribbon, pixels."""
    import cv2

    away = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    return max(2 * float(np.median(away[away > 0])) - 0.5, 0.5)


def _apart(view: View, sign: int, line: BoolImage, box: Box) -> float:
    """Return the share of a line that is darker (or brighter) than what lies on either side.

    A strip of a hole is not, nor is a row of dark spots. ``line`` is of every second pixel, ``box``
    around it.
    """
    import cv2

    near = box.expand(_STRETCH // 4 + 8, (line.shape[0], line.shape[1])).slices
    grey, line = sign * view.section.small[near], line[near]
    around = (grow(line, 5) & ~grow(line, 2)).astype(np.float32)
    window = (_STRETCH // 2, _STRETCH // 2)
    total, count = (
        cv2.boxFilter(image, -1, window, normalize=False) for image in (grey * around, around)
    )
    beside = total[line] / np.maximum(count[line], 1)
    return float(np.mean(grey[line] > beside + _STEP * view.contrast))


def _ribbon(view: View, sign: int, lines: BoolImage) -> BoolImage:
    """Return the mask of lines: to their ends, and as wide as they are.

    A piece that fits tells of its centre; the line goes on for half of its length. The border is
    where the grey value is half-way between the line and its surroundings.
    """
    whole = _to_the_ends(view, sign, lines)
    large = enlarge_to(whole.astype(np.float32), view.shape) > 0.5
    core = enlarge_to(lines.astype(np.float32), view.shape) > 0.5
    grey = sign * view.section.smooth
    around = grow(large, 12) & ~grow(large, _MARGIN + 2)
    if not around.any() or not core.any():
        return large
    inside, outside = float(np.median(grey[core])), float(np.median(grey[around]))
    near = grow(large, _MARGIN) & (grey > (inside + outside) / 2)
    # membranes that lead away are thin, and so are the gaps that noise leaves
    solid = grow(grow(near, -2), 2) | (large & near)
    return followed(grow(grow(reached(solid | core, core), 3), -3), _BRANCH)


def _to_the_ends(view: View, sign: int, lines: BoolImage) -> BoolImage:
    """Return all pixels of the pieces that lie on lines; maps of every second pixel."""
    import cv2

    found = Box.of_mask(lines)
    if found is None:
        return lines
    place = found.expand(LINE_REACH, (lines.shape[0], lines.shape[1])).slices
    grey = np.ascontiguousarray(sign * view.section.small[place])
    best = (sign * _lines_of(view.section, sign))[place]
    step = np.float32(0.01 * view.contrast + 1e-6)
    out = lines.copy()
    for piece in straight_pieces():
        # the least along a piece; rounding makes the map a little different
        fits = (cv2.erode(grey, piece) >= best - 2 * step) & lines[place]
        out[place] |= cv2.dilate(fits.astype(np.uint8), piece) > 0
    return grow(grow(out, 1), -1)
