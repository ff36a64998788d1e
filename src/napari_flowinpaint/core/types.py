"""Frozen types shared by everything in :mod:`napari_flowinpaint.core`.

Conventions, valid throughout the package:

* a *stack* has axes ``zyx``; a *section* is one z plane, ``(Y, X)``;
* a *mask* is bool and **True means damaged, to be replaced**;
* coordinates are pixels of the full-resolution level, order ``(y, x)``;
* grey values inside the engine are float32 in the stack's own units (0..255 for a uint8
  stack), never rescaled to 0..1 behind the caller's back;
* ``alpha`` is the axial position of the section between its neighbours,
  ``(z - z_previous) / (z_following - z_previous)``: 0 at the previous, 1 at the following;
* a *flow* is ``(2, H, W)`` float32 in pixels, order ``(dy, dx)``, "sample the source at
  ``x + flow(x)``"; NaN means unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .box import BoolImage as BoolImage
from .box import Box as Box
from .refusal import Refusal as Refusal

FloatImage = npt.NDArray[np.float32]
IntImage = npt.NDArray[np.int32]
AnyImage = npt.NDArray[Any]
VoxelSize = tuple[float, float, float]

#: ``progress(fraction, message)`` with ``0 <= fraction <= 1``. A job is cancelled by raising
#: :class:`~napari_flowinpaint.core.errors.Cancelled` from this callback.
Progress = Callable[[float, str], None]


def pixel_digest(pixels: AnyImage) -> str:
    """Return the SHA-256 of pixels, as :attr:`Patch.source_digest` has it."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def no_progress(fraction: float, message: str) -> None:
    """Report to nobody (the default of every ``progress`` argument)."""


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What the user may choose about a repair.

    Parameters
    ----------
    max_gap
        Largest distance, in sections, to a neighbour that may guide the repair.
    halo
        Context around a damaged component, in pixels; None lets the method decide.
    texture
        What the repaired pixels get for looks, as a last step: ``"smooth"`` (nothing: the
        prediction alone), ``"noise"`` (noise like the section's) or ``"natural"`` (also scales of
        up to some 20 pixels, which are invented); see
        :func:`~napari_flowinpaint.core.reference.texture.add_texture`.
    seed
        Seed of the rehearsal and of the texture; the same request gives the same pixels.
    weights
        Weights file for the methods "flowinpaint" and "flowinpaint-paper" to run with instead of
        their own; other methods take none.
    views
        How many turned and mirrored copies of a window the network of "flowinpaint" looks at, 1
        to 8; their average is taken. More is a little better and takes as many times as long.
        None lets the method decide: one, and several where much of the window is missing.
    gate
        What happens where no neighbour fits the section, or a repair is expected to be worse than
        the mean of its neighbours: ``"refuse"``, ``"flag"`` (repair, and say so in the flags of
        the patch) or ``"off"``, which does not look and lets every neighbour guide.
    quality
        Whether to try the repair on intact places, to predict how good it is: takes about four
        times as long. Otherwise the prediction is what the rehearsal lets expect.
    kind
        Kind of damage under the mask, where it is known: "auto" repairs folds and cracks by
        "unfold".
    """

    max_gap: int = 5
    halo: int | None = None
    texture: str = "noise"
    seed: int = 0
    weights: str | None = None
    views: int | None = None
    gate: str = "refuse"
    quality: bool = False
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """One resolved request: what a job was asked to do, frozen when it starts.

    Parameters
    ----------
    z
        Section number.
    method
        Name of a registered method, or ``"auto"``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    options
        See :class:`RepairOptions`.
    """

    z: int
    method: str = "auto"
    device: str = "auto"
    options: RepairOptions = field(default_factory=RepairOptions)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """The part of a neighbouring section that lies under a window.

    Parameters
    ----------
    z
        Section number of the neighbour.
    image
        (H, W) float32 grey values.
    valid
        (H, W) bool, False where the neighbour itself is damaged or was not imaged.
    """

    z: int
    image: FloatImage
    valid: BoolImage


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """All that a method gets to see: one damaged component with its context halo.

    Parameters
    ----------
    z
        Section number.
    box
        Where the window lies in the section, halo included.
    section
        (H, W) float32 grey values; meaningless where not ``intact``.
    mask
        (H, W) bool, True = damaged, to be replaced by this repair.
    intact
        (H, W) bool, True where the section's own pixels may be trusted. Not simply ``~mask``:
        other damage, and pixels where nothing was imaged, may lie in the halo.
    previous, following
        Neighbours before and after, or None where there is no usable one.
    alpha
        Axial position of the section between its neighbours.
    value_range
        Smallest and largest value the result may take.
    voxel_size
        z, y, x in nm, or None where unknown.
    imaged
        (H, W) bool, False where nothing was imaged (no data): neither intact nor damaged. None
        where all of it was.
    section_shape
        (Y, X) of the whole section, or None where the window is all of it.
    """

    z: int
    box: Box
    section: FloatImage
    mask: BoolImage
    intact: BoolImage
    previous: Neighbour | None
    following: Neighbour | None
    alpha: float
    value_range: tuple[float, float]
    voxel_size: VoxelSize | None = None
    imaged: BoolImage | None = None
    section_shape: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Displaced:
    """The section's own pixels that an unfolding has moved.

    Parameters
    ----------
    mask
        (H, W) bool, True where the result has them.
    zone
        (H, W) bool, all that the unfolding changes: these, and what it filled.
    flow
        (2, H, W) float32: ``result(x) = section(x + flow(x))`` in the mask.
    """

    mask: BoolImage
    zone: BoolImage
    flow: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WindowRepair:
    """What a method returns; all arrays (H, W) float32 of the window's shape.

    Parameters
    ----------
    initial_reference
        Interpolated between the neighbours (FlowInpaint, eq. 1-3).
    refined_reference
        Warped onto the section's own intact pixels (FlowInpaint, eq. 4-6).
    result
        The section with the masked pixels replaced (FlowInpaint, eq. 12).
    confidence
        0 (guessed) to 1 (certain), inside the mask; 1 outside.
    scores
        Numbers the method measured on the way, for the report.
    displaced
        What was moved, where the method moves tissue; its zone is replaced, beyond the mask.
    """

    initial_reference: FloatImage
    refined_reference: FloatImage
    result: FloatImage
    confidence: FloatImage
    scores: dict[str, float] = field(default_factory=dict)
    displaced: Displaced | None = None


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
