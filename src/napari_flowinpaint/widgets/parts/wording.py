"""Words of the window: counts, and messages of the engine without words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...core.errors import counted
from ...core.writing.kept import keeps_beside

if TYPE_CHECKING:
    from ...core.io.stack import Stack

__all__ = ["access_of", "counted", "in_window", "listed"]

#: What the engine advises on the command line, and what the window has instead; first fit wins.
_ADVICE = (
    (r"\(repair with --output, or Save as OME-Zarr\)", "(Save as OME-Zarr…)"),
    (r"write the result elsewhere with --output \(or Save as OME-Zarr\)", "use Save as OME-Zarr…"),
    (r"--output \(or Save as OME-Zarr\)", "Save as OME-Zarr…"),
    (r"use --output on another disk", "use Save as OME-Zarr… to save to another disk"),
    (r"say where to write with --output", "save it with Save as OME-Zarr… first"),
    (r"delete it, or run 'flowinpaint adapt' again", "remove it, or adapt again"),
    (r"--output", "Save as OME-Zarr…"),
    (r": run `[^`]*` to overwrite them", "; restore the section from a copy"),
    (
        r": run `flowinpaint recover[^`]*` where that is possible; here ",
        ": the next repair that you accept finishes it where the stack may be written to; here ",
    ),
    (
        r": run `flowinpaint recover[^`]*`, or write to it",
        ": the next repair that you accept finishes it",
    ),
    (r" or `flowinpaint [^`]*`", ""),
    (
        r"copy the data, or, if you trust whoever made this, permit it with --allow-external \(in "
        r"Python: allow_external=True\)",
        "copy the data into the file itself",
    ),
    (
        r"give the mask that it was made from, or start over with --no-resume or another --staging",
        "repair the section again",
    ),
    (r"for small damage --method single_section", "for small damage the method single_section"),
    (r", give weights with --weights", ""),
    (r"; add --overwrite to replace it", "; move it away"),
    (r"choose another name or overwrite it \(--overwrite\)", "choose another name"),
    (r"; move it away, or choose another folder", "; move it away"),
    (r", or choose another folder for the staging", ""),
    (r"or repair it anyway \(--gate flag\)", "or press Repair anyway"),
    (r"add --invert-mask \(in the window: Invert\)", "press Invert"),
    (r"add --invert-mask; if it has classes, choose with --mask-class", "press Invert"),
    (r"; choose with --mask-class .*", "; choose one"),
    (r"; give it with --voxel-size Z,Y,X", ""),
    (r", or give the voxel size with --voxel-size Z,Y,X", ""),
    (r", or choose some, for example with --dataset \S+", ""),
    (r"say which one it belongs to with --sections, or give", "give"),
    (r"name its section with --sections, or add it", "add it"),
    (r", or (name the sections|one section) with --sections", ""),
    (r" \((max_gap|--max-gap|--overwrite)\)", ""),
    (r"max_gap", "the largest gap"),
    (r"…\.(?=\s|$)", "…"),
)


def listed(items: Iterable[object]) -> str:
    """Return items as in "2", "2 and 4" and "1, 2 and 4"."""
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}" if first else last


def access_of(stack: Stack) -> str:
    """Return in few words where accepted repairs of a stack go."""
    if keeps_beside(stack):
        return "repairs are kept beside it"
    return "writable" if stack.writable else "read-only"


def in_window(text: str) -> str:
    """Return a message of the engine with what the window has instead of options and commands."""
    for pattern, words in _ADVICE:
        text = re.sub(pattern, words, text)
    return text
