"""What a staging folder says of a section, as JSON beside the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..refusal import Refusal
from ..types import AnyImage, Box, Patch, Provenance, SectionRepair

FORMAT = 1
#: What may become of a section. ``failed`` ones are not staged: they are tried again.
REPAIRED, REFUSED, FAILED = "repaired", "refused", "failed"
#: Arrays of a patch.
IMAGES = ("components", "initial_reference", "refined_reference", "result", "confidence")


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one section, without the pixels.

    Parameters
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
        Everything of the :class:`~napari_flowinpaint.core.types.SectionRepair` that is no image,
        plain JSON; None where refused.
    """

    z: int
    key: str
    status: str
    message: str = ""
    repair: dict[str, Any] | None = None


def box_to_json(box: Box) -> dict[str, Any]:
    """Return a box as a staging file has it."""
    return {"format": FORMAT, "box": [box.y0, box.x0, box.y1, box.x1]}


def record_to_json(record: Record) -> dict[str, Any]:
    """Return a record as a staging file has it."""
    return {"format": FORMAT, **asdict(record)}


def record_of(content: Mapping[str, Any]) -> Record:
    """Return the record of which :func:`record_to_json` made ``content``."""
    return Record(**{name: content[name] for name in Record.__slots__})


def repair_to_json(repair: SectionRepair) -> dict[str, Any]:
    """Return all of a repair but images and times."""
    provenance = repair.provenance.to_dict()
    del provenance["time"]
    return {
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
            }
            for patch in repair.patches
        ],
        "refused": [refusal.to_dict() for refusal in repair.refused],
    }


def repair_of(
    z: int, told: Mapping[str, Any], images: Mapping[str, AnyImage], log: Mapping[str, Any]
) -> SectionRepair:
    """Return the repair of which :func:`repair_to_json` made ``told``."""
    seconds = log.get("windows", [])
    patches = []
    for number, patch in enumerate(told["patches"]):
        patches.append(
            Patch(
                box=Box(*patch["box"]),
                **{name: images[f"{name}-{number}"] for name in IMAGES},
                neighbours=(patch["neighbours"][0], patch["neighbours"][1]),
                alpha=patch["alpha"],
                method=patch["method"],
                seconds=seconds[number] if number < len(seconds) else 0.0,
                scores=patch["scores"],
                source_digest=patch["source_digest"],
                flags=tuple(patch["flags"]),
            )
        )
    provenance = dict(told["provenance"])
    for name in ("neighbours", "alpha"):
        provenance[name] = tuple(provenance[name])
    height, width = told["shape"]
    return SectionRepair(
        z=z,
        shape=(height, width),
        dtype=np.dtype(told["dtype"]),
        patches=tuple(patches),
        provenance=Provenance(time=log["time"], **provenance),
        refused=refused_of(told),
    )


def refused_of(told: Mapping[str, Any] | None) -> tuple[Refusal, ...]:
    """Return the windows that a repair left, from what is staged of it."""
    found = () if told is None else told.get("refused", ())  # earlier folders tell of none
    return tuple(Refusal.from_dict(refusal) for refusal in found)


def without_time(provenance: Provenance) -> Provenance:
    """Return a record that can be compared with that of the same repair made at another time."""
    return replace(provenance, time="")
