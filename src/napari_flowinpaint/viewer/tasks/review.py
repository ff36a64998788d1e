"""A finished repair while somebody looks at it: stages, components, what is accepted.

Responsible for: the pictures of each stage over the repair's box, the connected components with
their numbers, which of them are accepted. No Qt, no napari; what is heavy is done when a review is
made, which is in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...core.kinds import why_unfolded
from ...core.refusal import describe_refused
from ...core.types import AnyImage, BoolImage, Box, Patch, SectionRepair

#: The four layers of a repair, in the order in which they are shown.
STAGES = ("initial reference", "refined reference", "result", "confidence")

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
    """A repair and what the user thinks of it.

    Parameters
    ----------
    repair
        What came back.
    original
        (H, W) pixels of the section over ``repair.box``, before anything was written.
    components
        What can be accepted one by one.
    accepted
        Numbers of the components that are to be written; at first all of them. Changed by
        :meth:`set_accepted`.
    """

    repair: SectionRepair
    original: AnyImage
    components: tuple[Component, ...]
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

    def selected(self) -> SectionRepair:
        """Return the repair reduced to the accepted components."""
        return self.repair.select(set(self.accepted))

    def summary(self) -> str:
        """Return in one line what made the repair, and what was left."""
        sections = self.repair.provenance.neighbours
        names = " and ".join(str(n) for n in sections) or "no other section"
        seconds = sum(patch.seconds for patch in self.repair.patches)
        record = self.repair.provenance
        why = why_unfolded(record.method, record.options.get("kind"))
        made = f"method {record.method}{why}, from {names}, {seconds:.1f} s"
        return f"{made}; {describe_refused(self.repair.refused)}" if self.repair.refused else made


def _is_any_of(components: AnyImage, numbers: set[int]) -> BoolImage:
    """Return where a picture of component numbers shows one of ``numbers``."""
    lookup = np.zeros(int(components.max(initial=0)) + 1, dtype=bool)
    lookup[[n for n in numbers if 0 < n < lookup.size]] = True
    return lookup[components]


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
