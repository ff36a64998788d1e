"""File > Open Sample: a stack to try the repair on without data of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.types import BoolImage

#: Share of a section that damage in places covers at most.
_LOCAL = 0.1


def damaged_serial_sections() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a synthetic serial-section stack and the masks of its damage, as layers.

    Returns
    -------
    list of tuple
        An Image layer, (24, 512, 512) uint8, and the Labels layer that is its mask, both in nm.
        The viewer goes to a damaged section, ready to be repaired.
    """
    import napari
    from napari.layers import Image

    from ..core.masks.sparse_mask import SparseMask
    from ..core.simulation.sample import damaged_sample
    from . import layers
    from .session import session_of

    viewer = napari.current_viewer()
    if viewer is not None:
        session_of(viewer)  # takes the mask and goes to its section, whether a dock is open or not
    sample = damaged_sample()
    space = {
        "scale": sample.voxel_size,
        "units": ("nm", "nm", "nm"),
        "axis_labels": ("z", "y", "x"),
    }
    image = {"name": "serial sections (synthetic)", "contrast_limits": (0, 255), **space}
    mask = SparseMask(sample.mask.shape, sample.labels, labels=True)
    layer = layers.mask_layer(Image(sample.stack, **space), mask, "damage mask")
    shown = layer.as_layer_data_tuple()[1]
    names = ("name", "opacity", "colormap", "multiscale")
    labels = {name: shown[name] for name in names} | space
    labels["metadata"] = layers.mask_metadata(_example(sample.mask))
    return [(sample.stack, image, "image"), (mask, labels, "labels")]


def _example(mask: BoolImage) -> int:
    """Return the section with most damage of those that are damaged in places only."""
    shares = mask.mean(axis=(1, 2))
    return max((z for z in range(len(mask)) if shares[z] < _LOCAL), key=lambda z: shares[z])
