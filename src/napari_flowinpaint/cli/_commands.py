"""What the commands do, once their options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..core.errors import Cancelled, FlowInpaintError, InputError
from ..core.refusal import tell_refused
from ._console import BAD_INPUT, DONE, NOT_ALL_DONE, complain, progress_bar, tell
from ._parse import parse_sections
from ._repair import NothingRepaired, Plan, RepairCommand, plan_repair, run_repair
from ._report import RepairReport, write_json


def repair_stack(command: RepairCommand) -> int:
    """Check, repair, report; return the exit code."""
    plan = plan_repair(command)
    for message in plan.stack.messages:
        tell(f"note: {message}")
    if command.batch.plan_only:
        return _show_plan(plan)
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
    if command.output is not None and error is None and report.written:
        tell(f"written: {command.output}")
    code = _conclude(plan, report, error)
    if lost:
        complain(lost)
    return max(code, NOT_ALL_DONE) if lost else code


def _show_plan(plan: Plan) -> int:
    """Print what would happen; return the exit code."""
    from ._batch import plan_many, show_plan

    command = plan.command
    with progress_bar("plan") as progress:
        batch = plan_many(plan, progress)
    show_plan(plan, batch)
    if command.report is not None:
        write_json(command.report, {"flowinpaint": __version__, **batch.to_dict()})
    if batch.unplanned:
        first = batch.unplanned[0]
        complain(
            f"{len(batch.unplanned)} of {len(batch.sections)} sections would not be repaired: "
            f"{_list([s.z for s in batch.unplanned])} (section {first.z}: {first.reason})"
        )
    if batch.incomplete:
        part = batch.incomplete[0]
        complain(
            f"{len(batch.incomplete)} of {len(batch.sections)} sections would be repaired in part: "
            f"{_list([s.z for s in batch.incomplete])} (section {part.z}: "
            f"{tell_refused(part.refused)})"
        )
    return NOT_ALL_DONE if batch.unplanned or batch.incomplete else DONE


def _conclude(plan: Plan, report: RepairReport, error: BaseException | None) -> int:
    """Say what is left to say on stderr; return the exit code."""
    command = plan.command
    written = report.written if command.in_place else []
    kept = f" Written before that: section {_list(written)}." if written else ""
    if error is not None:
        kept += _staged(plan, written)
    if isinstance(error, KeyboardInterrupt):
        raise Cancelled(f"interrupted.{kept}") from error
    if error is not None:
        complain(f"{error}{kept}")
        return NOT_ALL_DONE if written else BAD_INPUT
    asked_to_write = command.in_place or command.output is not None
    if report.waiting and asked_to_write:
        report_waiting = _list(report.waiting)
        complain(
            f"section {report_waiting} stayed below --accept-above; look at "
            f"{'it' if len(report.waiting) == 1 else 'them'} in {plan.staging}."
        )
        return NOT_ALL_DONE
    for records, what in (
        (report.unrepaired, "not repaired"),
        (report.incomplete, "repaired in part"),
    ):
        if records:
            _complain_of(records, what, len(report.sections))
    if not report.unrepaired and not report.incomplete:
        return DONE
    nothing_done = not report.repaired and not report.count("refused")
    return BAD_INPUT if nothing_done else NOT_ALL_DONE


def _complain_of(records: list[dict[str, Any]], what: str, total: int) -> None:
    """Say which sections something is wrong with, and what it is with the first of them."""
    first = records[0]
    if total == 1:
        complain(first["message"])
    else:
        complain(
            f"{len(records)} of {total} sections were {what}: "
            f"{_list([record['section'] for record in records])} "
            f"(section {first['section']}: {first['message']})"
        )


def _staged(plan: Plan, written: list[int]) -> str:
    """Say what a batch that ended early keeps."""
    from ..core.batch.records import REPAIRED
    from ..core.batch.stage import Stage

    stage = None if plan.staging is None else Stage(plan.staging)
    if stage is None or not stage.exists:
        return ""
    records = [stage.get_record(z) for z in stage.sections if z not in written]
    kept = [record.z for record in records if record is not None and record.status == REPAIRED]
    if not kept:
        return ""
    return (
        f" Repaired and kept in {stage.path}: section {_list(kept)}; run it again to go on from "
        "there."
    )


def _list(numbers: Any) -> str:
    return ", ".join(map(str, numbers))


def revert_stack(path: str, sections: str | None, opening: Mapping[str, Any]) -> int:
    """Undo repairs; return the exit code."""
    from ..core.open import open_stack
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
    from ..core.open import open_stack
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
