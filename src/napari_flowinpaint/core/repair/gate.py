"""The gate: refuse neighbours that do not show what the section shows.

Asked before anything is repaired, of the section's own intact pixels around the damage. Each
neighbour is aligned and registered to some of them; how well it then agrees with them *and* with
those that were not looked at tells neighbours from other tissue. Either alone is not enough: flow
bends any tissue to what it sees, and pixels far from what it sees agree badly even with real
neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import InputError, RepairRefused
from ..filters import blur
from ..parallel import together
from ..reference.fusion import FEWEST_SAMPLES, cut_holes, depth, rehearsal_part
from ..reference.references import (
    GreyMapping,
    Guide,
    complete,
    neighbours_of,
    register,
    unaligned_guides,
)
from ..reference.rehearsal import structure_correlation
from ..types import BoolImage, FloatImage, RepairOptions, Window

GATES = ("refuse", "flag", "off")
#: What bending buys: a flow that changes by this much from pixel to pixel is worth so much
#: correlation. Other tissue has to be bent more to agree as much.
_BENDING = 2.0
#: Registered neighbours that agree with the section less than this show something else. On the
#: series this was chosen on (serial sections and FIB-SEM, holes of 20 pixels to 30 % of a window)
#: real neighbours reach 0.22 at least; of unrelated ones, 1 % reach 0.2.
LEAST_FIT = 0.2
#: A single neighbour below this does, too: 1 % of real ones are, and 87 % of unrelated ones that
#: stand beside a real one.
LEAST_SINGLE_FIT = 0.06
#: A neighbour with less of the section's fine structure than this is out of focus: real ones stay
#: above 0.83, blurred by a Gaussian of 2 pixels they reach 0.58.
LEAST_SHARPNESS = 0.65
#: A neighbour that has to be moved further than this, in pixels, shows what lies under the hole at
#: the edge of the window or not at all. Real ones stay below 75.
MOST_SHIFT = 100.0
#: Fewer intact pixels than this show too little structure to tell real neighbours from others.
_FEWEST_INTACT = 25_000
#: Share of the intact pixels that registration does not look at.
_UNSEEN = 0.3
#: Fine structure lies between Gaussians of these widths, in pixels: coarser than grain.
_FINE = (1.0, 2.0)


@dataclass(frozen=True, slots=True)
class NeighbourFit:
    """How well one neighbour fits the section.

    Parameters
    ----------
    z
        Its section number.
    agreement
        Below 1: correlation of the registered neighbour with the section after a 2 px low-pass, the
        mean of that where the registration looked and that where it did not, less twice how much
        the flow bends (its mean change from pixel to pixel).
    sharpness
        Its fine structure over that of the section; 1 is alike.
    shift
        How far the coarse alignment moved it, pixels.
    """

    z: int
    agreement: float
    sharpness: float
    shift: float


@dataclass(frozen=True, slots=True)
class WindowFit:
    """How well the neighbours of a window fit its section.

    Parameters
    ----------
    agreement
        As for one neighbour, but of both together where the registration did not look.
    neighbours
        One or two.
    """

    agreement: float
    neighbours: tuple[NeighbourFit, ...]

    @property
    def fault(self) -> str:
        """What is wrong with the neighbours; "" if nothing is."""
        weakest = min(self.neighbours, key=lambda n: n.agreement)
        if self.agreement < LEAST_FIT:
            names = " and ".join(str(n.z) for n in self.neighbours)
            return (
                f"cannot be registered to its neighbour(s) {names}: afterwards they agree with its "
                f"intact pixels by {self.agreement:.2f} only (at least {LEAST_FIT} is needed); "
                "check the alignment of the stack, or mark the neighbours as damaged"
            )
        if weakest.agreement < LEAST_SINGLE_FIT:
            return (
                f"cannot be registered to its neighbour {weakest.z}: afterwards that agrees with "
                f"its intact pixels by {weakest.agreement:.2f} only (at least "
                f"{LEAST_SINGLE_FIT} is needed); mark that neighbour as damaged"
            )
        dullest = min(self.neighbours, key=lambda n: n.sharpness)
        if dullest.sharpness < LEAST_SHARPNESS:
            return (
                f"has a neighbour {dullest.z} that is out of focus: it has "
                f"{dullest.sharpness:.0%} of the section's fine structure (at least "
                f"{LEAST_SHARPNESS:.0%} is needed); mark that neighbour as damaged"
            )
        furthest = max(self.neighbours, key=lambda n: n.shift)
        if furthest.shift > MOST_SHIFT:
            return (
                f"lies {furthest.shift:.0f} px off its neighbour {furthest.z} (at most "
                f"{MOST_SHIFT:.0f} px is permitted); align the stack first"
            )
        return ""

    def scores(self) -> dict[str, float]:
        """Return the numbers by the names they have in a report."""
        return {
            "neighbour_fit": self.agreement,
            "neighbour_least_fit": min(n.agreement for n in self.neighbours),
            "neighbour_sharpness": min(n.sharpness for n in self.neighbours),
            "neighbour_shift": max(n.shift for n in self.neighbours),
        }


def check_gate(options: RepairOptions) -> None:
    """Raise :class:`InputError` unless the options name a gate."""
    if options.gate not in GATES:
        raise InputError(f"gate is '{options.gate}'; choose one of: {', '.join(GATES)}")


def measure_fit(window: Window, seed: int = 0) -> WindowFit | None:
    """Measure how well the neighbours of a window fit its section.

    Parameters
    ----------
    window
        The window; only its intact pixels are looked at.
    seed
        Of the pixels that registration does not look at.

    Returns
    -------
    fit
        None where too little is intact to tell, or there is no neighbour.
    """
    known = window.intact
    if not neighbours_of(window) or known.sum() < _FEWEST_INTACT:
        return None
    part = rehearsal_part(window.mask, known)
    holes = np.zeros_like(known)
    deep = depth(window.mask[part.slices])
    holes[part.slices] = cut_holes(deep, known[part.slices], _UNSEEN, seed)
    if holes.sum() < FEWEST_SAMPLES:
        return None
    greys = GreyMapping.of(window)
    section = greys.to_working(np.where(known, window.section, 0))
    section[~known] = section[known].mean()
    seen = known & ~holes
    guides = unaligned_guides(window, greys)
    aligned = together([partial(guide.align_to, section, seen) for guide in guides])
    there = np.ascontiguousarray(section[part.slices])
    looked_at, unseen = seen[part.slices].copy(), holes[part.slices].copy()
    parts = [partial(_registered, guide.crop(part), there, looked_at) for guide in aligned]
    registered = together(parts)
    gone = [lacking for _, _, lacking in registered]
    images = complete([image for image, _, _ in registered], gone)
    own = max(_fine(section, known & within(window.imaged, known)), 1e-6)
    fits, looked = [], []
    bending = [_BENDING * bent for _, bent, _ in registered]
    for neighbour, guide, image, bent, lacking in zip(
        neighbours_of(window), aligned, images, bending, gone, strict=True
    ):
        looked.append(structure_correlation(image, there, looked_at & ~lacking))
        correlation = (looked[-1] + structure_correlation(image, there, unseen & ~lacking)) / 2
        sharpness = _fine(guide.image, within(guide.valid, known)) / own
        fits.append(NeighbourFit(neighbour.z, correlation - bent, sharpness, _shift(guide)))
    average = np.asarray(np.mean(images, axis=0), dtype=np.float32)
    correlation = (float(np.mean(looked)) + structure_correlation(average, there, unseen)) / 2
    return WindowFit(correlation - float(np.mean(bending)), tuple(fits))


def judge(z: int, fault: str, gate: str) -> tuple[str, ...]:
    """Refuse a section with a fault, or return what to flag it with.

    Parameters
    ----------
    z
        Section number.
    fault
        What is wrong; "" if nothing is.
    gate
        ``"refuse"``, ``"flag"`` or ``"off"``.

    Raises
    ------
    RepairRefused
        If there is a fault and the gate is to refuse.
    """
    if not fault or gate == "off":
        return ()
    message = f"section {z} {fault}"
    if gate == "refuse":
        raise RepairRefused(message)
    return (message,)


def _registered(
    guide: Guide, section: FloatImage, seen: BoolImage
) -> tuple[FloatImage, float, BoolImage]:
    """Register an aligned neighbour to the pixels of a section that may be looked at.

    Returns the neighbour, how much the flow changes from pixel to pixel, and where the neighbour
    shows nothing.
    """
    flow = register(section, seen & guide.shown, guide.aligned)
    bent = sum(float(np.abs(np.diff(flow, axis=axis)).mean()) for axis in (1, 2))
    return guide.sample(flow), bent, guide.damaged(flow)


def within(shown: BoolImage | None, all_of: BoolImage) -> BoolImage:
    """Return the pixels around which all is shown, as far as filters reach; all where it is."""
    import cv2

    if shown is None or shown.all():
        return np.ones_like(all_of)
    size = 2 * round(4 * _FINE[1]) + 1
    return cv2.erode(shown.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def _shift(guide: Guide) -> float:
    """Return how far, in pixels, alignment moved the middle of a neighbour."""
    centre = np.array([(side - 1) / 2 for side in guide.image.shape[::-1]])
    return float(np.hypot(*(guide.affine @ np.append(centre, 1) - centre)))


def _fine(image: FloatImage, where: BoolImage) -> float:
    """Return how much fine structure an image has."""
    band = blur(image, _FINE[0]) - blur(image, _FINE[1])
    return float(np.sqrt(np.mean(band[where] ** 2))) if where.any() else 0.0
