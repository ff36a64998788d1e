"""The log of a training: a CSV file, and a plot of it as SVG (drawn by hand: no plot library)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

COLUMNS = ("step", "seconds", "rate", "loss", "structure", "psnr", "detail")
_WIDTH, _HEIGHT, _MARGIN = 720, 300, 50


class Log:
    """Appends rows to a CSV file; a resumed training continues the same file.

    Parameters
    ----------
    path
        The CSV file; its plot has the same name with ``.svg``.
    stacks
        Names of the validation stacks, each a column of structure PSNR.
    resume
        Keep the rows that are there, up to this step; None starts over.
    """

    def __init__(self, path: Path, stacks: Sequence[str], resume: int | None = None) -> None:
        self.path = path
        self.columns = (*COLUMNS, *stacks)
        kept = []
        if resume is not None and path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume]
            kept = [[row.get(column, "nan") for column in self.columns] for row in rows]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([self.columns, *kept])

    def add(self, values: Sequence[float]) -> None:
        """Append a row and draw the plot again."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([int(values[0]), *(f"{v:.5g}" for v in values[1:])])
        self.path.with_suffix(".svg").write_text(plot(self.path))


def plot(path: Path) -> str:
    """Return an SVG of loss and structure PSNR over the steps of a CSV log."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [float(row["step"]) for row in rows]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {2 * _HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{2 * _HEIGHT}" fill="white"/>',
    ]
    names = [name for name in rows[0] if name not in COLUMNS] if rows else []
    parts += _panel(0, "loss", steps, {"loss": [float(r["loss"]) for r in rows]})
    curves = {n: [float(r[n]) for r in rows] for n in ("structure", *names)}
    parts += _panel(_HEIGHT, "structure PSNR (dB), validation", steps, curves)
    return "\n".join([*parts, "</svg>", ""])


def _panel(top: int, title: str, steps: list[float], curves: dict[str, list[float]]) -> list[str]:
    """Draw one panel with its axes' ends and curves."""
    values = [v for curve in curves.values() for v in curve if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span, last = max(high - low, 1e-9), max([*steps, 1.0])
    left, right = _MARGIN, _WIDTH - _MARGIN
    bottom, ceiling = top + _HEIGHT - _MARGIN, top + _MARGIN
    parts = [
        f'<text x="{left}" y="{top + 20}">{title}</text>',
        f'<text x="4" y="{bottom}">{low:.3g}</text><text x="4" y="{ceiling}">{high:.3g}</text>',
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">step {last:.0f}</text>',
        f'<path d="M{left},{ceiling}V{bottom}H{right}" fill="none" stroke="black"/>',
    ]
    colours = ("black", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
    for number, (name, curve) in enumerate(curves.items()):
        colour = colours[number % len(colours)]
        places = [
            (left + s / last * (right - left), bottom - (v - low) / span * (bottom - ceiling))
            for s, v in zip(steps, curve, strict=True)
            if math.isfinite(v)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(
            f'<text x="{left + 110 * number}" y="{top + 38}" fill="{colour}">{name}</text>'
        )
    return parts
