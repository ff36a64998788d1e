"""The list of repairs to decide about: those of one section that wait, and those of a batch."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ...core.batch import StagedSection
from ...core.refusal import describe_refused
from ...viewer.tasks.review import Review
from .messages import as_sentence
from .rows_table import Column, RowsTable

#: A repair of one section is a Review, one of a batch is staged.
Pending = Review | StagedSection

WAITING = "waiting"


def key_of(row: Pending) -> Hashable:
    """Return what a repair is known by: of a batch its section."""
    return row.z if isinstance(row, StagedSection) else (WAITING, row.z)


def _scores(row: Pending) -> dict[str, float]:
    return dict(row.scores if isinstance(row, StagedSection) else row.repair.provenance.scores)


def _quality(row: Pending) -> float:
    if isinstance(row, StagedSection):
        return row.quality
    scores = _scores(row)
    return scores.get("expected_structure", scores.get("rehearsal_psnr", -np.inf))


def _score(row: Pending, name: str) -> float:
    return _scores(row).get(name, -np.inf)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def _method(row: Pending) -> str:
    return row.method if isinstance(row, StagedSection) else row.repair.provenance.method


def _decision(row: Pending) -> str:
    return row.decision if isinstance(row, StagedSection) else WAITING


def _explain(row: Pending) -> str:
    made = row if isinstance(row, StagedSection) else row.repair.provenance
    pixels = made.pixels if isinstance(made, StagedSection) else made.mask_pixels
    refused = row.refused if isinstance(row, StagedSection) else row.repair.refused
    scores = ", ".join(f"{name} {value:.3g}" for name, value in sorted(_scores(row).items()))
    guides = ", ".join(map(str, made.neighbours)) or "no other section"
    left = f"; {describe_refused(refused)}" if refused else ""
    doubts = "".join(f"; {flag}" for flag in made.flags)
    return as_sentence(f"{pixels:,} pixels, guided by {guides}{left}{doubts}; {scores}")


_COLUMNS = (
    Column("z", "Section.", lambda r: str(r.z), lambda r: r.z, number=True, width=38),
    Column(
        "dB",
        "Expected structure PSNR inside the mask; those of a batch begin with the worst.",
        lambda r: _number(_quality(r), 1),
        _quality,
        number=True,
        explain=_explain,
        width=45,
    ),
    Column(
        "mean",
        "The same for the plain mean of the neighbours, dB.",
        lambda r: _number(_score(r, "expected_mean_structure"), 1),
        lambda r: _score(r, "expected_mean_structure"),
        number=True,
        explain=_explain,
        width=45,
    ),
    Column(
        "SSIM",
        "Expected SSIM inside the mask; empty without test repairs on intact tissue.",
        lambda r: _number(_score(r, "expected_ssim"), 2),
        lambda r: _score(r, "expected_ssim"),
        number=True,
        explain=_explain,
        width=45,
    ),
    Column("method", "Method.", _method, explain=_explain, width=98),
    Column(
        "decision",
        "Your decision; one that is waiting was made in Repair section, the others in a batch.",
        _decision,
        explain=_explain,
        width=83,
    ),
)


class RepairTable(RowsTable):
    """The list itself; docks that show it show the same repairs."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS, key_of)
