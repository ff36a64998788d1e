"""The first step of ``flowinpaint repair``: check everything, then plan; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.types import Progress, no_progress
from ._console import print_line
from ._parse import check_apart, check_file, parse_sections
from ._request import PlannedRepair, RepairCommand
from ._staging import check_staging

if TYPE_CHECKING:
    from ..core.batch import BatchPlan
    from ..core.io.stack import Stack

#: Context that is looked at for broken chunks before anything is written, pixels.
_LOOK_AROUND = 64


def plan_repair(command: RepairCommand, progress: Progress = no_progress) -> PlannedRepair:
    """Check a command against the data, and plan what it asks for.

    Parameters
    ----------
    command
        What was typed.
    progress
        Called with a fraction and a message.

    Raises
    ------
    InputError
        If anything about the request is wrong.
    StoreError
        If the stack or the mask cannot be read where the damage is.
    """
    from ..core.batch import plan_batch
    from ..core.device import resolve_device
    from ..core.mask_files import open_damage
    from ..core.masks.mask_choice import MaskChoice
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
        no_data=command.no_data,
        allow_external=command.allow_external,
    )
    told = _check_targets(command, stack)
    depth = stack.shape[0]
    sections = None if command.sections is None else parse_sections(command.sections, depth)
    mask = open_damage(
        command.mask,
        stack,
        sections,
        dataset=command.mask_dataset,
        allow_external=command.allow_external,
        choice=MaskChoice.parse(command.mask_class, command.invert_mask),
    )
    plan = plan_batch(
        stack,
        mask,
        sections,
        options=command.options,
        method=command.method,
        device=device,
        progress=progress,
    )
    staging = check_staging(command, stack)
    for section in plan.sections:
        _check_pixels(plan, section.z)
    notes = (*stack.messages, *mask.notes, *told)
    return PlannedRepair(command, plan, staging, notes)


def show_plan(request: PlannedRepair) -> None:
    """Print what is going to happen."""
    from ..core.batch.batch_workers import cores

    plan = request.plan
    for section in plan.sections:
        print_line(f"plan: {section}")
    workers = request.command.batch.workers or min(cores(), max(len(plan.planned), 1))
    print_line(f"plan: {plan.summary(workers)}; staged in {request.staging}")


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


def _check_targets(command: RepairCommand, stack: Stack) -> tuple[str, ...]:
    """Refuse to write where it is impossible, or over what is read; return what was put right."""
    told: tuple[str, ...] = ()
    from ..core.export import check_target
    from ..core.writing.writeback import check_in_place

    if command.in_place:
        if not stack.writable:
            raise InputError(
                f"{command.stack} cannot be repaired in place: {stack.why_not_writable}"
            )
        check_in_place(stack)
    if command.output is not None:
        told = check_target(stack, command.output, overwrite=command.overwrite)
        check_apart(command.output, "--output", command.mask)
    if command.report is not None:
        places = [command.stack, command.mask, stack.group_path, command.output]
        if not command.report.is_dir():  # which is another mistake
            check_apart(command.report, "--report", *(place for place in places if place))
        check_file(command.report, "--report")
    return told


def _check_pixels(plan: BatchPlan, z: int) -> None:
    """Read the surroundings of the damage once: broken data must show before writing starts."""
    around = plan.boxes[z].expand(_LOOK_AROUND, plan.stack.shape[1:])
    plan.stack.read(z, around)
