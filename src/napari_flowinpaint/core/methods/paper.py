"""``flowinpaint-paper``: the networks of the FlowInpaint paper, combined as in the paper.

1. *initial reference*: the two neighbours, each warped part of the way along the optical flow
   between them, and averaged (eq. 1-3), as in ``flow``;
2. *refined reference*: a network registers it to the section's intact pixels (eq. 4-6);
3. *result*: a generator fills the hole, guided by both neighbours and the refined reference
   (eq. 7-12). Then texture.

Beyond the paper: neighbours are aligned coarsely first; a rehearsal on the section's own intact
pixels measures how far the result can be trusted. It corrects nothing: the repaired pixels are the
network's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..networks.paper.guided import GuidedOutput, inpaint_guided
from ..networks.released import PAPER
from ..reference.guides import GreyMapping, Guide, nearer, unaligned_guides
from ..reference.references import SMOOTH_PATCH, flows_between, interpolate
from ..reference.rehearsal import Reliability
from ..reference.rehearsal_holes import FEWEST_SAMPLES, cut_holes, depth
from ..repair_options import RepairOptions
from ..types import BoolImage, FloatImage, Progress
from ..window import Window, WindowRepair
from .learned import LearnedMethod
from .method import Method
from .missing_section import FEWEST_INTACT, fall_back
from .window_texture import with_texture

if TYPE_CHECKING:
    from ..networks.paper.inpainting import PaperNetwork

#: Share of the intact pixels that is cut out for the rehearsal.
_REHEARSED = 0.3
#: Fills what is not known of a section: (section, known, report) -> references and result.
_Fill = Callable[[FloatImage, BoolImage, Callable[[float], None]], GuidedOutput]


class PaperMethod(LearnedMethod):
    """Learned repair by the paper's networks; see the module's description."""

    name = "flowinpaint-paper"
    architecture = "paper"
    shipped = PAPER

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`.

        Raises
        ------
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        from ..device import resolve_device

        device = resolve_device(device)
        net: PaperNetwork = self.network(options, device)
        greys = GreyMapping.of(window)
        progress(0.02, f"section {window.z}: interpolating between the neighbours")
        guides = unaligned_guides(window, greys)
        if window.intact.sum() < FEWEST_INTACT:
            initial = _between(guides)
            return fall_back(window, greys, initial, initial, nearer(guides), options)
        section = greys.to_working(np.where(window.intact, window.section, 0))
        guides = [guide.align_to(section, window.intact) for guide in guides]
        initial = _between(guides)
        valid = [~guide.damaged(np.zeros((2, *window.mask.shape), np.float32)) for guide in guides]

        def fill(
            image: FloatImage, known: BoolImage, report: Callable[[float], None]
        ) -> GuidedOutput:
            neighbours = (guides[0].aligned, guides[1].aligned)
            shown = (valid[0], valid[1])
            run = partial(inpaint_guided, device=device, report=report)
            return run(net, image, ~known, neighbours, window.alpha, initial, shown)

        return _repair(fill, window, greys, section, initial, options, progress)


def paper_method(path: Path) -> Method:
    """Return the method with the weights of any file, for example of an ablation."""
    return PaperMethod(path)


def _between(guides: list[Guide]) -> FloatImage:
    """Return the initial reference."""
    return interpolate(guides, flows_between(guides, SMOOTH_PATCH))


def _repair(
    fill: _Fill,
    window: Window,
    greys: GreyMapping,
    section: FloatImage,
    initial: FloatImage,
    options: RepairOptions,
    progress: Progress,
) -> WindowRepair:
    """Rehearse, fill, add texture."""

    def report(fraction: float, message: str) -> None:
        progress(fraction, f"section {window.z}: {message}")

    known = window.intact
    relied = _rehearse(fill, window, section, initial, options, report)
    filled = fill(section, known, lambda s: report(0.55 + 0.4 * s, "inpainting"))
    result = filled.image
    report(0.95, "adding texture")
    result = with_texture(result, section, known, window, options)
    confidence = relied.confidence([initial, filled.refined, filled.image], known)
    return WindowRepair(
        initial_reference=greys.to_stack(initial),
        refined_reference=greys.to_stack(filled.refined),
        result=greys.to_stack(result),
        confidence=np.where(window.mask, confidence, 1).astype(np.float32),
        scores=relied.scores,
    )


def _rehearse(
    fill: _Fill,
    window: Window,
    section: FloatImage,
    initial: FloatImage,
    options: RepairOptions,
    report: Callable[[float, str], None],
) -> Reliability:
    """Fill holes whose content is known; return how far a repair like this can be relied on.

    Where nothing can be rehearsed, only the disagreement of references and result counts.
    """
    known = window.intact
    holes = cut_holes(depth(window.mask), known, _REHEARSED, options.seed)
    if holes.sum() < FEWEST_SAMPLES:
        return Reliability.default(section, known)
    seen = known & ~holes
    tried = fill(section, seen, lambda s: report(0.1 + 0.4 * s, "rehearsing"))
    # the low-pass reaches across the rim: the real hole needs something plausible in it
    truth = np.where(known, section, tried.image)
    images = [initial, tried.refined, tried.image]
    return Reliability.of(images, tried.refined, tried.image, truth, seen, holes)
