"""What a staging folder says, as JSON: of sections, of the plan, of what was decided and chosen.

What is read is checked against the models below, whoever wrote it: a wrong type, a missing key or
a number that makes no sense is a ``ValueError`` of one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    model_validator,
)

from ..io.levels import DTYPES
from ..io.npz import Npz
from ..kinds import KINDS
from ..names import printable
from ..refusal import Refusal
from ..repair_options import RepairOptions
from ..section_repair import Patch, Provenance, SectionRepair
from ..types import AnyImage, Box
from ..window import Displaced

FORMAT = 1
#: What may become of a section. ``failed`` ones are not staged: they are tried again.
REPAIRED, REFUSED, FAILED = "repaired", "refused", "failed"
UNDECIDED, ACCEPTED, REJECTED, WRITTEN = "undecided", "accepted", "rejected", "written"
#: Arrays of a patch.
IMAGES = ("components", "initial_reference", "refined_reference", "result", "confidence")
#: Arrays of a patch that moves tissue, and their types; the last one has two of a box's shape.
DISPLACED = {"displaced_mask": "bool", "displaced_zone": "bool", "displaced_flow": "float32"}
#: Larger than any side of a section.
_LARGEST_SIDE = 1 << 31
_METHOD = re.compile(r"[A-Za-z0-9_+. -]{1,200}")
_GATES = ("refuse", "flag", "off")


def _check_options(options: RepairOptions) -> RepairOptions:
    if (
        options.gate not in _GATES
        or options.max_gap < 1
        or options.views not in (None, *range(1, 9))
    ):
        raise ValueError("these options do not exist")
    if options.kind is not None and options.kind not in KINDS:
        raise ValueError("this kind does not exist")
    if options.halo is not None and not 0 <= options.halo < _LARGEST_SIDE:
        raise ValueError("this halo does not exist")
    return options


def _check_method(name: str) -> str:
    if not _METHOD.fullmatch(name):
        raise ValueError("this is not the name of a method")
    return name


_Text = Annotated[str, AfterValidator(printable)]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_Side = Annotated[int, Field(ge=0, lt=_LARGEST_SIDE)]
_Method = Annotated[str, AfterValidator(_check_method)]
_Options = Annotated[RepairOptions, AfterValidator(_check_options)]
_Scores = dict[_Text, float]
_Four = tuple[_Side, _Side, _Side, _Side]


class _Staged(BaseModel):
    """Base of what is read; what later versions may have added is passed over."""

    model_config = ConfigDict(frozen=True, strict=True)


class _Boxed(_Staged):
    box: _Four

    @model_validator(mode="after")
    def _not_empty(self) -> _Boxed:
        if not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("the box is empty")
        return self

    @property
    def place(self) -> Box:
        """The box."""
        return Box(*self.box)


class StagedMask(_Boxed):
    """The record of a mask: a box in which all of it lies, and a digest of its bits."""

    format: Literal[1]
    digests: dict[str, str] | None = None


class StagedPatch(_Boxed):
    """What a record says of one window."""

    neighbours: tuple[_Count | None, _Count | None]
    alpha: Annotated[float, Field(ge=0, le=1)]
    method: _Text
    scores: _Scores
    source_digest: str | None
    flags: tuple[_Text, ...]
    displaced: bool = False  # earlier versions displaced nothing
    why: _Text = ""  # earlier versions stored none


class StagedRefusal(_Staged):
    """A window that was left."""

    box_yxyx: _Four
    pixels: _Count
    reason: _Text

    def refusal(self) -> Refusal:
        """Return it as a repair has it."""
        return Refusal(Box(*self.box_yxyx), self.pixels, self.reason)


class StagedProvenance(_Staged):
    """A provenance without its time."""

    method: _Text
    weights_sha256: _Text | None
    neighbours: tuple[_Count, ...]
    alpha: tuple[float, ...]
    mask_pixels: _Count
    version: _Text
    options: dict[str, Any]
    scores: _Scores
    flags: tuple[_Text, ...] = ()  # earlier versions stored none


class StagedRepair(_Staged):
    """All of a repair but images and times."""

    shape: tuple[_Side, _Side]
    dtype: str
    provenance: StagedProvenance
    patches: Annotated[tuple[StagedPatch, ...], Field(min_length=1)]
    refused: tuple[StagedRefusal, ...] = ()  # earlier versions stored none

    @model_validator(mode="after")
    def _fits(self) -> StagedRepair:
        height, width = self.shape
        if self.dtype not in DTYPES:
            raise ValueError("its pixels are of a type that no stack has")
        if any(p.box[2] > height or p.box[3] > width for p in self.patches):
            raise ValueError("a window lies outside the section")
        return self


class StagedRecord(_Staged):
    """What became of one section, without the pixels.

    Attributes
    ----------
    z
        Section number.
    key
        Digest of all the repair was made from; another key means that it is out of date.
    status
        ``"repaired"`` or ``"refused"``.
    message
        Why it was refused.
    repair
        Everything of the :class:`~napari_flowinpaint.core.section_repair.SectionRepair` that is no
        image; None where refused.
    digests
        Of the images.
    """

    format: Literal[1]
    z: _Count
    key: _Text
    status: Literal["repaired", "refused"]
    message: _Text = ""
    repair: StagedRepair | None = None
    digests: dict[str, str] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> StagedRecord:
        if (self.status == REPAIRED) != (self.repair is not None):
            raise ValueError("it has a repair and was refused, or neither")
        return self

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """Windows that the repair left."""
        return () if self.repair is None else tuple(r.refusal() for r in self.repair.refused)


class StackIdentity(_Staged):
    """What tells one stack from another, wherever it lies."""

    name: _Text
    shape: tuple[_Side, _Side, _Side]
    dtype: str
    fixed: tuple[tuple[_Count, _Count], ...]


class StagedPlan(_Staged):
    """What a staging folder was made for."""

    format: Literal[1]
    stack: StackIdentity
    method: _Method
    options: _Options
    thickness: tuple[float, ...] | None


class Decision(_Staged):
    """What was decided about a repair of this key."""

    key: str
    decision: Literal["undecided", "accepted", "rejected", "written"]
    repair_id: _Count | None = None
    components: tuple[_Count, ...] | None = None  # all of them


class Edit(_Staged):
    """What was chosen for one section alone."""

    method: _Method | None = None
    options: _Options | None = None


_Number = Annotated[str, Field(pattern=r"^\d{1,10}$")]


class Decisions(RootModel[dict[_Number, Decision]]):
    """By section number."""


class EditList(RootModel[dict[_Number, Edit]]):
    """By section number."""


class LogLine(_Staged):
    """A line of the log, as far as a repair needs it."""

    time: _Text
    section: _Count
    key: str = ""
    windows: tuple[float, ...] = ()


_Model = TypeVar("_Model", bound=BaseModel)


def parse(model: type[_Model], content: bytes) -> _Model:
    """Return what JSON says.

    Raises
    ------
    ValueError
        If it is not as it was written; one line.
    """
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"][:6]))
        stored = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(printable(stored.partition("\n")[0][:200])) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


# ---- what is written


def box_to_json(box: Box) -> dict[str, Any]:
    """Return a box as a staging file has it."""
    return {"format": FORMAT, "box": [box.y0, box.x0, box.y1, box.x1]}


def refusal_to_json(z: int, key: str, reason: str) -> dict[str, Any]:
    """Return the record of a section that was refused."""
    return _record(z, key, REFUSED, reason, None)


def repair_to_json(key: str, repair: SectionRepair) -> dict[str, Any]:
    """Return the record of a repair: all but images and times."""
    provenance = repair.provenance.to_dict()
    del provenance["time"]
    stored = {
        "shape": list(repair.shape),
        "dtype": repair.dtype.name,
        "provenance": provenance,
        "patches": [
            {
                **box_to_json(patch.box),
                "neighbours": list(patch.neighbours),
                "alpha": patch.alpha,
                "method": patch.method,
                "scores": patch.scores,
                "source_digest": patch.source_digest,
                "flags": list(patch.flags),
                "displaced": patch.displaced is not None,
                "why": patch.why,
            }
            for patch in repair.patches
        ],
        "refused": [refusal.to_dict() for refusal in repair.refused],
    }
    return _record(repair.z, key, REPAIRED, "", stored)


def _record(z: int, key: str, status: str, message: str, repair: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "z": z,
        "key": key,
        "status": status,
        "message": message,
        "repair": repair,
    }


# ---- what is read


@dataclass(frozen=True, slots=True)
class Made:
    """When a repair was made, and in how many seconds each window."""

    time: str
    windows: tuple[float, ...] = ()


def images_of(stored: StagedRepair, archive: Npz) -> dict[str, AnyImage]:
    """Return the images of a repair.

    Raises
    ------
    ValueError
        If they are not what the record says.
    """
    kinds = {"components": "int32", "confidence": "float32"}
    images = {
        f"{name}-{number}": archive.array(
            f"{name}-{number}", patch.place.shape, kinds.get(name, stored.dtype)
        )
        for number, patch in enumerate(stored.patches)
        for name in IMAGES
    }
    for number, patch in enumerate(stored.patches):
        for name, dtype in DISPLACED.items() if patch.displaced else ():
            shape = patch.place.shape if dtype == "bool" else (2, *patch.place.shape)
            images[f"{name}-{number}"] = archive.array(f"{name}-{number}", shape, dtype)
    return images


def images_to_stage(repair: SectionRepair) -> dict[str, AnyImage]:
    """Return the images of a repair by the names they have in a staging folder."""
    images = {
        f"{name}-{number}": getattr(patch, name)
        for number, patch in enumerate(repair.patches)
        for name in IMAGES
    }
    for number, patch in enumerate(repair.patches):
        if patch.displaced is not None:
            moved = (patch.displaced.mask, patch.displaced.zone, patch.displaced.flow)
            images |= {f"{n}-{number}": a for n, a in zip(DISPLACED, moved, strict=True)}
    return images


def _displaced(images: Mapping[str, AnyImage], number: int) -> Displaced | None:
    """Return what a patch has moved."""
    if f"displaced_flow-{number}" not in images:
        return None
    mask, zone, flow = (images[f"{name}-{number}"] for name in DISPLACED)
    return Displaced(mask, zone, flow)


def repair_of(
    z: int, stored: StagedRepair, images: Mapping[str, AnyImage], made: Made
) -> SectionRepair:
    """Return the repair that :func:`repair_to_json` turned into ``stored``."""
    patches = tuple(
        Patch(
            box=patch.place,
            **{name: images[f"{name}-{number}"] for name in IMAGES},
            neighbours=patch.neighbours,
            alpha=patch.alpha,
            method=patch.method,
            seconds=made.windows[number] if number < len(made.windows) else 0.0,
            scores=dict(patch.scores),
            source_digest=patch.source_digest,
            flags=patch.flags,
            displaced=_displaced(images, number),
            why=patch.why,
        )
        for number, patch in enumerate(stored.patches)
    )
    provenance = stored.provenance
    known = {name: getattr(provenance, name) for name in StagedProvenance.model_fields}
    return SectionRepair(
        z=z,
        shape=stored.shape,
        dtype=np.dtype(stored.dtype),
        patches=patches,
        provenance=Provenance(time=made.time, **known),
        refused=tuple(refusal.refusal() for refusal in stored.refused),
    )


def without_time(provenance: Provenance) -> Provenance:
    """Return a record that can be compared with that of the same repair made at another time."""
    return replace(provenance, time="")
