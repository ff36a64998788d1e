"""A table of rows that are plain objects: sorted by a click on a column, walked with the keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

Colour = tuple[int, int, int]
#: Height of a row, pixels, and how many are seen before what is around the table has to scroll.
_ROW, _ROWS = 22, 5


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    title, tip
        What is written above it, and explained there.
    text
        Returns what is written in a row.
    key
        Returns what rows are sorted by; None for the text.
    number
        Whether it is a number, written on the right.
    colour
        Returns the colour of the square before the text, or None.
    explain
        Returns the tool tip of a cell.
    width
        In pixels, of a table that is as wide as all its columns; others are in proportion.
    """

    title: str
    tip: str
    text: Callable[[Any], str]
    key: Callable[[Any], Any] | None = None
    number: bool = False
    colour: Callable[[Any], Colour | None] | None = None
    explain: Callable[[Any], str] | None = None
    width: int = 50


class RowsModel(QAbstractTableModel):
    """Rows and columns; a model, since there may be thousands.

    Parameters
    ----------
    columns
        What is shown of a row.
    key_of
        Returns what a row is known by.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        key_of: Callable[[Any], Hashable],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.columns, self.key_of = tuple(columns), key_of
        self._given: tuple[Any, ...] = ()
        self.rows: tuple[Any, ...] = ()
        self._order = (-1, Qt.SortOrder.AscendingOrder)

    def show(self, rows: Sequence[Any]) -> None:
        """Show other rows, or the same changed; their order is kept where no column sorts them."""
        self._given = tuple(rows)
        new = self._sorted()
        same = [self.key_of(row) for row in new] == [self.key_of(row) for row in self.rows]
        if same:
            self.rows = new
            if new:
                last = self.index(len(new) - 1, len(self.columns) - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self.beginResetModel()
        self.rows = new
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; -1 brings the given order back."""
        self._order = (column, order)
        self.beginResetModel()
        self.rows = self._sorted()
        self.endResetModel()

    def _sorted(self) -> tuple[Any, ...]:
        number, order = self._order
        if not 0 <= number < len(self.columns):
            return self._given
        column = self.columns[number]
        key = column.key or column.text
        return tuple(sorted(self._given, key=key, reverse=order == Qt.SortOrder.DescendingOrder))

    def find(self, key: Hashable) -> int:
        """Return in which row something is, -1 for nowhere."""
        return next((i for i, row in enumerate(self.rows) if self.key_of(row) == key), -1)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.explain(row) if column.explain is not None else column.text(row)
        if role == Qt.ItemDataRole.DecorationRole and column.colour is not None:
            colour = column.colour(row)
            return None if colour is None else QColor(*colour)
        if role == Qt.ItemDataRole.TextAlignmentRole and column.number:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        return self.columns[section].tip if role == Qt.ItemDataRole.ToolTipRole else None


class RowsTable(QTableView):
    """The table itself.

    Attributes
    ----------
    picked
        Signal (row): the user clicked on a row or moved to it with the keys.
    """

    picked = Signal(object)

    def __init__(
        self, columns: Sequence[Column], key_of: Callable[[Any], Hashable], several: bool = False
    ) -> None:
        super().__init__()
        self.rows = RowsModel(columns, key_of, self)
        self._current: Hashable = None
        self._quiet = self._moved = False
        self.setModel(self.rows)
        modes = QAbstractItemView.SelectionMode
        self.setSelectionMode(modes.ExtendedSelection if several else modes.SingleSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)  # bold does not fit
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.rows.modelReset.connect(self._restore)
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.clicked.connect(self._on_clicked)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the width among the columns."""
        super().resizeEvent(event)
        columns, left = self.rows.columns, self.viewport().width()
        share = left / sum(column.width for column in columns)
        widths = [int(column.width * share) for column in columns[:-1]]
        for number, width in enumerate([*widths, left - sum(widths)]):
            self.setColumnWidth(number, width)

    def sizeHint(self) -> QSize:
        """Return the size at which a few rows are seen; it is higher where there is room."""
        height = self.horizontalHeader().sizeHint().height() + _ROWS * _ROW
        return QSize(super().sizeHint().width(), height + 2 * self.frameWidth())

    def show_rows(self, rows: Sequence[Any]) -> None:
        """Show rows; the current one stays current where it is still there."""
        self.rows.show(rows)

    @property
    def current(self) -> Any:
        """The current row, or None."""
        at = self.rows.find(self._current) if self._current is not None else -1
        return self.rows.rows[at] if at >= 0 else None

    @property
    def selected(self) -> list[Any]:
        """The selected rows."""
        return [self.rows.rows[i.row()] for i in self.selectionModel().selectedRows()]

    def select(self, key: Hashable, pick: bool = True) -> bool:
        """Make a row the current one; return whether it is there."""
        at = self.rows.find(key)
        if at < 0:
            return False
        self._quiet = not pick
        try:
            self._set_current(at)
        finally:
            self._quiet = False
        return True

    def step(self, rows: int) -> None:
        """Go some rows down, or up."""
        at = self.rows.find(self._current) if self._current is not None else -1
        to = min(max(at + rows, 0), len(self.rows.rows) - 1)
        if self.rows.rows and to != at:
            self._set_current(to)

    def _set_current(self, at: int) -> None:
        flags = QItemSelectionModel.SelectionFlag
        index = self.rows.index(at, 0)
        self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self.scrollTo(index)

    def _restore(self) -> None:
        """Select the row again that was current before all rows were replaced."""
        if self._current is not None:
            self.select(self._current, pick=False)

    def _on_current(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid():
            row = self.rows.rows[index.row()]
            self._current = self.rows.key_of(row)
            self._moved = not self._quiet
            if not self._quiet:
                self.picked.emit(row)

    def _on_clicked(self, index: QModelIndex) -> None:
        if not self._moved:  # the current row once more: go back there
            self.picked.emit(self.rows.rows[index.row()])
        self._moved = False
