"""The list of flagged sections: one row per section and kind of damage, as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..kinds import KINDS

#: What a person may decide about a row; empty where nobody has.
DECISIONS = ("", "damaged", "not damaged", "skip")


@dataclass(frozen=True, slots=True)
class Flagged:
    """One row: damage of one kind in one section.

    Parameters
    ----------
    section
        Section number.
    kind
        A name of :data:`~napari_flowinpaint.core.kinds.KINDS`.
    score
        Strength in units of the threshold: 1 is just enough at a sensitivity of 0.5.
    area_percent
        Damaged share of the section, percent.
    neighbours
        The nearest sections before and after that are intact where this one is damaged, as
        ``"16 18"``; ``-`` where there is none near enough.
    suggested_method
        ``auto`` where both neighbours are usable, else empty.
    decision
        One of :data:`DECISIONS`.
    """

    section: int
    kind: str
    score: float
    area_percent: float
    neighbours: str = "- -"
    suggested_method: str = ""
    decision: str = ""


COLUMNS = tuple(field.name for field in fields(Flagged))


def write_table(rows: Iterable[Flagged], path: Path | str) -> None:
    """Write a table; the file is the old one or the new one, never a part.

    Parameters
    ----------
    rows
        In the order in which they are written.
    path
        JSON where it ends in ``.json``, CSV otherwise.
    """
    path = Path(path)
    records = [asdict(row) for row in rows]
    if path.suffix.lower() == ".json":
        text = json.dumps({"flagged": records}, indent=2) + "\n"
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        text = out.getvalue()
    if path.exists() and not path.is_file():  # a pipe or a terminal
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105
    finally:
        part.unlink(missing_ok=True)


def read_table(path: Path | str) -> list[Flagged]:
    """Read a table that :func:`write_table` wrote, or one that a person or a script made.

    Only ``section`` and ``kind`` have to be there; columns that are not known are ignored.

    Raises
    ------
    InputError
        If it is no such table; the message names the row.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            loaded = json.loads(text)
            records = list(loaded["flagged"] if isinstance(loaded, dict) else loaded)
        else:
            records = list(csv.DictReader(io.StringIO(text)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise InputError(
            f"{path} is no table of flagged sections ({first_line(error)})."
        ) from error
    return [_row(record, number, path) for number, record in enumerate(records, start=1)]


def _row(record: Any, number: int, path: Path) -> Flagged:
    try:
        row = Flagged(
            section=int(record["section"]),
            kind=str(record["kind"]).strip(),
            score=float(record.get("score") or 1.0),
            area_percent=float(record.get("area_percent") or 0.0),
            neighbours=str(record.get("neighbours") or "- -"),
            suggested_method=str(record.get("suggested_method") or ""),
            decision=str(record.get("decision") or "").strip(),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"row {number} of {path} has no section number and kind ({error}); the columns begin "
            "section,kind,score."
        ) from error
    if row.kind not in KINDS or row.decision not in DECISIONS or row.section < 0:
        raise InputError(
            f"row {number} of {path} is not valid: the kind is one of {', '.join(KINDS)}, the "
            f"decision empty or one of {', '.join(DECISIONS[1:])}."
        )
    return row
