"""Find the damage of a whole stack: many sections, in parallel, resumable, into a label image.

:mod:`.detect_stack` does it, section by section with :mod:`.detect_section`; :mod:`.store` keeps
the masks and what was found so far, :mod:`.flag_table` the list of flagged sections. What is
measured of a section is in :mod:`.features`, what counts as damage in :mod:`.detectors`.
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
