"""Adapt to this stack: what is learned from, what is said, what is kept, and its removal."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QMessageBox
from tensors import lively_joint

from napari_flowinpaint.core import device
from napari_flowinpaint.core.detection.flag_table import Flagged
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair.adapted import adapted_path, adapted_weights, identity_of
from napari_flowinpaint.core.repair.neighbours import no_masks
from napari_flowinpaint.core.training import adapt as training
from napari_flowinpaint.core.training.adapt import AdaptOutcome
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer.tasks import adapting
from napari_flowinpaint.widgets import commands

LEFT = Qt.MouseButton.LeftButton
PLACE = Box(10, 10, 60, 60)


class Trainer:
    """Takes the place of the training; notes what it was asked."""

    def __init__(self):
        self.gain, self.hold, self.asked = 0.42, threading.Event(), {}
        self.hold.set()

    def __call__(self, stack, *, masks, skip, plan, resume, device, progress):
        self.asked = {"skip": skip, "minutes": plan.minutes, "resume": resume, "device": device}
        self.asked["damaged"] = [int(masks(z, PLACE).sum()) for z in range(stack.shape[0])]
        while not self.hold.is_set():
            progress(0.25, "training the network: step 3")
            time.sleep(0.01)
        kept = None
        if self.gain:
            kept = adapted_path(stack)
            told = {"stack": identity_of(stack, [(1, PLACE)]), "gain": self.gain}
            save_network(kept, lively_joint(), {"adapted": told})
        stays = None if kept else adapted_weights(stack).path
        return AdaptOutcome(30.0, 30.0 + self.gain, (4, 5), 0.1, kept, 1.0, stays)


@pytest.fixture
def opened(make_dock, stack_path, wait, monkeypatch):
    """Return a dock, the window of the command, and what trains in place of the training."""
    trainer = Trainer()
    monkeypatch.setattr(training, "adapt", trainer)
    monkeypatch.setattr(device, "resolve_device", lambda *_: "cpu")
    viewer, dock = make_dock(stack_path, show=True)
    wait(lambda: dock.session.flags.is_settled(dock.session.image))
    commands.adapt_to_stack(viewer)
    dialog = dock.repair_panel.adapt.dialog
    wait(dialog.start_button.isEnabled)
    yield dock, dialog, trainer
    trainer.hold.set()


def test_damage_is_left_out_and_only_a_gain_is_kept(opened, wait):
    dock, dialog, trainer = opened
    session = dock.session
    assert "released weights are in use" in dialog.state.text()
    for label in dialog.findChildren(QLabel):  # no text is cut off
        assert label.height() >= label.heightForWidth(label.width())
    dock.mask_panel.new_mask()
    session.mask[2, 20:30, 20:30] = 1
    session.mask[3, 20:30, 20:30] = 1
    rows = [
        Flagged(2, "hole", 1.0, 0.0),
        Flagged(1, "hole", 1.0, 0.0),  # nobody has painted where
        Flagged(5, "blur", 1.0, 0.0),
        Flagged(6, "missing", 1.0, 0.0, decision="not damaged"),
    ]
    session.flags.of(session.image).list.take(rows, 7)
    trainer.gain = 0.0
    dialog.minutes.setValue(3)
    QTest.mouseClick(dialog.start_button, LEFT)
    wait(lambda: "No gain: nothing new is kept" in dialog.messages.text())
    assert trainer.asked == {
        "minutes": 3,
        "resume": False,
        "device": "cpu",
        "skip": (1, 5),
        "damaged": [0, 0, 100, 100, 0, 0, 0],
    }
    assert not dialog.remove_button.isVisible()

    trainer.gain = 0.42
    wait(dialog.start_button.isEnabled)
    QTest.mouseClick(dialog.start_button, LEFT)
    wait(dialog.remove_button.isVisible)
    assert "held-back sections 4 and 5 gain 0.42 dB" in dialog.messages.text()
    assert "kept beside the stack" in dialog.messages.text()
    assert "adapted weights are in use" in dialog.state.text()
    path = adapted_path(session.stack)

    trainer.gain = 0.0
    wait(dialog.start_button.isEnabled)
    QTest.mouseClick(dialog.start_button, LEFT)
    wait(lambda: "the weights adapted earlier stay in use" in dialog.messages.text())
    wait(dialog.remove_button.isEnabled)
    for agrees in (False, True):
        QTest.mouseClick(dialog.remove_button, LEFT)
        role = QMessageBox.ButtonRole.AcceptRole if agrees else QMessageBox.ButtonRole.RejectRole
        question = dialog.question
        button = next(b for b in question.buttons() if question.buttonRole(b) == role)
        QTest.mouseClick(button, LEFT)
        wait(lambda: dialog.question is None and not dock.jobs.is_running())
        assert path.is_file() is not agrees
    assert "released weights are in use" in dialog.state.text()


def test_it_runs_beside_other_work_and_is_cancelled(opened, wait):
    dock, dialog, trainer = opened
    session = dock.session
    dock.mask_panel.new_mask()
    button = dock.repair_panel.adapt
    trainer.hold.clear()
    QTest.mouseClick(dialog.start_button, LEFT)
    dialog.close()
    wait(lambda: "25 %" in button.text())
    assert dock.repair_panel.repair_button.isEnabled()
    assert not dock.cancel_button.isEnabled()
    QTest.mouseClick(button, LEFT)
    assert dialog.isVisible()
    assert not dialog.start_button.isEnabled()
    QTest.mouseClick(dialog.progress_row.cancel_button, LEFT)
    wait(lambda: "nothing was changed" in dialog.messages.text())
    assert button.text() == "Adapt to this stack…"
    assert not adapted_path(session.stack).exists()

    session.viewer.add_image(np.zeros((7, 64, 64), np.uint8), name="in memory")
    wait(lambda: session.stack is not None)
    wait(lambda: "not a file on this computer" in dialog.state.text())
    assert not dialog.start_button.isEnabled()


def test_repairs_that_are_not_saved_count_as_damage():
    patch = SimpleNamespace(box=Box(50, 50, 70, 70), mask=np.ones((20, 20), bool))
    repair = SimpleNamespace(z=2, patches=(patch,))
    damage = adapting.with_repairs(no_masks, (repair,))
    assert [int(damage(z, PLACE).sum()) for z in (1, 2)] == [0, 100]
    assert not damage(2, Box(0, 0, 20, 20)).any()
