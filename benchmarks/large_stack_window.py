r"""Plan, repair and write the damaged sections of a stack of 2 000 sections in the real window.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        python benchmarks/large_stack_window.py [FOLDER] [--depth 2000] [--side 2048]
                                                [--damaged 40] [--method flow] [--shots FOLDER]

The stack is the sparse one of ``large_stack.py``; its list and its mask are loaded from files, as
a search on another machine would have made them. While the batch runs, the slider is moved with
the arrow keys. Prints seconds, peak memory, and for how long the event loop was blocked in each
part, and by whose code.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

sys.path.insert(0, str(Path(__file__).parent))
from large_stack import write_sparse
from scripted_batch_session import Session, dock_of

from napari_flowinpaint.core.detection.flag_table import Flagged, write_table
from napari_flowinpaint.core.open import open_mask
from napari_flowinpaint.viewer.tasks.flag_list import DAMAGED
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


def list_sections(folder: Path) -> Path:
    """Write the table of the damaged sections, as a search with decisions would be."""
    mask = open_mask(folder / "mask.zarr").array
    found = {int(key.split("/")[1]) for key in written_chunks(folder / "mask.zarr")}
    rows = []
    for z in sorted(found):
        percent = 100 * float(np.asarray(mask[z]).astype(bool).mean())
        rows.append(Flagged(z, "missing", 20.0, percent, decision=DAMAGED))
    write_table(rows, folder / "flagged.csv")
    return folder / "flagged.csv"


def written_chunks(array: Path) -> list[str]:
    """Return the keys of the chunks of a zarr array that are there."""
    return [str(p.relative_to(array)) for p in (array / "c").rglob("*") if p.is_file()]


class Large(Session):
    """A session that says how much memory there was, and how long it took."""

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Print what a part has cost."""
        started = time.perf_counter()
        with self.robot.watched(what):
            yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"    {time.perf_counter() - started:.1f} s, peak {peak:.0f} MB", flush=True)


def load(s: Large, folder: Path) -> None:
    """Load the mask and the list."""
    repair = s.robot.open_dock("Repair section", RepairSection)
    repair.mask_panel.loading.load(str(folder / "mask.zarr"))
    s.robot.wait(lambda: s.session.mask_layer is not None)
    dock_of(repair).close()
    s.flagged.flag_panel.load(folder / "flagged.csv")
    s.idle()


def run(viewer: napari.Viewer, folder: Path, shots: Path, method: str) -> None:
    """Open the stack, plan, repair, look, write, revert."""
    table = list_sections(folder)
    s = Large(viewer, folder / "stack.zarr", shots)
    with s.part("loading the list and the mask"):
        load(s, folder)
    rows = s.session.require_flags().list.rows
    print(f"  {len(rows)} damaged sections, {table}")
    with s.part("walking the table"):
        s.show(s.flagged, 0)
        s.click_row(s.flagged.flag_panel.table, 0)
        for _ in range(min(len(rows) - 1, 12)):
            QTest.keyClick(s.flagged.flag_panel.table, Qt.Key.Key_Down)
            QTest.qWait(150)
        s.idle()
    s.robot.shoot("listed")
    s.show(s.flagged, 1)
    panel = s.flagged.batch_panel
    panel.form.method.setCurrentText(method)
    with s.part("plan"):
        s.robot.click(panel.plan_button)
        s.idle()
    s.robot.shoot("planned")
    with s.part("batch"):
        steps = run_and_walk(s)
    print(f"    meanwhile {steps} steps through the sections with the arrow keys")
    s.robot.shoot("repaired")
    assert all(row.status == "repaired" for row in panel.table.rows.rows)
    with s.part("review"):
        s.show(s.flagged, 2)
        s.click_row(s.flagged.staged_panel.table, 0)
        s.idle()
    s.robot.shoot("review")
    staged = s.flagged.staged_panel
    staged.threshold.setValue(0)
    with s.part("accept and write"):
        s.robot.click(staged.above_button)
        s.idle()
        s.robot.click(staged.writing.write_button)
        s.robot.wait(lambda: staged.writing.question is not None, 5)
        buttons = staged.writing.question.buttons()
        s.robot.click(next(b for b in buttons if b.text() == "Write"))
        s.idle()
    s.robot.shoot("written")
    with s.part("revert all"):
        s.robot.click(staged.writing.revert_all_button)
        s.idle()
    s.robot.report()


def run_and_walk(s: Large) -> int:
    """Run the batch and move the slider meanwhile; return by how many sections."""
    s.robot.click(s.flagged.batch_panel.run_button)
    steps = 0
    while s.flagged.jobs.is_running("batch"):
        s.robot.key(Qt.Key.Key_Right if steps % 20 < 10 else Qt.Key.Key_Left)
        QTest.qWait(250)
        steps += 1
    s.idle()
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where the stack is made")
    parser.add_argument("--depth", type=int, default=2000)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--damaged", type=int, default=40)
    parser.add_argument("--hole", type=int, default=200)
    parser.add_argument("--method", default="flow")
    parser.add_argument("--shots", type=Path, default=Path("shots"))
    args = parser.parse_args()
    args.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        write_sparse(Path(name), args.depth, args.side, args.damaged, args.hole)
        viewer = napari.Viewer()
        run(viewer, Path(name), args.shots, args.method)
        viewer.close()


if __name__ == "__main__":
    main()
