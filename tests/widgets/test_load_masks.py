"""Masks as people have them, loaded in the window."""

import numpy as np
import pytest
from PIL import Image
from roifile import ImagejRoi

from napari_flowinpaint.core.types import Box

SHAPE = (128, 144)
TRUTH = np.zeros(SHAPE, bool)
TRUTH[40:60, 30:70] = True


@pytest.fixture
def panel(make_dock, stack_path):
    """The mask panel of a dock with a stack, section 3 being shown."""
    _, dock = make_dock(stack_path)
    dock.session.viewer.dims.set_point(0, 150)
    assert dock.session.section == 3
    return dock.mask_panel


def load(panel, wait, path):
    """Load a mask and wait for it."""
    panel.loading.load(str(path))
    wait(lambda: not panel.jobs.is_running("mask"))


def test_images_and_rois_are_masks_of_their_sections(panel, wait, tmp_path):
    red = np.where(TRUTH[..., None], (255, 0, 0), (0, 0, 0)).astype(np.uint8)
    Image.fromarray(red).save(tmp_path / "a.png")
    load(panel, wait, tmp_path / "a.png")
    np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH)
    assert "of section 3" in panel.messages.text()
    panel.session.mask_layer.data[5, 10, 10] = 1
    panel.session.mask_layer.data.commit()
    Image.fromarray(red[::-1]).save(tmp_path / "b.png")
    load(panel, wait, tmp_path / "b.png")
    np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH[::-1])
    assert panel.session.mask.read(5).any(), "what is in other sections stays"
    panel.undo()
    np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH)
    roi = ImagejRoi.frompoints([[30, 40], [70, 40], [70, 60], [30, 60]])
    roi.position = 5
    roi.tofile(tmp_path / "a.roi")
    load(panel, wait, tmp_path / "a.roi")
    np.testing.assert_array_equal(panel.session.mask.read(4), TRUTH)
    Image.fromarray(np.full(SHAPE, 255, np.uint8)).save(tmp_path / "a.png")
    load(panel, wait, tmp_path / "a.png")
    assert "all of section 3: a missing section?" in panel.messages.text()


def test_classes_are_asked_about(panel, wait, tmp_path):
    Image.fromarray((TRUTH + np.uint8(1)).astype(np.uint8)).save(tmp_path / "a.png")
    load(panel, wait, tmp_path / "a.png")
    wait(lambda: panel.loading.question is not None)
    panel.loading.question.reject()
    assert panel.messages.text() == "No mask was loaded."
    load(panel, wait, tmp_path / "a.png")
    wait(lambda: panel.loading.question is not None)
    assert panel.session.mask is None
    assert "--" not in panel.loading.question.labelText()
    assert panel.loading.question.comboBoxItems() == ["1", "2"]
    panel.loading.question.setTextValue("2")
    panel.loading.question.accept()
    wait(lambda: panel.session.mask is not None)
    np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH)


def test_which_array_of_a_file_is_asked_about(panel, wait, tmp_path):
    import h5py

    masks = np.zeros((7, *SHAPE), np.uint8)
    masks[3] = TRUTH
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cells"], file["damage"] = np.ones_like(masks), masks
    load(panel, wait, tmp_path / "a.h5")
    question = panel.loading.question
    assert question.labelText().endswith("a.h5 holds 2 arrays.\nWhich of them is the mask?")
    assert question.comboBoxItems() == ["/cells", "/damage"]
    question.setTextValue("/damage")
    question.accept()
    wait(lambda: panel.session.mask is not None)
    np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH)


def test_another_shape_is_refused_in_one_sentence(panel, wait, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((6, *SHAPE), np.uint8))
    load(panel, wait, tmp_path / "a.npy")
    assert panel.messages.text().endswith("or smaller by a whole number in y and x.")
    assert panel.session.mask is None


def drawn(flat):
    """A polygon, a path and an ellipse, in section 3 or in none."""
    corners = [[40, 30], [40, 69], [59, 69], [59, 30]]
    path = [[100, 20], [100, 120]]
    ellipse = [[10, 10], [10, 50], [30, 50], [30, 10]]
    shapes = [np.array(points, float) for points in (corners, path, ellipse)]
    return shapes if flat else [np.c_[np.full(len(points), 3.0), points] for points in shapes]


def test_layers_become_the_mask(panel, wait):
    viewer = panel.session.viewer
    colours = np.where(TRUTH[..., None], (0, 255, 0), (0, 0, 0)).astype(np.uint8)
    small = np.zeros((7, 64, 72), np.uint8)
    small[2, 20:30, 15:35] = 1
    viewer.add_image(colours, name="picture", scale=(4, 4))
    viewer.add_labels(small, name="reduced", scale=(50, 8, 8))
    kinds = ["polygon", "path", "ellipse"]
    for name, flat, scale in (("solid", False, (50, 4, 4)), ("flat", True, (4, 4))):
        viewer.add_shapes(drawn(flat), shape_type=kinds, edge_width=5, scale=scale, name=name)
    viewer.layers.selection.active = viewer.layers["texture"]
    assert panel.loading.usable_layers() == ["picture", "reduced", "solid", "flat"]

    def use(name):
        panel.loading.use_layer(name)
        wait(lambda: not panel.jobs.is_running("mask"))
        if panel.loading.question is not None:
            panel.loading.question.defaultButton().click()  # replaces the last
        assert not viewer.layers[name].visible
        return panel.session.mask

    np.testing.assert_array_equal(use("picture").read(3), TRUTH)
    for name in ("solid", "flat"):
        found = use(name).read(3)
        np.testing.assert_array_equal(found[35:65, 25:80], TRUTH[35:65, 25:80])
        assert found[:, 60][80:].sum() == 5
        assert abs(found[:35].sum() - np.pi * 20 * 10) < 15
        panel.undo()
        np.testing.assert_array_equal(panel.session.mask.read(3), TRUTH)
    np.testing.assert_array_equal(use("reduced").read(2, Box.whole(SHAPE)), TRUTH)
    assert "reduced resolution" in panel.messages.text()
