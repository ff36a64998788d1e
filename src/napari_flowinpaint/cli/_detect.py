"""What ``flowinpaint detect`` does, once its options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled
from ..core.notes import Notes
from ._console import DONE, NOT_ALL_DONE, print_error, print_line, print_note, progress_bar
from ._parse import check_apart, check_file, parse_sections

if TYPE_CHECKING:
    from ..core.detection.detect_stack import Detection


@dataclass(frozen=True, slots=True)
class DetectCommand:
    """The options of one command line.

    Parameters
    ----------
    stack, output, report, sections, sensitivity, estimate, workers, overwrite
        As on the command line.
    kinds
        Names, or None for all.
    opening
        For :func:`~napari_flowinpaint.core.open.open_stack`.
    """

    stack: str
    output: Path
    report: Path | None
    sections: str | None
    kinds: tuple[str, ...] | None
    sensitivity: float
    estimate: bool
    workers: int | None
    overwrite: bool
    opening: Mapping[str, Any]


def detect_damaged(command: DetectCommand) -> int:
    """Search, write masks and table, say what was found; return the exit code."""
    from ..core.detection.detect_section import DetectionOptions, estimate_parameters
    from ..core.detection.detect_stack import detect_stack
    from ..core.detection.store import check_output
    from ..core.kinds import KINDS
    from ..core.open import open_stack

    options = DetectionOptions(
        sensitivity=command.sensitivity,
        kinds=tuple(KINDS) if command.kinds is None else command.kinds,
    )
    stack = open_stack(command.stack, **command.opening)
    chosen = None
    if command.sections is not None:
        chosen = parse_sections(command.sections, stack.shape[0])
    told = check_output(stack, command.output, command.overwrite)
    if command.report is not None:
        check_file(command.report, "--report")
        check_apart(command.report, "--report", command.stack, command.output)
    notes = Notes(print_note)
    for message in (*stack.messages, *told):
        notes(message)
    try:
        if command.estimate:
            with progress_bar("estimate") as progress:
                options = estimate_parameters(stack, options, progress=progress)
            factors = ", ".join(f"{kind} {factor:g}" for kind, factor in options.scales.items())
            print_line(f"thresholds, as multiples of the defaults: {factors}")
        with progress_bar("detect") as progress:
            found = detect_stack(
                stack,
                command.output,
                sections=chosen,
                options=options,
                report=command.report,
                workers=command.workers,
                overwrite=command.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt as error:
        raise Cancelled("interrupted; run the same command again to continue.") from error
    return _conclude(command, found)


def _conclude(command: DetectCommand, found: Detection) -> int:
    for row in found.flagged:
        print_line(
            f"section {row.section}: {row.kind}, score {row.score:.2f}, {row.area_percent:.2f} %"
        )
    sections = {row.section for row in found.flagged}
    print_line(f"{len(sections)} of {len(found.searched)} sections flagged.")
    print_line(f"written: {command.output}")
    if not found.failed:
        return DONE
    first, why = next(iter(found.failed.items()))
    count, numbers = len(found.failed), ", ".join(map(str, found.failed))
    print_error(
        f"{count} section{'s' * (count > 1)} could not be searched: {numbers} (section {first}: "
        f"{why})"
    )
    return NOT_ALL_DONE
