"""Results of a benchmark: per section, and as tables of means and of the worst sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import counted
from .scores import METRICS, BenchmarkScores, mean_scores, worst_scores
from .texture_scores import TextureScores

_NAMES = ("mask", "share", "method")
_TIMES = ("seconds", "per window")


@dataclass(frozen=True)
class BenchmarkOutcome:
    """Result of one section.

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
    texture
        Comparison of all repaired patches with the true ones; None if no mask has room for one.
    """

    shape: str
    fraction: float
    method: str
    outcomes: tuple[BenchmarkOutcome, ...]
    fid: float | None = None
    texture: TextureScores | None = None

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
    neighbours: int = 2

    @property
    def caption(self) -> str:
        """What was measured."""
        numbers = ", ".join(map(str, self.sections))
        guides = "neighbours" if self.neighbours == 2 else "the previous neighbour alone,"
        return (
            f"{self.stack}: sections {numbers} damaged one at a time, {guides} "
            f"{counted(self.spacing, 'section')} away; scores inside the mask only, means over the "
            f"sections; structure and PSNR in dB.{'' if self.has_fid else _NO_FID}"
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

    def texture_cells(self) -> list[tuple[str, ...]]:
        """Return the cells of the table of texture, of the rows that have patches."""
        rows = []
        for row in self.rows:
            if row.texture is not None:
                found = row.texture
                numbers = [*(f"{band:+.2f}" for band in found.bands), f"{found.auc:.3f}"]
                rows.append((row.shape, f"{row.fraction:.0%}", row.method, *numbers))
        return rows

    def to_text(self) -> str:
        """Return both tables for a terminal."""
        parts = [self.caption, _text([self.head, *self.cells()])]
        parts += [_WORST, _text([self.head, *self.cells(worst=True)])]
        if self.texture_cells():
            parts += [_TEXTURE, _text([TEXTURE_HEAD, *self.texture_cells()])]
        return "\n\n".join(parts)

    def to_markdown(self) -> str:
        """Return both tables as Markdown."""
        parts = [self.caption, markdown_table(self.head, self.cells(), len(_NAMES))]
        parts += [_WORST, markdown_table(self.head, self.cells(worst=True), len(_NAMES))]
        if self.texture_cells():
            parts += [_TEXTURE, markdown_table(TEXTURE_HEAD, self.texture_cells(), len(_NAMES))]
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, every section by itself; :meth:`from_dict` turns it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> BenchmarkTable:
        """Return the table :meth:`to_dict` was called on."""
        rows = [
            BenchmarkRow(
                **{k: v for k, v in row.items() if k not in ("outcomes", "texture")},
                texture=_texture(row.get("texture")),
                outcomes=tuple(_outcome(outcome) for outcome in row["outcomes"]),
            )
            for row in record["rows"]
        ]
        sections = tuple(record["sections"])
        neighbours = record.get("neighbours", 2)
        return cls(record["stack"], record["spacing"], sections, tuple(rows), neighbours)


#: Heads of the table of texture: the middle period of each band, in pixels.
TEXTURE_HEAD = (*_NAMES, *(f"{period} px" for period in (23, 13, 8.7, 5.9, 4.2, 3.1, 2.3)), "AUC")
_TEXTURE = (
    "Texture: log energy of repaired patches minus that of the true ones in bands around a period "
    "(0 is right, below is blur), and how well a linear discriminant tells them from true ones "
    "(AUC; 0.5 it cannot, 1 it always can):"
)
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


def _texture(record: dict[str, Any] | None) -> TextureScores | None:
    if record is None:
        return None
    return TextureScores(tuple(record["bands"]), record["auc"], record["patches"])


def _outcome(record: dict[str, Any]) -> BenchmarkOutcome:
    scores = record["scores"]
    return BenchmarkOutcome(
        record["z"],
        record["repeat"],
        None if scores is None else BenchmarkScores(**scores),
        record["seconds"],
        tuple(record["windows"]),
    )
