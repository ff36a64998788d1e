r"""Find damage, decide, repair in batch, review, write, reopen, revert: in the real window.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        python benchmarks/scripted_batch_session.py STACK.zarr --shots FOLDER

STACK.zarr is an OME-Zarr stack with damage that may be written to; without it a synthetic one is
made. It is written to and reverted, and its bytes are compared. A timer that ticks every 5 ms
measures for how long the event loop was blocked in each part, and by whose code; code of ours may
block it for 200 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import napari
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget, QWidget

sys.path.insert(0, str(Path(__file__).parent))
from scripted_session import digest
from window_robot import LEFT, Robot

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.simulation.simulate import Debris, Hole, Missing, damage_section
from napari_flowinpaint.viewer.tasks.flag_list import DAMAGED
from napari_flowinpaint.widgets.find_damage_dock import FindDamage
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.parts.rows_table import RowsTable

#: Damage by section of the synthetic stack.
DAMAGE = {
    3: Hole(0.03),
    8: Hole(0.02, bright=False),
    12: Debris(count=12, radius=(6, 14), excess=0.3),
    16: Missing(),
    19: Hole(0.05),
}
SHIFT = Qt.KeyboardModifier.ShiftModifier


def sample(folder: Path, config: SampleConfig) -> Path:
    """Write a synthetic stack with damage in some sections as OME-Zarr."""
    sections = synthetic_stack(config)
    for z, damage in DAMAGE.items():
        if z < len(sections) - 1:
            sections[z], _ = damage_section(sections[z], damage, seed=z)
    stack = Stack.from_array(sections, voxel_size=config.voxel_size, name="damaged sections")
    return save_ome_zarr(stack, folder / "damaged.zarr")


class Session:
    """One viewer with the docks, and a robot that uses them."""

    def __init__(self, viewer: napari.Viewer, path: Path, shots: Path, count: int = 0) -> None:
        self.viewer, self.robot = viewer, Robot(viewer, shots)
        self.robot.count = count
        load = self.robot.open_dock("Load stack", LoadStack)
        QTest.keyClicks(load.path, str(path))
        with self.robot.watched("loading"):
            QTest.keyClick(load.path, Qt.Key.Key_Return)
            self.robot.wait(lambda: len(viewer.layers) > 0)
        dock_of(load).close()
        self.find = self.robot.open_dock("Find damage", FindDamage)
        self.flagged = self.robot.open_dock("Flagged sections", FlaggedSections)
        self.session = self.flagged.session
        self.robot.window.tabifyDockWidget(dock_of(self.find), dock_of(self.flagged))
        with self.robot.watched("what is kept"):
            self.robot.wait(lambda: self.session.flags.of(self.session.image) is not None)
            self.idle()

    def idle(self) -> None:
        """Wait until nothing runs."""
        QTest.qWait(20)  # what was clicked on begins in the next turn of the event loop
        self.robot.wait(
            lambda: (
                not self.find.jobs.is_running()
                and not self.flagged.jobs.is_running()
                and not self.flagged.staged_panel.is_showing
            ),
            600,
        )

    def show(self, dock: QWidget, tab: int | None = None) -> None:
        """Bring a dock to the front, and a tab of it."""
        dock_of(dock).raise_()
        if tab is not None:
            bar = self.flagged.tabs.tabBar()
            QTest.mouseClick(bar, LEFT, pos=bar.tabRect(tab).center())
        QTest.qWait(50)

    def click_row(self, table: RowsTable, at: int) -> None:
        """Click on a row."""
        rectangle = table.visualRect(table.rows.index(at, 1))
        QTest.mouseClick(table.viewport(), LEFT, pos=rectangle.center())
        QTest.qWait(50)


def dock_of(widget: QWidget) -> QDockWidget:
    """Return the dock around a widget."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def search(s: Session) -> None:
    """Estimate, search, with screenshots."""
    s.show(s.find)
    with s.robot.watched("estimate"):
        s.robot.click(s.find.estimate_button)
        s.idle()
    s.robot.click(s.find.defaults_button)
    with s.robot.watched("search"):
        s.robot.click(s.find.find_button)
        s.robot.wait(lambda: s.find.progress_row.bar.value() > 300 or not s.find.jobs.is_running())
        s.robot.shoot("searching")
        s.idle()
    s.robot.shoot("found")
    assert s.session.require_flags().list.rows, "something is flagged"


def sort_and_filter(s: Session) -> None:
    """Sort by a click on a column, filter by kind, and step with the keys while painting."""
    panel = s.flagged.flag_panel
    rows = panel.table.rows
    header = panel.table.horizontalHeader()
    score = QPoint(header.sectionViewportPosition(2) + 5, header.height() // 2)
    given = [row.section for row in rows.rows]
    for _ in range(2):  # ascending, then descending
        QTest.mouseClick(header.viewport(), LEFT, pos=score)
        QTest.qWait(50)
    assert [row.score for row in rows.rows] == sorted((r.score for r in rows.rows), reverse=True)
    panel.kind_filter.setCurrentText("hole")
    assert {row.kind for row in rows.rows} == {"hole"}
    s.robot.shoot("sorted-filtered")
    s.click_row(panel.table, 0)
    s.robot.key(Qt.Key.Key_Right, SHIFT)
    assert panel.table.current == rows.rows[1]
    s.idle()
    assert panel.thumbnails.captions[1].text() == f"this: {rows.rows[1].section}"
    assert s.session.section == rows.rows[1].section
    panel.kind_filter.setCurrentIndex(0)
    QTest.mouseClick(header.viewport(), LEFT, pos=QPoint(5, score.y()))  # by section
    assert [row.section for row in rows.rows] == sorted(given)


def decide(s: Session) -> None:
    """Walk the table with the arrow keys, decide with keys and buttons, fix one mask."""
    s.show(s.flagged, 0)
    panel = s.flagged.flag_panel
    s.click_row(panel.table, 0)
    s.idle()
    s.robot.shoot("first-row")
    with s.robot.watched("walking the table"):
        for _ in range(len(panel.table.rows.rows) - 1):
            QTest.keyClick(panel.table, Qt.Key.Key_Down)
            QTest.qWait(150)
        s.idle()
    s.robot.shoot("last-row")
    sort_and_filter(s)
    s.click_row(panel.table, 0)
    rows = list(panel.table.rows.rows)
    with s.robot.watched("deciding"):
        for number in range(len(rows)):
            if number % 2:
                s.robot.click(panel.damaged_button)
            else:
                s.robot.key(Qt.Key.Key_D, SHIFT)
            s.idle()
    assert all(row.decision == DAMAGED for row in panel.table.rows.rows)
    s.click_row(panel.table, 0)
    s.robot.click(panel.edit_button)
    s.idle()
    layer = s.session.mask_layer
    height, width = s.session.stack.shape[1:]
    layer.brush_size = max(8, height // 40)
    before = int(s.session.mask.read(rows[0].section).sum())
    y, x = 0.8 * height, 0.8 * width
    s.robot.paint(layer, [(y, x), (y + height / 40, x), (y + height / 40, x + width / 40)])
    assert int(s.session.mask.read(rows[0].section).sum()) > before, "the mask was painted on"
    s.robot.wait(lambda: s.session.flags.unsaved_changes(s.session.image) is None, 20)
    assert panel.thumbnails.captions[1].text() == f"this: {rows[0].section}"
    s.robot.shoot("mask-fixed")


def batch(s: Session) -> None:
    """Plan, run, pause."""
    s.show(s.flagged, 1)
    panel = s.flagged.batch_panel
    panel.form.method.setCurrentText("flow")
    with s.robot.watched("plan"):
        s.robot.click(panel.plan_button)
        s.idle()
    s.robot.shoot("plan")
    with s.robot.watched("batch"):
        s.robot.click(panel.run_button)
        s.robot.wait(lambda: "left" in s.flagged.messages.text())
        s.robot.click(panel.pause_button)
        s.robot.wait(lambda: "paused" in s.flagged.messages.text(), 10)
        s.robot.shoot("paused")
        s.robot.click(panel.pause_button)
        s.idle()
    s.robot.shoot("batch-done")


def review(s: Session) -> list[int]:
    """Look at three repairs, accept them, write; return their sections."""
    s.show(s.flagged, 2)
    panel = s.flagged.staged_panel
    done: list[int] = []
    s.click_row(panel.table, 0)
    for number in range(3):
        with s.robot.watched(f"review {number + 1}"):
            s.idle()
        z = panel.table.current.z
        s.robot.wait(lambda: s.session.review.current is not None, 10)
        assert s.session.review.current.z == z
        s.robot.shoot(f"review-{number + 1}")
        if number == 0:
            s.robot.canvas.setFocus()
            QTest.keyPress(s.robot.canvas, Qt.Key.Key_H)
            s.robot.shoot("holding-h")
            QTest.keyRelease(s.robot.canvas, Qt.Key.Key_H)
            s.robot.wait(lambda: s.flagged.session.review.shown == "result", 5)
            s.robot.click(panel.stages.group.button(4))
            s.robot.shoot("confidence")
            s.robot.click(panel.stages.group.button(3))
        s.robot.key(Qt.Key.Key_A, SHIFT)
        done.append(z)
        QTest.qWait(100)
    s.idle()
    with s.robot.watched("write"):
        s.robot.click(panel.writing.write_button)
        s.robot.wait(lambda: panel.writing.question is not None, 5)
        s.robot.shoot("question")
        buttons = panel.writing.question.buttons()
        s.robot.click(next(b for b in buttons if b.text() == "Write"))
        s.idle()
    s.robot.shoot("written")
    return done


def run(viewer: napari.Viewer, path: Path, shots: Path, reopen: object = None) -> None:
    """Go through the session; raises where something is not as it should be.

    Parameters
    ----------
    viewer
        An empty viewer; it is closed where ``reopen`` is given.
    path, shots
        The stack, and a folder for screenshots.
    reopen
        Returns a second viewer.
    """
    before = digest(path)
    s = Session(viewer, path, shots)
    s.robot.shoot("docks")
    search(s)
    decide(s)
    batch(s)
    assert digest(path) == before, "staging does not touch the stack"
    written = review(s)
    assert digest(path) != before
    rows = s.session.require_flags().list.rows
    for z in written:
        assert not s.session.mask.read(z).any(), "what was written left the mask"
    s.robot.wait(lambda: s.session.flags.unsaved_changes(s.session.image) is None, 20)
    if callable(reopen):
        s.robot.report()
        count = s.robot.count
        viewer.close()
        s = Session(reopen(), path, shots, count)
        assert [r.decision for r in s.session.require_flags().list.rows] == [
            r.decision for r in rows
        ], "the list survived"
    s.show(s.flagged, 2)
    panel = s.flagged.staged_panel
    s.click_row(panel.table, 0)
    s.idle()
    s.robot.shoot("reopened")
    with s.robot.watched("revert all"):
        s.robot.click(panel.writing.revert_all_button)
        s.idle()
    s.robot.shoot("reverted")
    assert digest(path) == before, "revert restores the bytes"
    for z in written:
        assert s.session.mask.read(z).any(), "the mask is back"
    s.robot.report()
    print(f"  sections {written} written, reverted, bytes equal")
    if callable(reopen):
        s.viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", type=Path, nargs="?", help="OME-Zarr stack that may be written to")
    parser.add_argument("--shots", type=Path, default=Path("shots"), help="folder for screenshots")
    arguments = parser.parse_args()
    arguments.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.stack or sample(Path(folder), SampleConfig())
        run(napari.Viewer(), path, arguments.shots, napari.Viewer)


if __name__ == "__main__":
    main()
