"""The command line that does what a button does, with the mask that it needs, in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.batch.plan import reach_of
from ...core.errors import InputError
from ...core.io.beside import kept_beside
from ...core.io.command_line import command_words, listed_sections
from ...core.io.zarr_node import outside_groups
from ...core.kinds import KINDS
from ...core.masks.sparse_mask import SparseMask
from ...core.repair_options import RepairOptions
from ...core.section_repair import SectionRepair
from ...core.types import Progress
from ...core.writing.kept import can_keep
from .mask_tools import save_mask

if TYPE_CHECKING:
    from ...core.io.stack import Stack

#: After the name of the stack.
_MASK = "mask{}.zarr"
#: Options of a repair that the command line has.
_REPAIR_OPTIONS = ("max_gap", "texture", "seed", "weights", "views", "gate", "quality")


@dataclass(frozen=True, eq=False)
class CommandRequest:
    """A repair, as it is to be done by a command.

    Parameters
    ----------
    stack, mask
        The stack, and its mask, frozen.
    sections
        Sections to repair.
    method, device, options
        As for :func:`~.core.batch.plan_batch`.
    intact
        By section, the values of the mask that are not damage.
    """

    stack: Stack
    mask: SparseMask
    sections: tuple[int, ...]
    method: str
    device: str
    options: RepairOptions
    intact: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class AcceptedRequest:
    """A repair that was accepted, as a command is to do it again.

    Parameters
    ----------
    stack
        The stack.
    mask
        The damage of its sections, frozen: what is masked guides nothing. None where there is none.
    accepted
        The repair, where it is not saved; else its number in the stack.
    device
        Where the networks compute.
    """

    stack: Stack
    mask: SparseMask | None
    accepted: SectionRepair | int
    device: str


@dataclass(frozen=True)
class CopiedCommand:
    """A command line, and the mask that was saved for it."""

    text: str
    mask: Path


def repair_command(
    request: CommandRequest | AcceptedRequest, *, progress: Progress
) -> CopiedCommand:
    """Save the mask of the sections beside the stack; return the command that repairs them.

    The mask has the damage of the sections near them as well, which guides nothing.

    Raises
    ------
    InputError
        If the stack has no file that a command could open, nothing is masked, or tissue was moved
        by an accepted repair: what was painted is not known then.
    """
    if isinstance(request, AcceptedRequest):
        request = _again(request)
    stack = request.stack
    path = stack.path
    place = kept_beside(stack, _MASK.format(""))
    if path is None or place is None or stack.kind == "array":
        raise InputError(
            f"{stack.name} has no file that a command could open; press Save as OME-Zarr… first."
        )
    masked = [z for z in request.sections if request.mask.damaged_box(z) is not None]
    if not masked:
        raise InputError("nothing is masked; paint the damage first.")
    place.parent.mkdir(parents=True, exist_ok=True)
    number = 2
    while place.exists():  # commands that were copied before must keep working
        place = place.with_name(f"{place.name.rpartition('mask')[0]}{_MASK.format(f'-{number}')}")
        number += 1
    save_mask(
        stack,
        request.mask,
        place,
        sections=_near(request, masked),
        intact=request.intact,
        progress=progress,
    )
    words = command_words("repair", path, _options(request, place, masked))
    return CopiedCommand(" ".join(words), place)


def _near(request: CommandRequest, masked: Sequence[int]) -> list[int]:
    """Return the sections whose damage matters to the repair of some, these included."""
    reach = reach_of(request.stack, request.method, request.options)
    near = {other for z in masked for other in range(z - reach, z + reach + 1)}
    inside = sorted(z for z in near if 0 <= z < request.stack.shape[0])
    return [z for z in inside if request.mask.damaged_box(z) is not None]


def _options(request: CommandRequest, mask: Path, sections: Sequence[int]) -> dict[str, Any]:
    """Return the options of the command, by name."""
    stack, default = request.stack, RepairOptions()
    options: dict[str, Any] = {
        "mask": mask,
        "sections": listed_sections(tuple(sections)),
        "method": _unless(request.method, "auto"),
        "device": _unless(request.device, "auto"),
        **{
            name: _unless(getattr(request.options, name), getattr(default, name))
            for name in _REPAIR_OPTIONS
        },
        **stack.opening,
        "no_data": stack.no_data,
    }
    if stack.writable or can_keep(stack):
        return options | {"in_place": True}
    assert stack.path is not None  # the caller has checked
    folder = outside_groups(Path(stack.path)).parent
    return options | {"output": folder / f"{stack.name} repaired.zarr"}


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value


# ---- accepted repairs


def _again(request: AcceptedRequest) -> CommandRequest:
    """Return a request that repeats an accepted repair: its pixels and its recorded settings."""
    accepted, stack = request.accepted, request.stack
    if isinstance(accepted, int):
        from ...core.writing.replay import EarlierRepairs

        accepted = EarlierRepairs(stack).repair(accepted)
    if any(patch.displaced is not None for patch in accepted.patches):
        raise InputError(
            f"the repair of section {accepted.z} has moved tissue, and what was painted is not "
            "kept with it; paint the fold again, and copy the command beside Repair."
        )
    told = accepted.provenance.options
    kind = KINDS.get(str(told.get("kind")))
    mask = SparseMask(stack.shape, request.mask, labels=True)
    mask[accepted.z] = 0
    for patch in accepted.patches:
        place = (slice(accepted.z, accepted.z + 1), *patch.box.slices)
        mask[place] = np.where(patch.mask, 1 if kind is None else kind.label, mask[place])
    names = [f.name for f in fields(RepairOptions) if f.name in told and f.name != "kind"]
    options = RepairOptions(**{name: told[name] for name in names})
    method = accepted.provenance.method
    method = "auto" if "+" in method else method
    return CommandRequest(stack, mask, (accepted.z,), method, request.device, options)
