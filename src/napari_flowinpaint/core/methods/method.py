"""What a repair method is.

A method sees one :class:`~napari_flowinpaint.core.window.Window` and knows nothing of stacks,
files or viewers. To add one: write a class with these attributes in a file of its own, and add
its name to the table in :mod:`napari_flowinpaint.core.methods`.
"""

from __future__ import annotations

from typing import Protocol

from ..repair_options import RepairOptions
from ..types import Box, Progress
from ..window import Window, WindowRepair


class Method(Protocol):
    """A way to repair one window.

    Attributes
    ----------
    name
        As typed on the command line.
    neighbours
        Fewest usable neighbours the method needs: 0, 1 or 2.
    weights_sha256
        Checksum of the weights it runs with; None for training-free methods.

    A method that uses only one neighbour sets ``most_neighbours = 1``; of two usable ones it is
    given the one that shows more of the damage, or else the nearer one. With 0 it repairs a section
    from itself: no neighbour is searched for. A method that knows from the mask alone what it will
    refuse has ``check(z, mask, intact, options)``, which is called when a repair is planned.
    """

    name: str
    neighbours: int
    weights_sha256: str | None

    def ready(self) -> bool:
        """Return whether all the method needs (its weights) is installed."""
        ...

    def halo(self, damage: Box) -> int:
        """Return the context, in pixels, the method wants around a damaged box."""
        ...

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window.

        Raises
        ------
        RepairRefused
            When the pixels would have to be made up.
        Cancelled
            When ``progress`` asks for it.
        """
        ...
