"""What was chosen for single sections in the review: another mask, method or options.

It is kept in the staging folder, so that running the plan again does not undo it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from .. import folders
from ..masks.stack_mask import StackMask
from ..repair_options import RepairOptions
from ..types import AnyImage, BoolImage, Box
from .plan import BatchPlan, Rate, SectionPlan, plan_section
from .staging_folder import StagingFolder


@dataclass(frozen=True, slots=True)
class StagedEdits:
    """What is different for single sections.

    Parameters
    ----------
    masks
        By section number a box and the damage in it, bool; all damage lies in the box.
    methods, options
        By section number.
    kinds
        As ``masks``, the labels of the kinds of damage; of sections where they are known.
    """

    masks: Mapping[int, tuple[Box, BoolImage]] = field(default_factory=dict)
    methods: Mapping[int, str] = field(default_factory=dict)
    options: Mapping[int, RepairOptions] = field(default_factory=dict)
    kinds: Mapping[int, tuple[Box, AnyImage]] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: StagingFolder) -> StagedEdits:
        """Return what is kept in a staging folder."""
        masks = {
            z: mask
            for z in stage.masks(folders.EDITS)
            if (mask := stage.get_mask(z, folders.EDITS))
        }
        kinds = {z: found for z in masks if (found := stage.get_kinds(z, folders.EDITS))}
        stored = {int(z): edit for z, edit in stage.edits().items()}
        methods = {z: edit.method for z, edit in stored.items() if edit.method is not None}
        options = {z: edit.options for z, edit in stored.items() if edit.options is not None}
        return cls(masks, methods, options, kinds)


def store_edit(
    stage: StagingFolder,
    z: int,
    mask: BoolImage | None = None,
    method: str | None = None,
    options: RepairOptions | None = None,
    kinds: AnyImage | None = None,
) -> None:
    """Keep what was chosen for a section; None leaves an earlier choice alone.

    Parameters
    ----------
    stage
        The staging folder.
    z
        Section number.
    mask
        (Y, X) bool.
    method, options
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
    kinds
        (Y, X) labels of the kinds of damage in ``mask``, where known.
    """
    with stage.explained():
        if mask is not None:
            box = Box.of_mask(mask)
            assert box is not None  # checked by the caller
            inner = None if kinds is None else kinds[box.slices]
            stage.put_mask(z, box, mask[box.slices], folders.EDITS, inner)
        stored = {
            number: edit.model_dump(mode="json", exclude_none=True)
            for number, edit in stage.edits().items()
        }
        edit = stored.setdefault(str(z), {})
        if method is not None:
            edit["method"] = method
        if options is not None:
            edit["options"] = asdict(options)
        stage.put_json(folders.EDITS_FILE, stored)


class EditedMask(StackMask):
    """The damage of a stack with the masks that were changed in the review.

    Parameters
    ----------
    damage
        As it was.
    edits
        What was changed.
    """

    def __init__(self, damage: StackMask, edits: StagedEdits) -> None:
        super().__init__({}, damage.shape)
        self._damage, self._edits = damage, edits

    def read(self, z: int, box: Box | None = None) -> BoolImage:
        """Return the damage of a section, or of a box of it."""
        if z not in self._edits.masks:
            return self._damage.read(z, box)
        box = box or Box.whole(self.shape[1:])
        known, mask = self._edits.masks[z]
        out = np.zeros(box.shape, dtype=bool)
        here = known.intersection(box)
        out[here.within(box)] = mask[here.within(known)]
        return out

    def kinds(self, z: int, box: Box) -> AnyImage | None:
        """Return what kind of damage a box of a section has, where that is known."""
        if z not in self._edits.masks:
            return self._damage.kinds(z, box)
        if z not in self._edits.kinds:
            return None
        known, labels = self._edits.kinds[z]
        out = np.zeros(box.shape, dtype=np.uint8)
        here = known.intersection(box)
        out[here.within(box)] = labels[here.within(known)]
        return out


def with_edits(plan: BatchPlan, edits: StagedEdits) -> BatchPlan:
    """Return a plan with what was chosen in the review.

    Sections that an edited mask is a neighbour of are planned again: it may hide what guides them.
    """
    own = edits.methods.keys() | edits.options.keys()
    if not own and not edits.masks:
        return plan
    boxes = dict(plan.boxes) | {z: box for z, (box, _) in edits.masks.items()}
    plan = replace(plan, damage=EditedMask(plan.damage, edits), boxes=dict(sorted(boxes.items())))
    sections = []
    for section in plan.sections:
        z, reach = section.z, edits.options.get(section.z, plan.options).max_gap
        if z in own or any(abs(z - other) <= reach for other in edits.masks):
            section = plan_edited(plan, z, edits)
        sections.append(section)
    return replace(plan, sections=tuple(sections))


def plan_edited(plan: BatchPlan, z: int, edits: StagedEdits) -> SectionPlan:
    """Return the plan of one section with the method and the options that were chosen for it."""
    method, options = edits.methods.get(z, plan.method), edits.options.get(z, plan.options)
    return plan_section(replace(plan, method=method, options=options), z, Rate())
