"""File > Open Sample: a stack to try the repair on, when there is none at hand."""

from __future__ import annotations

from typing import Any


def damaged_serial_sections() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a synthetic serial-section stack and the masks of its damage, as layers.

    Returns
    -------
    list of tuple
        An Image layer, (24, 512, 512) uint8, and a Labels layer of the same shape, not zero
        where damaged. Both in nm.
    """
    from ..core.simulation.sample import damaged_sample

    sample = damaged_sample()
    space = {
        "scale": sample.voxel_size,
        "units": ("nm", "nm", "nm"),
        "axis_labels": ("z", "y", "x"),
    }
    image = {"name": "serial sections (synthetic)", "contrast_limits": (0, 255), **space}
    labels = {"name": "damage", "opacity": 0.4, **space}
    return [(sample.stack, image, "image"), (sample.mask.astype("uint8"), labels, "labels")]
