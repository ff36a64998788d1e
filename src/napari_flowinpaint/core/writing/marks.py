"""Which pixels of a stack are synthetic, as far as anything tells.

The label image tells, and so does the journal: where one of them was removed, or a write was
interrupted, the other one still keeps synthetic pixels from being taken for tissue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..disk.open_root import open_root
from ..errors import FlowInpaintError, StoreError, first_line
from ..io.levels import Level
from ..io.still_there import check_there
from ..types import AnyImage, BoolImage, Box
from .entries import Moved
from .journal import Journal
from .synthetic import read_labels

if TYPE_CHECKING:
    from ..io.stack import Stack

#: How often a journal is read again that another process is changing.
_ATTEMPTS = 5


def marks_of(stack: Stack) -> Callable[[int, Box], BoolImage] | None:
    """Return what tells which pixels of a stack are synthetic, None where there can be none.

    Returns
    -------
    callable or None
        ``marks(z, box)`` is (H, W) bool, True where a repair was written, or is being written.
    """
    journal = Journal.of(stack)
    if journal is None:
        return None
    check_there(stack)
    with open_root(journal.root) as root:
        labels = read_labels(root, stack.levels)
    if labels is None and not journal.exists:
        return None

    def marks(z: int, box: Box) -> BoolImage:
        marked = np.zeros(box.shape, dtype=bool)
        if labels is not None:
            marked |= _read_labels(labels, stack, z, box) != 0
        for attempt in range(_ATTEMPTS):
            try:
                _add_from_journal(marked, journal, stack, z, box)
                break
            except Moved:
                if attempt + 1 == _ATTEMPTS:
                    raise
        return marked

    return marks


def _read_labels(labels: Level, stack: Stack, z: int, box: Box) -> AnyImage:
    """Read the label image; say in one line why that is not possible."""
    try:
        return labels.read(z, box)
    except (FlowInpaintError, MemoryError):
        raise
    except Exception as error:  # each codec has its own way to fail
        raise StoreError(
            f"the marks of section {z} of {stack.path} cannot be read ({first_line(error)}): "
            "labels/synthetic is damaged; restore it from a copy."
        ) from error


def _add_from_journal(marked: BoolImage, journal: Journal, stack: Stack, z: int, box: Box) -> None:
    """Mark what repairs that are in force, or unfinished, have replaced."""
    journal.refresh()
    for entry in journal.entries:
        if entry.z != z or not (entry.live or entry.unfinished):
            continue
        if entry.header.layout.axes != stack.levels[0].axes:
            continue
        for region, mask in entry.masks if entry.touches(0, z, box) else ():
            if region.box.overlaps(box):
                part = region.box.intersection(box)
                marked[part.within(box)] |= mask[part.within(region.box)]
        entry.forget_pixels()  # there may be thousands
