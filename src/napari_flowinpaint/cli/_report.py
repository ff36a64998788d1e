"""What became of the sections: lines for the terminal, JSON for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._version import __version__
from ..core.methods.choice import describe_methods
from ..core.notes import Notes
from ..core.refusal import describe_refused, reason_of
from ..core.section_repair import Patch
from ._request import PlannedRepair, RepairOutcome


class RepairReport:
    """Collects the outcomes of one run; keeps numbers, no pixels.

    Parameters
    ----------
    request
        What is carried out.
    notes
        What was taken for granted, or done otherwise.
    """

    def __init__(self, request: PlannedRepair, notes: Notes | None = None) -> None:
        self._request = request
        self._notes = notes or Notes()
        self._started = datetime.now(UTC)
        self.sections: list[dict[str, Any]] = []

    def add(self, outcome: RepairOutcome) -> str:
        """Note an outcome, and what is doubtful about it; return it as one line of text."""
        record: dict[str, Any] = {
            "section": outcome.z,
            "status": outcome.status,
            "message": outcome.message,
            "repair_id": outcome.repair_id,
            "decision": outcome.decision if outcome.status == "repaired" else None,
            "computed": outcome.computed,
            "seconds": round(outcome.seconds, 3),
            "windows": [],
            "refused_windows": [],
        }
        if outcome.repair is not None:
            left = outcome.repair.refused
            record["message"] = outcome.message or describe_refused(left)
            record["windows"] = [_window(patch) for patch in outcome.repair.patches]
            record["refused_windows"] = [refusal.to_dict() for refusal in left]
            record["provenance"] = outcome.repair.provenance.to_dict()
            for flag in outcome.repair.flags:
                named = f"section {outcome.z}" in flag
                self._notes(flag if named else f"section {outcome.z}: {flag}")
        self.sections.append(record)
        return _line(outcome)

    def count(self, status: str) -> int:
        """Return how many sections ended like this."""
        return sum(record["status"] == status for record in self.sections)

    @property
    def repaired(self) -> list[int]:
        """Numbers of the sections that were repaired."""
        return [record["section"] for record in self.sections if record["status"] == "repaired"]

    @property
    def written(self) -> list[int]:
        """Numbers of the sections whose repair was written, or is going to be."""
        return [r["section"] for r in self.sections if r["decision"] == "written"]

    @property
    def waiting(self) -> list[int]:
        """Numbers of the sections that nobody has decided about."""
        return [r["section"] for r in self.sections if r["decision"] == "undecided"]

    @property
    def unrepaired(self) -> list[dict[str, Any]]:
        """Records of the sections that were refused or failed."""
        return [record for record in self.sections if record["status"] != "repaired"]

    @property
    def incomplete(self) -> list[dict[str, Any]]:
        """Records of the sections that were repaired, but not all windows of them."""
        repaired = (record for record in self.sections if record["status"] == "repaired")
        return [record for record in repaired if record["refused_windows"]]

    def save(self, path: Path, error: BaseException | None = None) -> None:
        """Write the report as JSON; numbers that JSON does not know become null.

        Parameters
        ----------
        path
            File to write.
        error
            What ended the run early: then what is said to be repaired was written in place, but
            nothing was written to an output.
        """
        command = self._request.command
        stack = self._request.plan.stack
        content = {
            "flowinpaint": __version__,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 3),
            "stack": command.stack,
            "shape": stack.shape,
            "dtype": str(stack.dtype),
            "voxel_size_nm": stack.voxel_size,
            "no_data": stack.no_data,
            "mask": command.mask,
            "output": None if command.output is None else str(command.output),
            "method": command.method,
            "device": command.device,
            "options": asdict(command.options),
            "staging": str(self._request.staging),
            "workers": command.batch.workers,
            "scheduler": command.batch.scheduler,
            "error": None if error is None else str(error) or "interrupted",
            "notes": self._notes.texts,
            "requested": [section.z for section in self._request.plan.sections],
            "repaired": self.count("repaired"),
            "incomplete": len(self.incomplete),
            "refused": self.count("refused"),
            "failed": self.count("failed"),
            "sections": sorted(self.sections, key=lambda record: record["section"]),
        }
        write_json(path, content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON; numbers that it does not know become null."""
    path.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _window(patch: Patch) -> dict[str, Any]:
    """Return what is reported of one window."""
    box = patch.box
    mask = patch.mask
    return {
        "box_yxyx": [box.y0, box.x0, box.y1, box.x1],
        "components": sorted(set(patch.components[mask].tolist())),
        "pixels": int(mask.sum()),
        "previous": patch.neighbours[0],
        "following": patch.neighbours[1],
        "alpha": patch.alpha,
        "method": patch.method,
        "why": patch.why,
        "confidence": float(patch.confidence[mask].mean()) if mask.any() else None,
        "seconds": round(patch.seconds, 3),
        "scores": patch.scores,
        "flags": list(patch.flags),
    }


def _line(outcome: RepairOutcome) -> str:
    """Return an outcome in words."""
    repair = outcome.repair
    if repair is None:
        return f"section {outcome.z}: {outcome.status}: {reason_of(outcome.z, outcome.message)}"
    record = repair.provenance
    guides = " and ".join(map(str, record.neighbours)) or "none"
    windows = len(repair.patches)
    number = "" if outcome.repair_id is None else f", repair {outcome.repair_id}"
    taken = f"{outcome.seconds:.1f} s" if outcome.computed else "already staged"
    kept = {"written": "", "undecided": ", waiting to be accepted", "rejected": ", rejected"}
    return (
        f"section {outcome.z}: repaired {record.mask_pixels} pixels in {windows} "
        f"window{'s' if windows > 1 else ''} by {describe_methods(repair.patches)}, "
        f"guided by {guides}, "
        f"{taken}{number}{kept[outcome.decision]}{_expected(record.scores)}"
        + (f"; {describe_refused(repair.refused)}" if repair.refused else "")
    )


def _expected(scores: Mapping[str, float]) -> str:
    """Return in words how good a repair is expected to be; "" where nobody knows."""
    if "expected_structure" not in scores:
        return ""
    mean = scores["expected_mean_structure"]
    return f", expected {scores['expected_structure']:.1f} dB (mean of neighbours {mean:.1f})"


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value
