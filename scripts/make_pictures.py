"""Make the pictures of the README and of the documentation, from the synthetic sample.

    xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/make_pictures.py [FOLDER]

The window is a real one: docks are opened through the menu, buttons are clicked, the mask is
painted with napari's brush. The sample and its repair are the same on every run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_flowinpaint import Stack, repair_section
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.simulation.sample import DamagedSample, SampleConfig, damaged_sample

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

Picture = npt.NDArray[np.uint8]

#: Sections of the comparison, and the middle (y, x) of what is shown of each.
COMPARED = {1: (333, 268), 19: (215, 352)}
EDGE = 176
PANELS = ("damaged", "initial reference", "refined reference", "result", "truth")
#: The section in the window, the rows and columns of it that fill the canvas, and the brush.
SECTION = 4
VIEW = ((150, 375), (287, 512))
BRUSH = 6
#: Edge of the pictures of the stages, which show twice as much of the screen, and their middle
#: in the section, (y, x).
STAGE_EDGE, STAGE_MIDDLE = 188, (286, 412)
#: Width and height of the pictures of the dock of many sections, in pixels.
SMALLER = (960, 600)
#: Bytes; the repository is no place for large pictures.
LARGEST, LARGEST_FILM = 300_000, 3_000_000
#: Colours of a frame of the film.
FILM_COLOURS = 64


def save(picture: Image.Image, path: Path, colours: int = 256) -> None:
    """Save as a PNG of few colours, without which grain makes large files."""
    picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {picture.width} x {picture.height}, {size / 1000:.0f} kB")
    if size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST / 1000:.0f} kB")


# ---- before and after


def compare(sample: DamagedSample) -> Image.Image:
    """Return one row per section: damaged, both references, result, truth."""
    gap = np.full((6, EDGE, 3), 255, np.uint8)
    columns = zip(*(stages(sample, z, centre) for z, centre in COMPARED.items()), strict=True)
    pictures = [Image.fromarray(np.vstack([upper, gap, lower])) for upper, lower in columns]
    return side_by_side(dict(zip(PANELS, pictures, strict=True)))


def stages(sample: DamagedSample, z: int, centre: tuple[int, int]) -> list[Picture]:
    """Return the panels of one section, (EDGE, EDGE, 3); the mask is outlined in the first."""
    import cv2

    repair = repair_section(Stack.from_array(sample.stack), z, sample.mask[z])
    sections = [sample.stack[z]]
    for name in ("initial_reference", "refined_reference", "result"):
        section = sample.stack[z].copy()
        for patch in repair.patches:
            section[patch.box.slices][patch.mask] = getattr(patch, name)[patch.mask]
        sections.append(section)
    sections.append(sample.truth[z])
    y, x = (middle - EDGE // 2 for middle in centre)
    crop = (slice(y, y + EDGE), slice(x, x + EDGE))
    panels = [np.repeat(section[crop][..., np.newaxis], 3, axis=2) for section in sections]
    mask = sample.mask[z][crop].astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(panels[0], outlines, -1, (255, 60, 60), 1)
    return panels


# ---- the window


class Photographer:
    """Goes through a first repair in the window and takes pictures on the way.

    Parameters
    ----------
    folder
        Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        import napari
        from window_robot import Robot

        self.folder = folder
        self.frames: list[tuple[Image.Image, int]] = []
        self.viewer = napari.Viewer(title="napari")
        self.robot = Robot(self.viewer, folder)

    def run(self, sample: DamagedSample) -> None:
        """Load, paint, repair, review, accept."""
        from napari_flowinpaint.viewer.camera import go_to_section
        from napari_flowinpaint.widgets.load_stack_dock import LoadStack
        from napari_flowinpaint.widgets.repair_section_dock import RepairSection

        robot = self.robot
        load = robot.open_dock("Load stack", LoadStack)
        dock = robot.open_dock("Repair section", RepairSection)
        load.path.setText("sample.zarr")
        robot.click(load.load_button)
        robot.wait(lambda: len(self.viewer.layers) == 1 and not dock.jobs.is_running())
        go_to_section(self.viewer, self.viewer.layers[0], SECTION)
        self.look()
        robot.click(dock.mask_panel.new_button)
        mask = dock.session.mask_layer
        mask.brush_size = BRUSH
        specks = strokes(sample.mask[SECTION])
        for points in specks:
            robot.paint(mask, points)
            self.film(0.3)
        robot.wait(lambda: f" {len(specks)} damaged" in dock.mask_panel.status.text())
        (y0, y1), (x0, x1) = VIEW
        missed = sample.mask[SECTION] & ~mask.data.read(SECTION)
        assert not missed[y0:y1, x0 : x1 - BRUSH].any(), "a speck is not painted over as a whole"
        self.shoot("window-mask")

        self.viewer.window.remove_dock_widget(load)  # the other one needs the height more
        self.look()
        self.film(1)
        robot.click(dock.repair_panel.repair_button)
        robot.wait(lambda: bool(self.viewer.layers) and dock.session.review.current is not None)
        robot.wait(lambda: not dock.repair_panel.is_showing)
        self.film(1.5)
        self.shoot_stages(dock)
        dock.review_panel.table.components.ticked.emit(2, False)
        self.film(1.5)
        self.shoot("window-review")

        robot.click(dock.review_panel.accept_button)
        robot.wait(lambda: dock.review_panel.question is not None)
        question = dock.review_panel.question
        robot.click(next(b for b in question.buttons() if b.text() == "Write"))
        robot.wait(lambda: not dock.jobs.is_running() and dock.session.review.current is None)
        robot.wait(lambda: False, 8, must=False)  # until the notification is gone
        self.film(3)
        self.shoot("window-accepted")
        self.save_film()
        self.viewer.close()

    def look(self) -> None:
        """Fill the canvas with :data:`VIEW`."""
        self.robot.wait(lambda: False, 0.5, must=False)
        (y0, y1), (x0, x1) = VIEW
        image, canvas = self.viewer.layers[0], self.robot.canvas
        low, high = (
            np.asarray(image.data_to_world((0, y, x)))[1:] for y, x in ((y0, x0), (y1, x1))
        )
        self.viewer.scene.camera.center = tuple((low + high) / 2)
        size = np.array([canvas.height(), canvas.width()])
        self.viewer.scene.camera.zoom = float(np.max(size / (high - low)))

    def film(self, seconds: float) -> None:
        """Let the window, as it is now, be seen in the film for some seconds."""
        picture = grab(self.robot, self.folder).resize(SMALLER, Image.Resampling.LANCZOS)
        self.frames.append((picture, round(1000 * seconds)))

    def save_film(self) -> None:
        """Save all that was filmed as a GIF."""
        path = self.folder / "first-repair.gif"
        # an octree keeps the colours of small things
        octree, plain = Image.Quantize.FASTOCTREE, Image.Dither.NONE
        first, *others = (
            picture.quantize(FILM_COLOURS, octree, dither=plain) for picture, _ in self.frames
        )
        durations = [time for _, time in self.frames]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0)
        print(f"{path}: {len(durations)} frames, {path.stat().st_size / 1000:.0f} kB")
        if path.stat().st_size > LARGEST_FILM:
            raise SystemExit(f"{path} is larger than {LARGEST_FILM / 1000:.0f} kB")

    def shoot(self, name: str) -> None:
        """Save a picture of the window."""
        save(grab(self.robot, self.folder), self.folder / f"{name}.png")

    def shoot_stages(self, dock: Any) -> None:
        """Save a part of the canvas at every stage, side by side."""
        from qtpy.QtCore import QRect

        middle = self.robot.position(self.viewer.layers[0], *STAGE_MIDDLE)
        part = QRect(0, 0, 2 * STAGE_EDGE, 2 * STAGE_EDGE)
        part.moveCenter(self.robot.canvas.mapToGlobal(middle))
        pictures = {}
        for button in dock.review_panel.stages.buttons():
            self.robot.click(button)
            pictures[button.text()] = grab(self.robot, self.folder, part).resize(
                (STAGE_EDGE, STAGE_EDGE)
            )
            self.film(1)
        self.robot.click(dock.review_panel.stages.button(3))
        save(side_by_side(pictures), self.folder / "stages.png")


def grab(robot: Any, folder: Path, part: Any = None) -> Image.Image:
    """Return the screen, or a rectangle (QRect) of it, once nothing moves any more."""
    from qtpy.QtWidgets import QApplication

    leave_canvas(robot)
    robot.wait(lambda: False, 0.7, must=False)
    path = folder / "grabbed.png"
    shot = QApplication.primaryScreen().grabWindow(0)
    (shot if part is None else shot.copy(part)).save(str(path))
    with Image.open(path) as picture:
        picture.load()
    path.unlink()
    return picture


def leave_canvas(robot: Any) -> None:
    """Move the mouse away: napari draws the brush where it is, or was when the mask was hidden."""
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QCursor
    from qtpy.QtWidgets import QApplication

    QCursor.setPos(0, 0)
    QApplication.sendEvent(robot.canvas, QEvent(QEvent.Type.Leave))
    for over in (True, False):
        robot.viewer.mouse_over_canvas = over


def batch_pictures(folder: Path) -> None:
    """Find damage, decide, repair a batch and review it; take pictures of the last dock."""
    import napari
    import scripted_batch_session as scripted

    def shoot(name: str) -> None:
        session.robot.wait(lambda: False, 8, must=False)  # until the notification is gone
        picture = grab(session.robot, folder).resize(SMALLER, Image.Resampling.LANCZOS)
        save(picture, folder / f"{name}.png")

    scratch = Path.cwd()
    path = scripted.sample(scratch, SampleConfig())
    session = scripted.Session(napari.Viewer(title="napari"), path, scratch)
    scripted.search(session)
    scripted.decide(session)
    shoot("window-flagged")
    scripted.batch(session)
    session.show(session.flagged, 2)
    session.click_row(session.flagged.staged_panel.table, 0)
    session.idle()
    session.robot.click(session.flagged.staged_panel.accept_button)
    session.idle()
    shoot("window-batch")
    session.viewer.close()


def side_by_side(pictures: dict[str, Image.Image]) -> Image.Image:
    """Return pictures of one size in a row, with their names above."""
    gap, head = 6, 24
    width, height = next(iter(pictures.values())).size
    row = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + head), "white")
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(size=14)
    for number, (name, picture) in enumerate(pictures.items()):
        left = number * (width + gap)
        draw.text((left + width / 2, head / 2), name, "black", font, anchor="mm")
        row.paste(picture, (left, head))
    return row


def strokes(mask: npt.NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """Return a stroke of the brush to and fro over every large speck in the view.

    It goes a pixel beyond the speck on every side: what is not painted is taken as intact.
    """
    import cv2

    (y0, y1), (x0, x1) = VIEW
    found = []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for number in range(1, count):
        left, top, width, height, area = stats[number]
        inside = y0 < top and top + height < y1 and x0 < left and left + width <= x1
        if not inside or area < 15:
            continue
        speck = cv2.dilate((labels == number).astype(np.uint8), np.ones((3, 3), np.uint8))
        points: list[tuple[float, float]] = []
        for turn, y in enumerate(range(top, top + height, BRUSH // 3)):
            ends = np.flatnonzero(speck[y])[[0, -1]]
            points += [(float(y), float(x)) for x in (ends if turn % 2 else ends[::-1])]
        found.append(points)
    return found


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    sample = damaged_sample()
    save(compare(sample), folder / "before-after.png")
    stack = Stack.from_array(sample.stack, voxel_size=sample.voxel_size, name="sample")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # so that the window shows a short path
        save_ome_zarr(stack, "sample.zarr")
        Photographer(folder).run(sample)
        batch_pictures(folder)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
