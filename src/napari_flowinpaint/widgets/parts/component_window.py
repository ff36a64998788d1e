"""One component of a repair, magnified: its five stages side by side, to accept or to reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...core.types import AnyImage, Box
from ...viewer.tasks.review import Component, Review

if TYPE_CHECKING:
    from ...viewer.session import Session

#: Side of a picture on the screen, pixels; the least and the most that is shown of the section.
_SIDE, _LEAST, _MOST = 250, 48, 1000
#: Width that the pictures leave for what is between and around them, pixels.
_BESIDE = 90
#: Context around a component, as a share of its size.
_AROUND = 0.6
_STAGES = ("original", "initial reference", "refined reference", "result", "confidence")

_Grey = npt.NDArray[np.uint8]


class ComponentWindow(QDialog):
    """A window with a component of the repair under review; it follows the review.

    Parameters
    ----------
    parent
        The widget it belongs to.
    session
        State of the viewer.
    number
        Of the component to begin with; None for the first.
    """

    def __init__(self, parent: QWidget, session: Session, number: int | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._index = 0
        width = self.screen().availableGeometry().width()
        self._side = min(_SIDE, (width - _BESIDE) // len(_STAGES))
        review = session.review.current
        if review is not None and number is not None:
            self._index = [c.number for c in review.components].index(number)
        self._seen: Review | None = review
        self.pictures = {stage: QLabel() for stage in _STAGES}
        self.use = QCheckBox("use this component")
        self.previous_button, self.next_button = QPushButton("Previous"), QPushButton("Next")
        self.facts = QLabel()
        self._lay_out()
        self.use.clicked.connect(self._on_use)
        self.previous_button.clicked.connect(self._go_back)
        self.next_button.clicked.connect(self._go_on)
        session.review.changed.connect(self.refresh)
        self.finished.connect(self._on_finished)
        self.refresh()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for column, (stage, picture) in enumerate(self.pictures.items()):
            picture.setFixedSize(self._side, self._side)
            picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(QLabel(stage), 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(picture, 1, column)
        self.use.setToolTip("Accept writes it; otherwise the original pixels stay.")
        self.previous_button.setToolTip("Previous component.")
        self.next_button.setToolTip("Next component.")
        row = QHBoxLayout()
        row.addWidget(self.facts, stretch=1)
        for widget in (self.use, self.previous_button, self.next_button):
            row.addWidget(widget)
        box = QVBoxLayout(self)
        box.addLayout(grid)
        box.addLayout(row)

    @property
    def component(self) -> Component | None:
        """The component that is shown."""
        review = self.session.review.current
        if review is None or not review.components:
            return None
        return review.components[min(self._index, len(review.components) - 1)]

    def _go_back(self) -> None:
        self._index = max(self._index - 1, 0)
        self.refresh()

    def _go_on(self) -> None:
        review = self.session.review.current
        if review is not None:
            self._index = min(self._index + 1, len(review.components) - 1)
        self.refresh()

    def _on_use(self, on: bool) -> None:
        component = self.component
        if component is not None:
            self.session.review.set_accepted({component.number}, on)

    def refresh(self) -> None:
        """Show the component, or close where nothing is under review any more."""
        review, image = self.session.review.current, self.session.review.image
        if review is not self._seen:
            self._seen, self._index = review, 0
        component = self.component
        if review is None or image is None or component is None:
            self.close()
            return
        view = view_of(component.box, review.repair.box)
        low, high = image.contrast_limits
        for stage, label in self.pictures.items():
            pixels = review.original if stage == "original" else review.image(stage)
            part = pixels[view.within(review.repair.box)]
            scale = (0.0, 1.0) if stage == "confidence" else (low, high)
            label.setPixmap(_pixmap(grey_of(part, *scale), self._side))
        self.use.setChecked(component.number in review.accepted)
        count = len(review.components)
        place = [c.number for c in review.components].index(component.number)
        self.previous_button.setEnabled(place > 0)
        self.next_button.setEnabled(place < count - 1)
        self.setWindowTitle(f"Section {review.z}, component {component.number}")
        self.facts.setText(
            f"Component {place + 1} of {count}: {component.pixels:,} pixels, confidence "
            f"{component.confidence:.2f}."
        )

    def _on_finished(self, *_: object) -> None:
        self.session.review.changed.disconnect(self.refresh)
        self.deleteLater()


def view_of(component: Box, repair: Box) -> Box:
    """Return what is shown of a component: a square around it, within the repair."""
    side = max(component.shape)
    side = int(min(max(side * (1 + 2 * _AROUND), _LEAST), _MOST))
    starts = []
    for low, high, first, last in (
        (component.y0, component.y1, repair.y0, repair.y1),
        (component.x0, component.x1, repair.x0, repair.x1),
    ):
        start = min((low + high - side) // 2, last - side)
        starts.append((max(start, first), min(max(start, first) + side, last)))
    (y0, y1), (x0, x1) = starts
    return Box(y0, x0, y1, x1)


def grey_of(pixels: AnyImage, low: float, high: float) -> _Grey:
    """Return pixels in the grey values of a screen; NaN is black."""
    stretched = (np.nan_to_num(pixels.astype(np.float32)) - low) * (255 / max(high - low, 1e-9))
    return np.asarray(np.clip(np.rint(stretched), 0, 255), dtype=np.uint8)


def _pixmap(grey: _Grey, side: int) -> QPixmap:
    """Return a picture, magnified without smoothing."""
    height, width = grey.shape
    content = np.ascontiguousarray(grey).tobytes()
    image = QImage(content, width, height, width, QImage.Format.Format_Grayscale8).copy()
    return QPixmap.fromImage(image).scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.FastTransformation,
    )


def open_component(
    parent: QWidget, session: Session, number: int | None = None
) -> ComponentWindow | None:
    """Open the window beside napari's; None where nothing is under review."""
    review = session.review.current
    if review is None or not review.components:
        return None
    window = ComponentWindow(parent, session, number)
    window.show()
    return window
