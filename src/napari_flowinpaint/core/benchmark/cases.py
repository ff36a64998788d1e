"""Damaged sections and what methods and peers make of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, RepairRefused, counted
from ..methods import Method
from ..metrics import black, data_range, is_eight_bit
from ..refusal import describe_refused
from ..repair.repair_section import repair_section
from ..repair_options import RepairOptions
from ..section_repair import SectionRepair
from ..simulation.simulate import irregular_mask, rectangular_mask
from ..types import AnyImage, BoolImage, to_dtype
from .peers import LEARNED_PEERS, PEERS

if TYPE_CHECKING:
    from ..io.stack import Stack

SHAPES = {"irregular": irregular_mask, "rectangular": rectangular_mask}
#: The rows of a method before its own: name, and the array of a patch.
STAGES = {
    "initial reference": "initial_reference",
    "refined reference": "refined_reference",
    "smooth": "result",
}


@dataclass(frozen=True, eq=False)
class BenchmarkCase:
    """One damaged section with everything needed to repair and score it.

    Parameters
    ----------
    z
        Section number.
    repeat
        Number of the mask drawn for this section.
    truth, previous, following
        (Y, X), the stack's dtype.
    mask
        (Y, X) bool, True = damaged.
    neighbours
        1: methods and peers see the previous section only.
    """

    z: int
    repeat: int
    truth: AnyImage
    previous: AnyImage
    following: AnyImage
    mask: BoolImage
    neighbours: int = 2

    @property
    def damaged(self) -> AnyImage:
        """The section, its masked pixels overwritten with its largest value."""
        section = self.truth.copy()
        section[self.mask] = section.max()
        return section


@dataclass(frozen=True, eq=False)
class Attempt:
    """A section as a method, a stage of it or a peer fills it.

    Parameters
    ----------
    label
        Its row of the table.
    image
        (Y, X), the stack's dtype; None where the method refused.
    seconds
        For the section; 0 for a stage that comes with another row.
    windows
        Seconds for each of its windows.
    """

    label: str
    image: AnyImage | None
    seconds: float = 0.0
    windows: tuple[float, ...] = ()


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
            f"no section has neighbours {counted(spacing, 'section')} away on both sides among "
            "those given; give at least three in a row"
        )
    return tuple(chosen)


def cases(
    stack: Stack,
    damaged: Sequence[int],
    spacing: int,
    shape: str,
    fraction: float,
    repeats: int = 1,
    seed: int = 0,
    neighbours: int = 2,
) -> Iterator[BenchmarkCase]:
    """Yield the damaged sections of one cell of the table; the same on every call.

    Only what was imaged in all three sections is damaged.
    """
    for z in damaged:
        found = [stack.read_tissue(n) for n in (z, z - spacing, z + spacing)]
        truth, previous, following = (pixels for pixels, _ in found)
        imaged = np.logical_and.reduce([shown for _, shown in found])
        for repeat in range(repeats):
            rng = np.random.default_rng((seed, z, repeat, round(1000 * fraction)))
            mask = SHAPES[shape](truth.shape, fraction, rng) & imaged
            if mask.any():
                yield BenchmarkCase(z, repeat, truth, previous, following, mask, neighbours)


def attempt(
    case: BenchmarkCase, label: str, method: str | Method, device: str
) -> Iterator[Attempt]:
    """Yield the rows a method or peer contributes.

    Parameters
    ----------
    case
        The damaged section.
    label
        Name of the last row; those of the stages start with it.
    method
        Name of a peer or method, or a method itself.
    device
        Where a network runs.
    """
    if isinstance(method, str) and method in PEERS | LEARNED_PEERS:
        started = time.perf_counter()
        filled = _run_peer(case, method)
        seconds = time.perf_counter() - started
        yield Attempt(label, filled, seconds, (seconds,))  # the section is its one window
        return
    try:
        started = time.perf_counter()
        repair = run_method(case, method, device)
        seconds = time.perf_counter() - started
        smooth = run_method(case, method, device, texture="smooth")
    except RepairRefused:
        for stage in STAGES:
            yield Attempt(f"{label}: {stage}", None)
        yield Attempt(label, None)
        return
    for stage, name in STAGES.items():
        source = smooth if stage == "smooth" else repair
        yield Attempt(f"{label}: {stage}", whole(source, name, case.truth))
    windows = tuple(patch.seconds for patch in repair.patches)
    yield Attempt(label, whole(repair, "result", case.truth), seconds, windows)


def run_method(
    case: BenchmarkCase, method: str | Method, device: str, *, texture: str = "noise"
) -> SectionRepair:
    """Repair the middle one of three sections, or the last of two, its masked pixels overwritten.

    Raises
    ------
    RepairRefused
        If the section, or a window of it, was refused.
    """
    from ..io.stack import Stack

    shown = [case.previous, case.damaged, case.following][: 1 + case.neighbours]
    stack = Stack.from_array(np.stack(shown))
    # without the gate, so that every row covers the same sections, even those it would refuse
    options = RepairOptions(texture=texture, gate="off")
    repair = repair_section(stack, 1, case.mask, method=method, device=device, options=options)
    if repair.refused:  # what is left would be scored as if it were the truth
        raise RepairRefused(describe_refused(repair.refused))
    return repair


def whole(repair: SectionRepair, name: str, around: AnyImage) -> AnyImage:
    """Return a stage as a whole section, (Y, X); unmasked pixels are those of ``around``."""
    section = around.copy()
    for patch in repair.patches:
        section[patch.box.slices][patch.mask] = getattr(patch, name)[patch.mask]
    return section


def _run_peer(case: BenchmarkCase, name: str) -> AnyImage:
    """Return a peer's section in the stack's dtype."""
    low = black(case.truth) if is_eight_bit(case.truth.dtype) else float(case.truth.min())
    scale = 255 / data_range(case.truth)
    section, previous, following = (
        ((image.astype(np.float32) - low) * scale).astype(np.float32)
        for image in (
            case.truth,
            case.previous,
            case.following if case.neighbours == 2 else case.previous,
        )
    )
    section[case.mask] = 255  # no method may see the truth under the mask
    stretched = (PEERS | LEARNED_PEERS)[name](section, previous, following, case.mask)
    filled = stretched / np.float32(scale) + np.float32(low)
    return to_dtype(filled, case.truth.dtype)
