"""Find the damage of a whole stack: many sections, in parallel, resumable, into a label image.

:mod:`.run_batch` does it, :mod:`.store` keeps the masks and what was found so far, :mod:`.table` the list
of flagged sections. What damage is, is known to :mod:`..damage` alone.
"""

from __future__ import annotations

from .run import Detection, detect_stack
from .store import check_output, read_detection
from .table import Flagged, read_table, write_table

__all__ = [
    "Detection",
    "Flagged",
    "check_output",
    "detect_stack",
    "read_detection",
    "read_table",
    "write_table",
]
