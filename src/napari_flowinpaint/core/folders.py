"""The names of what is kept inside a stack and beside it.

::

    stack.zarr/0/.flowinpaint/    journal of the repairs that were written
    stack.zarr/labels/synthetic/  which pixels were made by them
    stack.zarr.staging/           repairs of a batch that wait to be accepted
    stack.zarr.flagged/           sections that are damaged or may be, and their masks
    stack.tif.repairs/            accepted repairs of a file that cannot be written to
    stack.zarr.adapted.safetensors  weights that were adapted to the stack

Stores of these names exist: to change one is to lose what is in them. What the folders hold is
described where they are written.
"""

from __future__ import annotations

from pathlib import Path

#: Inside the full-resolution array.
JOURNAL = ".flowinpaint"
#: Inside the OME-Zarr group, or inside the journal of an array without a group.
LABELS, SYNTHETIC = "labels", "synthetic"
#: Beside the stack, after its name.
STAGING, FLAGGED, REPAIRS = "staging", "flagged", "repairs"
ADAPTED = "adapted.safetensors"
#: Attribute of the store of a file's repairs: what it belongs to.
REPAIRS_OF = "flowinpaint_repairs_of"
#: In each of our folders: what it is, who may write, unfinished files.
README, LOCK, SCRATCH = "README.txt", "lock", "scratch"
#: In the journal.
ENTRIES = "entries"
#: In a staging folder.
PLAN, DECISIONS, LOG = "plan.json", "decisions.json", "log.jsonl"
MASKS, SECTIONS = "masks", "sections"
EDITS, EDITS_FILE = "edits", "edits.json"
#: Among the flagged sections.
FLAGGED_TABLE, PAINTED = "flagged.csv", "painted"


def beside(data: Path, name: str) -> Path:
    """Return the path of the folder :data:`STAGING`, … of some data.

    Parameters
    ----------
    data
        File or folder of the data.
    name
        What is kept there.
    """
    return data.with_name(f"{data.name}.{name}")


def unfinished_detection(masks: Path) -> Path:
    """Return the hidden folder in which a detection that is to become ``masks`` is made."""
    return masks.with_name(f".{masks.name}.detecting")
