"""What a dock holds, scrolled where the window is too low for it."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFrame,
    QScrollArea,
    QScrollBar,
    QVBoxLayout,
    QWidget,
)

#: Fields whose value the wheel changes.
_FIELDS = (QAbstractSpinBox, QComboBox, QAbstractSlider)
#: Pixels between the rows of a group: the dock Repair section fits a window of 1000 pixels.
ROW_SPACING = 4
#: Least height of what is seen, pixels: all docks one above the other fit a laptop's screen.
_LEAST = 40


class ScrollColumn(QScrollArea):
    """Widgets one above the other, that scroll up and down, never sideways.

    Parameters
    ----------
    widgets
        From above to below.
    stretch
        Whether room that is left is left below them; else they share it.
    least
        Least height of what is seen, in pixels, where there is as much to see.
    """

    def __init__(self, *widgets: QWidget, stretch: bool = True, least: int = _LEAST) -> None:
        super().__init__()
        self._least = least
        inner = QWidget()
        self.column = QVBoxLayout(inner)
        self.column.setContentsMargins(0, 0, 4, 0)
        for widget in widgets:
            self.column.addWidget(widget)
        if stretch:
            self.column.addStretch()
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.leave_wheel(inner)

    def minimumSizeHint(self) -> QSize:
        """Return the width of what is inside and of the scroll bar, and little height."""
        width = self._full_width(self.widget().minimumSizeHint())
        return QSize(width, min(self._least, self._full_height()))

    def sizeHint(self) -> QSize:
        """Return the size at which nothing has to scroll."""
        return QSize(self._full_width(self.widget().sizeHint()), self._full_height())

    def _full_width(self, inner: QSize) -> int:
        """Return the width of what is inside, of the scroll bar and of the frame."""
        bar = self.verticalScrollBar().sizeHint()
        return int(inner.width() + bar.width() + 2 * self.frameWidth())

    def _full_height(self) -> int:
        """Return the height of what is inside, at the width that it has, and of the frame.

        A style sheet may draw a frame where none is asked for, as napari's does.
        """
        inner = self.widget()
        height = inner.sizeHint().height()
        if inner.hasHeightForWidth():
            height = inner.heightForWidth(self.viewport().width())
        return int(max(height, inner.minimumSizeHint().height()) + 2 * self.frameWidth())

    def viewportEvent(self, event: QEvent) -> bool:
        """Tell the layout around when what is inside has got its style, which changes its size."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().viewportEvent(event))

    def leave_wheel(self, widget: QWidget) -> None:
        """Let the wheel scroll, over fields in a widget, unless one was clicked or tabbed to.

        A value would else change unnoticed when it comes under the mouse.
        """
        for kind in _FIELDS:
            for field in widget.findChildren(kind):
                if not isinstance(field, QScrollBar):
                    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                    field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Scroll by the wheel; tell the layout around when what is inside changes its size."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        if event.type() == QEvent.Type.Wheel and _would_change(watched):
            QApplication.sendEvent(self.verticalScrollBar(), event)
            return True
        return bool(super().eventFilter(watched, event))


def _would_change(watched: QObject) -> bool:
    """Return whether the wheel would change the value of a field nobody has gone to."""
    # Qt asks for the area's own scroll bars as well
    if not isinstance(watched, _FIELDS) or isinstance(watched, QScrollBar):
        return False
    return not watched.hasFocus()
