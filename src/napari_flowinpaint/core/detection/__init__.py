"""Find the damage of a whole stack: many sections, in parallel, resumable, into a label image.

:mod:`.run_batch` does it, :mod:`.store` keeps the masks and what was found so far, :mod:`.flag_table` the list
of flagged sections. What damage is, is known to :mod:`..damage` alone.
"""

from __future__ import annotations

from .detect_stack import Detection, detect_stack
from .flag_table import Flagged, read_table, write_table
from .store import check_output, read_detection

__all__ = [
    "Detection",
    "Flagged",
    "check_output",
    "detect_stack",
    "read_detection",
    "read_table",
    "write_table",
]
