"""Copy command: what is copied does the same as the button, as it is pasted."""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from repaired_stores import make_repair

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.command_line import command_words, listed_sections
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import no_progress
from napari_flowinpaint.core.window import Displaced
from napari_flowinpaint.core.writing.writeback import history, write_back
from napari_flowinpaint.viewer.tasks.as_command import AcceptedRequest, repair_command


def copied(dock, button, wait, qtbot):
    """Press the button; return the words of the command."""
    QGuiApplication.clipboard().clear()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    wait(lambda: not dock.jobs.is_running("command"))
    return shlex.split(QGuiApplication.clipboard().text())


def test_the_command_repairs_what_repair_would(make_dock, wait, stack_path, qtbot, capsys):
    _, dock = make_dock(stack_path)
    dock.mask_panel.new_button.click()
    mask = dock.session.mask
    mask[3, 50:60, 60:70] = 1
    mask[5, 50:60, 60:70] = 1  # not asked for
    dock.repair_panel.method.setCurrentText("flow")
    dock.repair_panel.max_gap.setValue(2)
    words = copied(dock, dock.repair_panel.copy_button, wait, qtbot)
    assert words[:3] == ["flowinpaint", "repair", str(stack_path)]
    assert "--in-place" in words
    assert words[words.index("--max-gap") + 1] == "2"
    assert run(words[1:]) == 0
    (entry,) = history(open_stack(stack_path))
    assert (entry.z, entry.mask_pixels, entry.provenance.method) == (3, 100, "flow")
    again = copied(dock, dock.repair_panel.copy_button, wait, qtbot)
    assert again[again.index("--mask") + 1] != words[words.index("--mask") + 1]


def test_the_command_knows_what_is_damaged_beside_the_section(make_dock, wait, stack_path, qtbot):
    _, dock = make_dock(stack_path)
    dock.mask_panel.new_button.click()
    dock.session.mask[3:5, 50:60, 60:70] = 1  # the following section guides nothing there
    dock.repair_panel.method.setCurrentText("flow")
    words = copied(dock, dock.repair_panel.copy_button, wait, qtbot)
    assert run(words[1:]) == 0
    (entry,) = history(open_stack(stack_path))
    assert (entry.z, entry.provenance.neighbours) == (3, (2, 5))


@pytest.mark.parametrize("kind", ["zarr", "tif", "unsaved", "in part"])
def test_the_command_of_an_accepted_repair_makes_the_same_pixels(
    make_dock, wait, stack_path, tmp_path, qtbot, kind
):
    path = stack_path
    if kind in ("tif", "unsaved"):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.asarray(open_stack(stack_path).array))
    _, dock = make_dock(path)
    session, panel = dock.session, dock.accepted_panel
    assert not panel.copy_button.isEnabled()
    dock.mask_panel.new_button.click()
    session.mask[3, 50:60, 60:70] = 1
    session.mask[3, 90:95, 60:70] = 1
    session.mask[4, 52:55, 60:70] = 1  # so it guides nothing there
    dock.repair_panel.max_gap.setValue(3)
    dock.repair_panel.repair_button.click()
    wait(lambda: session.review.current is not None and not dock.repair_panel.is_showing)
    if kind == "in part":
        session.review.set_accepted({2}, False)
    box = session.review.current.repair.box
    accepted = session.review.current.image("result").copy()
    session.accepted.agree(session.image)
    if kind == "unsaved":
        session.accept_unsaved()
    else:
        dock.review_panel.accept_button.click()
        wait(lambda: session.accepted.written(session.image) and not dock.jobs.is_running())
    dock.repair_panel.max_gap.setValue(1)  # that of the next repair
    words = copied(dock, panel.copy_button, wait, qtbot)
    assert words[words.index("--max-gap") + 1] == "3"
    if kind != "unsaved":
        panel.revert_button.click()
        wait(lambda: not session.accepted.written(session.image) and not dock.jobs.is_running())
    assert run(words[1:]) == 0
    stack = open_stack(path)
    *_, entry = history(stack)
    assert (entry.z, entry.provenance.neighbours) == (3, (2, 5))
    assert entry.mask_pixels == (100 if kind == "in part" else 150)
    if kind != "in part":  # what was rejected is not masked for the command
        assert np.array_equal(stack.read(3, box), accepted)


def test_of_a_fold_it_is_said_that_the_painted_line_is_not_known(stack_path):
    stack = open_stack(stack_path)
    zone = np.zeros(stack.shape[1:], bool)
    zone[50:60, 60:70] = True
    repair = make_repair(stack, 3, zone)
    (patch,) = repair.patches
    moved = Displaced(patch.mask, patch.mask, np.ones((2, *patch.box.shape), np.float32))
    write_back(stack, replace(repair, patches=(replace(patch, displaced=moved),)))
    with pytest.raises(InputError, match="has moved tissue"):
        repair_command(AcceptedRequest(stack, None, 1, "auto"), progress=no_progress)


def test_of_a_file_the_command_keeps_the_repair_beside_it(
    make_dock, wait, stack_path, tmp_path, qtbot
):
    path = tmp_path / "it's one.tif"
    tifffile.imwrite(path, np.asarray(open_stack(stack_path).array))
    _, dock = make_dock(path)
    dock.mask_panel.new_button.click()
    dock.session.mask[3, 50:60, 60:70] = 1
    words = copied(dock, dock.repair_panel.copy_button, wait, qtbot)
    assert run(words[1:]) == 0
    assert [entry.z for entry in history(open_stack(path))] == [3]


def test_of_a_store_that_may_not_be_written_to_the_command_makes_a_copy(
    make_dock, wait, stack_path, qtbot, monkeypatch
):
    access = os.access

    def may(at, mode, **options):
        inside = not isinstance(at, int) and Path(at).is_relative_to(stack_path)
        return not inside and access(at, mode, **options)

    monkeypatch.setattr(os, "access", may)
    _, dock = make_dock(stack_path)
    dock.mask_panel.new_button.click()
    dock.session.mask[3, 50:60, 60:70] = 1
    words = copied(dock, dock.repair_panel.copy_button, wait, qtbot)
    assert run(words[1:]) == 0
    output = words[words.index("--output") + 1]
    assert [entry.z for entry in history(open_stack(output))] == [3]


def test_without_a_file_or_a_mask_it_says_so(make_dock, wait, qtbot):
    viewer, dock = make_dock()
    viewer.add_image(np.zeros((5, 40, 40), np.uint8))
    wait(lambda: dock.session.stack is not None and not dock.jobs.is_running())
    assert not dock.repair_panel.copy_button.isEnabled()
    dock.mask_panel.new_button.click()
    assert copied(dock, dock.repair_panel.copy_button, wait, qtbot) == []
    assert "no file" in dock.messages.text()


def test_words_of_a_command():
    assert listed_sections((9, 3, 7, 8, 8)) == "3,7-9"
    words = command_words("repair", "a b.zarr", {"x_y": (40, 4.5), "no": None, "flag": True})
    assert words == ["flowinpaint", "repair", "'a b.zarr'", "--x-y", "40,4.5", "--flag"]
