"""Two stacks are open: what is done to one is not done to the other, and messages say which."""

import threading

import numpy as np
import pytest
from docks import paint, repair

from napari_flowinpaint.core.batch.records import ACCEPTED, UNDECIDED
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import history
from napari_flowinpaint.viewer.tasks import find_damage, loading, many_sections, one_section
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.load_stack_dock import LoadStack


class Held:
    """Takes the place of a task: it waits until it may go on, and can be cancelled."""

    def __init__(self, monkeypatch, module, name):
        self.task, self.begun, self.free = (
            getattr(module, name),
            threading.Event(),
            threading.Event(),
        )
        monkeypatch.setattr(module, name, self)

    def __call__(self, *args, progress, **keywords):
        self.begun.set()
        while not self.free.wait(0.02):
            progress(0.5, "working, about 9 s left")
        return self.task(*args, progress=progress, **keywords)


@pytest.fixture
def two(make_dock, stack_path, wait):
    """Return viewer and dock, and the layers of two stacks; both are masked in section 3."""
    viewer, dock = make_dock(stack_path)
    dock.session.settings.method = "flow"
    first = dock.session.image
    paint(dock)
    pixels = open_stack(stack_path).levels[0].array[:]
    path = save_ome_zarr(
        Stack.from_array(pixels, voxel_size=(50, 4, 4)), stack_path.with_name("second.zarr")
    )
    second = dock.session.add_stack(loading.load(str(path), progress=lambda *_: None))
    wait(lambda: dock.session.flags.is_settled(second) and not dock.jobs.is_running())
    paint(dock)
    return viewer, dock, first, second


def select(viewer, layer):
    viewer.layers.selection.active = layer


def test_a_repair_goes_on_when_another_stack_is_removed(two, wait, monkeypatch):
    viewer, dock, first, second = two
    held = Held(monkeypatch, one_section, "repair")
    dock.repair_panel.repair()
    wait(lambda: "9 s left" in dock.messages.text())
    assert "second" not in dock.messages.text(), "the first line of the dock says it"
    select(viewer, first)
    wait(lambda: dock.messages.text() == "second: working, about 9 s left")
    viewer.layers.remove(first)
    assert "left" in dock.messages.text(), "what is said of the other stack stays"
    held.free.set()
    wait(lambda: dock.session.review.current is not None)
    assert dock.session.review.image is second


def test_a_finished_repair_names_its_stack(two, wait, monkeypatch):
    viewer, dock, first, _ = two
    held = Held(monkeypatch, one_section, "repair")
    dock.repair_panel.repair()
    select(viewer, first)
    held.free.set()
    wait(lambda: not dock.jobs.is_running())
    assert dock.messages.text().startswith("second: section 3 is repaired; it waits in the list")


def test_nothing_is_said_any_more_of_a_stack_that_was_removed(two, wait, monkeypatch):
    viewer, dock, first, second = two
    Held(monkeypatch, one_section, "repair")
    dock.repair_panel.repair()
    wait(lambda: "left" in dock.messages.text())
    viewer.layers.remove(second)
    assert dock.messages.text() == "second: cancelled; nothing was changed."
    assert dock.session.image is first


@pytest.mark.parametrize("removed", ["meant", "under review"])
def test_writing_ends_with_its_own_stack_only(two, wait, monkeypatch, removed):
    viewer, dock, first, second = two
    repair(dock, wait)
    select(viewer, first)
    assert dock.review_panel.headline.text().startswith("second, section 3: 2 of 2 components")
    dock.session.accepted.agree(second)
    from napari_flowinpaint.viewer.tasks import stack_repairs

    held = Held(monkeypatch, stack_repairs, "accept")
    dock.review_panel.accept()
    assert held.begun.wait(5)
    viewer.layers.remove(first if removed == "meant" else second)
    held.free.set()
    wait(lambda: not dock.jobs.is_running())
    entries = history(open_stack(dock.session.stack.path.with_name("second.zarr")))
    assert len(entries) == (removed == "meant")
    assert "wrote 2" in dock.messages.text() if removed == "meant" else "nothing was changed"


def test_a_stack_that_was_removed_is_not_written_to(two, wait):
    viewer, dock, _, second = two
    repair(dock, wait)
    path = dock.session.stack.path
    dock.review_panel.accept()
    viewer.layers.remove(second)
    question = dock.review_panel.question
    next(b for b in question.buttons() if b.text().strip("&") == "Write").click()
    wait(lambda: not dock.jobs.is_running())
    assert not history(open_stack(path))
    assert dock.messages.text() == "Nothing was written."


def test_a_stack_is_loaded_although_the_one_shown_is_removed(
    make_napari_viewer, stack_path, wait, monkeypatch
):
    viewer = make_napari_viewer()
    dock = LoadStack(viewer)
    viewer.window.add_dock_widget(dock)
    shown = viewer.add_image(np.zeros((3, 32, 32), np.uint8), name="shown")
    held = Held(monkeypatch, loading, "load")
    dock.path.setText(str(stack_path))
    dock.load()
    assert held.begun.wait(5)
    viewer.layers.remove(shown)
    held.free.set()
    wait(lambda: not dock.jobs.is_running())
    assert [layer.name for layer in viewer.layers] == ["texture"]


# ---- batches


@pytest.fixture
def staged(two, wait):
    """Return viewer, both docks, and the stacks; of both, section 3 is staged."""
    viewer, dock, first, second = two
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged)
    for image in (first, second):
        select(viewer, image)
        dock.session.require_flags().list.flag([3], "hole")
        flagged.batch_panel.plan()
        wait(lambda: not flagged.jobs.is_running())
        flagged.batch_panel.run()
        wait(lambda: not flagged.jobs.is_running())
        assert flagged.session.batch.of(image).find(3) is not None
    return viewer, dock, flagged, first, second


def test_a_decision_belongs_to_the_stack_under_review(staged, wait):
    viewer, dock, flagged, first, second = staged
    batch = dock.session.batch
    flagged.staged_panel.table.select(3)
    wait(lambda: dock.session.review.staged and not flagged.staged_panel.is_showing)
    dock.session.review.set_accepted({1}, False)
    select(viewer, first)
    dock.review_panel.accept()
    wait(lambda: not dock.jobs.is_running())
    assert [batch.of(image).find(3).decision for image in (first, second)] == [UNDECIDED, ACCEPTED]
    flagged.staged_panel.deciding.decide(first, batch.of(first).find(3), ACCEPTED)
    wait(lambda: not flagged.jobs.is_running())
    kept = [
        many_sections.Staging(dock.session.require_flags(image).store.staging).chosen(3)
        for image in (first, second)
    ]
    assert kept == [None, (2,)], "the ticks of the one do not count for the other"


@pytest.mark.parametrize("then", ["removed", "another is meant"])
def test_the_end_of_a_batch_is_told_of_its_stack(staged, wait, monkeypatch, then):
    viewer, _, flagged, first, second = staged
    held = Held(monkeypatch, many_sections, "run")
    flagged.batch_panel.plan()
    wait(lambda: not flagged.jobs.is_running())
    flagged.batch_panel.run()
    assert held.begun.wait(5)
    if then == "removed":
        viewer.layers.clear()
    else:
        select(viewer, first)
        flagged.session.batch.set_staged(second, ())
    held.free.set()
    wait(lambda: not flagged.jobs.is_running())
    told = {"removed": "cancelled", "another is meant": "1 section repaired and ready for review"}
    assert flagged.messages.text().startswith(f"second: {told[then]}")
    if then != "removed":
        select(viewer, second)
        wait(lambda: flagged.session.batch.of(second).find(3) is not None)


# ---- what is kept of a stack


@pytest.mark.parametrize("how", ["missing", "lasso", "interpolate", "new"])
def test_no_mask_is_begun_before_the_kept_one_is_open(
    make_dock, stack_path, wait, monkeypatch, how
):
    viewer, dock = make_dock(stack_path)
    painted = paint(dock).data.read(3)
    viewer.layers.remove(dock.session.image)
    wait(lambda: not len(viewer.layers))
    held = Held(monkeypatch, find_damage, "open_flags")
    image = dock.session.add_stack(loading.load(str(stack_path), progress=lambda *_: None))
    viewer.dims.set_point(0, 3 * image.scale[0])
    assert not dock.mask_panel.missing_button.isEnabled()
    tools = dock.mask_panel.tools
    begin = {
        "missing": dock.mask_panel.mark_missing,
        "lasso": tools.lasso,
        "interpolate": tools.interpolate,
        "new": dock.mask_panel.new_mask,
    }
    begin[how]()
    expected = "There is no mask" if how == "interpolate" else "What is kept of texture is still"
    assert dock.messages.text().startswith(expected)
    held.free.set()
    wait(lambda: dock.session.mask is not None)
    assert np.array_equal(dock.session.mask.read(3), painted)
    assert dock.mask_panel.missing_button.isEnabled()
