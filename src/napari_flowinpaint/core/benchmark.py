"""Damage intact sections on purpose, repair them, and compare with the truth.

Every third section is damaged, so that the neighbours are intact; masks are drawn anew for
every section. All methods and peers see the same sections and masks in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from .damage.simulate import irregular_mask, rectangular_mask
from .errors import InputError, RepairRefused
from .methods import available_methods, get_method
from .metrics import Scores, data_range, score
from .peers import PEERS
from .repair import repair_section, to_dtype
from .types import AnyImage, BoolImage, Progress, RepairOptions, SectionRepair, no_progress

if TYPE_CHECKING:
    from .stack import Stack

_SHAPES = {"irregular": irregular_mask, "rectangular": rectangular_mask}
_HEAD = ("mask", "share", "method", "structure", "PSNR", "SSIM", "detail", "seconds")


@dataclass(frozen=True)
class BenchmarkRow:
    """Mean scores of one method at one kind of mask.

    Parameters
    ----------
    shape
        Kind of mask.
    fraction
        Masked share of the section, 0..1.
    method
        Name of the method, stage or peer.
    scores
        Means over the sections; NaN where every section was refused.
    seconds
        Mean time for a section; 0 for a stage that comes with another row.
    sections
        Number of sections behind the means.
    refused
        Number of sections the method refused.
    """

    shape: str
    fraction: float
    method: str
    scores: Scores
    seconds: float
    sections: int
    refused: int


@dataclass(frozen=True)
class BenchmarkTable:
    """The rows of a benchmark and what it was run on."""

    stack: str
    spacing: int
    sections: tuple[int, ...]
    rows: tuple[BenchmarkRow, ...]

    @property
    def caption(self) -> str:
        """One sentence on what was measured."""
        numbers = ", ".join(map(str, self.sections))
        return (
            f"{self.stack}: sections {numbers} damaged one at a time, neighbours {self.spacing} "
            "section(s) away; scores inside the mask only, means over the sections; structure "
            "and PSNR in dB."
        )

    def _cells(self) -> list[tuple[str, ...]]:
        cells: list[tuple[str, ...]] = []
        for row in self.rows:
            name = row.method + (f" ({row.refused} refused)" if row.refused else "")
            s = row.scores
            cells.append(
                (
                    row.shape,
                    f"{row.fraction:.0%}",
                    name,
                    f"{s.structure_psnr:.2f}",
                    f"{s.psnr:.2f}",
                    f"{s.ssim:.3f}",
                    f"{s.detail:.2f}",
                    f"{row.seconds:.2f}" if row.seconds else "",
                )
            )
        return cells

    def to_text(self) -> str:
        """Return the table for a terminal."""
        cells = [_HEAD, *self._cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.caption, "", *lines])

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| " + " | ".join(_HEAD) + " |", "|---|---|---|" + "---:|" * (len(_HEAD) - 3)]
        lines += ["| " + " | ".join(row) + " |" for row in self._cells()]
        return "\n".join([self.caption, "", *lines])


@dataclass(frozen=True)
class _Case:
    """One damaged section with everything needed to repair and score it."""

    z: int
    truth: AnyImage
    previous: AnyImage
    following: AnyImage
    mask: BoolImage


def run_benchmark(
    stack: Stack,
    *,
    spacing: int = 1,
    fractions: Sequence[float] = (0.1, 0.3, 0.5),
    methods: Sequence[str] | None = None,
    shapes: Sequence[str] = ("irregular", "rectangular"),
    sections: Sequence[int] | None = None,
    repeats: int = 1,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = no_progress,
) -> BenchmarkTable:
    """Compare methods and peers on the intact sections of a stack.

    Parameters
    ----------
    stack
        A stack without damage.
    spacing
        Distance of the guiding sections; more than 1 imitates thicker sections with isotropic
        data.
    fractions
        Masked shares of a section, each in 0..1 exclusive.
    methods
        Names of methods and peers; by default all whose weights are installed.
    shapes
        ``"irregular"``, ``"rectangular"`` or both.
    sections
        The only sections that are looked at (damaged ones and neighbours alike); all by
        default.
    repeats
        Masks drawn for every section.
    seed
        Seed of the masks.
    device
        Where methods with networks run.
    progress
        See :data:`~napari_flowinpaint.core.types.Progress`.

    Returns
    -------
    BenchmarkTable
        One row per shape, fraction and method; a method's references and its result without
        grain have rows of their own.

    Raises
    ------
    InputError
        Unknown method or shape, impossible fraction, too few sections.
    """
    names = _check_names(methods, shapes, fractions)
    damaged = damaged_sections(stack.shape[0], spacing, sections)
    cells = [(shape, fraction) for shape in shapes for fraction in fractions]
    total = len(cells) * len(damaged) * repeats * len(names)
    done = 0
    rows: list[BenchmarkRow] = []
    for shape, fraction in cells:
        measured: dict[str, list[tuple[Scores, float] | None]] = {}
        for case in _cases(stack, damaged, spacing, shape, fraction, repeats, seed):
            for name in names:
                progress(done / total, f"{shape} {fraction:.0%}, section {case.z}, {name}")
                for label, outcome in _measure(case, name, device):
                    measured.setdefault(label, []).append(outcome)
                done += 1
        rows += [_row(shape, fraction, name, found) for name, found in measured.items()]
    progress(1.0, "done")
    return BenchmarkTable(stack.name, spacing, damaged, tuple(rows))


def _check_names(
    methods: Sequence[str] | None, shapes: Sequence[str], fractions: Sequence[float]
) -> tuple[str, ...]:
    """Return the names to run, peers first."""
    known = (*PEERS, *available_methods())
    names = tuple(methods or ())
    if methods is None:
        names = (*PEERS, *(name for name in available_methods() if get_method(name).ready()))
    for name in names:
        if name not in known:
            raise InputError(f"unknown method or peer '{name}'; choose from: {', '.join(known)}")
    for shape in shapes:
        if shape not in _SHAPES:
            raise InputError(f"unknown mask shape '{shape}'; choose from: {', '.join(_SHAPES)}")
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise InputError(f"a masked share lies between 0 and 1; {fraction:g} does not")
    return names


def damaged_sections(
    depth: int, spacing: int, sections: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Return the sections a benchmark damages: every third that has both neighbours.

    Raises
    ------
    InputError
        If no section has a neighbour on each side.
    """
    used = sorted(range(depth) if sections is None else sections)
    present = set(used)
    chosen: list[int] = []
    for z in used:
        if {z - spacing, z + spacing} <= present and (not chosen or z >= chosen[-1] + 3 * spacing):
            chosen.append(z)
    if not chosen:
        raise InputError(
            f"no section has neighbours {spacing} section(s) away on both sides among those "
            "given; give at least three in a row"
        )
    return tuple(chosen)


def _cases(
    stack: Stack,
    damaged: Sequence[int],
    spacing: int,
    shape: str,
    fraction: float,
    repeats: int,
    seed: int,
) -> Iterator[_Case]:
    """Yield the damaged sections of one cell of the table."""
    for z in damaged:
        truth, previous, following = (stack.read(n) for n in (z, z - spacing, z + spacing))
        for repeat in range(repeats):
            rng = np.random.default_rng((seed, z, repeat, round(1000 * fraction)))
            yield _Case(z, truth, previous, following, _SHAPES[shape](truth.shape, fraction, rng))


def _measure(
    case: _Case, name: str, device: str
) -> Iterator[tuple[str, tuple[Scores, float] | None]]:
    """Yield the rows a method or peer contributes; None where it refused."""
    if name in PEERS:
        started = time.perf_counter()
        filled = _run_peer(case, name)
        seconds = time.perf_counter() - started
        yield name, (_score(case, filled), seconds)
        return
    stages = ("initial reference", "refined reference", "without grain")
    try:
        started = time.perf_counter()
        repair = _run_method(case, name, device, grain=True)
        seconds = time.perf_counter() - started
        smooth = _run_method(case, name, device, grain=False)
    except RepairRefused:
        for label in (*(f"{name}: {stage}" for stage in stages), name):
            yield label, None
        return
    images = [
        _whole(repair, "initial_reference", case),
        _whole(repair, "refined_reference", case),
        _whole(smooth, "result", case),
    ]
    for stage, image in zip(stages, images, strict=True):
        yield f"{name}: {stage}", (_score(case, image), 0.0)
    yield name, (_score(case, _whole(repair, "result", case)), seconds)


def _run_peer(case: _Case, name: str) -> AnyImage:
    """Return a peer's section in the stack's dtype."""
    low = float(case.truth.min()) if case.truth.dtype != np.uint8 else 0.0
    scale = 255 / data_range(case.truth)
    section, previous, following = (
        ((image.astype(np.float32) - low) * scale).astype(np.float32)
        for image in (case.truth, case.previous, case.following)
    )
    section[case.mask] = 255  # the truth under the mask is nobody's to see
    stretched = PEERS[name](section, previous, following, case.mask)
    filled = stretched / np.float32(scale) + np.float32(low)
    return to_dtype(filled, case.truth.dtype)


def _run_method(case: _Case, name: str, device: str, *, grain: bool) -> SectionRepair:
    """Repair the middle one of three sections, its masked pixels overwritten."""
    from .stack import Stack

    damaged = case.truth.copy()
    damaged[case.mask] = damaged.max()
    stack = Stack.from_array(np.stack([case.previous, damaged, case.following]))
    options = RepairOptions(grain=grain)
    return repair_section(stack, 1, case.mask, method=name, device=device, options=options)


def _whole(repair: SectionRepair, name: str, case: _Case) -> AnyImage:
    """Return a stage as a whole section."""
    whole = case.truth.copy()
    for patch in repair.patches:
        whole[patch.box.slices][patch.mask] = getattr(patch, name)[patch.mask]
    return whole


def _score(case: _Case, filled: AnyImage) -> Scores:
    repaired = np.where(case.mask, filled, case.truth)
    return score(repaired, case.truth, case.mask, data_range(case.truth))


def _row(
    shape: str, fraction: float, method: str, found: Sequence[tuple[Scores, float] | None]
) -> BenchmarkRow:
    """Average the outcomes of one method."""
    outcomes = [outcome for outcome in found if outcome is not None]
    if outcomes:
        means = np.mean([astuple(scores) for scores, _ in outcomes], axis=0)
        seconds = float(np.mean([seconds for _, seconds in outcomes]))
    else:
        means, seconds = np.full(4, np.nan), 0.0
    return BenchmarkRow(
        shape=shape,
        fraction=fraction,
        method=method,
        scores=Scores(*map(float, means)),
        seconds=seconds,
        sections=len(outcomes),
        refused=len(found) - len(outcomes),
    )
