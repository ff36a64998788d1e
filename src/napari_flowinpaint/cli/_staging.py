"""Where the repairs of a batch wait, and what becomes of that folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.folders import (
    DECISIONS,
    LOCK,
    LOG,
    MASKS,
    PLAN,
    README,
    SCRATCH,
    SECTIONS,
    STAGING,
    beside,
)
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

    given = command.batch.staging
    if given == Path():  # in a shell: a variable that is not set
        raise InputError("the path of --staging is empty; give one.")
    folder = (given or default_staging(command, stack)).expanduser().absolute()
    others = [command.stack, command.mask, stack.group_path, command.output]
    check_apart(folder, "--staging", *(other for other in others if other))
    stage = StagingFolder(folder)
    if stage.foreign:
        raise InputError(f"{folder} is no staging folder; choose another one with --staging.")
    if command.batch.resume and not stage.exists:
        raise InputError(f"there is nothing to resume in {folder}; leave --resume out.")
    if command.batch.plan_only:
        return folder
    place = folder if folder.is_dir() else folder.parent
    if not place.is_dir():
        raise InputError(f"the folder {place} does not exist; make it first.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"you may not write to {place}; choose another folder with --staging.")
    return folder


def default_staging(command: RepairCommand, stack: Stack) -> Path:
    """Return the folder beside what is written."""
    from ..core.io.zarr_reader import outside_groups

    if command.output is not None:
        return beside(Path(os.path.realpath(command.output.expanduser())), STAGING)
    if stack.group_path is None:  # only planned
        return Path(f"{stack.name}.{STAGING}")
    return beside(outside_groups(stack.group_path), STAGING)


def start_anew(folder: Path) -> None:
    """Remove what an earlier batch left in a staging folder."""
    from ..core.batch.staging_folder import StagingFolder

    if StagingFolder(folder).exists:
        shutil.rmtree(folder)


def tidy(folder: Path, done: bool, written: Collection[int]) -> None:
    """Remove the staging folder where nothing in it is of any use.

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
    useless = not stage.sections or (done and not _waiting(stage, written))
    known = {README, PLAN, MASKS, SECTIONS, SCRATCH, LOG, LOCK, DECISIONS}
    if folder.is_dir() and useless and {path.name for path in folder.iterdir()} <= known:
        shutil.rmtree(folder, ignore_errors=True)


def _waiting(stage: StagingFolder, written: Collection[int]) -> bool:
    """Return whether a repair is staged that was not written, also one of an earlier batch."""
    from ..core.batch import load_staged

    return any(
        section.status == "repaired" and section.decision != "written" and section.z not in written
        for section in load_staged(stage.path).sections
    )
