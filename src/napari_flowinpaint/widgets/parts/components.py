"""The table of components, repaired and refused: one row each, to accept, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ...viewer.layers import REFUSED_COLOUR
from ...viewer.tasks.refusals import RefusedPlace
from ...viewer.tasks.review import Component
from .messages import as_sentence

_COLUMNS = ("use", "no.", "pixels", "confidence")
_TIPS = (
    "Accept writes the ticked components; the others keep their original pixels.",
    "Number of the component: a connected piece of the mask.",
    "Number of pixels to be replaced.",
    "Mean confidence, from 0 (guessed) to 1 (certain).",
)


class ComponentModel(QAbstractTableModel):
    """Components, which of them are accepted, and places that were refused.

    A model, since there may be thousands.

    Attributes
    ----------
    ticked
        Signal (number, accepted): the user ticked or unticked a row.
    """

    ticked = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._components: tuple[Component, ...] = ()
        self._refused: tuple[RefusedPlace, ...] = ()
        self._accepted: set[int] = set()

    def show(
        self,
        components: Sequence[Component],
        accepted: set[int],
        refused: Sequence[RefusedPlace] = (),
    ) -> None:
        """Show other components, or the same with others accepted; below them what was refused."""
        if tuple(components) == self._components and tuple(refused) == self._refused:
            self._accepted = set(accepted)
            if components:
                self.dataChanged.emit(self.index(0, 0), self.index(len(components) - 1, 0))
            return
        self.beginResetModel()
        self._components, self._accepted = tuple(components), set(accepted)
        self._refused = tuple(refused)
        self.endResetModel()

    def component(self, row: int) -> Component | RefusedPlace:
        """Return the component of a row, or the place that was refused."""
        count = len(self._components)
        return self._components[row] if row < count else self._refused[row - count]

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return (
            0
            if parent is not None and parent.isValid()
            else len(self._components) + len(self._refused)
        )

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        component = self.component(index.row())
        if isinstance(component, RefusedPlace):
            return _data_of_refused(component, index.column(), role)
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == 0:
            on = component.number in self._accepted
            return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                "",
                str(component.number),
                f"{component.pixels:,}",
                f"{component.confidence:.2f}",
            )[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 0:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        component = self.component(index.row())
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != 0:
            return False
        if isinstance(component, RefusedPlace):
            return False
        on = Qt.CheckState(value) == Qt.CheckState.Checked
        self.ticked.emit(component.number, on)
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        ticks = index.column() == 0 and index.row() < len(self._components)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if ticks else flags

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section]
        return _TIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None


def _data_of_refused(place: RefusedPlace, column: int, role: int) -> Any:
    """Return a cell of a place that was refused: it has no number and no confidence."""
    if role == Qt.ItemDataRole.DisplayRole:
        return ("", "–", f"{place.pixels:,}", "refused")[column]
    if role == Qt.ItemDataRole.ToolTipRole:
        return as_sentence(place.reason)
    if role == Qt.ItemDataRole.ForegroundRole:
        return QColor(REFUSED_COLOUR)
    if role == Qt.ItemDataRole.TextAlignmentRole and column > 0:
        return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return None


class ComponentTable(QTableView):
    """The table itself.

    Attributes
    ----------
    picked
        Signal (component or refused place): the user clicked on a row.
    """

    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.components = ComponentModel(self)
        self.setModel(self.components)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(20)
        header.setHighlightSections(False)  # bold does not fit
        self.setFixedHeight(120)
        self.clicked.connect(self._on_clicked)

    def _on_clicked(self, index: QModelIndex) -> None:
        component = self.components.component(index.row())
        if index.column() > 0 or isinstance(component, RefusedPlace):  # the first column ticks
            self.picked.emit(component)
