"""Words of the window: counts, and messages of the engine without words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What the engine advises on the command line, and what the window has instead; first fit wins.
_ADVICE = (
    (r"\(repair with --output, or Save as OME-Zarr\)", "(Save as OME-Zarr…)"),
    (r"write the result elsewhere with --output \(or Save as OME-Zarr\)", "use Save as OME-Zarr…"),
    (r"--output \(or Save as OME-Zarr\)", "Save as OME-Zarr…"),
    (r"use --output on another disk", "use Save as OME-Zarr… to save to another disk"),
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
        r"copy the data, or if you trust whoever made this, ask for it with --allow-external "
        r"\(in Python: allow_external=True\)",
        "copy the data into the file itself",
    ),
    (
        r"name the mask that it was made from, or begin anew with --no-resume or another "
        r"--staging",
        "repair the section again",
    ),
    (r"or repair it anyway \(--gate flag\)", "or press Repair anyway"),
    (r"add --invert-mask \(in the window: Invert\)", "press Invert"),
    (r"add --invert-mask; if it has classes, choose with --mask-class", "press Invert"),
    (r"; choose with --mask-class .*", "; choose one"),
    (r"; give it with --voxel-size Z,Y,X", ""),
    (r", or choose some, for example with --dataset \S+", ""),
    (r"say which one it belongs to with --sections, or give", "give"),
    (r"name its section with --sections, or add it", "add it"),
    (r", or (name the sections|one section) with --sections", ""),
    (r" \(max_gap\)", ""),
    (r"max_gap", "the largest gap"),
)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 section" and "1,200 sections"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(items: Iterable[object]) -> str:
    """Return items as in "2", "2 and 4" and "1, 2 and 4"."""
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}" if first else last


def in_window(text: str) -> str:
    """Return a message of the engine with what the window has instead of options and commands."""
    for pattern, words in _ADVICE:
        text = re.sub(pattern, words, text)
    return text
