"""The dock Load stack, mostly by calling its methods."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_flowinpaint.widgets.load_stack_dock import LoadStack


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = LoadStack(viewer)
    viewer.window.add_dock_widget(dock, name="Load stack")
    dock.viewer_of_the_test = viewer
    return dock


def layers_of(dock):
    return dock.viewer_of_the_test.layers


def load(dock, wait, path):
    dock.path.setText(str(path))
    dock.load()
    wait(lambda: not dock.jobs.is_running())


def test_a_stack_is_shown_lazily_and_described(dock, wait, qtbot, stack_path):
    dock.path.clear()
    qtbot.keyClicks(dock.path, str(stack_path))
    qtbot.keyClick(dock.path, Qt.Key.Key_Return)
    wait(lambda: len(layers_of(dock)) == 1)
    (layer,) = layers_of(dock)
    assert layer.name == "texture"
    assert tuple(layer.scale) == (50, 4, 4)
    assert not isinstance(layer.data[0] if layer.multiscale else layer.data, np.ndarray)
    for fact in ("7 sections of 128 × 144", "uint8", "50 × 4 × 4 nm", "membranes", "in place"):
        assert fact in dock.facts.text()
    wait(lambda: dock.session.image is layer)
    assert dock.session.stack.writable


def test_a_file_that_holds_several_stacks_asks_which(dock, wait, tmp_path):
    import h5py

    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["volumes/raw"] = np.zeros((3, 40, 50), np.uint8)
        file["volumes/other"] = np.ones((4, 40, 50), np.uint8)
    load(dock, wait, tmp_path / "two.h5")
    assert not layers_of(dock)
    combo = dock.choices["dataset"]
    assert not combo.isHidden()
    assert [combo.itemText(i) for i in range(combo.count())] == ["/volumes/other", "/volumes/raw"]
    assert "2 datasets" in dock.messages.text()
    combo.setCurrentText("/volumes/raw")
    dock.load()
    wait(lambda: len(layers_of(dock)) == 1)
    assert layers_of(dock)[0].data.shape == (3, 40, 50)
    assert "repairs are kept beside it" in dock.facts.text()
    dock.path.setText("another")
    assert combo.isHidden(), "the choice belongs to the file"


def test_channels_are_chosen(dock, wait, tmp_path):
    import tifffile

    data = np.stack([np.full((4, 30, 32), value, np.uint8) for value in (10, 20)], axis=1)
    data[:, :, ::2] += 3
    tifffile.imwrite(tmp_path / "two.tif", data, imagej=True, metadata={"axes": "ZCYX"})
    load(dock, wait, tmp_path / "two.tif")
    assert not dock.choices["channel"].isHidden()
    dock.choices["channel"].setCurrentText("1")
    dock.load()
    wait(lambda: len(layers_of(dock)) == 1)
    assert np.asarray(layers_of(dock)[0].data[0]).max() == 23


@pytest.mark.parametrize("kind", ["missing", "empty", "flat", "text"])
def test_what_is_no_stack_is_reported_in_one_line(dock, wait, tmp_path, kind):
    import tifffile

    path = tmp_path / f"{kind}.tif"
    if kind == "flat":
        tifffile.imwrite(path, np.zeros((20, 20), np.uint8))
    elif kind == "text":
        path.write_text("not an image")
    load(dock, wait, "" if kind == "empty" else path)
    text = dock.messages.text()
    assert text
    assert "\n" not in text
    assert "unexpected" not in text.lower()
    assert not layers_of(dock)


def test_closing_the_window_while_loading_waits_for_the_thread(dock, stack_path):
    dock.path.setText(str(stack_path))
    dock.load()
    dock.viewer_of_the_test.close()
    assert not dock.jobs.is_running()
