"""``flowinpaint repair``: check everything, then repair section after section.

Nothing is written before :func:`plan_repair` has found nothing wrong. A section that cannot be
repaired is reported and does not keep the others from being repaired. More than one section is a
batch (:mod:`._batch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import FlowInpaintError, InputError, RepairRefused, StoreError
from ..core.types import Box, Progress, RepairOptions, SectionRepair, no_progress
from ._damage import find_damaged, open_damage
from ._parse import check_apart, check_file, parse_sections
from ._staging import check_staging

if TYPE_CHECKING:
    from ..core.batch.damage import Damage
    from ..core.stack import Stack

#: Context that is looked at for NaN and broken chunks before anything is written, pixels.
_LOOK_AROUND = 64


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What was typed about repairing many sections.

    Parameters
    ----------
    workers, scheduler
        As for :func:`~napari_flowinpaint.core.batch.run_batch`.
    staging
        Folder where repairs wait; None for one beside what is written.
    resume
        Whether to go on with what the folder has; None for yes, if it has anything.
    plan_only
        Whether only the plan is shown.
    accept_above
        Least quality, dB, of what is written; None for all.
    """

    workers: int | None = None
    scheduler: str | None = None
    staging: Path | None = None
    resume: bool | None = None
    plan_only: bool = False
    accept_above: float | None = None


@dataclass(frozen=True, slots=True)
class RepairCommand:
    """What was typed.

    Parameters
    ----------
    stack, mask
        Paths.
    sections
        Like ``3,7-9``; None for every section with damage.
    method, device, options
        As for :func:`~napari_flowinpaint.core.repair.repair_section`.
    in_place, output
        Whether to write into the stack; OME-Zarr to write, or None. Neither: only stage, or plan.
    overwrite
        Whether ``output`` may exist.
    report
        JSON file to write, or None.
    channel, time, dataset, voxel_size
        As for :func:`~napari_flowinpaint.core.open.open_stack`.
    mask_dataset
        Name of the mask within its container.
    batch
        How many sections at once are repaired.
    """

    stack: str
    mask: str
    sections: str | None = None
    method: str = "auto"
    device: str = "auto"
    options: RepairOptions = field(default_factory=RepairOptions)
    in_place: bool = False
    output: Path | None = None
    overwrite: bool = False
    report: Path | None = None
    channel: int | None = None
    time: int | None = None
    dataset: str | None = None
    mask_dataset: str | None = None
    voxel_size: tuple[float, ...] | None = None
    batch: BatchOptions = field(default_factory=BatchOptions)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A command that has been checked: all that is needed to carry it out.

    ``staging`` is the folder of a batch; None where a single section is repaired at once.
    """

    command: RepairCommand
    stack: Stack
    damage: Damage
    sections: tuple[int, ...]
    device: str
    staging: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one section.

    Parameters
    ----------
    z
        Section number.
    status
        ``"repaired"``, ``"refused"`` (it would have to be made up) or ``"failed"``.
    message
        Why it was not repaired; "" where it was.
    repair
        Without its pixels' use: kept only until it is reported.
    repair_id
        Number of the repair in the journal; None where nothing is written in place.
    seconds
        Time it took, writing included.
    decision
        ``"written"``; ``"undecided"`` where it waits in the staging folder, ``"rejected"`` where
        somebody decided so.
    computed
        Whether it was repaired now, not before.
    """

    z: int
    status: str
    message: str = ""
    repair: SectionRepair | None = None
    repair_id: int | None = None
    seconds: float = 0.0
    decision: str = "written"
    computed: bool = True


#: Called with every outcome as soon as it is known.
Report = Callable[[Outcome], None]


def plan_repair(command: RepairCommand) -> Plan:
    """Check a command against the data; nothing is written.

    Raises
    ------
    InputError
        If anything about the request is wrong.
    StoreError
        If the stack or the mask cannot be read where the damage is.
    """
    from ..core.device import resolve_device
    from ..core.methods import check_method
    from ..core.open import open_stack

    check_method(command.method)
    _check_weights(command)
    device = command.device
    if device != "auto":  # auto: the method chooses, and may never need torch
        device = resolve_device(device)
    stack = open_stack(
        command.stack,
        channel=command.channel,
        time=command.time,
        dataset=command.dataset,
        voxel_size=command.voxel_size,
    )
    _check_places(command, stack)
    depth = stack.shape[0]
    sections = None if command.sections is None else parse_sections(command.sections, depth)
    damage = open_damage(command.mask, stack.shape, sections, dataset=command.mask_dataset)
    boxes = find_damaged(damage, sections)
    staging = None
    if len(boxes) > 1 or command.batch != BatchOptions():
        staging = check_staging(command, stack)
    for z, box in boxes.items():
        _check_pixels(stack, damage, z, box)
    return Plan(command, stack, damage, tuple(boxes), device, staging)


def _check_weights(command: RepairCommand) -> None:
    """Refuse weights that the method takes none of, or that are not of its network."""
    if command.options.weights is None:
        return
    wanted = {"flowinpaint": "joint", "flowinpaint-paper": "paper"}.get(command.method)
    if wanted is None:
        raise InputError("--weights needs --method flowinpaint or flowinpaint-paper.")
    from ..core.networks.weights import read_info

    path = Path(command.options.weights)
    kind = read_info(path).architecture
    if kind != wanted:
        raise InputError(
            f"{path.name} holds a network '{kind}', not '{wanted}'; choose other weights"
        )


def _check_places(command: RepairCommand, stack: Stack) -> None:
    """Refuse to write where it is impossible, or over what is read."""
    from ..core.export import check_target

    if command.in_place and not stack.writable:
        raise InputError(f"{command.stack} cannot be repaired in place: {stack.why_not_writable}")
    if command.output is not None:
        check_target(stack, command.output, overwrite=command.overwrite)
        check_apart(command.output, "--output", command.mask)
    if command.report is not None:
        places = [command.stack, command.mask, stack.group_path, command.output]
        if not command.report.is_dir():  # which is another mistake
            check_apart(command.report, "--report", *(place for place in places if place))
        check_file(command.report, "--report")


def _check_pixels(stack: Stack, damage: Damage, z: int, box: Box) -> None:
    """Read the surroundings of the damage once: broken data must show before writing starts."""
    around = box.expand(_LOOK_AROUND, stack.shape[1:])
    pixels = stack.read(z, around)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels[~damage.read(z, around)]).all():
        raise InputError(
            f"section {z} contains NaN or infinite values around the damage; "
            "mask them or replace them first."
        )


class NothingRepaired(FlowInpaintError):
    """Every section was refused or failed: there is nothing to write."""


def run_repair(plan: Plan, report: Report, progress: Progress = no_progress) -> None:
    """Carry out a plan.

    Parameters
    ----------
    plan
        From :func:`plan_repair`.
    report
        Called with the outcome of every section.
    progress
        Called with a fraction and a message.

    Raises
    ------
    StoreError
        If writing failed; sections reported as repaired before that stay repaired.
    """
    if plan.staging is not None:
        from ._batch import repair_batch

        repair_batch(plan, report, progress)
    elif plan.command.in_place:
        _repair_in_place(plan, report, progress)
    else:
        _repair_to_output(plan, report, progress)


def _repair_in_place(plan: Plan, report: Report, progress: Progress) -> None:
    """Repair and write back one section after the other."""
    from ..core.writeback import write_back

    for number, z in enumerate(plan.sections):
        started = time.perf_counter()

        def show(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(plan.sections), message)

        outcome = _repair_one(plan, z, show)
        if outcome.repair is None:
            report(outcome)
            continue
        (repair_id,) = write_back(plan.stack, outcome.repair)
        seconds = time.perf_counter() - started
        report(Outcome(z, "repaired", "", outcome.repair, repair_id, seconds))


def _repair_to_output(plan: Plan, report: Report, progress: Progress) -> None:
    """Stream the stack to a new OME-Zarr, the repaired pixels pasted."""
    from ..core.export import save_ome_zarr

    fraction_written = 0.0

    def show_written(fraction: float, message: str) -> None:
        nonlocal fraction_written
        fraction_written = fraction
        progress(fraction, message)

    def repairs() -> Iterator[SectionRepair]:
        any_repaired = False
        for z in plan.sections:
            outcome = _repair_one(plan, z, lambda _, message: progress(fraction_written, message))
            report(outcome)
            if outcome.repair is not None:
                any_repaired = True
                yield outcome.repair
        if not any_repaired:
            raise NothingRepaired("no section could be repaired; nothing was written.")

    output = plan.command.output
    assert output is not None
    save_ome_zarr(
        plan.stack,
        output,
        repairs=repairs(),
        overwrite=plan.command.overwrite,
        progress=show_written,
    )


def _repair_one(plan: Plan, z: int, progress: Progress) -> Outcome:
    """Repair one section; nothing is written."""
    from ..core.repair import repair_section

    command = plan.command
    started = time.perf_counter()
    try:
        repair = repair_section(
            plan.stack,
            z,
            plan.damage.read(z),
            masks=plan.damage.read,
            method=command.method,
            device=plan.device,
            options=command.options,
            progress=progress,
        )
    except RepairRefused as error:
        return Outcome(z, "refused", str(error), seconds=time.perf_counter() - started)
    except (InputError, StoreError) as error:
        return Outcome(z, "failed", str(error), seconds=time.perf_counter() - started)
    return Outcome(z, "repaired", "", repair, None, time.perf_counter() - started)
