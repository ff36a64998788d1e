"""What can be asked of a repair."""

from __future__ import annotations

from dataclasses import dataclass, field


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
        Weights file for a method with networks to run with instead of its own; other methods take
        none.
    views
        How many rotated and mirrored copies of a window the network of "flowinpaint",
        "one_neighbour", "gap_patches" or "single_section" predicts, 1 to 8; their average is
        taken. More are slightly better, and take as many times as long. None lets the method
        decide.
    gate
        What happens where no neighbour fits the section, a repair is expected to be worse than the
        mean of its neighbours, or "single_section" would have to paint too far from intact pixels:
        ``"refuse"``, ``"flag"`` (repair, and say so in the flags of
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
