r"""A whole session in the real window, through Qt's own clicks and keys, with screenshots.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        python benchmarks/scripted_session.py STACK.zarr --shots FOLDER

STACK.zarr is an OME-Zarr stack that may be written to; without it the synthetic sample is used.
It is written to and reverted, and its bytes are compared. A timer that ticks every 5 ms
measures for how long the event loop was blocked in each part, and by whose code; code of ours may
block it for 200 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

sys.path.insert(0, str(Path(__file__).parent))
from window_robot import LEFT, Robot, menu_actions

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


def digest(path: Path) -> str:
    """Return a checksum of every file of the image, pyramid included; not of the journal."""
    state = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path).parts
        if file.is_file() and not {"labels", ".flowinpaint"} & set(inside):
            state.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return state.hexdigest()


def run(viewer: napari.Viewer, path: Path, shots: Path, repeats: int = 3) -> None:
    """Go through the session; raises where something is not as it should be."""
    original = open_stack(path)
    z = original.shape[0] // 2
    before, bytes_before = original.read(z), digest(path)
    robot = Robot(viewer, shots)
    for way in menu_actions(robot.window):
        if "FlowInpaint" in way or "Load stack" in way or "Repair section" in way:
            print(f"  menu: {way}")

    load = robot.open_dock("Load stack", LoadStack)
    dock = robot.open_dock("Repair section", RepairSection)
    robot.shoot("docks")
    load.path.setFocus()
    QTest.keyClicks(load.path, str(path))
    with robot.watched("loading"):
        QTest.keyClick(load.path, Qt.Key.Key_Return)
        robot.wait(lambda: len(viewer.layers) == 1)
        robot.wait(lambda: not dock.jobs.is_running())
    image = viewer.layers[0]
    robot.shoot("loaded")

    while dock.session.section != z:
        robot.key(Qt.Key.Key_Right if dock.session.section < z else Qt.Key.Key_Left)
    with robot.watched("new mask"):
        robot.click(dock.mask_panel.new_button)
    mask = dock.session.mask_layer
    height, width = original.shape[1:]
    mask.brush_size = max(12, height // 24)
    spots = [(0.3 * height, 0.3 * width), (0.65 * height, 0.6 * width)]
    for y, x in spots:
        step = height / 30
        robot.paint(mask, [(y, x), (y + step, x + step), (y + step, x + 2 * step)])
    robot.wait(lambda: "2 damaged" in dock.mask_panel.status.text())
    robot.shoot("painted")
    painted = int(mask.data.read(z).sum())

    robot.key(Qt.Key.Key_Right)
    robot.paint(mask, [(0.5 * height, 0.5 * width)])
    robot.key(Qt.Key.Key_Right)
    robot.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert dock.session.section == z + 1, "undo goes to the section it changes"
    assert not mask.data.read(z + 1).any(), "undo survives moving to another section"
    robot.key(Qt.Key.Key_Left)
    assert int(mask.data.read(z).sum()) == painted
    robot.click(dock.mask_panel.grow_button)
    robot.wait(lambda: int(mask.data.read(z).sum()) > painted)

    robot.click(dock.repair_panel.repair_button)
    robot.click(dock.cancel_button)
    robot.wait(lambda: not dock.jobs.is_running("repair"))
    print(f"  after cancel: {dock.messages.text()}")
    assert dock.session.review.current is None, "a cancelled job changes nothing"
    robot.shoot("cancelled")

    for attempt in range(repeats):
        started = time.perf_counter()
        with robot.watched(f"repair {attempt + 1}"):
            robot.key(Qt.Key.Key_R, Qt.KeyboardModifier.ShiftModifier)
            robot.wait(lambda: not dock.jobs.is_running("repair"))
        with robot.watched(f"its layers {attempt + 1}"):
            robot.wait(lambda: not dock.repair_panel.is_showing)
        print(f"  repair {attempt + 1} took {time.perf_counter() - started:.1f} s")
        if attempt < repeats - 1:
            with robot.watched(f"discard {attempt + 1}"):
                robot.click(dock.review_panel.discard_button)
    assert dock.session.review.current is not None
    robot.shoot("result")
    names = ("original", "initial", "refined", "result", "confidence")
    robot.key(Qt.Key.Key_N)
    for name in ("confidence", *names[:-1]):
        robot.shoot(f"stage-{name}")
        robot.key(Qt.Key.Key_N)
    robot.click(dock.review_panel.stages.button(names.index("result")))
    robot.canvas.setFocus()
    QTest.keyPress(robot.canvas, Qt.Key.Key_H)
    robot.shoot("holding-h")
    assert dock.session.review.shown is None
    QTest.keyRelease(robot.canvas, Qt.Key.Key_H)
    robot.wait(lambda: dock.session.review.shown == "result", 5)

    table = dock.review_panel.table
    index = table.model().index(1, 0)
    spot = table.visualRect(index).center()
    QTest.mouseClick(
        table.viewport(), LEFT, pos=QPoint(table.visualRect(index).left() + 12, spot.y())
    )
    review = dock.session.review.current
    assert len(review.accepted) == 1, "one component is rejected"
    QTest.mouseClick(
        table.viewport(), LEFT, pos=table.visualRect(table.model().index(0, 1)).center()
    )
    robot.shoot("one-rejected-zoomed")
    viewer.reset_view()

    accepted = np.zeros((height, width), bool)
    for patch in review.selected().patches:
        accepted[patch.box.slices] |= patch.mask
    robot.click(dock.review_panel.accept_button)
    robot.wait(lambda: dock.review_panel.question is not None, 5)
    robot.shoot("question")
    question = dock.review_panel.question
    with robot.watched("accept"):
        robot.click(next(b for b in question.buttons() if b.text() == "Write"))
        robot.wait(lambda: not dock.jobs.is_running("accept"))
    robot.shoot("accepted")
    after = open_stack(path).read(z)
    assert np.array_equal(after[~accepted], before[~accepted]), "other pixels kept their bits"
    assert (after[accepted] != before[accepted]).mean() > 0.5, "accepted pixels are on disk"
    assert np.array_equal(np.asarray(image.data[0] if image.multiscale else image.data)[z], after)

    with robot.watched("revert"):
        robot.click(dock.accepted_panel.revert_button)
        robot.wait(lambda: not dock.jobs.is_running("revert"))
    robot.shoot("reverted")
    assert digest(path) == bytes_before, "revert restores the bytes"
    robot.report()
    print("  written, reverted, bytes equal")


def sample(folder: Path, config: SampleConfig) -> Path:
    """Write a synthetic stack as OME-Zarr."""
    stack = Stack.from_array(
        synthetic_stack(config), voxel_size=config.voxel_size, name="synthetic sections"
    )
    return save_ome_zarr(stack, folder / "sample.zarr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", type=Path, nargs="?", help="OME-Zarr stack that may be written to")
    parser.add_argument("--shots", type=Path, default=Path("shots"), help="folder for screenshots")
    arguments = parser.parse_args()
    arguments.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        viewer = napari.Viewer()
        run(viewer, arguments.stack or sample(Path(folder), SampleConfig()), arguments.shots)
        viewer.close()


if __name__ == "__main__":
    main()
