"""Let the list and the masks of a stack follow into a copy of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...core.detection.flag_table import Flagged
from ...core.masks.sparse_mask import SectionTiles, SparseMask
from ...core.section_repair import SectionRepair
from ...core.types import Progress
from .flag_store import FlagStore

if TYPE_CHECKING:
    from ...core.io.stack import Stack


def follow(
    saved: Stack,
    rows: tuple[Flagged, ...],
    mask: SparseMask | None,
    repairs: Iterable[SectionRepair],
    *,
    progress: Progress,
) -> None:
    """Keep the list and the mask of a stack beside a copy of it.

    Parameters
    ----------
    saved
        The copy.
    rows, mask
        Of the stack; the mask is frozen, and changed here. None for no mask.
    repairs
        Repairs that only the copy has: there the damage is gone.
    """
    store = FlagStore.of(saved)
    if rows:
        store.save_rows(rows)
    if mask is None:
        return
    for repair in repairs:
        mask.restore(repair.z, without(mask, repair))
    tiles: dict[int, SectionTiles] = {}
    for z in range(mask.shape[0]):
        progress(z / mask.shape[0], f"section {z}: keeping the mask")
        box = mask.damaged_box(z)
        if box is not None and (pixels := mask[(z, *box.slices)]).any():
            tiles[z] = mask.paste(z, box, pixels)
    if tiles:
        store.start_mask(alone=True)
        store.save_tiles(tiles)


def without(mask: SparseMask, repair: SectionRepair) -> SectionTiles:
    """Return the tiles of a section of a mask without what was repaired."""
    pixels = mask[(repair.z, *repair.box.slices)]
    pixels[repair.mask] = 0
    return mask.paste(repair.z, repair.box, pixels)
