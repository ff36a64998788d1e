"""The gate: leave out neighbours that do not show what the section shows.

Asked before anything is repaired, of the section's own intact pixels around the damage. Every
neighbour is aligned and registered to them. Flow bends any tissue until it agrees with what it is
registered to; by how much, depends on the tissue, its noise and the size of the window. So where it
does not agree beyond doubt, the neighbour is held against its like: its mirror images, registered
in the same way, show such tissue but nothing that lies there. Only what the neighbour agrees better
than they do is evidence that it shows the section, whatever the tissue and the microscope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import InputError
from ..filters import blur, wide_blur
from ..parallel import together
from ..reference.guides import GreyMapping, Guide, neighbours_of, unaligned_guides
from ..reference.optical_flow import FARTHEST, IDENTITY, moved_by
from ..reference.references import register
from ..reference.rehearsal_holes import rehearsal_part
from ..repair_options import RepairOptions
from ..types import BoolImage, Box, FloatImage
from ..window import Window

GATES = ("refuse", "flag", "off")
#: A neighbour that agrees with the section by less than this more than its mirror images do shows
#: something else.
LEAST_GAIN = 0.11
#: One that agrees by this much needs no such comparison: of unrelated ones hardly any reaches 0.5.
_CLEAR = 0.58
#: A neighbour with less of the section's fine structure than this is out of focus: real ones stay
#: above 0.8, blurred by a Gaussian of 2 pixels they reach 0.61.
LEAST_SHARPNESS = 0.7
#: A neighbour that has to be moved further than this, in pixels, shows what lies under the hole at
#: the edge of the window or not at all.
MOST_SHIFT = FARTHEST
#: Fewer pixels than this that both show tell too little of them.
FEWEST_SHARED = 4_000
#: Structure that is compared lies between Gaussians of these widths, in pixels: coarser than grain,
#: finer than shading.
_COMPARED = (2.0, 16.0)
#: Fine structure lies between these; it is not measured nearer to a hole than so many pixels.
_FINE, _RIM = (1.0, 2.0), 4


@dataclass(frozen=True, slots=True)
class NeighbourFit:
    """How well one neighbour fits the section.

    Parameters
    ----------
    z
        Its section number.
    agreement
        Correlation of the registered neighbour with the section's intact pixels, of structure
        between 2 and 16 pixels.
    chance
        The mean of that of its mirror images, as many as it takes; None where there is no doubt.
    sharpness
        Its fine structure over that of the section; 1 is alike.
    shift
        How far the coarse alignment moved it, pixels.
    """

    z: int
    agreement: float
    chance: float | None
    sharpness: float
    shift: float

    @property
    def in_doubt(self) -> bool:
        """Whether more context might tell otherwise whether it shows the section."""
        return self.chance is not None and self.agreement - self.chance <= 2 * LEAST_GAIN

    @property
    def fault(self) -> str:
        """What is wrong with it: "other", "blurred" or "shifted"; "" if nothing is."""
        if self.chance is not None and self.agreement - self.chance < LEAST_GAIN:
            return "other"
        if self.sharpness < LEAST_SHARPNESS:
            return "blurred"
        return "shifted" if self.shift > MOST_SHIFT else ""


def check_gate(options: RepairOptions) -> None:
    """Raise :class:`InputError` unless the options name a gate."""
    if options.gate not in GATES:
        raise InputError(f"gate is '{options.gate}'; choose one of: {', '.join(GATES)}")


def measure_fit(window: Window) -> tuple[NeighbourFit, ...]:
    """Measure how well the neighbours of a window fit its section.

    Parameters
    ----------
    window
        The window; only its intact pixels are looked at, and the valid ones of its neighbours.

    Returns
    -------
    fits
        Of every neighbour that shows enough of what is intact to tell.
    """
    known = window.intact
    if known.sum() < FEWEST_SHARED:
        return ()
    greys = GreyMapping.of(window)
    section = greys.to_working(np.where(known, window.section, 0))
    section[~known] = section[known].mean()
    part = rehearsal_part(window.mask, known)
    judged = [
        partial(_judge, neighbour.z, guide, section, known, part)
        for neighbour, guide in zip(
            neighbours_of(window), unaligned_guides(window, greys), strict=True
        )
        if (known & guide.valid).sum() >= FEWEST_SHARED
    ]
    return tuple(together(judged))


def describe_faults(z: int, fits: Iterable[NeighbourFit]) -> str:
    """Return in words what is wrong with the neighbours of section z; "" if nothing is.

    Examples
    --------
    >>> describe_faults(4, [NeighbourFit(5, 0.9, None, 0.5, 2.0)])
    "section 5 is out of focus (it has 50% of section 4's fine structure, 70% is needed)"
    """
    said = []
    for fault in ("other", "blurred", "shifted"):
        faulty = [fit for fit in fits if fit.fault == fault]
        if faulty:
            said.append(_sentence(z, fault, faulty))
    return ", and ".join(said)


def fit_scores(fits: Sequence[NeighbourFit]) -> dict[str, float]:
    """Return the numbers of the neighbours by the names they have in a report."""
    if not fits:
        return {}
    return {
        "neighbour_fit": float(np.mean([fit.agreement for fit in fits])),
        "neighbour_least_fit": min(fit.agreement for fit in fits),
        "neighbour_sharpness": min(fit.sharpness for fit in fits),
        "neighbour_shift": max(fit.shift for fit in fits),
    }


def _sentence(z: int, fault: str, faulty: Sequence[NeighbourFit]) -> str:
    """Return what is wrong with the sections that have the same fault."""
    numbers = [str(fit.z) for fit in sorted(faulty, key=lambda fit: (abs(fit.z - z), fit.z))]
    one = len(numbers) == 1
    names = " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))
    subject = f"section{'' if one else 's'} {names}"
    if fault == "other":
        best = max(faulty, key=lambda fit: fit.agreement - (fit.chance or 0))
        agree, its = ("it agrees", "its") if one else ("they agree", "their")
        return (
            f"{subject} show{'s' if one else ''} something other than section {z} ({agree} by "
            f"{best.agreement:.2f}, {its} mirror images by {best.chance:.2f})"
        )
    verb = "is" if one else "are"
    if fault == "blurred":
        sharpest = max(fit.sharpness for fit in faulty)
        have = "it has" if one else "they have at most"
        return (
            f"{subject} {verb} out of focus ({have} {sharpest:.0%} of section {z}'s fine "
            f"structure, {LEAST_SHARPNESS:.0%} is needed)"
        )
    nearest = min(fit.shift for fit in faulty)
    return (
        f"{subject} lie{'s' if one else ''} {nearest:.0f} px off section {z} "
        f"(at most {MOST_SHIFT:.0f} px is permitted)"
    )


def _judge(z: int, guide: Guide, section: FloatImage, known: BoolImage, part: Box) -> NeighbourFit:
    """Measure how well one neighbour fits the section, in a part of the window."""
    agreement, shift = _agreement(guide, section, known, part)
    chance = None
    if agreement < _CLEAR:
        found: list[float] = []
        for like in _mirrored(guide, known & guide.valid):
            found.append(_agreement(like, section, known, part)[0])
            chance = float(np.mean(found))
            if agreement - chance > 2 * LEAST_GAIN:
                break
    sharpness = _fine(guide.image, guide.valid) / max(_fine(section, known), 1e-6)
    return NeighbourFit(z, agreement, chance, sharpness, shift)


def _mirrored(guide: Guide, shared: BoolImage) -> Iterator[Guide]:
    """Yield a neighbour mirrored in three ways where it shares pixels with the section."""
    box = Box.of_mask(shared)
    assert box is not None  # checked by the caller
    for y, x in ((-1, -1), (-1, 1), (1, -1)):
        image, valid = guide.image.copy(), guide.valid.copy()
        image[box.slices] = guide.image[box.slices][::y, ::x]
        valid[box.slices] = guide.valid[box.slices][::y, ::x]
        yield replace(
            guide, image=image, valid=valid, affine=IDENTITY.copy(), aligned=image, shown=valid
        )


def _agreement(
    guide: Guide, section: FloatImage, known: BoolImage, part: Box
) -> tuple[float, float]:
    """Register a neighbour; return how well it agrees, and how far the alignment moved it."""
    aligned = guide.align_to(section, known)
    shift = moved_by(aligned.affine, section.shape)
    cropped = aligned.crop(part)
    there = np.ascontiguousarray(section[part.slices])
    seen = known[part.slices] & cropped.shown
    image = cropped.sample(register(there, seen, cropped.aligned))
    if np.count_nonzero(seen) < 2:
        return 0.0, shift
    a, b = (_structure(picture)[seen] for picture in (image, there))
    flat = float(min(a.std(), b.std())) == 0
    return 0.0 if flat else float(np.corrcoef(a, b)[0, 1]), shift


def _structure(image: FloatImage) -> FloatImage:
    """Return what is neither grain nor shading."""
    low, high = _COMPARED
    return blur(image, low) - wide_blur(image, high)


def _fine(image: FloatImage, where: BoolImage) -> float:
    """Return how much fine structure an image has, not counting the rims of its holes."""
    import cv2

    side = 2 * _RIM + 1
    inner = cv2.erode(where.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    band = blur(image, _FINE[0]) - blur(image, _FINE[1])
    return float(np.sqrt(np.mean(band[inner if inner.any() else where] ** 2)))
