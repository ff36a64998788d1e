"""Search many sections for damage."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..export import check_target
from ..io.memory import check_fits
from ..kinds import UNFOLDED
from ..types import Progress, no_progress
from .detect_section import DetectionOptions
from .detection_workers import (
    SearchedSection,
    SectionSearch,
    search_in_order,
    search_in_processes,
    search_in_threads,
)
from .detectors import Detector
from .features.sections import Sections
from .flag_table import Flagged, write_table
from .store import DamageSummary, DetectionStore, Labels, read_detection

if TYPE_CHECKING:
    from ..io.stack import Stack

#: From so many sections on, processes make up for the second that they take to start.
_MANY = 200


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in a stack.

    Parameters
    ----------
    flagged
        The rows, by section and kind.
    searched
        Sections that were looked at.
    failed
        Sections that could not be read, and why.
    masks
        The label image, or None where none was asked for.
    """

    flagged: tuple[Flagged, ...]
    searched: tuple[int, ...]
    failed: dict[int, str]
    masks: Path | None


def default_workers() -> int:
    """Return how many workers search by default: one per core, at most 8."""
    return min(os.cpu_count() or 1, 8)


def detect_stack(
    stack: Stack,
    output: Path | str | None = None,
    *,
    sections: Sequence[int] | None = None,
    options: DetectionOptions | None = None,
    report: Path | str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    max_gap: int = 5,
    detectors: Sequence[Detector] | None = None,
    progress: Progress = no_progress,
) -> Detection:
    """Find the damage of many sections.

    The sections are read lazily; memory does not grow with their number. A long search of a stack
    that was opened from a path runs in processes of its own, another in threads. An interrupted
    search continues where it stopped when the same is asked for again, and its outcome is
    the same to the byte.

    Parameters
    ----------
    stack
        What is searched.
    output
        New OME-Zarr label image of the stack's shape, one integer per kind; usable as a mask of
        a repair.
    sections
        Those to search; all by default. Others are still read as their neighbours.
    options
        See :class:`~napari_flowinpaint.core.detection.detect_section.DetectionOptions`.
    report
        Table of flagged sections, CSV or (``.json``) JSON, written before ``output`` appears.
    workers
        How many search at once; by default one per core, at most 8.
    overwrite
        Whether an existing zarr at ``output`` is replaced.
    max_gap
        Largest distance of the neighbours that the table names.
    detectors
        Those that look; all by default.
    progress
        Told after every section. Raising :class:`~napari_flowinpaint.core.errors.Cancelled` from
        it leaves what was found so far in a hidden folder beside ``output``, to be continued.

    Returns
    -------
    Detection
        The rows; sections that could not be read are in ``failed``.

    Raises
    ------
    InputError
        If a section does not exist, or ``output`` must not be written.
    StoreError
        If ``output`` cannot be written, or another process is writing it.
    """
    options = options or DetectionOptions()
    chosen = _check(stack, sections, workers)
    search = _Search(stack, SectionSearch(options, detectors), workers or default_workers())
    if output is None:
        failed = search.run(chosen, {}, lambda z, labels, found: None, progress)
        rows = _rows(stack, search.found, max_gap)
        if report is not None:
            write_table(rows, report)
        return Detection(tuple(rows), chosen, failed, None)
    target = Path(os.path.realpath(Path(output).expanduser()))
    request = _request(stack, chosen, options, detectors)
    store = DetectionStore(stack, target, request)
    if store.is_complete():
        store.discard()
        return _earlier(target, report)
    check = partial(check_target, stack, target, overwrite=overwrite, masks=True)
    check()
    with store.working(check):
        failed = search.run(chosen, store.finished, store.finish, progress)
        rows = _rows(stack, search.found, max_gap)
        if report is not None:
            write_table(rows, report)
        record = {
            "flagged": [asdict(row) for row in rows],
            "options": request["options"],
            "searched": [z for z in chosen if z not in failed],
            "failed": {str(z): why for z, why in failed.items()},
        }
        progress(1.0, f"writing {target.name}")  # the last moment to cancel
        store.complete(record, overwrite=overwrite)
    store.discard()
    return Detection(tuple(rows), chosen, failed, target)


def _earlier(target: Path, report: Path | str | None) -> Detection:
    """Return what is in the masks of a run that was killed when all was done."""
    record = read_detection(target)
    rows = tuple(Flagged(**row) for row in record["flagged"])
    if report is not None:
        write_table(rows, report)
    failed = {int(z): why for z, why in record["failed"].items()}
    return Detection(rows, tuple(record["request"]["sections"]), failed, target)


def _check(stack: Stack, sections: Sequence[int] | None, workers: int | None) -> tuple[int, ...]:
    depth = stack.shape[0]
    chosen = tuple(range(depth)) if sections is None else tuple(sorted(set(map(int, sections))))
    wrong = [z for z in chosen if not 0 <= z < depth]
    if wrong:
        raise InputError(
            f"section {wrong[0]} does not exist: {stack.name} has sections 0 to {depth - 1}."
        )
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot search anything; use at least 1.")
    # at the smallest level: what it is made of may be read in parts
    smallest = math.prod(stack.levels[-1].shape[1:])
    check_fits(smallest * stack.dtype.itemsize, f"a section of {stack.name}")
    return chosen


def _request(
    stack: Stack,
    chosen: tuple[int, ...],
    options: DetectionOptions,
    detectors: Sequence[Detector] | None,
) -> dict[str, Any]:
    """Return what the outcome depends on; a run with another request starts from the beginning."""
    from ..._version import __version__

    plain = {**asdict(options), "kinds": list(options.kinds), "scales": dict(options.scales)}
    if stack.no_data is not None:
        plain["no_data"] = stack.no_data
    return {
        "version": __version__,
        "stack": [str(stack.path), list(stack.shape), str(stack.dtype)],
        "sections": list(chosen),
        "options": plain,
        "detectors": None if detectors is None else [repr(d) for d in detectors],
    }


class _Search:
    """Searches sections and collects what was found in them."""

    def __init__(self, stack: Stack, search: SectionSearch, workers: int) -> None:
        self._stack = stack
        self._search = search
        self._workers = workers
        self.found: dict[int, list[DamageSummary]] = {}

    def run(
        self,
        chosen: Sequence[int],
        finished: dict[int, list[DamageSummary]],
        keep: Callable[[int, Labels | None, list[DamageSummary]], None],
        progress: Progress,
    ) -> dict[int, str]:
        """Search what is not finished; return the sections that could not be read, and why."""
        self.found = {z: found for z, found in finished.items() if z in set(chosen)}
        failed: dict[int, str] = {}
        todo = [z for z in chosen if z not in self.found]

        def tell(message: str) -> None:
            done = len(self.found) + len(failed)
            progress(0.99 * done / max(len(chosen), 1), message)

        tell(f"searching {len(todo)} sections")
        # closed at once where the search ends early: processes would go on
        with closing(self._searched(todo, lambda: tell("searching"))) as sections:
            for section in sections:
                if section.failure:
                    failed[section.z] = section.failure
                else:
                    keep(section.z, section.labels, section.found)
                    self.found[section.z] = section.found
                    tell(f"searched section {section.z}")
        return dict(sorted(failed.items()))

    def _searched(
        self, todo: list[int], waiting: Callable[[], None]
    ) -> Generator[SearchedSection, None, None]:
        if self._workers > 1 and len(todo) >= _MANY and self._stack.kind != "array":
            return search_in_processes(self._stack, todo, self._search, self._workers, waiting)
        sections = Sections(self._stack, self._search.options.side, self._workers)
        if self._workers == 1:
            return search_in_order(sections, todo, self._search)
        return search_in_threads(sections, todo, self._search, self._workers)


def _rows(stack: Stack, found: dict[int, list[DamageSummary]], max_gap: int) -> list[Flagged]:
    """Return the table, by section and kind."""
    area = stack.shape[1] * stack.shape[2]
    tiles = {z: [_bits(f.tiles) for f in records] for z, records in found.items()}
    rows = []
    for z in sorted(found):
        for record in found[z]:
            sides = [
                _usable(z, step, _bits(record.tiles), tiles, stack.shape[0], max_gap)
                for step in (-1, 1)
            ]
            rows.append(
                Flagged(
                    section=z,
                    kind=record.kind,
                    score=record.score,
                    area_percent=round(100 * record.pixels / area, 4),
                    neighbours=" ".join("-" if n is None else str(n) for n in sides),
                    suggested_method=_method_for(record.kind, sides),
                )
            )
    return rows


def _method_for(kind: str, sides: list[int | None]) -> str:
    """Return the method that a kind of damage is repaired by with such neighbours; "" if none."""
    if all(side is None for side in sides):
        return ""
    if kind in UNFOLDED:
        return "unfold"
    return "auto"


def _bits(tiles: str) -> int:
    return int(tiles, 16)


def _usable(
    z: int, step: int, own: int, tiles: dict[int, list[int]], depth: int, max_gap: int
) -> int | None:
    """Return the nearest section on one side that is intact where this one is damaged."""
    for distance in range(1, max_gap + 1):
        other = z + step * distance
        if not 0 <= other < depth:
            return None
        if not any(bits & own for bits in tiles.get(other, [])):
            return other
    return None
