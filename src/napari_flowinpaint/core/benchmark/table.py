"""What a benchmark found: per section, and as tables of means and of the worst sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .scores import METRICS, BenchmarkScores, mean_scores, worst_scores

_NAMES = ("mask", "share", "method")
_TIMES = ("seconds", "per window")


@dataclass(frozen=True)
class BenchmarkOutcome:
    """What came of one section.

    Parameters
    ----------
    z
        Section number.
    repeat
        Number of the mask drawn for it.
    scores
        Inside the mask; None where the method refused.
    seconds
        For the section; 0 for a stage that comes with another row.
    windows
        Seconds for each of its windows.
    """

    z: int
    repeat: int
    scores: BenchmarkScores | None
    seconds: float
    windows: tuple[float, ...]


@dataclass(frozen=True)
class BenchmarkRow:
    """One method at one kind of mask.

    Parameters
    ----------
    shape
        Kind of mask.
    fraction
        Masked share of the section, 0..1.
    method
        Name of the method, stage or peer.
    outcomes
        One per section and mask.
    fid
        Fréchet inception distance of all tiles of all sections; None where it was not measured,
        NaN with fewer than two tiles.
    """

    shape: str
    fraction: float
    method: str
    outcomes: tuple[BenchmarkOutcome, ...]
    fid: float | None = None

    @cached_property
    def scores(self) -> BenchmarkScores:
        """Means over the sections; NaN where every section was refused."""
        return mean_scores(self._scored)

    @cached_property
    def worst(self) -> BenchmarkScores:
        """The worst value of each score; they may come from different sections."""
        return worst_scores(self._scored)

    @property
    def sections(self) -> int:
        """Number of sections behind the means."""
        return len(self._scored)

    @property
    def refused(self) -> int:
        """Number of sections the method refused."""
        return len(self.outcomes) - self.sections

    @property
    def seconds(self) -> float:
        """Mean time for a section; 0 for a stage that comes with another row."""
        return _mean(o.seconds for o in self.outcomes if o.scores is not None)

    @property
    def slowest(self) -> float:
        """Longest time for a section."""
        return max((o.seconds for o in self.outcomes), default=0.0)

    @property
    def window_seconds(self) -> tuple[float, ...]:
        """Seconds for each window of all sections; none for a stage."""
        return tuple(seconds for outcome in self.outcomes for seconds in outcome.windows)

    @property
    def _scored(self) -> list[BenchmarkScores]:
        return [o.scores for o in self.outcomes if o.scores is not None]


@dataclass(frozen=True)
class BenchmarkTable:
    """The rows of a benchmark and what it was run on."""

    stack: str
    spacing: int
    sections: tuple[int, ...]
    rows: tuple[BenchmarkRow, ...]

    @property
    def caption(self) -> str:
        """What was measured."""
        numbers = ", ".join(map(str, self.sections))
        return (
            f"{self.stack}: sections {numbers} damaged one at a time, neighbours {self.spacing} "
            "section(s) away; scores inside the mask only, means over the sections; structure "
            f"and PSNR in dB.{'' if self.has_fid else _NO_FID}"
        )

    @property
    def has_fid(self) -> bool:
        """Whether the Fréchet inception distance was measured."""
        return any(row.fid is not None for row in self.rows)

    @property
    def head(self) -> tuple[str, ...]:
        """Heads of the columns."""
        return (*_NAMES, *(m.head for m in METRICS), *(["FID"] * self.has_fid), *_TIMES)

    def cells(self, *, worst: bool = False) -> list[tuple[str, ...]]:
        """Return the cells of every row: means, or the worst section of each score."""
        return [self._row(row, worst) for row in self.rows]

    def _row(self, row: BenchmarkRow, worst: bool) -> tuple[str, ...]:
        name = row.method + (f" ({row.refused} refused)" if row.refused else "")
        scores = row.worst if worst else row.scores
        windows = row.window_seconds
        seconds = row.slowest if worst else row.seconds
        per_window = (max(windows) if worst else _mean(windows)) if windows else 0.0
        cells = [row.shape, f"{row.fraction:.0%}", name]
        cells += [f"{getattr(scores, m.field):.{m.digits}f}" for m in METRICS]
        if self.has_fid:  # of all sections together: there is no worst one
            cells.append("" if worst or row.fid is None else f"{row.fid:.1f}")
        return (*cells, *(f"{s:.2f}" if s else "" for s in (seconds, per_window)))

    def to_text(self) -> str:
        """Return both tables for a terminal."""
        parts = [self.caption, _text([self.head, *self.cells()])]
        parts += [_WORST, _text([self.head, *self.cells(worst=True)])]
        return "\n\n".join(parts)

    def to_markdown(self) -> str:
        """Return both tables as Markdown."""
        parts = [self.caption, markdown_table(self.head, self.cells(), len(_NAMES))]
        parts += [_WORST, markdown_table(self.head, self.cells(worst=True), len(_NAMES))]
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, every section by itself; :meth:`from_dict` turns it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> BenchmarkTable:
        """Return the table :meth:`to_dict` was called on."""
        rows = [
            BenchmarkRow(
                **{k: v for k, v in row.items() if k != "outcomes"},
                outcomes=tuple(_outcome(outcome) for outcome in row["outcomes"]),
            )
            for row in record["rows"]
        ]
        sections = tuple(record["sections"])
        return cls(record["stack"], record["spacing"], sections, tuple(rows))


_NO_FID = " FID: not measured, no InceptionV3 weights given (--inception)."
_WORST = "The worst section of each score (they need not be the same), and the longest times:"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> str:
    """Return a Markdown table; columns after the first ``names`` are flush right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * names + "---:|" * (len(head) - names)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _text(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < len(_NAMES) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else 0.0


def _outcome(record: dict[str, Any]) -> BenchmarkOutcome:
    scores = record["scores"]
    return BenchmarkOutcome(
        record["z"],
        record["repeat"],
        None if scores is None else BenchmarkScores(**scores),
        record["seconds"],
        tuple(record["windows"]),
    )
