"""Where the repairs of a batch wait, and what becomes of that folder."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import FlowInpaintError, InputError
from ..core.folders import STAGING, beside
from ..core.names import printable
from ..core.notes import Note, no_note
from ._parse import check_apart
from ._request import RepairCommand

if TYPE_CHECKING:
    from ..core.batch.staging_folder import StagingFolder
    from ..core.io.stack import Stack


def check_staging(command: RepairCommand, stack: Stack) -> Path:
    """Return the staging folder of a command; refuse one that cannot be used.

    Raises
    ------
    InputError
        If it is something else, may not be written to, or does not go with ``--resume``.
    """
    from ..core.batch.staging_folder import StagingFolder
    from ..core.export import check_outside

    given = command.batch.staging
    if given == Path():  # in a shell: a variable that is not set
        raise InputError("--staging is empty; give the path of a folder.")
    folder = (given or default_staging(command, stack)).expanduser().absolute()
    others = [command.stack, command.mask, stack.group_path, command.output]
    check_apart(folder, "--staging", *(other for other in others if other))
    stage = StagingFolder(folder)
    if not stage.exists:
        check_outside(folder)
    if stage.foreign:
        raise InputError(f"{folder} is not a staging folder; choose another one with --staging.")
    stage.check_kinds()
    if command.batch.resume is False and stage.exists and not stage.ours:
        raise InputError(
            f"{folder} is a copy of a staging folder or was made by an earlier version, so nothing "
            "in it is removed; delete it, or choose another one with --staging."
        )
    if command.batch.resume and not stage.exists:
        raise InputError(f"there is nothing to resume in {folder}; leave --resume out.")
    if command.batch.plan_only:
        return folder
    place = folder if folder.is_dir() else folder.parent
    if not place.is_dir() and given is None and command.output is None:
        return folder  # in the user's state folder: it is made
    if not place.is_dir():
        raise InputError(f"the folder {place} does not exist; create it first.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"you may not write to {place}; choose another folder with --staging.")
    return folder


def default_staging(command: RepairCommand, stack: Stack) -> Path:
    """Return the folder beside what is written."""
    from ..core.io.beside import check_no_link, kept_beside

    if command.output is not None:
        folder = beside(Path(os.path.realpath(command.output.expanduser())), STAGING)
        check_no_link(folder)
        return folder
    return kept_beside(stack, STAGING) or Path(f"{stack.name}.{STAGING}")


def start_over(folder: Path, note: Note = no_note) -> None:
    """Remove what an earlier batch left in a staging folder; say what is kept.

    Raises
    ------
    StoreError
        If the folder was not made by flowinpaint (nothing in it is removed), or another process
        is at work in it.
    """
    from ..core.batch.staging_folder import StagingFolder

    stage = StagingFolder(folder)
    if not stage.exists:
        return
    with stage.writing():
        left = stage.clear()
    if left:
        note(f"kept in {folder}, as flowinpaint did not write it: {printable(', '.join(left))}")


def tidy(folder: Path, done: bool, written: Collection[int]) -> None:
    """Remove the staging folder where nothing in it is of any use, and nobody is at work in it.

    Parameters
    ----------
    folder
        The staging folder.
    done
        Whether all was done that was asked, and nobody asked for this folder.
    written
        Sections whose repairs were written.
    """
    from ..core.batch.staging_folder import StagingFolder

    stage = StagingFolder(folder)
    with suppress(FlowInpaintError):  # another one is at work, or it cannot be read: it stays
        if not stage.ours:
            return
        with stage.writing(timeout=0.0):
            useless = not stage.sections or (done and not _waiting(stage, written))
            if useless and not stage.edited and not stage.strangers():
                stage.clear()
                stage.remove()


def _waiting(stage: StagingFolder, written: Collection[int]) -> bool:
    """Return whether a repair is staged that was not written, also one of an earlier batch."""
    from ..core.batch import load_staged

    return any(
        section.status == "repaired" and section.decision != "written" and section.z not in written
        for section in load_staged(stage.path).sections
    )
