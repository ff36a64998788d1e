"""A staged section as who decides of it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..refusal import Refusal
from .records import Decision, StagedRecord


@dataclass(frozen=True, slots=True)
class StagedSection:
    """One staged section, without its pixels.

    Parameters
    ----------
    z
        Section number.
    status
        ``"repaired"`` or ``"refused"``.
    message
        Why it was refused.
    decision
        ``"undecided"``, ``"accepted"``, ``"rejected"`` or ``"written"``.
    repair_id
        Number in the journal of the stack, where written.
    method
        Name of the method; "" where refused.
    neighbours
        Every section that guided a window.
    pixels
        How many pixels are replaced.
    scores
        What the method measured on the way, averaged over the windows.
    flags
        What was doubtful about it, where the gate only flags.
    expected_structure
        Predicted structure PSNR in dB; None where nobody predicted it.
    expected_ssim
        Predicted SSIM; likewise.
    key
        Digest of all the repair was made from.
    refused
        Windows that were left as they were, and why.
    """

    z: int
    status: str
    message: str
    decision: str
    repair_id: int | None
    method: str
    neighbours: tuple[int, ...]
    pixels: int
    scores: Mapping[str, float]
    flags: tuple[str, ...]
    expected_structure: float | None
    expected_ssim: float | None
    key: str
    refused: tuple[Refusal, ...] = ()

    @property
    def quality(self) -> float:
        """What repairs are sorted by: predicted where possible, else the rehearsed PSNR; dB.

        Minus infinity where neither is known, so that such repairs are looked at first: so are
        those of folds.
        """
        if self.expected_structure is not None:
            return self.expected_structure
        if "unfold" in self.method:  # what was rehearsed is the line, which is little of it
            return -np.inf
        return self.scores.get("rehearsal_psnr", -np.inf)


def staged_section(record: StagedRecord, decisions: Mapping[str, Decision]) -> StagedSection:
    """Return what is known of a section; a decision about another repair of it does not count."""
    decided = decisions.get(str(record.z))
    if decided is None or decided.key != record.key:
        decided = Decision(key=record.key, decision="undecided")
    provenance = None if record.repair is None else record.repair.provenance
    patches = () if record.repair is None else record.repair.patches
    scores = {} if provenance is None else provenance.scores
    return StagedSection(
        z=record.z,
        status=record.status,
        message=record.message,
        decision=decided.decision,
        repair_id=decided.repair_id,
        method="" if provenance is None else provenance.method,
        neighbours=() if provenance is None else provenance.neighbours,
        pixels=0 if provenance is None else provenance.mask_pixels,
        scores=scores,
        flags=tuple(dict.fromkeys(flag for patch in patches for flag in patch.flags)),
        expected_structure=scores.get("expected_structure"),
        expected_ssim=scores.get("expected_ssim"),
        key=record.key,
        refused=record.refused,
    )
