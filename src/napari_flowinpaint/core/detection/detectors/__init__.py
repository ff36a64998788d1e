"""Detectors of damage, one family per file.

To add one, write a file with a frozen dataclass that satisfies :class:`~.detector.Detector` and
list it in :func:`default_detectors`. The order counts: each looks at what those before it left,
with their findings filled from the neighbours.
"""

from __future__ import annotations

from .blur import BlurredRegionDetector, BlurredSectionDetector
from .copied import CopiedDetector
from .detector import Detector, Finding
from .flat import HoleDetector, MissingDetector
from .grainless import GrainlessDetector
from .lines import LineDetector
from .misaligned import MisalignedDetector
from .noise import NoiseDetector
from .spots import SpotDetector
from .staining import StainingDetector


def default_detectors() -> tuple[Detector, ...]:
    """Return all detectors with their defaults, in the order in which they look."""
    return (
        MissingDetector(),
        CopiedDetector(),
        NoiseDetector(),
        BlurredSectionDetector(),
        LineDetector(),
        MisalignedDetector(),
        HoleDetector(),
        SpotDetector(),
        BlurredRegionDetector(),
        StainingDetector(),
        GrainlessDetector(),
    )


__all__ = ["Detector", "Finding", "default_detectors"]
