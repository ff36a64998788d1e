"""What is asked of ``flowinpaint repair``, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.repair_options import RepairOptions
from ..core.section_repair import SectionRepair

if TYPE_CHECKING:
    from ..core.batch import BatchPlan


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
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
    in_place, output
        Whether to write into the stack; OME-Zarr to write, or None. Neither: only stage, or plan.
    overwrite
        Whether ``output`` may exist.
    ro_crate
        Whether ``output`` gets RO-Crate metadata.
    report
        JSON file to write, or None.
    channel, time, dataset, voxel_size, no_data
        As for :func:`~napari_flowinpaint.core.open.open_stack`.
    mask_dataset
        Name of the mask within its container.
    mask_class, invert_mask
        Which values of the mask are damage, as text; whether it is the others.
    allow_external
        Whether what stack and mask show of other files is read.
    batch
        How many sections at once are repaired, and where they wait.
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
    ro_crate: bool = False
    report: Path | None = None
    channel: int | None = None
    time: int | None = None
    dataset: str | None = None
    mask_dataset: str | None = None
    mask_class: str | None = None
    invert_mask: bool = False
    allow_external: bool = False
    voxel_size: tuple[float, ...] | None = None
    no_data: float | None = None
    batch: BatchOptions = field(default_factory=BatchOptions)

    @property
    def writes(self) -> bool:
        """Whether anything but the staging folder is to be written."""
        return self.in_place or self.output is not None


@dataclass(frozen=True, slots=True, eq=False)
class PlannedRepair:
    """A command that was checked and planned: all that is needed to carry it out.

    Parameters
    ----------
    command
        What was typed.
    plan
        What is going to happen to which sections of which stack.
    staging
        The staging folder; need not exist.
    notes
        What was taken for granted on the way.
    """

    command: RepairCommand
    plan: BatchPlan
    staging: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RepairOutcome:
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
        Kept only until it is reported; None where it was not repaired.
    repair_id
        Number of the repair in the journal; None where nothing is written in place.
    seconds
        Time it took.
    decision
        ``"written"``; ``"undecided"`` where it waits in the staging folder, ``"rejected"`` where
        somebody decided so.
    computed
        Whether it was repaired now, not before.
    """

    z: int
    status: str
    message: str
    repair: SectionRepair | None
    repair_id: int | None
    seconds: float
    decision: str
    computed: bool
