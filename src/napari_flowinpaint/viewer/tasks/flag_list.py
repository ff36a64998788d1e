"""The list of flagged sections of one stack: what was found, and the decisions about it.

No Qt, no napari, no files. One row per section and kind of damage, as in the tables of
:mod:`...core.detection.flag_table`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from psygnal import Signal

from ...core.detection.flag_table import DECISIONS, Flagged
from ...core.errors import InputError
from ...core.kinds import KINDS

#: Key of a row: section and kind.
Key = tuple[int, str]
UNDECIDED, DAMAGED, INTACT, SKIP = DECISIONS
_ORDER = list(KINDS)


def key_of(row: Flagged) -> Key:
    """Return the key of a row."""
    return row.section, row.kind


def words_of(decision: str) -> str:
    """Return a decision in words."""
    return decision or "undecided"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are shown; None is all.

    Parameters
    ----------
    kind
        Name of a kind.
    decision
        One of :data:`~napari_flowinpaint.core.detection.flag_table.DECISIONS`.
    """

    kind: str | None = None
    decision: str | None = None

    def admits(self, row: Flagged) -> bool:
        """Return whether a row is shown."""
        return self.kind in (None, row.kind) and self.decision in (None, row.decision)


class FlagList:
    """Rows by section and kind.

    Attributes
    ----------
    changed
        Signal: rows came, went or changed.
    """

    changed = Signal()

    def __init__(self, rows: Iterable[Flagged] = ()) -> None:
        self._rows: dict[Key, Flagged] = {key_of(row): row for row in rows}

    @property
    def rows(self) -> tuple[Flagged, ...]:
        """All rows, by section and then in the order of the kinds."""
        keys = sorted(self._rows, key=lambda key: (key[0], _ORDER.index(key[1])))
        return tuple(self._rows[key] for key in keys)

    def get(self, key: Key | None) -> Flagged | None:
        """Return a row, or None."""
        return None if key is None else self._rows.get(key)

    def shown(self, which: Filter) -> tuple[Flagged, ...]:
        """Return the rows that a filter admits, by section."""
        return tuple(row for row in self.rows if which.admits(row))

    def sections(self, decisions: Collection[str]) -> tuple[int, ...]:
        """Return the sections of which a row has one of these decisions, ascending."""
        found = {row.section for row in self._rows.values() if row.decision in decisions}
        return tuple(sorted(found))

    def count(self) -> dict[str, int]:
        """Return how many rows have each decision."""
        decisions = [row.decision for row in self._rows.values()]
        return {decision: decisions.count(decision) for decision in DECISIONS}

    # ---- changing

    def take(self, rows: Iterable[Flagged], depth: int) -> None:
        """Replace the list by another, from a file.

        Raises
        ------
        InputError
            If it names a section that the stack does not have; then nothing is replaced.
        """
        new = {key_of(row): row for row in rows}
        beyond = [row.section for row in new.values() if row.section >= depth]
        if beyond:
            raise InputError(
                f"the list names section {beyond[0]}, but the stack ends at {depth - 1}; "
                "choose a list made for this stack."
            )
        self._rows = new
        self.changed.emit()

    def follow(self, rows: Iterable[Flagged]) -> None:
        """Show the list that is stored, which another window has changed as well."""
        new = {key_of(row): row for row in rows}
        if new != self._rows:
            self._rows = new
            self.changed.emit()

    def merge(
        self, found: Iterable[Flagged], searched: Collection[int], kinds: Collection[str]
    ) -> None:
        """Take over what a search found; decisions stay.

        Parameters
        ----------
        found
            Rows of the search.
        searched, kinds
            Sections and kinds that were looked for: undecided rows of them that were not found
            again go.
        """
        new = {key_of(row): row for row in found}
        looked, wanted = frozenset(searched), frozenset(kinds)
        for key, row in list(self._rows.items()):
            if key in new:
                new[key] = replace(new[key], decision=row.decision)
            elif row.decision == UNDECIDED and row.section in looked and row.kind in wanted:
                del self._rows[key]
        self._rows.update(new)
        self.changed.emit()

    def decide(self, keys: Iterable[Key], decision: str) -> None:
        """Record a decision about rows."""
        if decision not in DECISIONS:
            raise ValueError(f"no decision {decision!r}")
        for key in keys:
            if key in self._rows:
                self._rows[key] = replace(self._rows[key], decision=decision)
        self.changed.emit()

    def add(self, section: int, kind: str) -> Flagged:
        """Flag a section by hand, as damaged; a row that is there is decided so."""
        old = self._rows.get((section, kind), Flagged(section, kind, 1.0, 0.0))
        row = self._rows[section, kind] = replace(old, decision=DAMAGED)
        self.changed.emit()
        return row

    def flag(self, sections: Iterable[int], kind: str) -> None:
        """Flag many sections by hand, as damaged."""
        for section in sections:
            old = self._rows.get((section, kind), Flagged(section, kind, 1.0, 0.0))
            self._rows[section, kind] = replace(old, decision=DAMAGED)
        self.changed.emit()

    def remove(self, keys: Iterable[Key]) -> None:
        """Take rows off the list; the mask is left alone."""
        for key in keys:
            self._rows.pop(key, None)
        self.changed.emit()

    def set_areas(self, areas: Mapping[int, Mapping[str, float]]) -> None:
        """Note how much of sections is masked, percent by section and kind."""
        before = dict(self._rows)
        for (z, kind), row in before.items():
            if z in areas:
                self._rows[z, kind] = replace(row, area_percent=areas[z].get(kind, 0.0))
        if self._rows != before:
            self.changed.emit()


def intact_labels(rows: Iterable[Flagged]) -> dict[int, tuple[int, ...]]:
    """Return, by section, the labels of the kinds that were decided not to be damage there."""
    found: dict[int, list[int]] = {}
    for row in rows:
        if row.decision == INTACT:
            found.setdefault(row.section, []).append(KINDS[row.kind].label)
    return {z: tuple(labels) for z, labels in found.items()}


def labels_of(rows: Iterable[Flagged]) -> dict[int, int]:
    """Return, by section, the label of the kind of its strongest row that is damage."""
    found: dict[int, Flagged] = {}
    for row in rows:
        known = found.get(row.section)
        if row.decision != INTACT and (known is None or row.score > known.score):
            found[row.section] = row
    return {z: KINDS[row.kind].label for z, row in found.items()}
