"""Errors that are meant to be read by the person at the microscope.

Every message says what was wrong and what to do about it, in one line, so that the
command line and the notifications of the viewer can show it as it is.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence


class FlowInpaintError(Exception):
    """Base of every error a user can cause or can do something about."""


class InputError(FlowInpaintError):
    """The request is wrong: a path, a shape, a dtype, a section number, an option."""


class ChoiceNeeded(InputError):
    """A file holds several stacks, and nobody but the user knows which is meant.

    Parameters
    ----------
    message
        What to do on the command line.
    option
        ``"dataset"``, ``"channel"`` or ``"time"``.
    choices
        What can be chosen, for a form.
    """

    def __init__(self, message: str, option: str, choices: Sequence[str]) -> None:
        super().__init__(message)
        self.option = option
        self.choices = tuple(choices)


class RepairRefused(FlowInpaintError):
    """The request is well formed, but a repair would have to be made up."""


class StoreError(FlowInpaintError):
    """The data could not be read or written: read-only, locked, full, broken."""


class SectionChanged(StoreError):
    """The pixels that a repair was made from have changed; the section must be repaired again."""


class StackGone(StoreError):
    """The files of a stack are not where they were when it was opened: it must be opened again."""


class LinkFound(StoreError):
    """There is a link where none is followed: everything else asked of the store is refused."""


class Cancelled(FlowInpaintError):
    """The job was cancelled; nothing was changed."""


_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of the operating system says that there is no space left."""
    return getattr(error, "errno", None) in _FULL


def first_line(error: object) -> str:
    """Return the first line of what a library says; the kind of error where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def ended(text: str) -> str:
    """Return a text that ends as a sentence does: with a full stop, unless another mark is there.

    Examples
    --------
    >>> ended("section 3 has no usable neighbour"), ended("press Save as OME-Zarr…")
    ('section 3 has no usable neighbour.', 'press Save as OME-Zarr…')
    """
    return f"{text}." if text and text[-1] not in ".?!…:" else text


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 section" and "1,200 sections"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def name_sections(sections: Iterable[int], most: int | None = None) -> str:
    """Return sections in words: "section 3", "sections 3, 4", or "sections 3, 4 and 7 more".

    Parameters
    ----------
    sections
        Section numbers.
    most
        How many are named; None for all.
    """
    numbers = list(map(str, sections))
    named = numbers[:most]
    more = f" and {len(numbers) - len(named)} more" if len(numbers) > len(named) else ""
    return f"section{'s' * (len(numbers) != 1)} {', '.join(named)}{more}"


def explain_failed_write(error: BaseException, data: object, elsewhere: bool = True) -> str:
    """Return in plain words why ``data`` could not be written, and what to do.

    Parameters
    ----------
    error
        What the operating system said.
    data
        What it said it of.
    elsewhere
        Whether the result could be written to another place; that of a revert cannot.
    """
    if is_disk_full(error):
        told = " or use --output on another disk" if elsewhere else ""
        return f"the disk of {data} is full; make room on it{told}"
    if getattr(error, "errno", None) in _FORBIDDEN:
        file = getattr(error, "filename2", None) or getattr(error, "filename", None)
        told = f" (no permission for {file})" if file else ""
        advice = "use --output (or Save as OME-Zarr)" if elsewhere else "change the permissions"
        return f"{data} may not be written to{told}; {advice}"
    advice = "check the disk, or use --output" if elsewhere else "check the disk"
    return f"{data} could not be written ({first_line(error)}); {advice}"
