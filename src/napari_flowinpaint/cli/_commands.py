"""What the commands do, once their options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import Cancelled, FlowInpaintError, InputError
from ._console import BAD_INPUT, DONE, NOT_ALL_DONE, complain, progress_bar, tell
from ._parse import parse_sections
from ._repair import NothingRepaired, RepairCommand, plan_repair, run_repair
from ._report import RepairReport


def repair_stack(command: RepairCommand) -> int:
    """Check, repair, report; return the exit code."""
    plan = plan_repair(command)
    for message in plan.stack.messages:
        tell(f"note: {message}")
    report = RepairReport(plan)
    error: BaseException | None = None
    try:
        with progress_bar("repair") as progress:
            run_repair(plan, lambda outcome: tell(report.add(outcome)), progress)
    except NothingRepaired:
        pass
    except (FlowInpaintError, KeyboardInterrupt) as caught:
        error = caught
    lost = ""
    if command.report is not None and report.sections:
        try:
            report.save(command.report, error)
        except OSError as caught:
            lost = f"the report {command.report} could not be written ({caught.strerror})."
    if command.output is not None and error is None and report.count("repaired"):
        tell(f"written: {command.output}")
    code = _conclude(command, report, error)
    if lost:
        complain(lost)
    return max(code, NOT_ALL_DONE) if lost else code


def _conclude(command: RepairCommand, report: RepairReport, error: BaseException | None) -> int:
    """Say what is left to say on stderr; return the exit code."""
    written = report.repaired if command.output is None else ()
    kept = f" Written before that: section {_list(written)}." if written else ""
    if isinstance(error, KeyboardInterrupt):
        raise Cancelled(f"interrupted.{kept}") from error
    if error is not None:
        complain(f"{error}{kept}")
        return NOT_ALL_DONE if written else BAD_INPUT
    if not report.unrepaired:
        return DONE
    first = report.unrepaired[0]
    if len(report.sections) == 1:
        complain(first["message"])
    else:
        missing = _list([record["section"] for record in report.unrepaired])
        complain(
            f"{len(report.unrepaired)} of {len(report.sections)} sections were not repaired: "
            f"{missing} (section {first['section']}: {first['message']})"
        )
    nothing_done = not report.repaired and not report.count("refused")
    return BAD_INPUT if nothing_done else NOT_ALL_DONE


def _list(numbers: Any) -> str:
    return ", ".join(map(str, numbers))


def revert_stack(path: str, sections: str | None, opening: Mapping[str, Any]) -> int:
    """Undo repairs; return the exit code."""
    from ..core.stack import open_stack
    from ..core.writeback import history, revert

    stack = open_stack(path, **opening)
    for message in stack.messages:
        tell(f"note: {message}")
    section_of = {e.id: e.z for e in history(stack) if e.state == "committed"}
    chosen = None
    if sections is not None:
        chosen = parse_sections(sections, stack.shape[0])
        untouched = sorted(set(chosen) - set(section_of.values()))
        if untouched:
            raise InputError(
                f"section {_list(untouched)} has no repair to undo; "
                f"'flowinpaint history {path}' lists what there is."
            )
    if not section_of:
        tell("there is no repair to undo.")
        return DONE
    with progress_bar("revert") as progress:
        undone = revert(stack, z=chosen, progress=progress)
    for repair_id in undone:
        tell(
            f"section {section_of[repair_id]}: repair {repair_id} undone, original pixels are back"
        )
    return DONE


def list_history(path: str, opening: Mapping[str, Any]) -> int:
    """Print the repairs of a stack; return the exit code."""
    from ..core.stack import open_stack
    from ..core.writeback import history

    stack = open_stack(path, **opening)
    for message in stack.messages:
        tell(f"note: {message}")
    entries = history(stack)
    if not entries:
        tell("no repairs.")
        return DONE
    rows = [("repair", "section", "state", "pixels", "method", "guided by", "time (UTC)")]
    for entry in entries:
        record = entry.provenance
        rows.append(
            (
                str(entry.id),
                str(entry.z),
                entry.state,
                str(entry.mask_pixels),
                record.method,
                ",".join(map(str, record.neighbours)) or "-",
                entry.time[:19].replace("T", " "),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        tell("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return DONE
