"""``single_section``: repair small damage from the section alone.

For specks and thin lines in sections whose neighbours are missing or damaged as well. It looks at
no neighbour, even where there is one, and ``auto`` never chooses it: what it paints continues what
lies around the damage, and nobody can know whether that was there.

1. the damage is filled smoothly (the initial reference);
2. a network improves on that (the refined reference), round by round from the rim inwards where
   much of the window is damaged ("Image inpainting based on interactive separation network and
   progressive reconstruction algorithm", 2022; :mod:`napari_flowinpaint.core.networks.single`);
3. texture is added, as by all methods, but for its coarser part, which could be taken for
   structure.

Confidence is the share of the section's variance that such a repair explains so far from intact
pixels, as measured on sections that were not trained on. Where it has fallen below a half, the
repair says so; damage that reaches deeper than :data:`FARTHEST` is refused.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RepairRefused
from ..filters import blur
from ..metrics import STRUCTURE_SIGMA
from ..networks.released import SINGLE
from ..reference.guides import GreyMapping
from ..refusal import ANYWAY
from ..repair_options import RepairOptions
from ..types import BoolImage, Box, FloatImage, Progress
from ..window import Window, WindowRepair
from .learned import LearnedMethod
from .missing_section import FEWEST_INTACT
from .window_texture import with_texture

if TYPE_CHECKING:
    from ..networks.single.separation import SeparationNetwork

#: Context around a damaged box, in pixels.
_HALO = 64
#: Rotated and mirrored copies of a window that are averaged.
_VIEWS = 8
#: Confidence at the rim, and the distance over which it falls to 1/e of that, in pixels.
_AT_RIM, _FALL = 0.98, 12.5
#: Confidence below which a pixel is guessed rather than known.
_BELIEVED = 0.5
#: Damage that lies deeper than this, in pixels, is refused.
FARTHEST = 64


class SingleSectionMethod(LearnedMethod):
    """Repair from the section itself; see the module's description."""

    name = "single_section"
    neighbours = 0
    architecture = "separation"
    shipped = SINGLE
    gates_itself = True
    most_neighbours = 0

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box: what the network looks at."""
        return _HALO

    def check(self, z: int, mask: BoolImage, intact: BoolImage, options: RepairOptions) -> None:
        """Refuse damage too deep for the section to show what was there.

        Parameters
        ----------
        z
            Section number.
        mask, intact
            (H, W), the damage of a window with its context, and what is left to look at.
        options
            With the gate "flag" or "off" nothing is too deep.

        Raises
        ------
        RepairRefused
            Where hardly anything is intact; and, if the gate is to refuse, where damage lies
            deeper than :data:`FARTHEST`.
        """
        if intact.sum() < FEWEST_INTACT:
            raise RepairRefused(
                f"section {z} has hardly an intact pixel there, and method 'single_section' "
                "looks at nothing else; choose another method"
            )
        farthest = float(distance_to_intact(intact)[mask].max())
        if farthest > FARTHEST and options.gate == "refuse":
            raise RepairRefused(
                f"section {z} is damaged up to {farthest:.0f} px from its nearest intact pixels, "
                f"and farther than {FARTHEST} px from them nothing in the section shows what was "
                f"there: choose a method that uses neighbours, {ANYWAY}"
            )

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`.

        Raises
        ------
        RepairRefused
            As :meth:`check`.
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        from ..device import resolve_device
        from ..networks.single.section_painting import paint_section

        self.check(window.z, window.mask, window.intact, options)
        distance = distance_to_intact(window.intact)
        farthest = float(distance[window.mask].max())
        device = resolve_device(device)
        net: SeparationNetwork = self.network(options, device)
        greys = GreyMapping.of(window)
        section = greys.to_working(np.where(window.intact, window.section, 0))
        smooth = _smooth(section, window.intact)
        report = partial(_report, progress, window.z)
        views = options.views or _VIEWS
        painted, rounds = paint_section(
            net, section, window.intact, device=device, views=views, report=report
        )
        confidence = np.where(window.mask, confidence_at(distance), 1).astype(np.float32)
        textured = with_texture(painted, section, window.intact, window, options)
        result = _keep_structure(painted, textured)
        return WindowRepair(
            initial_reference=greys.to_stack(smooth),
            refined_reference=greys.to_stack(painted),
            result=greys.to_stack(result),
            confidence=confidence,
            scores={
                "farthest_px": farthest,
                "guessed_share": float((confidence[window.mask] < _BELIEVED).mean()),
                "rounds": float(rounds),
            },
            flags=_flags(window.z, farthest),
        )


def distance_to_intact(intact: BoolImage) -> FloatImage:
    """Return how far every pixel lies from the nearest intact one, in pixels, 0 where intact."""
    import cv2

    if not intact.any():
        return np.full(intact.shape, np.inf, dtype=np.float32)
    return cv2.distanceTransform((~intact).astype(np.uint8), cv2.DIST_L2, 5).astype(np.float32)


def confidence_at(distance: FloatImage) -> FloatImage:
    """Return the confidence at a distance from intact pixels, 0 (guessed) to 1 (certain)."""
    return np.asarray(_AT_RIM * np.exp(-np.maximum(distance - 1, 0) / _FALL), dtype=np.float32)


def believed_distance() -> float:
    """Return how far from intact pixels, in pixels, a repair believes itself."""
    return float(1 + _FALL * np.log(_AT_RIM / _BELIEVED))


def _keep_structure(painted: FloatImage, textured: FloatImage) -> FloatImage:
    """Take back what texture did to the structure.

    Next to intact pixels nearly all of it is predicted; deep inside a hole nothing should look like
    structure that nobody saw. Finer noise is kept.
    """
    return textured - blur(textured - painted, STRUCTURE_SIGMA)


def _flags(z: int, farthest: float) -> tuple[str, ...]:
    """Return what should be known of such a repair; alike for all windows of a section."""
    alone = f"section {z} was repaired from nothing but itself: no neighbour was looked at"
    if farthest <= believed_distance():
        return (alone,)
    return (
        alone,
        f"section {z} was repaired farther than {believed_distance():.0f} px from intact pixels; "
        "its content there is a guess",
    )


def _smooth(section: FloatImage, known: BoolImage) -> FloatImage:
    """Return the section, filled smoothly."""
    import torch

    from ..networks.single.smooth_fill import smooth_fill

    image, there = (torch.from_numpy(i.astype(np.float32))[None, None] for i in (section, known))
    return smooth_fill(image, there)[0, 0].numpy()


def _report(progress: Progress, z: int, fraction: float) -> None:
    progress(0.1 + 0.8 * fraction, f"section {z}: painting")
