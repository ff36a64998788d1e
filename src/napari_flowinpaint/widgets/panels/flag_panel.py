"""The list of flagged sections: look at them, decide, edit their masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...core.detection.flag_table import DECISIONS, Flagged, read_table, write_table
from ...core.errors import InputError
from ...core.kinds import KINDS
from ...viewer.tasks import find_damage
from ...viewer.tasks.flag_list import DAMAGED, INTACT, SKIP, UNDECIDED, Filter, key_of, words_of
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, as_sentence, guarded
from ..parts.questions import ask_to_overwrite
from ..parts.rows_table import Column, RowsTable
from ..parts.thumbnails import ThumbnailRow
from ..parts.wording import counted

if TYPE_CHECKING:
    from napari.layers import Image

    from ...viewer.session import Session
    from ...viewer.tasks.find_damage import Thumbnails

_TABLES = "Tables (*.csv *.json);;All files (*)"


def _table_of(path: Path) -> Path:
    """Return the file of a table for a path that was chosen."""
    known = path.suffix.lower() in (".csv", ".json")
    return path if known else path.with_name(path.name + ".csv")


def _explain(row: Flagged) -> str:
    words = f"{KINDS[row.kind].words}; usable neighbours {row.neighbours}"
    return as_sentence(f"{words}; suggested method: {row.suggested_method or 'none'}")


_COLUMNS = (
    Column("z", "Section.", lambda r: str(r.section), lambda r: r.section, number=True, width=52),
    Column(
        "kind",
        "Kind of damage.",
        lambda r: r.kind,
        colour=lambda r: KINDS[r.kind].colour[:3],
        explain=_explain,
        width=96,
    ),
    Column(
        "score",
        "Strength of the evidence; 1 is the threshold at a sensitivity of 0.5.",
        lambda r: f"{r.score:.1f}",
        lambda r: r.score,
        number=True,
        explain=_explain,
    ),
    Column(
        "area %",
        "Percentage of the section masked as this kind.",
        lambda r: f"{r.area_percent:.2f}",
        lambda r: r.area_percent,
        number=True,
        explain=_explain,
        width=54,
    ),
    Column("decision", "Your decision.", lambda r: words_of(r.decision), width=90),
)


class FlagPanel(QWidget):
    """The table, thumbnails, and what can be done with a row.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self.kind_filter, self.decision_filter = QComboBox(), QComboBox()
        self.count = QLabel()
        self.table = RowsTable(_COLUMNS, key_of, several=True)
        self.thumbnails = ThumbnailRow()
        self.question: QMessageBox | None = None
        self._pictured: Flagged | None = None
        self._picked: Flagged | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self.damaged_button = QPushButton("Damaged")
        self.intact_button = QPushButton("Not damaged")
        self.skip_button = QPushButton("Skip")
        self.undecide_button = QPushButton("Undecided")
        self.edit_button = QPushButton("Edit mask")
        self.new_kind = QComboBox()
        self.add_button = QPushButton("Add section")
        self.remove_button = QPushButton("Remove")
        self.load_button = QPushButton("Load list…")
        self.save_button = QPushButton("Save list…")
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.kind_filter.addItem("all kinds", None)
        for kind in KINDS:
            self.kind_filter.addItem(kind, kind)
            self.new_kind.addItem(kind)
        self.decision_filter.addItem("all decisions", None)
        for decision in DECISIONS:
            self.decision_filter.addItem(words_of(decision), decision)
        tips = {
            self.kind_filter: "Show this kind of damage only.",
            self.decision_filter: "Show rows with this decision only.",
            self.damaged_button: "Damaged: repair it in the next batch (Shift+D).",
            self.intact_button: "False alarm: ignore this mask in the batch (Shift+I).",
            self.skip_button: "Do not repair it, and do not use it to repair others (Shift+S).",
            self.undecide_button: "Clear the decision.",
            self.edit_button: "Paint on the mask, with the brush set to this kind.",
            self.new_kind: "Kind of damage for Add section.",
            self.add_button: "Flag the current section as damaged.",
            self.remove_button: "Remove the selected rows from the list; the mask is kept.",
            self.load_button: "Replace the list with one saved as CSV or JSON.",
            self.save_button: "Save the list as CSV or JSON; it is also kept automatically.",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        top = QHBoxLayout()
        for widget in (self.kind_filter, self.decision_filter):
            top.addWidget(widget, stretch=1)
        grid = QGridLayout()
        rows = (
            (self.damaged_button, self.intact_button, self.skip_button),
            (self.undecide_button, self.edit_button, self.remove_button),
        )
        for row, widgets in enumerate(rows):
            for column, widget in enumerate(widgets):
                grid.addWidget(widget, row, column)
        grid.addWidget(self.new_kind, len(rows), 0)
        grid.addWidget(self.add_button, len(rows), 1, 1, 2)
        for column in range(3):
            grid.setColumnStretch(column, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self.load_button)
        bottom.addWidget(self.save_button)
        box = QVBoxLayout(self)
        box.addLayout(top)
        box.addWidget(self.table, stretch=1)
        box.addWidget(self.count)
        box.addWidget(self.thumbnails)
        box.addLayout(grid)
        box.addLayout(bottom)

    def _connect(self) -> None:
        self.kind_filter.currentIndexChanged.connect(self.refresh)
        self.decision_filter.currentIndexChanged.connect(self.refresh)
        self.table.picked.connect(self._on_picked)
        self._soon.timeout.connect(self._show_picked)
        for button, decision in (
            (self.damaged_button, DAMAGED),
            (self.intact_button, INTACT),
            (self.skip_button, SKIP),
            (self.undecide_button, UNDECIDED),
        ):
            button.clicked.connect(partial(self._decide, decision))
        self.edit_button.clicked.connect(self.edit_mask)
        self.add_button.clicked.connect(self.add_section)
        self.remove_button.clicked.connect(self.remove)
        self.load_button.clicked.connect(self._choose_list)
        self.save_button.clicked.connect(self._choose_target)
        self.session.flags.changed.connect(self.refresh)
        self.session.target_changed.connect(self._on_target)

    # ---- looking

    def _on_target(self) -> None:
        self._soon.stop()
        self.thumbnails.clear()
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the rows that the filters admit."""
        flags = self.session.flags.of(self.session.image)
        ready = flags is not None
        for widget in (self.add_button, self.load_button):
            widget.setEnabled(ready)
        if flags is None:
            self.table.show_rows(())
            self.count.setText("No list yet.")
        else:
            which = Filter(self.kind_filter.currentData(), self.decision_filter.currentData())
            rows, total = flags.list.shown(which), len(flags.list.rows)
            self.table.show_rows(rows)
            open_rows = flags.list.count()[UNDECIDED]
            shown = f"{len(rows)} of {total}" if len(rows) < total else counted(total, "row")
            self.count.setText(
                f"{shown}, {open_rows} undecided." if total else "Nothing is flagged."
            )
        some = bool(self.table.rows.rows)
        for button in (
            self.damaged_button,
            self.intact_button,
            self.skip_button,
            self.undecide_button,
            self.edit_button,
            self.remove_button,
        ):
            button.setEnabled(some)
        self.save_button.setEnabled(flags is not None and bool(flags.list.rows))
        row, before = self.table.current, self._pictured
        if row is None or before is None or key_of(row) != key_of(before):
            return
        if row.area_percent != before.area_percent:  # its mask was painted on
            self._picture(row)

    def _on_picked(self, row: Flagged) -> None:
        """Show a section in the next iteration of the event loop.

        What was picked last is shown: a key that is held down passes the others.
        """
        self._picked = row
        self._soon.start(0)

    @guarded
    def _show_picked(self) -> None:
        """Show what was picked, with its mask and thumbnails."""
        if self._picked is not None:
            self.session.flags.show(self.session.require_image(), self._picked)
            self._picture(self._picked)

    def _picture(self, row: Flagged) -> None:
        """Make the thumbnails of a section, in a thread."""
        image, stack = self.session.require_image(), self.session.require_stack()
        self._pictured = row
        mask = self.session.masks.mask(image)
        self.jobs.start(
            "thumbnails",
            find_damage.thumbnails,
            stack,
            None if mask is None else mask.frozen(),
            row,
            tuple(map(float, image.contrast_limits)),
            done=self._show_thumbnails,
            failed=self._no_thumbnails,
        )

    def _show_thumbnails(self, thumbnails: Thumbnails) -> None:
        current = self.table.current
        if current is not None and current.section == thumbnails.z:
            self.thumbnails.show_pictures(thumbnails)

    def _no_thumbnails(self, error: Exception) -> None:
        """Say nothing: the section itself shows what is wrong with it."""
        self.thumbnails.clear()

    def step(self, rows: int) -> None:
        """Go some rows down, or up, or say why there is no row to go to."""
        try:
            self.session.require_flags()
            if not self.table.rows.rows:
                raise InputError(
                    "no section is on the list, or the filter above it hides them all; find the "
                    "damage first, or add sections."
                )
            self.table.step(rows)
        except Exception as error:
            self.messages.fail(error)

    def _current(self) -> Flagged:
        row: Flagged | None = self.table.current
        if row is None:
            raise InputError("no row is selected; click one.")
        return row

    # ---- deciding

    def _decide(self, decision: str, *_: object) -> None:
        try:
            self.decide(decision)
        except Exception as error:
            self.messages.fail(error)

    def decide(self, decision: str) -> None:
        """Decide about the selected rows, and go on to the next."""
        rows = self.table.selected or [self._current()]
        flags = self.session.require_flags()
        keys = [key_of(row) for row in rows]
        after = self.table.rows.find(keys[-1]) + 1
        following = self.table.rows.rows[after : after + 1]
        flags.list.decide(keys, decision)
        if len(keys) == 1 and following:
            self.table.select(key_of(following[0]))

    @guarded
    def edit_mask(self) -> None:
        """Show the mask of the current row and take the brush."""
        row, image = self._current(), self.session.require_image()
        self._soon.stop()
        self._paint(image, row)
        self.messages.say(
            f"section {row.section}: paint the damage ({row.kind}); 1 erases, 2 paints, [ and ] "
            "change the brush size"
        )

    def _paint(self, image: Image, row: Flagged) -> None:
        """Show a row and take the brush, set to its kind."""
        self.session.flags.show(image, row)
        if row is not self._pictured:
            self._picture(row)
        layer = self.session.masks.brush(image)
        layer.selected_label = KINDS[row.kind].label

    @guarded
    def add_section(self) -> None:
        """Flag the section that is shown, by hand."""
        z, image = self.session.require_section(), self.session.require_image()
        row = self.session.require_flags().list.add(z, self.new_kind.currentText())
        if self.session.masks.layer(image) is None:
            self._paint(image, row)
        if not self.table.select(key_of(row)):
            self.messages.say(f"section {z} is on the list, but hidden by the filter")
        else:
            self.messages.say(f"section {z} is on the list; press Edit mask to paint its damage")

    @guarded
    def remove(self) -> None:
        """Take the selected rows off the list."""
        rows = self.table.selected or [self._current()]
        self.session.require_flags().list.remove([key_of(row) for row in rows])
        self.messages.say(f"{counted(len(rows), 'row')} removed; the mask was kept")

    # ---- files

    @guarded
    def _choose_list(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "List of flagged sections", "", _TABLES)
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """Replace the list by a table."""
        stack = self.session.require_stack()
        flags = self.session.require_flags()
        flags.list.take(read_table(path), stack.shape[0])
        self.messages.say(f"loaded the list from {path.name}")

    @guarded
    def _choose_target(self) -> None:
        stack = self.session.require_stack()
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save the list", f"{stack.name} flagged.csv", _TABLES
        )
        if not chosen:
            return
        path = _table_of(Path(chosen))

        def save() -> None:
            try:
                self.save(path)
            except Exception as error:
                self.messages.fail(error)

        self.question = ask_to_overwrite(self, Path(chosen), [path], save)

    def save(self, path: Path) -> None:
        """Save the whole list as a table."""
        path = _table_of(path)
        write_table(self.session.require_flags().list.rows, path)
        self.messages.say(f"saved {path}")

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._soon.stop()
        self.session.flags.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self._on_target)


def bind_keys(panel: FlagPanel, keys: Any) -> None:
    """Bind the keys by which one decides."""

    def damaged(viewer: Any) -> None:
        panel._decide(DAMAGED)

    def intact(viewer: Any) -> None:
        panel._decide(INTACT)

    def skip(viewer: Any) -> None:
        panel._decide(SKIP)

    keys.bind("Shift+D", damaged)
    keys.bind("Shift+I", intact)
    keys.bind("Shift+S", skip)
