"""What the learned methods share: their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..device import limit_spinning
from ..errors import InputError
from ..networks.released import load_any, load_released, released
from ..repair_options import RepairOptions
from ..types import Box
from .flow import FlowMethod


class LearnedMethod:
    """A method that repairs with a network, from two neighbours unless it says otherwise.

    Subclasses name the network (``architecture``, a key of
    :data:`~napari_flowinpaint.core.networks.weights.ARCHITECTURES`) and the weights that came with
    the package.

    Parameters
    ----------
    weights
        File of such a network, with or without a card; None is the one that came with the
        package.
    """

    name: str
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

    def file(self, options: RepairOptions) -> Path | None:
        """Return the weights file that was chosen; None for the released one."""
        return Path(options.weights) if options.weights is not None else self.weights

    def weights_file(self, options: RepairOptions, instead: str | None = None) -> Path:
        """Return the weights file that is going to be loaded; arguments as for :meth:`network`.

        Raises
        ------
        InputError
            Where none was chosen and the released ones are not installed.
        """
        special = None if instead is None else released(instead)
        path = self.file(options) or special or released(self.shipped)
        if path is None:
            raise InputError(
                f"method '{self.name}' needs the weights {self.shipped}, which are not installed; "
                "reinstall the package, give weights with --weights, or choose method 'flow', "
                "which needs none"
            )
        return path

    def network(self, options: RepairOptions, device: str, instead: str | None = None) -> Any:
        """Return the network that the options ask for; its checksum is kept for the record.

        Parameters
        ----------
        options, device
            As for :meth:`~napari_flowinpaint.core.methods.method.Method.repair`.
        instead
            Released weights to take instead of the method's usual ones, if they are installed and
            no others were chosen.

        Raises
        ------
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        path = self.weights_file(options, instead)
        limit_spinning()
        load = load_released if self.file(options) is None else load_any
        net, self.weights_sha256 = load(path, device, self.architecture)
        return net
