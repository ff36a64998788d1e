"""What a repair of a section comes to: its patches, where they come from, how well they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .refusal import Refusal
from .types import AnyImage, BoolImage, Box, FloatImage, IntImage
from .window import Displaced


def pixel_digest(pixels: AnyImage) -> str:
    """Return the SHA-256 of pixels, as :attr:`Patch.source_digest` has it."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One repaired window of a section.

    Parameters
    ----------
    box
        Where the patch lies in the section, halo included.
    components
        (H, W) int32: 0 where nothing is replaced, else the number (from 1, unique within the
        section) of the connected component of the mask.
    initial_reference, refined_reference, result
        (H, W), the stack's dtype. Outside ``components > 0`` the result equals the section.
    confidence
        (H, W) float32, 0..1.
    neighbours
        Section numbers of previous and following; None where that side was not used.
    alpha
        Axial position between them.
    method
        Name of the method that made the patch.
    seconds
        Time it took.
    scores
        Numbers the method measured on the way.
    source_digest
        SHA-256 (hex) of the section's own pixels under ``box``, C order, in the stack's dtype, as
        they were when the repair read them; None where unknown. Write-back refuses when the
        section has changed since.
    flags
        Why the repair should be looked at, in words; empty where nothing is suspect.
    displaced
        What was moved, where the method moves tissue; None elsewhere.
    why
        Why ``auto`` took the method; "" where it was asked for.
    """

    box: Box
    components: IntImage
    initial_reference: AnyImage
    refined_reference: AnyImage
    result: AnyImage
    confidence: FloatImage
    neighbours: tuple[int | None, int | None]
    alpha: float
    method: str
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    source_digest: str | None = None
    flags: tuple[str, ...] = ()
    displaced: Displaced | None = None
    why: str = ""

    @property
    def mask(self) -> BoolImage:
        """(H, W) bool, True where this patch replaces pixels."""
        return self.components > 0


def flags_of(patches: Sequence[Patch]) -> tuple[str, ...]:
    """Return why patches should be looked at, each reason once."""
    return tuple(dict.fromkeys(flag for patch in patches for flag in patch.flags))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where synthetic pixels come from; written beside them and kept with the data.

    Parameters
    ----------
    method
        Name of the method (several joined by ``+`` where windows used different ones).
    weights_sha256
        Checksum of the weights, or None for training-free methods.
    neighbours
        Every section that guided a window.
    alpha
        Axial position, one per window.
    mask_pixels
        Number of pixels replaced.
    time
        UTC, ISO 8601.
    version
        Version of this package.
    options
        The options of the request.
    scores
        Numbers measured on the way, averaged over the windows.
    flags
        Why the repair should be looked at, each reason once; see :attr:`Patch.flags`.
    """

    method: str
    weights_sha256: str | None
    neighbours: tuple[int, ...]
    alpha: tuple[float, ...]
    mask_pixels: int
    time: str
    version: str
    options: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class SectionRepair:
    """The repair of one section: patches, not a section, so that it stays small.

    Parameters
    ----------
    z
        Section number.
    shape
        (Y, X) of the section.
    dtype
        The stack's dtype.
    patches
        Repaired windows; their components do not overlap.
    provenance
        Record that goes with the pixels.
    refused
        Windows that were left as they were, and why; none of their pixels is in a patch.
    """

    z: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    patches: tuple[Patch, ...]
    provenance: Provenance
    refused: tuple[Refusal, ...] = ()

    @property
    def box(self) -> Box:
        """Smallest box around all patches, halos included."""
        boxes = [patch.box for patch in self.patches]
        return Box(
            min(b.y0 for b in boxes),
            min(b.x0 for b in boxes),
            max(b.y1 for b in boxes),
            max(b.x1 for b in boxes),
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Why the repair should be looked at, each reason once."""
        return flags_of(self.patches)

    @property
    def component_ids(self) -> tuple[int, ...]:
        """Numbers of the repaired connected components, ascending."""
        found = {int(i) for patch in self.patches for i in np.unique(patch.components)}
        return tuple(sorted(found - {0}))

    @property
    def mask(self) -> BoolImage:
        """(H, W) bool over :attr:`box`: the pixels that are replaced."""
        mask = np.zeros(self.box.shape, dtype=bool)
        for patch in self.patches:
            mask[patch.box.within(self.box)] |= patch.mask
        return mask

    def _assemble(self, name: str, fill: float, dtype: np.dtype[Any]) -> AnyImage:
        """Paste one array of every patch into :attr:`box`; masked pixels win over halos."""
        out = np.full(self.box.shape, fill, dtype=dtype)
        for patch in self.patches:
            out[patch.box.within(self.box)] = getattr(patch, name)
        for patch in self.patches:
            view = out[patch.box.within(self.box)]
            view[patch.mask] = getattr(patch, name)[patch.mask]
        return out

    @property
    def initial_reference(self) -> AnyImage:
        """Initial reference over :attr:`box`, stack dtype, 0 between patches."""
        return self._assemble("initial_reference", 0, self.dtype)

    @property
    def refined_reference(self) -> AnyImage:
        """Refined reference over :attr:`box`, stack dtype, 0 between patches."""
        return self._assemble("refined_reference", 0, self.dtype)

    @property
    def result(self) -> AnyImage:
        """Result over :attr:`box`, stack dtype, 0 between patches."""
        return self._assemble("result", 0, self.dtype)

    @property
    def confidence(self) -> FloatImage:
        """Confidence over :attr:`box`, float32 0..1, 1 between patches."""
        return self._assemble("confidence", 1.0, np.dtype(np.float32))

    def select(self, components: set[int]) -> SectionRepair:
        """Return the repair reduced to the given connected components.

        Patches of which nothing is left are dropped; what is left may be empty. The pixels of
        components left out are the section's again only where they are written: the stage
        arrays of the patches stay as they were.
        """
        patches = []
        for patch in self.patches:
            kept = np.where(np.isin(patch.components, list(components)), patch.components, 0)
            if kept.any():
                patches.append(replace(patch, components=kept.astype(np.int32)))
        pixels = sum(int(p.mask.sum()) for p in patches)
        flags = flags_of(patches)
        provenance = replace(self.provenance, mask_pixels=pixels, flags=flags)
        return replace(self, patches=tuple(patches), provenance=provenance)
