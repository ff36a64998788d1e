"""Lists of flagged sections and masks of them, for tests of what the viewer keeps."""

import numpy as np

from napari_flowinpaint.core.detection.flag_table import Flagged
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.masks.sparse_mask import TILE
from napari_flowinpaint.viewer.tasks.find_damage import SearchResult
from napari_flowinpaint.viewer.tasks.flag_list import UNDECIDED

SHAPE = (5, TILE + 20, 300)
DARK, HOLE = KINDS["dark"].label, KINDS["hole"].label


def row(z, kind="dark", score=2.0, decision=UNDECIDED):
    return Flagged(z, kind, score, 1.0, decision=decision)


def labelled(*sections, label=HOLE):
    volume = np.zeros(SHAPE, np.uint8)
    for z in sections:
        volume[z, 10:40, 250:280] = label
    return volume


def found(sections, label=HOLE, searched=range(5)):
    kind = next(k.name for k in KINDS.values() if k.label == label)
    rows = tuple(row(z, kind) for z in sections)
    volume = labelled(*sections, label=label)
    return SearchResult(rows, frozenset(searched), tuple(KINDS), {}, volume)
