"""The list of flagged sections: one row per section and kind of damage, as CSV or JSON."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.npz import parse_json
from ..kinds import KINDS
from ..names import printable

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
        ``unfold`` for folds and cracks, ``auto`` for all else; empty where neither neighbour is
        usable.
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


#: Most bytes of a table.
LARGEST_TABLE = 1 << 28
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
    text = format_table(rows, is_json=path.suffix.lower() == ".json")
    if path.exists() and not path.is_file():  # a pipe or a terminal
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105
    finally:
        part.unlink(missing_ok=True)


def format_table(rows: Iterable[Flagged], is_json: bool = False) -> str:
    """Return a table as CSV, or JSON."""
    records = [asdict(row) for row in rows]
    if is_json:
        return json.dumps({"flagged": records}, indent=2) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


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
        if path.is_file() and path.stat().st_size > LARGEST_TABLE:
            raise ValueError("it is larger than makes sense")
        return parse_table(path.read_bytes(), is_json=path.suffix.lower() == ".json")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{printable(path)} is not a table of flagged sections ({error})."
        ) from error


def parse_table(content: bytes, is_json: bool) -> list[Flagged]:
    """Return the rows of a table.

    Raises
    ------
    ValueError
        If it is none; one line.
    """
    if is_json:
        loaded = parse_json(content.removeprefix(codecs.BOM_UTF8))
        records = loaded.get("flagged") if isinstance(loaded, dict) else loaded
    else:
        try:
            text = content.decode("utf-8-sig")
            records = list(csv.DictReader(io.StringIO(text)))
        except UnicodeDecodeError:
            raise ValueError("it is not text") from None
        except csv.Error as error:
            raise ValueError(printable(error)) from None
    if not isinstance(records, list):
        raise ValueError("it is not a list")
    return [parse_row(record, number) for number, record in enumerate(records, start=1)]


def parse_row(record: Any, number: int) -> Flagged:
    """Return one row.

    Parameters
    ----------
    record
        By the names of :data:`COLUMNS`, text or numbers.
    number
        Of the row, from 1, for the message.

    Raises
    ------
    ValueError
        If it has no section and kind, or says what cannot be; one line.
    """
    try:
        row = Flagged(
            section=int(record["section"]),
            kind=str(record["kind"]).strip(),
            score=float(record.get("score") or 1.0),
            area_percent=float(record.get("area_percent") or 0.0),
            neighbours=printable(record.get("neighbours") or "- -"),
            suggested_method=printable(record.get("suggested_method") or ""),
            decision=str(record.get("decision") or "").strip(),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"row {number} has no section number and kind: {printable(error)}; the first columns "
            "must be section,kind,score"
        ) from error
    if row.kind not in KINDS or row.decision not in DECISIONS or row.section < 0:
        raise ValueError(
            f"row {number} is not valid: the kind is one of {', '.join(KINDS)}, the decision empty "
            f"or one of {', '.join(DECISIONS[1:])}"
        )
    if not (math.isfinite(row.score) and math.isfinite(row.area_percent)):
        raise ValueError(f"row {number} is not valid: its numbers are not finite")
    return row
