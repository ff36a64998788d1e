"""Where the repairs of a batch wait, and what becomes of that folder."""

from __future__ import annotations

import os
import shutil
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

if TYPE_CHECKING:
    from ..core.batch.stage import Stage
    from ..core.stack import Stack
    from ._repair import RepairCommand


def check_staging(command: RepairCommand, stack: Stack) -> Path:
    """Return the staging folder of a command; refuse one that cannot be used.

    Raises
    ------
    InputError
        If it is something else, may not be written to, or does not go with ``--resume``.
    """
    from ..core.batch.stage import Stage

    given = command.batch.staging
    if given == Path():  # in a shell: a variable that is not set
        raise InputError("the path of --staging is empty; give one.")
    folder = (given or default_staging(command, stack)).expanduser().absolute()
    others = [command.stack, command.mask, stack.group_path, command.output]
    check_apart(folder, "--staging", *(other for other in others if other))
    stage = Stage(folder)
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
    from ..core._zarr_reader import outside_groups

    if command.output is not None:
        return beside(Path(os.path.realpath(command.output.expanduser())), STAGING)
    if stack.group_path is None:  # only planned
        return Path(f"{stack.name}.{STAGING}")
    return beside(outside_groups(stack.group_path), STAGING)


def start_anew(stage: Stage) -> None:
    """Remove what an earlier batch left."""
    if stage.exists:
        shutil.rmtree(stage.path)


def tidy(stage: Stage, own: bool, done: bool) -> None:
    """Remove the staging folder where nothing in it is of any use.

    Parameters
    ----------
    stage
        The folder.
    own
        Whether nobody asked for this folder.
    done
        Whether all that is staged was written.
    """
    if stage.path.is_dir() and (not stage.sections or (own and done)):
        known = {README, PLAN, MASKS, SECTIONS, SCRATCH, LOG, LOCK, DECISIONS}
        if {path.name for path in stage.path.iterdir()} <= known:
            shutil.rmtree(stage.path, ignore_errors=True)
