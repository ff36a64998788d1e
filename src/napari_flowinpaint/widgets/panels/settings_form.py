"""How repairs are made: method, device, few options."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QMessageBox, QSpinBox

from ...core.methods import ALONE, available_methods
from ...viewer.tasks import devices
from ..parts.jobs import JobRunner
from ..parts.messages import Messages
from ..parts.questions import ask_to_repair_alone
from ..parts.scrolling import ROW_SPACING

if TYPE_CHECKING:
    from ...viewer.session import Session


#: What a texture is called in the form.
_TEXTURES = {
    "smooth": "smooth (prediction alone)",
    "noise": "noise like the section's",
    "natural": "natural (invents fine detail)",
}


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


class SettingsForm(QFormLayout):
    """A form for the session's ``RepairSettings``; several show the same.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self.method = QComboBox()
        self.device = _LazyCombo()
        self.max_gap = QSpinBox()
        self.texture = QComboBox()
        self.quality = QCheckBox("predict the quality by test repairs")
        self.question: QMessageBox | None = None
        self._devices_known = False
        self._lay_out()
        self._show_settings()
        self._connect()

    def _lay_out(self) -> None:
        self.method.addItems(["auto", *available_methods()])
        self.device.addItems(["auto", "cpu"])
        self.max_gap.setRange(1, 50)
        self.max_gap.setSuffix(" sections")
        self.method.setToolTip("auto picks the best method for the neighbours there are.")
        self.device.setToolTip("Where the networks run; methods without one run on the CPU.")
        self.max_gap.setToolTip("How far away, in sections, a guiding neighbour may be.")
        for name, label in _TEXTURES.items():
            self.texture.addItem(label, name)
        self.texture.setToolTip(
            "smooth: the prediction alone, most accurate.\n"
            "noise: with contrast and noise like the section's, costs little accuracy.\n"
            "natural: also invents detail of up to 20 pixels that nobody can predict."
        )
        self.quality.setToolTip(
            "Predicts how good the repair is by repairing the same damage on intact tissue, where "
            "the truth is known; takes about four times as long."
        )
        self.setVerticalSpacing(ROW_SPACING)
        self.addRow("method", self.method)
        self.addRow("device", self.device)
        self.addRow("largest gap", self.max_gap)
        self.addRow("texture", self.texture)
        self.addRow(self.quality)

    def _connect(self) -> None:
        self.method.currentTextChanged.connect(self._choose_method)
        self.device.currentTextChanged.connect(self._take_settings)
        self.max_gap.valueChanged.connect(self._take_settings)
        self.texture.currentIndexChanged.connect(self._take_settings)
        self.quality.toggled.connect(self._take_settings)
        self.device.opened.connect(self._find_devices)
        self.session.settings.events.connect(self._show_settings)

    def _choose_method(self, name: str) -> None:
        """Take a method; one that looks at no neighbour only after a question."""
        if name not in ALONE:
            self._take_settings()
            return
        self._show_settings()  # the method is what it was until somebody agrees
        self.question = ask_to_repair_alone(self.method, name, partial(self._agree_to_method, name))

    def _agree_to_method(self, name: str, agreed: bool) -> None:
        self.question = None
        if agreed:
            self.session.settings.method = name

    def _take_settings(self, *_: object) -> None:
        settings = self.session.settings
        values = (
            self.method.currentText(),
            self.device.currentText(),
            self.max_gap.value(),
            self.texture.currentData(),
            self.quality.isChecked(),
        )  # all are read before the first is set: each change fills the form again
        settings.method, settings.device, settings.max_gap = values[:3]
        settings.texture, settings.quality = values[3:]

    def _show_settings(self, *_: object) -> None:
        settings = self.session.settings
        for combo, value in ((self.method, settings.method), (self.device, settings.device)):
            if combo.findText(value) < 0:
                combo.addItem(value)
        widgets = (self.method, self.device, self.max_gap, self.texture, self.quality)
        blocked = [widget.blockSignals(True) for widget in widgets]
        self.method.setCurrentText(settings.method)
        self.device.setCurrentText(settings.device)
        self.max_gap.setValue(settings.max_gap)
        self.max_gap.setSuffix(" section" if settings.max_gap == 1 else " sections")
        self.texture.setCurrentIndex(self.texture.findData(settings.texture))
        self.quality.setChecked(settings.quality)
        for widget, before in zip(widgets, blocked, strict=True):
            widget.blockSignals(before)

    def _find_devices(self) -> None:
        if not self._devices_known:
            self._devices_known = True
            self.jobs.start(
                "devices",
                devices.list_devices,
                done=self._add_devices,
                failed=self.messages.fail,
            )

    def _add_devices(self, names: tuple[str, ...]) -> None:
        for name in names:
            if self.device.findText(name) < 0:
                self.device.addItem(name)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.session.settings.events.disconnect(self._show_settings)
