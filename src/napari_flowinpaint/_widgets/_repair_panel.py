"""How to repair: method, device, few options; and the button that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
)

from .. import work
from ..core.methods import available_methods
from ._jobs import JobRunner
from ._messages import Messages, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..review import Review
    from ..session import Session

#: Milliseconds between adding two layers, for the event loop to paint and to react.
_PAUSE = 20


class _LazyCombo(QComboBox):
    """A combo box that says when its list is about to be seen.

    Attributes
    ----------
    opened
        Signal.
    """

    opened = Signal()

    def showPopup(self) -> None:
        """Show the list."""
        self.opened.emit()
        super().showPopup()


class RepairPanel(QGroupBox):
    """A form for :class:`~napari_flowinpaint.session.Settings`, and Repair.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Repair")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.method = QComboBox()
        self.device = _LazyCombo()
        self.max_gap = QSpinBox()
        self.grain = QCheckBox("match the grain of the section")
        self.repair_button = QPushButton("Repair")
        self._devices_known = False
        self._steps: Iterator[None] | None = None
        self._lay_out()
        self._show_settings()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.method.addItems(["auto", *available_methods()])
        self.device.addItems(["auto", "cpu"])
        self.max_gap.setRange(1, 50)
        self.max_gap.setSuffix(" sections")
        self.method.setToolTip("auto takes the best method for the neighbours at hand")
        self.device.setToolTip("Where networks run; training-free methods run on the CPU")
        self.max_gap.setToolTip("How far away a neighbour may be that guides the repair")
        self.grain.setToolTip("Looks right; costs a little accuracy, since grain is random")
        self.repair_button.setToolTip("Repair the masked pixels of this section (Shift+R)")
        form = QFormLayout(self)
        form.addRow("method", self.method)
        form.addRow("device", self.device)
        form.addRow("largest gap", self.max_gap)
        form.addRow(self.grain)
        row = QHBoxLayout()
        row.addWidget(self.repair_button)
        form.addRow(row)

    def _connect(self) -> None:
        self.method.currentTextChanged.connect(self._take_settings)
        self.device.currentTextChanged.connect(self._take_settings)
        self.max_gap.valueChanged.connect(self._take_settings)
        self.grain.toggled.connect(self._take_settings)
        self.device.opened.connect(self._find_devices)
        self.repair_button.clicked.connect(self.repair)
        self.jobs.changed.connect(self.refresh)
        self.session.settings.events.connect(self._show_settings)
        self.session.masks.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    def _take_settings(self, *_: object) -> None:
        settings = self.session.settings
        settings.method = self.method.currentText()
        settings.device = self.device.currentText()
        settings.max_gap = self.max_gap.value()
        settings.grain = self.grain.isChecked()

    def _show_settings(self, *_: object) -> None:
        settings = self.session.settings
        for combo, value in ((self.method, settings.method), (self.device, settings.device)):
            if combo.findText(value) < 0:
                combo.addItem(value)
        widgets = (self.method, self.device, self.max_gap, self.grain)
        blocked = [widget.blockSignals(True) for widget in widgets]
        self.method.setCurrentText(settings.method)
        self.device.setCurrentText(settings.device)
        self.max_gap.setValue(settings.max_gap)
        self.grain.setChecked(settings.grain)
        for widget, before in zip(widgets, blocked, strict=True):
            widget.blockSignals(before)

    def _find_devices(self) -> None:
        if not self._devices_known:
            self._devices_known = True
            self.jobs.start(
                "devices", work.list_devices, done=self._add_devices, failed=self.messages.fail
            )

    def _add_devices(self, names: tuple[str, ...]) -> None:
        for name in names:
            if self.device.findText(name) < 0:
                self.device.addItem(name)

    @guarded
    def repair(self) -> None:
        """Repair the section that is shown; the answer is shown unless it is stale by then."""
        job = self.session.request_repair()

        def done(review: Review) -> None:
            self._steps = self.session.open_review(job, review)
            QTimer.singleShot(_PAUSE, self._next_step)
            self.messages.say(
                f"section {review.z} is repaired ({review.summary()}); compare the stages, "
                "untick what is not good, then press Accept"
            )

        self.messages.say("")
        self.jobs.start("repair", work.repair, job, done=done, failed=self.messages.fail)

    def _next_step(self) -> None:
        """Add one layer and let the event loop run before the next."""
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        except Exception as error:
            self._steps = None
            self.messages.fail(error)
        else:
            QTimer.singleShot(_PAUSE, self._next_step)

    @property
    def is_showing(self) -> bool:
        """Whether layers of the last repair are still being added."""
        return self._steps is not None

    def refresh(self) -> None:
        """Enable the button when there is something to repair and nothing is being written."""
        ready = self.session.mask is not None
        self.repair_button.setEnabled(
            ready and not self.jobs.is_running("repair", "accept", "revert", "save")
        )

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._steps = None
        self.session.settings.events.disconnect(self._show_settings)
        self.session.masks.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
