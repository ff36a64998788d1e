"""What the commands do, once their options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..core.errors import (
    Cancelled,
    FlowInpaintError,
    InputError,
    SectionChanged,
    name_sections,
)
from ..core.io.command_line import command_words
from ..core.notes import Notes
from ..core.refusal import describe_refused, reason_of
from ._console import (
    BAD_INPUT,
    DONE,
    NOT_ALL_DONE,
    print_error,
    print_line,
    print_note,
    progress_bar,
)
from ._parse import parse_sections
from ._plan import plan_repair, show_plan
from ._report import RepairReport, write_json
from ._request import PlannedRepair, RepairCommand
from ._run import run_repair

if TYPE_CHECKING:
    from ..core.io.stack import Stack


def repair_stack(command: RepairCommand) -> int:
    """Check, plan, repair, report; return the exit code."""
    from ..core.writing.recovery import finish_interrupted

    with progress_bar("plan") as progress:
        request = plan_repair(command, progress)
    notes = Notes(print_note)
    for message in request.notes:
        notes(message)
    show_plan(request)
    if command.batch.plan_only:
        return _conclude_plan(request, notes)
    if command.in_place:
        for message in finish_interrupted(request.plan.stack, wait=False):
            notes(message)
    report = RepairReport(request, notes)
    error: BaseException | None = None
    try:
        with progress_bar("repair") as progress:
            run_repair(request, lambda outcome: print_line(report.add(outcome)), progress, notes)
    except (FlowInpaintError, KeyboardInterrupt) as caught:
        error = caught
    lost = ""
    if command.report is not None and report.sections:
        try:
            report.save(command.report, error)
        except OSError as caught:
            lost = f"the report {command.report} could not be written ({caught.strerror})."
    if command.output is not None and error is None and report.written:
        print_line(f"written: {command.output}")
        if command.ro_crate:
            _write_crate(command.output)
    code = _conclude(request, report, error)
    if lost:
        print_error(lost)
    return max(code, NOT_ALL_DONE) if lost else code


def _write_crate(output: Path) -> None:
    """Write into a new store what it is and what was repaired, for a deposit."""
    from ..core.crate import write_crate
    from ..core.open import open_stack

    copy = open_stack(output)
    print_line(f"written: {write_crate(copy, copy.name)}")


def _conclude_plan(request: PlannedRepair, notes: Notes) -> int:
    """Report a plan that is not carried out; return the exit code."""
    plan, path = request.plan, request.command.report
    if path is not None:
        write_json(path, {"flowinpaint": __version__, **plan.to_dict(), "notes": notes.texts})
    total = len(plan.sections)
    if plan.unplanned:
        left = [(section.z, section.reason) for section in plan.unplanned]
        print_error(_count(left, "would not be repaired", total))
    if plan.incomplete:
        left = [(section.z, describe_refused(section.refused)) for section in plan.incomplete]
        print_error(_count(left, "would be repaired in part", total))
    return NOT_ALL_DONE if plan.unplanned or plan.incomplete else DONE


def _conclude(request: PlannedRepair, report: RepairReport, error: BaseException | None) -> int:
    """Say what is left to say on stderr; return the exit code."""
    written = report.written if request.command.in_place else []
    if error is not None:
        kept = f" Written before that: {name_sections(written)}." if written else ""
        kept += _staged(request, error, written)
        if isinstance(error, KeyboardInterrupt):
            raise Cancelled(f"interrupted.{kept}") from error
        print_error(f"{str(error).removesuffix('.')}.{kept}" if kept else error)
        return NOT_ALL_DONE if written else BAD_INPUT
    if report.waiting and request.command.writes:
        print_error(
            f"{name_sections(report.waiting)} stayed below --accept-above; review "
            f"{_them(report.waiting)} in {request.staging}, or run the same command again with a "
            "lower threshold."
        )
        return NOT_ALL_DONE
    for records, what in (
        (report.unrepaired, "not repaired"),
        (report.incomplete, "repaired in part"),
    ):
        left = [(record["section"], record["message"]) for record in records]
        if left:
            total = len(report.sections)
            print_error(_count(left, what, total) if total > 1 else left[0][1])
    if not report.unrepaired and not report.incomplete:
        return DONE
    nothing_done = not report.repaired and not report.count("refused")
    return BAD_INPUT if nothing_done else NOT_ALL_DONE


def _count(left: list[tuple[int, str]], what: str, total: int) -> str:
    """Say of which sections something is to be said, and why of the first of them."""
    z, reason = left[0]
    numbers, first = _list([number for number, _ in left]), reason_of(z, reason)
    return f"{len(left)} of {total} sections {what}: {numbers} (section {z}: {first})"


def _staged(request: PlannedRepair, error: BaseException, written: list[int]) -> str:
    """Say what a run that ended early keeps; nothing of a folder that is not this stack's."""
    from ..core.batch.records import REPAIRED
    from ..core.batch.run_batch import check_fits
    from ..core.batch.staging_folder import StagingFolder
    from ..core.batch.staging_place import StagingBusy

    stage = StagingFolder(request.staging)
    try:
        if isinstance(error, StagingBusy) or not stage.exists:
            return ""
        check_fits(stage, request.plan)
    except FlowInpaintError:
        return ""
    records = [stage.get_record(z) for z in stage.sections if z not in written]
    kept = [record.z for record in records if record is not None and record.status == REPAIRED]
    if not kept:
        return ""
    told = f" Repaired and kept in {stage.path}: {name_sections(kept)}; "
    if isinstance(error, SectionChanged):  # masked pixels do not count for what is resumed
        return f"{told}to repair them all again, add --no-resume."
    return f"{told}run the same command again to continue from there."


def _them(numbers: list[int]) -> str:
    return "it" if len(numbers) == 1 else "them"


def _list(numbers: Any) -> str:
    return ", ".join(map(str, numbers))


def open_and_say(path: str, opening: Mapping[str, Any]) -> Stack:
    """Open a stack; print what is to be said of it."""
    from ..core.open import open_stack

    stack = open_stack(path, **opening)
    notes = Notes(print_note)
    for message in stack.messages:
        notes(message)
    return stack


def revert_stack(path: str, sections: str | None, force: bool, opening: Mapping[str, Any]) -> int:
    """Undo repairs; return the exit code."""
    from ..core.writing.writeback import history, revert

    stack = open_and_say(path, opening)
    there = [entry for entry in history(stack) if entry.state != "reverted"]
    chosen = None
    if sections is not None:
        chosen = parse_sections(sections, stack.shape[0])
        untouched = sorted(set(chosen) - {entry.z for entry in there})
        if untouched:
            command = _command("history", path, opening)
            have = "has" if len(untouched) == 1 else "have"
            raise InputError(
                f"{name_sections(untouched)} {have} no repair to undo; {command} lists what there "
                "is."
            )
    if not there:
        print_line("there is no repair to undo.")
        return DONE
    with progress_bar("revert") as progress:
        undone = revert(stack, z=chosen, force=force, progress=progress, note=Notes(print_note))
    asked = [entry for entry in there if chosen is None or entry.z in chosen]
    for entry in asked:
        if entry.id in undone:
            print_line(f"section {entry.z}: repair {entry.id} undone, original pixels are back.")
    left = [entry.z for entry in asked if entry.id not in undone]
    if not left:
        return DONE
    print_error(
        f"{name_sections(left)} had nothing left to undo: another process has reverted "
        f"{_them(left)} in the meantime; {_command('history', path, opening)} lists what there is."
    )
    return NOT_ALL_DONE if undone else BAD_INPUT


def _command(verb: str, path: str, opening: Mapping[str, Any]) -> str:
    """Return the command line that does something to the same stack, for messages."""
    return f"`{' '.join(command_words(verb, path, opening))}`"


def recover_stack(path: str, force: bool, opening: Mapping[str, Any]) -> int:
    """Finish what was interrupted; return the exit code."""
    from ..core.open import open_stack
    from ..core.writing.recovery import recover

    done = recover(open_stack(path, **opening), force=force)
    for message in done or ("there is nothing to recover.",):
        print_line(message)
    return DONE


def list_history(path: str, opening: Mapping[str, Any]) -> int:
    """Print the repairs of a stack; return the exit code."""
    from ..core.writing.writeback import history

    stack = open_and_say(path, opening)
    entries = history(stack)
    if not entries:
        print_line("no repairs.")
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
        print_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return DONE
