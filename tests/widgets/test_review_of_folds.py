"""What an unfolding is about to change is shown, and can be refused fold by fold."""

import numpy as np
import pytest
from folded_stacks import tissue
from qtpy.QtCore import Qt

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.fold import Fold, fold_section
from napari_flowinpaint.viewer.fold_layers import ARROWS, ZONE
from napari_flowinpaint.viewer.tasks.review import STAGES

SHOWN = (ZONE, ARROWS)


@pytest.fixture
def two_folds(tmp_path):
    """Return a stack on disk whose section 3 has two folds, the section, and the folds' lines."""
    array = tissue(size=384, depth=7)
    part = array[3, :, :192]
    made = [fold_section(part, Fold(6, 30, 0.3), seed=0) for _ in (0, 1)]
    array[3] = np.hstack([made[0].image, made[1].image[:, ::-1]])
    lines = np.hstack([made[0].line, made[1].line[:, ::-1]])
    return save_ome_zarr(Stack.from_array(array, voxel_size=(50, 4, 4)), tmp_path / "f.zarr"), lines


def repaired(make_dock, wait, qtbot, two_folds):
    """Return viewer and dock with the repair of the section under review."""
    path, lines = two_folds
    viewer, dock = make_dock(path, show=True)
    dock.mask_panel.new_mask()
    mask = dock.session.mask_layer
    mask.data[3] = np.where(lines, KINDS["fold"].label, 0)
    mask.data.commit()
    dock.session.settings.texture = "smooth"
    qtbot.mouseClick(dock.repair_panel.repair_button, Qt.MouseButton.LeftButton)
    wait(lambda: dock.session.review.current is not None)
    wait(lambda: not dock.jobs.is_running() and not dock.repair_panel.is_showing)
    return viewer, dock


def untick(dock, qtbot, row):
    """Click on the box of a component."""
    table = dock.review_panel.table
    cell = table.visualRect(table.components.index(row, 0))
    place = cell.center()
    place.setX(cell.left() + 10)
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_zone_and_arrows_are_shown_and_one_fold_refused(make_dock, wait, qtbot, two_folds):
    viewer, dock = repaired(make_dock, wait, qtbot, two_folds)
    review = dock.session.review.current
    assert "a fold: its tissue is moved back" in review.summary()
    assert [layer.name for layer in viewer.layers][-2:] == [*SHOWN]
    assert all(viewer.layers[name].visible for name in SHOWN)
    zone, arrows = (viewer.layers[name] for name in SHOWN)
    assert np.allclose(zone.translate, viewer.layers[STAGES[0]].translate)
    assert len(review.components) == 2
    everywhere, moved = np.asarray(zone.data[0]), len(arrows.data)
    assert set(np.unique(everywhere)) == {0, 1, 2}
    (patch,) = review.repair.patches
    for (_, y, x), (_, dy, dx) in arrows.data:  # from where tissue is to where it is moved
        target = round(float(y + dy)), round(float(x + dx))
        assert np.allclose(patch.displaced.flow[:, *target], (-dy, -dx), atol=1e-3)
    before = dock.session.stack.read(3)
    untick(dock, qtbot, 0)
    assert review.accepted == {2}
    assert set(np.unique(zone.data[0])) == {0, 2}
    assert 0 < len(arrows.data) < moved
    dock.session.accepted.agree(dock.session.image)
    qtbot.mouseClick(dock.review_panel.accept_button, Qt.MouseButton.LeftButton)
    wait(lambda: not dock.jobs.is_running() and dock.session.review.current is None)
    assert "marked as synthetic or moved; 1 rejected" in dock.messages.text()
    assert not any(name in viewer.layers for name in SHOWN)
    after = open_stack(dock.session.stack.path).read(3)
    box = review.repair.box
    assert (before[box.slices] != after[box.slices])[everywhere != 2].sum() == 0
    assert (before != after).sum() > 1000
    mask = dock.session.mask
    assert (mask[3] == KINDS["fold"].label).any()
    qtbot.mouseClick(dock.accepted_panel.revert_button, Qt.MouseButton.LeftButton)
    wait(lambda: not dock.jobs.is_running())
    assert ((mask[3] > 0) == two_folds[1]).all(), "the lines are back, not the zone"
    assert set(np.unique(mask[3])) == {0, KINDS["fold"].label}
