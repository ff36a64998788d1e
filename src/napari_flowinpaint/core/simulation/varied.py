"""Damage of many shapes, greys, rims and sizes, independent of how it is detected.

:mod:`.draw` draws each kind from one description; what microscopes deliver varies more. Here a
*sort* of damage is a function that draws everything at random: plain discs as well as ragged
blobs, sharp and soft rims, opaque and half transparent, single or several, also across the border.
Sizes are in pixels, from 15 to 200 across, whatever the section's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..filters import blur
from ..reference.optical_flow import warp
from ..types import AnyImage, BoolImage, FloatImage, to_dtype
from .fields import smooth_field
from .shapes import blob, grey_range, irregular_mask

_Rng = np.random.Generator
_Shape = tuple[int, int]
#: Where damage weighs less than this a pixel is taken for intact.
_SEEN = 0.25
#: Sort and kind of :func:`copy_of`.
COPIED = "copied"
#: How often damage that cannot be seen is drawn again.
_TRIES = 20
#: How far around a spot it is compared, pixels.
_AROUND = 8
#: Change of grey values that can be seen, and step at the border, in standard deviations of the
#: structures of a section wider than this (last number, pixels).
_VISIBLE, _STRUCTURES = 1.0, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class VariedDamage:
    """A section that was damaged on purpose.

    Parameters
    ----------
    image
        (Y, X), the section's dtype.
    mask
        (Y, X) bool, True = damaged. Of a fold this is the dark line.
    kinds
        Names of :data:`~..kinds.KINDS` that describe it: what a plain grey disc is called is a
        matter of taste.
    """

    image: AnyImage
    mask: BoolImage
    kinds: tuple[str, ...]


def vary(sort: str, section: AnyImage, rng: _Rng) -> VariedDamage:
    """Damage a section.

    Parameters
    ----------
    sort
        A name of :data:`SORTS`.
    section
        (Y, X) of any dtype of a stack. Not changed.
    rng
        Source of randomness.
    """
    draw, kinds = SORTS[sort]
    grey, mask = draw(section.astype(np.float32), rng)
    return VariedDamage(to_dtype(grey, section.dtype), mask, kinds)


def copy_of(neighbour: AnyImage, rng: _Rng) -> VariedDamage:
    """Return a copy of a neighbour in place of a section, as it is or a little changed.

    Parameters
    ----------
    neighbour
        (Y, X) of any dtype of a stack. Not changed.
    rng
        Source of randomness: half of the copies have another brightness, or some noise.
    """
    grey = neighbour.astype(np.float32)
    dark, light = grey_range(grey)
    change = rng.random()
    if change < 0.25:
        grey = dark + rng.uniform(0.8, 1.1) * (grey - dark) + rng.uniform(-0.05, 0.05) * light
    elif change < 0.5:
        spread = rng.uniform(0.01, 0.05) * (light - dark)
        grey = grey + spread * rng.standard_normal(grey.shape, dtype=np.float32)
    everything = np.ones(grey.shape, dtype=bool)
    return VariedDamage(to_dtype(grey, neighbour.dtype), everything, (COPIED,))


def _is_seen(grey: FloatImage, section: FloatImage, mask: BoolImage, by_grey: bool) -> bool:
    """Tell whether damage stands out by a standard deviation of the section's structures.

    The change it makes has to, and if ``by_grey`` its mean grey value has to stand out from its
    surroundings as well: without knowing what was there one sees a spot by its grey value, and only
    a large flat patch without that.
    """
    import cv2

    change, structures = blur(grey - section, _STRUCTURES), blur(section, _STRUCTURES)
    least = _VISIBLE * float(structures.std())
    if not mask.any() or np.sqrt(np.mean(change[mask] ** 2)) < least:
        return False
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * _AROUND + 1,) * 2, np.uint8)) > 0
    ring = near & ~mask
    stands_out = ring.any() and abs(float(grey[mask].mean() - grey[ring].mean())) >= least
    return bool(stands_out or not by_grey)


def _size(rng: _Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _disc_weight(shape: _Shape, across: float, rng: _Rng) -> FloatImage:
    """Return the signed distance (positive inside) from a disc, an ellipse or a ragged blob."""
    edge = rng.random() < 0.15
    low, high = (0.0, 1.0) if edge else (0.08, 0.92)
    centre = rng.uniform(low, high, 2) * shape
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = rows - centre[0], columns - centre[1]
    turn, squeeze = rng.uniform(0, np.pi), 1.0 if rng.random() < 0.4 else rng.uniform(0.7, 1)
    u = (y * np.cos(turn) + x * np.sin(turn)) * squeeze
    v = (x * np.cos(turn) - y * np.sin(turn)) / squeeze
    away = across / 2 - np.hypot(u, v)
    if rng.random() < 0.4:
        away = away + 0.15 * across * smooth_field(shape, max(across / 4, 3), rng)
    return np.asarray(away, dtype=np.float32)


def _blotches(
    section: FloatImage,
    rng: _Rng,
    level: float,
    sizes: tuple[float, float],
    by_grey: bool = True,
) -> tuple:
    """Cover a section with one to twelve blotches of a grey value in units of its range.

    Drawn again where nobody could see them: bright ones on bright tissue, say.
    """
    for _ in range(_TRIES):
        grey, mask = _some_blotches(section, rng, level, sizes)
        if _is_seen(grey, section, mask, by_grey):
            break
    return grey, mask


def _some_blotches(
    section: FloatImage, rng: _Rng, level: float, sizes: tuple[float, float]
) -> tuple[FloatImage, BoolImage]:
    dark, light = grey_range(section)
    span = light - dark
    largest = min(_size(rng, *sizes), 0.35 * min(section.shape))
    count = 1 if rng.random() < 0.4 else int(rng.integers(2, 13 if largest < 60 else 5))
    solid = rng.random() < 0.7 or largest < 40
    opacity = 1.0 if solid else rng.uniform(0.6, 0.9)
    softness = 0.0 if rng.random() < 0.5 else rng.uniform(0.05, 0.4)
    noise = 0.0 if rng.random() < 0.6 else rng.uniform(0.02, 0.1) * span
    weight = np.zeros(section.shape, np.float32)
    for _ in range(count):
        across = largest * rng.uniform(0.8, 1.1)
        away = _disc_weight(section.shape, across, rng)
        rim = max(softness * across, 1.0)
        weight = np.maximum(weight, np.clip(away / rim + 0.5, 0, 1))
    weight *= opacity
    fill = dark + level * span + noise * rng.standard_normal(section.shape, dtype=np.float32)
    return section * (1 - weight) + fill * weight, weight > _SEEN


def _dark(section: FloatImage, rng: _Rng) -> tuple:
    return _blotches(section, rng, rng.choice([0.0, 0.0, -0.15, 0.05]), (15, 200))


def _bright(section: FloatImage, rng: _Rng) -> tuple:
    return _blotches(section, rng, rng.choice([1.0, 1.0, 1.15, 0.95]), (15, 200))


def _grey(section: FloatImage, rng: _Rng) -> tuple:
    return _blotches(section, rng, rng.uniform(0.2, 0.8), (40, 200), by_grey=False)


def _plain_disc(section: FloatImage, rng: _Rng) -> tuple:
    """Put plain black discs of one size on a section, as one would by hand."""
    across = rng.choice([20, 30, 40, 60])
    grey, mask = section.copy(), np.zeros(section.shape, bool)
    for _ in range(int(rng.integers(1, 6))):
        centre = rng.uniform(0.1, 0.9, 2) * section.shape
        rows, columns = np.ogrid[: section.shape[0], : section.shape[1]]
        mask |= np.hypot(rows - centre[0], columns - centre[1]) <= across / 2
    grey[mask] = 0 if rng.random() < 0.5 else section.min()
    return grey, mask


def _cloud(section: FloatImage, rng: _Rng) -> tuple:
    dark, light = grey_range(section)
    mask = blob(section.shape, _size(rng, 0.03, 0.35), rng)
    across = np.sqrt(mask.sum())
    weight = np.clip(blur(mask.astype(np.float32), across * rng.uniform(0.03, 0.2)), 0, 1)
    weight *= rng.uniform(0.65, 0.95)
    level = dark + rng.uniform(0.0, 0.7) * (light - dark)
    return section * (1 - weight) + level * weight, weight > _SEEN


def _charging(section: FloatImage, rng: _Rng) -> tuple:
    """Charge a place: a glow that saturates, or bright streaks along the scan, and a dark shade."""
    dark, light = grey_range(section)
    span = light - dark
    mask = blob(section.shape, _size(rng, 0.02, 0.2), rng)
    glow = blur(mask.astype(np.float32), np.sqrt(mask.sum()) * rng.uniform(0.05, 0.2))
    if rng.random() < 0.5:
        rows = rng.random((section.shape[0], 1)) < rng.uniform(0.3, 0.7)
        glow = np.asarray(glow * blur(rows.astype(np.float32).repeat(2, 1), 0.8)[:, :1])
    rise = rng.uniform(0.8, 1.6) * span * glow
    top = light + 0.1 * span
    return np.minimum(section + rise, top), rise > 0.3 * span


def _blur(section: FloatImage, rng: _Rng) -> tuple:
    sigma = max(0.004 * min(section.shape), 1.5) * rng.uniform(1.2, 3)
    whole = rng.random() < 0.5
    weight = np.ones(section.shape, np.float32)
    if not whole:
        mask = blob(section.shape, rng.uniform(0.08, 0.5), rng)
        weight = blur(mask.astype(np.float32), rng.uniform(1, 12))
    grain = float((section - blur(section, 1.0)).std()) * rng.uniform(0, 0.4)
    noise = grain * rng.standard_normal(section.shape, dtype=np.float32)
    return section + weight * (blur(section, sigma) + noise - section), weight > 0.5


def _noise_burst(section: FloatImage, rng: _Rng) -> tuple:
    """Drown some rows, or a whole section, in noise: a beam that flickers."""
    dark, light = grey_range(section)
    height = section.shape[0]
    rows = max(round(height * _size(rng, 0.06, 0.5)), 8)
    y = int(rng.integers(0, height - rows + 1))
    mask = np.zeros(section.shape, bool)
    mask[y : y + rows] = True
    spread = rng.uniform(0.5, 1.2) * (light - dark)
    noise = spread * rng.standard_normal(section.shape, dtype=np.float32)
    if rng.random() < 0.4:  # whole rows flicker
        noise = np.broadcast_to(noise[:, :1], section.shape)
    return np.where(mask, np.clip(section + noise, dark, light), section), mask


def _missing(section: FloatImage, rng: _Rng) -> tuple:
    dark, light = grey_range(section)
    mask = np.ones(section.shape, bool)
    if rng.random() < 0.6:
        tile = np.array([rng.uniform(0.25, 0.8), rng.uniform(0.25, 0.8)]) * section.shape
        y, x = (int(rng.integers(0, n - t)) for n, t in zip(section.shape, tile, strict=True))
        mask[:] = False
        mask[y : y + int(tile[0]), x : x + int(tile[1])] = True
    level = dark + rng.choice([0.0, 1.0, 0.5, -0.2]) * (light - dark)
    noise = rng.choice([0.0, 0.02]) * (light - dark)
    fill = level + noise * rng.standard_normal(section.shape, dtype=np.float32)
    return np.where(mask, fill, section), mask


def _hole(section: FloatImage, rng: _Rng) -> tuple:
    dark, light = grey_range(section)
    if rng.random() < 0.5:
        mask = blob(section.shape, _size(rng, 0.01, 0.15), rng)
    else:
        mask = irregular_mask(section.shape, _size(rng, 0.02, 0.15), rng)
    level = dark + rng.choice([1.05, 1.0, 0.0, -0.1]) * (light - dark)
    grain = rng.uniform(0, 0.05) * (light - dark)
    fill = level + grain * rng.standard_normal(section.shape, dtype=np.float32)
    return np.where(mask, fill, section), mask


def _course(shape: _Shape, rng: _Rng, bend: float, ends: bool) -> FloatImage:
    """Return a curve as points (n, 2) in y, x, across a section or ending within it."""
    diagonal = float(np.hypot(*shape))
    angle = rng.uniform(0, 2 * np.pi)
    middle = rng.uniform(0.3, 0.7, 2) * shape
    length = diagonal * (rng.uniform(0.3, 0.6) if ends else 1.6)
    t = np.linspace(-0.5, 0.5, 400)
    turn = angle + bend * (t + 0.3 * np.sin(2 * np.pi * (t + rng.random())))
    steps = np.stack([np.sin(turn), np.cos(turn)], 1) * length / t.size
    points = np.cumsum(steps, 0)
    return np.asarray(points - points[t.size // 2] + middle, dtype=np.float32)


def _distance(shape: _Shape, courses: list[FloatImage]) -> FloatImage:
    """Return the distance of every pixel from the nearest of some curves."""
    import cv2

    free = np.full(shape, 255, np.uint8)
    for points in courses:
        line = np.rint(points[:, ::-1] * 16).astype(np.int32)
        cv2.polylines(free, [line], False, 0, 1, shift=4)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _curves(shape: _Shape, rng: _Rng, curved: bool, ends: bool, branched: bool) -> list[FloatImage]:
    bend = rng.uniform(-1.8, 1.8) if curved else 0.0
    first = _course(shape, rng, bend, ends)
    if not branched:
        return [first]
    inside = ((first > 0.2 * np.array(shape)) & (first < 0.8 * np.array(shape))).all(1)
    place = first[rng.choice(np.flatnonzero(inside))]
    second = _course(shape, rng, bend, True)
    return [first, second - second[0] + place]


def _folded(
    section: FloatImage, rng: _Rng, curved: bool, ends: bool = False, branched: bool = False
) -> tuple:
    """Fold a section along curves: a dark line of varying width, tissue beside it drawn in."""
    scale = min(section.shape) / 512
    distance = _distance(section.shape, _curves(section.shape, rng, curved, ends, branched))
    width = scale * rng.uniform(6, 20) * (1 + 0.2 * smooth_field(section.shape, 60 * scale, rng))
    swallowed, reach = scale * rng.uniform(0, 15), scale * rng.uniform(20, 150)
    smooth = blur(distance, 2.0)
    rows, columns = np.gradient(smooth)
    slopes = np.stack([rows, columns]).astype(np.float32)
    slopes /= np.maximum(np.hypot(*slopes), 0.3)
    push = swallowed * np.clip(1 - distance / reach, 0, None)
    grey = warp(np.ascontiguousarray(section), np.ascontiguousarray(slopes * push))
    dark, light = grey_range(section)
    level = dark + rng.uniform(-0.1, 0.12) * (light - dark)
    texture = rng.uniform(0.02, 0.06) * (light - dark)
    fill = level + texture * rng.standard_normal(section.shape, dtype=np.float32)
    weight = np.clip((width / 2 - distance) / rng.uniform(1, 3) + 0.5, 0, 1)
    return grey * (1 - weight) + fill * weight, weight > 0.5


def _cracked(section: FloatImage, rng: _Rng) -> tuple:
    """Tear a section: a bright gap, sharp, often ending inside and tapered to its ends."""
    scale = min(section.shape) / 512
    curved, ends = rng.random() < 0.6, rng.random() < 0.4
    distance = _distance(section.shape, _curves(section.shape, rng, curved, ends, False))
    width = scale * rng.uniform(6, 20) * (1 + 0.3 * smooth_field(section.shape, 40 * scale, rng))
    dark, light = grey_range(section)
    mask = distance <= np.clip(width, 3 * scale, None) / 2
    grain = rng.uniform(0.0, 0.05) * (light - dark)
    level = light + rng.uniform(0, 0.1) * (light - dark)
    fill = level + grain * rng.standard_normal(section.shape, dtype=np.float32)
    return np.where(mask, fill, section), mask


def _knife_marks(section: FloatImage, rng: _Rng) -> tuple:
    """Score a section by a bad knife: parallel straight lines, dark or bright."""
    scale = min(section.shape) / 512
    angle, count = rng.uniform(0, np.pi), int(rng.integers(1, 5))
    rows, columns = np.ogrid[: section.shape[0], : section.shape[1]]
    away = rows * np.cos(angle) + columns * np.sin(angle)
    mask = np.zeros(section.shape, bool)
    low, high = np.percentile(away, (15, 85))
    for offset in rng.uniform(low, high, count):
        mask |= np.abs(away - offset) <= scale * rng.uniform(3, 8) / 2 + 0.5
    dark, light = grey_range(section)
    level = dark if rng.random() < 0.5 else light
    weight = rng.uniform(0.75, 1)
    return np.where(mask, section + weight * (level - section), section), mask


def _misplaced(section: FloatImage, rng: _Rng) -> tuple:
    from .degrade import Misaligned

    turn = 0.0 if rng.random() < 0.5 else rng.uniform(-8, 8)
    shift = min(section.shape) * rng.uniform(0.06, 0.25)
    grey, mask = Misaligned(shift, turn).draw(section, rng)
    return grey, mask


def _fold(curved: bool, ends: bool = False, branched: bool = False) -> Callable[..., tuple]:
    return lambda section, rng: _folded(section, rng, curved, ends, branched)


#: All sorts of damage: what draws it, and the kinds that describe it.
SORTS: dict[str, tuple[Callable[[FloatImage, _Rng], tuple], tuple[str, ...]]] = {
    "plain disc": (_plain_disc, ("dark", "hole")),
    "dark": (_dark, ("dark", "hole", "staining")),
    "bright": (_bright, ("bright", "hole", "staining")),
    "grey": (_grey, ("hole", "staining", "dark", "bright", "blur")),
    "cloud": (_cloud, ("staining", "dark", "hole", "blur")),
    "charging": (_charging, ("bright", "staining", "hole")),
    "blur": (_blur, ("blur",)),
    "noise": (_noise_burst, ("noise",)),
    "missing": (_missing, ("missing", "hole")),
    "hole": (_hole, ("hole", "dark", "bright", "missing", "crack", "fold")),
    "fold": (_fold(False), ("fold",)),
    "curved fold": (_fold(True), ("fold",)),
    "fold that ends": (_fold(True, True), ("fold",)),
    "branched fold": (_fold(True, False, True), ("fold",)),
    "crack": (_cracked, ("crack", "hole", "bright")),
    "knife marks": (_knife_marks, ("fold", "crack", "dark", "bright")),
    "misaligned": (_misplaced, ("misaligned",)),
}
