"""A batch is written although something is in the way of one section; which one it is, is said."""

import shutil

import numpy as np
import pytest
import zarr
from docks import paint

from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections

SECTIONS = (1, 3, 5)


@pytest.fixture
def accepted(make_dock, stack_path, wait):
    """Return the dock of a batch of which all is accepted, and the path of the stack."""
    viewer, dock = make_dock(stack_path)
    dock.session.settings.method = "flow"
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged)
    for z in SECTIONS:
        paint(dock, spots=((35, 40),), z=z)
    dock.session.require_flags().list.flag(SECTIONS, "hole")
    panel = flagged.staged_panel
    panel.threshold.setValue(0)
    for step in (flagged.batch_panel.plan, flagged.batch_panel.run, panel.accept_above):
        step()
        wait(lambda: not flagged.jobs.is_running())
    dock.session.accepted.agree(dock.session.image)
    return flagged, stack_path


def folder_in_the_way(path):
    chunk = path / "0" / "c" / "3" / "0" / "0"
    chunk.rename(path / "aside")
    chunk.mkdir()
    return lambda: (chunk.rmdir(), (path / "aside").rename(chunk))


def link(path):
    chunk = path / "0" / "c" / "3" / "0" / "0"
    chunk.rename(path.with_name("aside"))
    chunk.symlink_to(path.with_name("aside"))
    return lambda: (chunk.unlink(), path.with_name("aside").rename(chunk))


def torn(path):
    chunk = path / "0" / "c" / "3" / "0" / "0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:20])
    return lambda: chunk.write_bytes(content)


def changed(path):
    level = zarr.open_group(path)["0"]
    before = level[3]
    level[3] = before // 2

    def put_back():
        level[3] = before

    return put_back


def torn_repair(path):
    staged = path.with_name(f"{path.name}.staging") / "sections" / "z000003.npz"
    content = staged.read_bytes()
    staged.write_bytes(content[:100])
    return lambda: staged.write_bytes(content)


@pytest.mark.parametrize(
    ("disturb", "why"),
    [
        (folder_in_the_way, "is a folder"),
        (link, "is a link, which is not followed"),
        (torn, "section 3 cannot be read any more"),
        (changed, "section 3 has changed since it was read"),
        (torn_repair, "z000003.npz cannot be used"),
    ],
)
def test_the_others_are_written_and_it_is_tried_again(accepted, wait, disturb, why):
    flagged, path = accepted
    mask, writing = flagged.session.mask, flagged.staged_panel.writing
    before = [open_stack(path).read(z) for z in range(7)]
    put_right = disturb(path)
    writing.write()
    wait(lambda: not flagged.jobs.is_running())
    first, *others = flagged.messages.text().splitlines()
    assert first == "2 sections written, and marked as synthetic."
    assert len(others) == 1
    assert others[0].startswith("Section 3 was not written: ")
    assert why in others[0]
    assert [bool(mask.read(z).any()) for z in SECTIONS] == [False, True, False]
    put_right()
    flagged.staged_panel.load()
    wait(lambda: not flagged.jobs.is_running())
    now = [open_stack(path).read(z) for z in range(7)]
    assert [not np.array_equal(a, b) for a, b in zip(before, now, strict=True)] == [
        z in (1, 5) for z in range(7)
    ]
    writing.write()
    wait(lambda: not flagged.jobs.is_running())
    assert flagged.messages.text() == "1 section written, and marked as synthetic."
    assert not mask.read(3).any()


def test_one_section_that_cannot_be_reverted_does_not_keep_others(accepted, wait):
    flagged, path = accepted
    writing = flagged.staged_panel.writing
    writing.write()
    wait(lambda: not flagged.jobs.is_running())
    changed(path)
    writing.revert_all()
    wait(lambda: not flagged.jobs.is_running())
    first, second = flagged.messages.text().splitlines()
    assert first == "2 sections reverted: the original pixels are back."
    assert second.startswith("Section 3 was not reverted: synthetic pixels of section 3 were")


def test_what_keeps_all_from_being_written_is_said_once(accepted, wait):
    flagged, path = accepted
    shutil.rmtree(path)
    flagged.staged_panel.writing.write()
    wait(lambda: not flagged.jobs.is_running())
    assert "was moved or removed since it was opened" in flagged.messages.text()
    assert "\n" not in flagged.messages.text()
