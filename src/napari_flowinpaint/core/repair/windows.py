"""Which parts of a section are repaired together: its damage, cut into windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..types import BoolImage, Box, IntImage

#: Components whose tiles of this many pixels touch are repaired in one window.
_TILE = 64


def windows_of(mask: BoolImage) -> Iterator[tuple[Box, IntImage]]:
    """Yield the damaged boxes of a mask, with the component numbers inside each.

    Components are 8-connected and numbered from 1 in the whole section. Those that lie in
    touching tiles of 64 pixels are yielded together: specks of debris would otherwise cost one
    window each.
    """
    import cv2

    outer = Box.of_mask(mask)
    assert outer is not None  # checked by the caller
    count, found, stats, _ = cv2.connectedComponentsWithStats(
        mask[outer.slices].view(np.uint8), connectivity=8
    )
    labels = np.asarray(found, dtype=np.int32)
    group_of = _group_components(labels, count)
    for group in range(1, int(group_of.max()) + 1):
        members = np.flatnonzero(group_of == group)
        left, top, width, height = (stats[members, i] for i in range(4))
        inner = Box(
            int(top.min()),
            int(left.min()),
            int((top + height).max()),
            int((left + width).max()),
        )
        components = labels[inner.slices]
        components = np.where(group_of[components] == group, components, 0).astype(np.int32)
        yield (
            Box(inner.y0 + outer.y0, inner.x0 + outer.x0, inner.y1 + outer.y0, inner.x1 + outer.x0),
            components,
        )


def _group_components(labels: IntImage, count: int) -> IntImage:
    """Return the group (from 1) of each component; index 0, the background, is 0."""
    import cv2

    tiles = np.zeros((labels.shape[0] // _TILE + 1, labels.shape[1] // _TILE + 1), np.uint8)
    members: list[tuple[int, int, IntImage]] = []
    # Row of tiles by row of tiles: searching a whole large section in one call would keep
    # Python's other threads, and with them a viewer, waiting.
    for row, top in enumerate(range(0, labels.shape[0], _TILE)):
        slab = labels[top : top + _TILE]
        _, columns = np.nonzero(slab)
        tiles[row, columns // _TILE] = 1
        for tile in map(int, np.flatnonzero(tiles[row])):
            found = np.unique(slab[:, tile * _TILE : (tile + 1) * _TILE])
            members.append((row, tile, found[found > 0]))
    _, tile_groups = cv2.connectedComponents(tiles, connectivity=8)
    group_of = np.zeros(count, dtype=np.int32)
    for row, tile, found in members:
        group_of[found] = tile_groups[row, tile]
    return group_of
