"""What two windows have made of the list and the masks of one stack: nothing of either is lost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...core.detection.flag_table import Flagged
from ...core.masks.sparse_mask import SectionTiles
from .flag_list import Key, key_of


def merge_rows(
    base: Iterable[Flagged], ours: Iterable[Flagged], theirs: Iterable[Flagged]
) -> tuple[Flagged, ...]:
    """Return the list that has the changes of two windows; of one row ours count.

    Parameters
    ----------
    base
        The list that both have begun with.
    ours, theirs
        What became of it.
    """
    before, mine, other = (_by_key(rows) for rows in (base, ours, theirs))
    merged = dict(mine)
    for key in {*before, *other}:
        if mine.get(key) != before.get(key):
            continue  # we have changed it, or removed it
        if key in other:
            merged[key] = other[key]
        else:
            merged.pop(key, None)
    return tuple(merged.values())


def _by_key(rows: Iterable[Flagged]) -> dict[Key, Flagged]:
    return {key_of(row): row for row in rows}


def merge_tiles(ours: SectionTiles, theirs: SectionTiles) -> SectionTiles:
    """Return the tiles of a section with what two windows have painted; of one pixel ours counts.

    Which of them erased a pixel is not known: what one has masked stays masked.
    """
    merged = dict(theirs)
    for key, tile in ours.items():
        merged[key] = tile if key not in theirs else np.where(tile > 0, tile, theirs[key])
    return merged
