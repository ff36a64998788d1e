"""What the learned methods share: their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..device import limit_spinning
from ..errors import InputError
from ..networks.released import load_any, load_released, released
from ..types import Box, RepairOptions
from .flow import FlowMethod


class LearnedMethod:
    """A method that repairs with a network, from two neighbours.

    Subclasses name the network (``architecture``, a key of
    :data:`~napari_flowinpaint.core.networks.weights.ARCHITECTURES`) and the weights that came with
    the package.

    Parameters
    ----------
    weights
        File of such a network, with or without a card; None is the one that came with the
        package.
    """

    neighbours = 2
    architecture: str
    shipped: str

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self.weights_sha256: str | None = None

    def ready(self) -> bool:
        """Return whether the weights are there."""
        if self.weights is None:
            return released(self.shipped) is not None
        return self.weights.is_file()

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box: as for ``flow``."""
        return FlowMethod().halo(damage)

    def network(self, options: RepairOptions, device: str) -> Any:
        """Return the network that the options ask for; its checksum is kept for the record.

        Raises
        ------
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        chosen = Path(options.weights) if options.weights is not None else self.weights
        path = chosen or released(self.shipped)
        if path is None:
            raise InputError(
                f"the weights {self.shipped} are not installed; reinstall the package, or choose "
                "method 'flow', which needs none"
            )
        limit_spinning()
        load = load_released if chosen is None else load_any
        net, self.weights_sha256 = load(path, device, self.architecture)
        return net
