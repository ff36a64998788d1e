"""The dock *Find damage*: where to look for what; what is found becomes a mask and a list."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..core.detection.detect_section import DetectionOptions
from ..core.kinds import KINDS
from ..viewer import layers
from ..viewer.state.search_settings import RANGE, WHERE
from ..viewer.tasks import find_damage
from ..viewer.tasks.find_damage import SearchResult
from .damage_dock import DamageDock
from .flagged_sections_dock import flagged_dock
from .parts.messages import as_sentence, guarded
from .parts.wording import counted


class FindDamage(DamageDock):
    """The dock. It forwards: state is in the session, work is in :mod:`..viewer.tasks.find_damage`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    tab = "Find damage"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, ("search", "estimate"))
        self.settings = self.session.search
        self.where = QComboBox()
        self.first, self.last = QSpinBox(), QSpinBox()
        self.kinds = {name: QCheckBox(name) for name in KINDS}
        self.sensitivity = QSlider(Qt.Orientation.Horizontal)
        self.sensitivity_text = QLabel()
        self.estimate_button = QPushButton("Estimate from this stack")
        self.defaults_button = QPushButton("Defaults")
        self.scales_text = QLabel()
        self.find_button = QPushButton("Find damage")
        boxes = (self._where_box(), self._kinds_box(), self._thresholds_box())
        self._show_settings()
        self._connect()
        self.begin(*boxes, self.find_button)
        self.refresh()

    # ---- the form

    def _where_box(self) -> QWidget:
        self.where.addItems(WHERE)
        self.where.setToolTip("Their neighbours are read as well, for comparison.")
        self.first.setToolTip("First section.")
        self.last.setToolTip("Last section, included.")
        row = QHBoxLayout()
        for spin in (self.first, self.last):
            spin.setRange(0, 0)
            row.addWidget(spin, stretch=1)
        row.insertWidget(1, QLabel("to"))
        box = QGroupBox("Where")
        form = QFormLayout(box)
        form.addRow("sections", self.where)
        form.addRow("from", row)
        return box

    def _kinds_box(self) -> QWidget:
        box = QGroupBox("What")
        grid = QGridLayout(box)
        grid.setHorizontalSpacing(2)  # with a scroll bar beside them, three columns just fit
        grid.setVerticalSpacing(2)
        for number, (name, check) in enumerate(self.kinds.items()):
            pixmap = QPixmap(10, 10)
            pixmap.fill(QColor(*KINDS[name].colour))
            check.setIcon(QIcon(pixmap))
            check.setToolTip(as_sentence(KINDS[name].words))
            grid.addWidget(check, number // 3, number % 3)
        return box

    def _thresholds_box(self) -> QWidget:
        self.sensitivity.setRange(0, 20)
        self.sensitivity.setToolTip(
            "Left: only what is certain. Right: anything that might be damage."
        )
        self.estimate_button.setToolTip(
            "Set the thresholds from a few sections: what most sections show is taken as normal."
        )
        self.defaults_button.setToolTip("Go back to the default thresholds.")
        self.scales_text.setWordWrap(True)
        box = QGroupBox("Sensitivity")
        column = QVBoxLayout(box)
        row = QHBoxLayout()
        row.addWidget(self.sensitivity, stretch=1)
        row.addWidget(self.sensitivity_text)
        column.addLayout(row)
        row = QHBoxLayout()
        row.addWidget(self.estimate_button, stretch=1)
        row.addWidget(self.defaults_button)
        column.addLayout(row)
        column.addWidget(self.scales_text)
        self.find_button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.find_button.setToolTip("Search in the background; a cancelled search can be resumed.")
        return box

    def _connect(self) -> None:
        self.where.currentTextChanged.connect(self._take_settings)
        self.first.valueChanged.connect(self._take_settings)
        self.last.valueChanged.connect(self._take_settings)
        self.sensitivity.valueChanged.connect(self._take_settings)
        for check in self.kinds.values():
            check.toggled.connect(self._take_settings)
        self.find_button.clicked.connect(self.search)
        self.estimate_button.clicked.connect(self.estimate)
        self.defaults_button.clicked.connect(self._forget_estimate)
        self.jobs.changed.connect(self.refresh)
        self.listen(self.settings.events, self._show_settings)
        self.listen(self.session.target_changed, self.refresh)
        self.listen(self.session.flags.changed, self.refresh)

    def _take_settings(self, *_: object) -> None:
        where, first, last = self.where.currentText(), self.first.value(), self.last.value()
        sensitivity = self.sensitivity.value() / self.sensitivity.maximum()
        kinds = tuple(name for name, check in self.kinds.items() if check.isChecked())
        settings = self.settings
        settings.where, settings.first, settings.last = where, first, last
        settings.sensitivity, settings.kinds = sensitivity, kinds

    def _show_settings(self, *_: object) -> None:
        settings = self.settings
        widgets = (self.where, self.first, self.last, self.sensitivity, *self.kinds.values())
        blocked = [widget.blockSignals(True) for widget in widgets]
        self.where.setCurrentText(settings.where)
        self.first.setValue(settings.first)
        self.last.setValue(settings.last)
        self.sensitivity.setValue(round(settings.sensitivity * self.sensitivity.maximum()))
        for name, check in self.kinds.items():
            check.setChecked(name in settings.kinds)
        for widget, before in zip(widgets, blocked, strict=True):
            widget.blockSignals(before)
        for spin in (self.first, self.last):
            spin.setEnabled(settings.where == RANGE)
        self.sensitivity_text.setText(f"{settings.sensitivity:.2f}")
        self.scales_text.setText(_scales_in_words(settings.scales))
        self.defaults_button.setEnabled(bool(settings.scales))

    def refresh(self) -> None:
        """Enable what can be done now."""
        image = self.session.image
        ready = self.session.flags.of(image) is not None
        busy = self.jobs.is_running("search", "estimate")
        self.find_button.setEnabled(ready and not busy)
        self.estimate_button.setEnabled(self.session.stack is not None and not busy)
        if image is None:
            return
        depth = layers.zyx_shape(image)[0]
        fresh = self.last.maximum() == 0
        for spin in (self.first, self.last):
            spin.setMaximum(depth - 1)
        if fresh and self.settings.last == 0:
            self.settings.last = depth - 1

    # ---- work

    @guarded
    def estimate(self) -> None:
        """Fit the thresholds to the stack, in a thread."""
        stack = self.session.require_stack()

        def done(options: DetectionOptions) -> None:
            self.settings.scales = dict(options.scales)
            self.messages.say("the thresholds have been set for this stack")

        self.jobs.start(
            "estimate",
            find_damage.estimate,
            stack,
            self.settings.options(),
            done=done,
            failed=self.messages.fail,
        )

    @guarded
    def _forget_estimate(self) -> None:
        self.settings.scales = {}

    @guarded
    def search(self) -> None:
        """Search, in a thread; what is found goes into the list and into the mask."""
        image, stack = self.session.require_image(), self.session.require_stack()
        store = self.session.require_flags().store
        sections = self.settings.sections(self.session.section, stack.shape[0])
        self.jobs.start(
            "search",
            find_damage.search,
            stack,
            store,
            sections,
            self.settings.options(),
            self.session.settings.max_gap,
            done=partial(self._show_result, image),
            failed=self.messages.fail,
            waits=True,
        )

    def _show_result(self, image: Any, result: SearchResult) -> None:
        """Show what was found."""
        self.session.flags.add_search(image, result)
        flagged = len({row.section for row in result.rows})
        text = f"{flagged:,} of {counted(len(result.sections), 'section')} flagged"
        if result.failed:
            z, why = next(iter(result.failed.items()))
            text += f"; {len(result.failed)} could not be read (section {z}: {why})"
        elif flagged:
            text += "; see the list in the dock Flagged sections"
        self.messages.notify(text)
        if flagged:
            flagged_dock(self.session.viewer)


def _scales_in_words(scales: Any) -> str:
    """Return what an estimate has changed."""
    changed = [f"{kind} × {factor:.2g}" for kind, factor in scales.items() if factor != 1]
    if not scales:
        return "Thresholds: defaults."
    return f"Thresholds: {', '.join(changed)}." if changed else "The default thresholds fit."
