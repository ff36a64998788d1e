"""The first step of ``flowinpaint repair``: check everything, then plan; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.methods import available_methods, get_method
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
    notes = (*stack.messages, *mask.notes, *told, *_adapted(command, stack))
    return PlannedRepair(command, plan, staging, notes)


def _adapted(command: RepairCommand, stack: Stack) -> tuple[str, ...]:
    """Say whether weights that were adapted to the stack are used, and why not if not."""
    if command.method not in ("auto", "flowinpaint") or command.options.weights is not None:
        return ()
    from ..core.repair.adapted import adapted_weights

    found = adapted_weights(stack)
    if found.note or found.path is None:
        return (found.note,) if found.note else ()
    return (
        f"the weights adapted to this stack are used: {found.path.name} ({found.gain:+.2f} dB on "
        "sections held back)",
    )


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
    from ..core.networks.weights import read_info

    networks = {
        name: getattr(get_method(name), "architecture", None) for name in available_methods()
    }
    wanted = networks.get(command.method)
    if wanted is None:
        learned = ", ".join(name for name, network in networks.items() if network is not None)
        raise InputError(
            f"--weights needs a method with a network; choose one with --method: {learned}."
        )

    path = Path(command.options.weights)
    kind = read_info(path).architecture
    if kind != wanted:
        raise InputError(
            f"{path.name} holds a network '{kind}', not '{wanted}'; choose other weights."
        )


def _check_targets(command: RepairCommand, stack: Stack) -> tuple[str, ...]:
    """Refuse to write where it is impossible, or over what is read; return what was put right."""
    told: tuple[str, ...] = ()
    from ..core.export import check_target
    from ..core.writing.kept import can_keep, check_can_keep
    from ..core.writing.writeback import check_in_place

    if command.in_place and can_keep(stack):
        check_can_keep(stack)
    elif command.in_place:
        if not stack.writable:
            raise InputError(
                f"{command.stack} cannot be repaired in place: {stack.why_not_writable}."
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
