"""What the user chose for the next repair. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from psygnal import SignalGroupDescriptor

from ...core.repair_options import RepairOptions


@dataclass
class RepairSettings:
    """What the user chose for the next repair; ``events`` reports every change.

    Parameters
    ----------
    method
        Name of a registered method, or ``"auto"``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    max_gap
        Largest distance, in sections, to a neighbour.
    texture
        What the result gets for looks: ``"smooth"``, ``"noise"`` or ``"natural"``.
    quality
        Whether a repair is tried on intact regions, to predict how good it is.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    method: str = "auto"
    device: str = "auto"
    max_gap: int = field(default_factory=lambda: RepairOptions().max_gap)
    texture: str = field(default_factory=lambda: RepairOptions().texture)
    quality: bool = field(default_factory=lambda: RepairOptions().quality)

    @property
    def options(self) -> RepairOptions:
        """The options of a repair, as they are chosen now."""
        return RepairOptions(max_gap=self.max_gap, texture=self.texture, quality=self.quality)
