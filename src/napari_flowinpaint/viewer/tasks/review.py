"""A finished repair while somebody looks at it: stages, components, what is accepted.

Responsible for: the pictures of each stage over the repair's box, the connected components with
their numbers, which of them are accepted. No Qt, no napari; what is heavy is done when a review is
made, which is in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...core.methods.choice import describe_methods
from ...core.reference.optical_flow import Flow
from ...core.refusal import describe_refused
from ...core.section_repair import Patch, SectionRepair
from ...core.types import AnyImage, BoolImage, Box, FloatImage
from .refusals import RefusedPlace

#: The four layers of a repair, in the order in which they are shown.
STAGES = ("initial reference", "refined reference", "result", "confidence")

#: Least distance between the arrows of an unfolding, pixels, and the most arrows in a row.
_ARROW_STEP, _MOST_ARROWS = 24, 40
_ATTRIBUTES = {
    "initial reference": "initial_reference",
    "refined reference": "refined_reference",
}


@dataclass(frozen=True, slots=True)
class Component:
    """One connected component of the mask that was repaired.

    Parameters
    ----------
    number
        From 1, unique within the section.
    pixels
        Number of pixels replaced.
    confidence
        Mean over the pixels, 0 to 1.
    box
        Bounding box in the section.
    """

    number: int
    pixels: int
    confidence: float
    box: Box


@dataclass(eq=False)
class Review:
    """A repair and the user's decisions about it.

    Parameters
    ----------
    repair
        The finished repair.
    original
        (H, W) pixels of the section over ``repair.box``, before anything was written.
    components
        What can be accepted one by one.
    left
        What was refused.
    accepted
        Numbers of the components that are to be written; at first all of them. Changed by
        :meth:`set_accepted`.
    """

    repair: SectionRepair
    original: AnyImage
    components: tuple[Component, ...]
    left: tuple[RefusedPlace, ...] = ()
    accepted: set[int] = field(init=False)
    _result: AnyImage = field(init=False)

    def __post_init__(self) -> None:
        self.accepted = set()
        self._result = self.original.copy()
        self.set_accepted({component.number for component in self.components}, True)

    def set_accepted(self, numbers: set[int], accepted: bool) -> None:
        """Accept or reject components; the result shows the original where rejected."""
        self.accepted = self.accepted | numbers if accepted else self.accepted - numbers
        for patch in self.repair.patches:
            where = _is_any_of(patch.components, numbers)
            place = patch.box.within(self.repair.box)
            source = patch.result if accepted else self.original[place]
            self._result[place][where] = source[where]

    @property
    def z(self) -> int:
        """Section number."""
        return self.repair.z

    def image(self, stage: str) -> AnyImage:
        """Return a stage over ``repair.box``, (H, W).

        References and result have the stack's dtype and show the section itself between the
        windows; components that are not accepted show the original in the result. Confidence
        is float32, NaN (which viewers draw transparent) outside the mask.
        """
        box = self.repair.box
        if stage == "confidence":
            out = np.full(box.shape, np.nan, dtype=np.float32)
            for patch in self.repair.patches:
                out[patch.box.within(box)][patch.mask] = patch.confidence[patch.mask]
            return out
        if stage == "result":
            return self._result
        out = self.original.copy()
        name = _ATTRIBUTES[stage]
        for patch in self.repair.patches:
            out[patch.box.within(box)] = getattr(patch, name)
        for patch in self.repair.patches:
            # Windows may overlap: under a mask the window that was made for it wins.
            out[patch.box.within(box)][patch.mask] = getattr(patch, name)[patch.mask]
        return out

    @property
    def moves(self) -> bool:
        """Whether the repair moves tissue."""
        return any(patch.displaced is not None for patch in self.repair.patches)

    def zone(self) -> AnyImage:
        """Return what the accepted folds change, over ``repair.box``: (H, W) uint8.

        0 outside, elsewhere 1 to 255 by the number of the fold, so that zones that touch are told
        apart.
        """
        out = np.zeros(self.repair.box.shape, dtype=np.uint8)
        for patch in self.repair.patches:
            if patch.displaced is not None:
                numbers = np.where(_is_any_of(patch.components, self.accepted), patch.components, 0)
                place = out[patch.box.within(self.repair.box)]
                place[numbers > 0] = (numbers[numbers > 0] - 1) % 255 + 1
        return out

    def arrows(self) -> FloatImage:
        """Return how the accepted folds move tissue, thinned: (N, 2, 2) float32.

        Each is a place (y, x) over ``repair.box``, and how far the tissue there is moved, pixels.
        """
        found = [np.zeros((0, 2, 2), dtype=np.float32)]
        for patch in self.repair.patches:
            if patch.displaced is not None:
                moved = patch.displaced.mask
                if not moved.any():  # all of it went through a network, and is synthetic
                    moved = patch.displaced.zone
                moved = moved & _is_any_of(patch.components, self.accepted)
                place = patch.box.shifted(-self.repair.box.y0, -self.repair.box.x0)
                arrows = _arrows(patch.displaced.flow, moved)
                arrows[:, 0] += (place.y0, place.x0)
                found.append(arrows)
        return np.concatenate(found).astype(np.float32)

    def selected(self) -> SectionRepair:
        """Return the repair reduced to the accepted components."""
        return self.repair.select(set(self.accepted))

    def summary(self) -> str:
        """Return in one line what made the repair, and what was left."""
        sections = self.repair.provenance.neighbours
        names = " and ".join(str(n) for n in sections) or "no other section"
        seconds = sum(patch.seconds for patch in self.repair.patches)
        made = f"method {describe_methods(self.repair.patches)}, from {names}, {seconds:.1f} s"
        return f"{made}; {describe_refused(self.repair.refused)}" if self.repair.refused else made


def _is_any_of(components: AnyImage, numbers: set[int]) -> BoolImage:
    """Return where a picture of component numbers shows one of ``numbers``."""
    lookup = np.zeros(int(components.max(initial=0)) + 1, dtype=bool)
    lookup[[n for n in numbers if 0 < n < lookup.size]] = True
    return lookup[components]


def _arrows(flow: Flow, moved: BoolImage) -> FloatImage:
    """Return arrows on a grid, from where tissue is to where it is moved, (N, 2, 2)."""
    step = max(_ARROW_STEP, max(moved.shape) // _MOST_ARROWS)
    grid = np.zeros_like(moved)
    grid[step // 2 :: step, step // 2 :: step] = True
    there = np.argwhere(moved & grid & (np.hypot(*flow) > 1))
    shift = flow[:, there[:, 0], there[:, 1]].T
    return np.stack([there + shift, -shift], axis=1).astype(np.float32)


def find_components(repair: SectionRepair) -> tuple[Component, ...]:
    """Return the components of a repair, ascending by number."""
    found = [c for patch in repair.patches for c in _of_patch(patch)]
    return tuple(sorted(found, key=lambda c: c.number))


def _of_patch(patch: Patch) -> Iterator[Component]:
    """Yield the components of one window."""
    from scipy import ndimage

    y, x = patch.box.y0, patch.box.x0
    numbers = patch.components.ravel()
    pixels = np.bincount(numbers)
    sums = np.bincount(numbers, weights=patch.confidence.ravel())
    for number, where in enumerate(ndimage.find_objects(patch.components), start=1):
        if where is not None:
            rows, columns = where
            box = Box(y + rows.start, x + columns.start, y + rows.stop, x + columns.stop)
            mean = float(sums[number] / pixels[number])
            yield Component(number, int(pixels[number]), mean, box)
