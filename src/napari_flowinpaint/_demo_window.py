"""The window of the demo: ``python -m napari_flowinpaint._demo_window FOLDER [--screenshots]``.

A process of its own, so that it can be started inside a virtual display.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .core.mask_files import open_damage
from .core.open import open_mask, open_stack
from .core.types import no_progress
from .demo import BEFORE, MASK, STACK

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from .viewer.session import Session

_PLUGIN = "napari-flowinpaint"
#: Tenths of a second for which the docks are idle before a picture is taken.
_IDLE_CHECKS = 10
#: Seconds after which it is taken all the same.
_LONGEST = 60.0


def open_window(folder: Path) -> tuple[napari.Viewer, Session]:
    """Open napari with the sample, its masks and the docks of the plugin."""
    import napari
    import npe2

    from .viewer.camera import go_to_section, placed_like
    from .viewer.session import session_of
    from .viewer.tasks import loading

    viewer = napari.Viewer(title="FlowInpaint demo")
    session = session_of(viewer)
    image = session.add_stack(loading.load(str(folder / STACK), progress=no_progress))
    before = open_stack(folder / BEFORE)
    viewer.add_image(
        before.array,
        name="before the repair",
        visible=False,
        contrast_limits=image.contrast_limits,
        **placed_like(image),
    )
    viewer.layers.move(len(viewer.layers) - 1, 0)
    viewer.layers.selection.active = image
    session.masks.new(image, open_damage(folder / MASK, session.require_stack()))
    manifest = npe2.PluginManager.instance().get_manifest(_PLUGIN)
    docks = [widget.display_name for widget in manifest.contributions.widgets or ()]
    for name in docks:
        viewer.window.add_plugin_dock_widget(_PLUGIN, name, tabify=name != docks[0])
    go_to_section(viewer, image, _damaged(folder)[0])
    return viewer, session


def _damaged(folder: Path) -> list[int]:
    """Return the damaged sections."""
    mask = open_mask(folder / MASK)
    return [z for z in range(mask.shape[0]) if mask.read(z).any()]


def take_screenshots(folder: Path, viewer: napari.Viewer, session: Session) -> None:
    """Leave pictures of the damaged section, of a repair under review, and of the result."""
    from .viewer.camera import go_to_section
    from .viewer.tasks import one_section

    image = session.require_image()
    mask = session.require_mask()
    before = next(layer for layer in viewer.layers if layer.name == "before the repair")
    z = _largest(folder)
    go_to_section(viewer, image, z)

    viewer.window.resize(1500, 960)
    _wait_until_idle()  # the docks have read the journal: its marks are a layer now
    viewer.reset_view()
    marks = [layer for layer in viewer.layers if layer.name == "synthetic pixels"]
    for layer in marks:
        layer.visible = False
    _show(image, before, repaired=False)
    _save(viewer, folder / "window-1-damaged.png")
    job = session.request_repair()
    for _ in session.open_review(job, one_section.repair(job, progress=no_progress)):
        pass
    _show(image, before, repaired=True)
    _save(viewer, folder / "window-2-review.png")
    session.close_review()
    mask.visible = False
    for layer in marks:
        layer.visible = True
    _save(viewer, folder / "window-3-repaired.png")


def _largest(folder: Path) -> int:
    """Return the section with most damage that is not half missing."""
    mask = open_mask(folder / MASK)
    shares = {z: float(np.mean(mask.read(z) != 0)) for z in _damaged(folder)}
    return max((z for z in shares if shares[z] < 0.1), key=lambda z: shares[z])


def _show(image: Image, before: Image, *, repaired: bool) -> None:
    image.visible, before.visible = repaired, not repaired


def _save(viewer: napari.Viewer, path: Path) -> None:
    """Save a picture of the whole window."""
    _wait_until_idle()
    viewer.screenshot(str(path), canvas_only=False, flash=False)


def _wait_until_idle() -> None:
    """Wait until the docks have been idle for a while, and the window is drawn."""
    from qtpy.QtTest import QTest

    until, idle = time.monotonic() + _LONGEST, 0
    while idle < _IDLE_CHECKS and time.monotonic() < until:
        QTest.qWait(100)
        idle = 0 if _is_busy() else idle + 1


def _is_busy() -> bool:
    """Return whether a dock has something to do."""
    from qtpy.QtWidgets import QApplication

    from .widgets.parts.jobs import JobRunner
    from .widgets.parts.steps import Steps

    windows = QApplication.topLevelWidgets()
    jobs = (job for window in windows for job in window.findChildren(JobRunner))
    steps = (step for window in windows for step in window.findChildren(Steps))
    return any(job.is_running() for job in jobs) or any(step.running for step in steps)


def main(arguments: list[str]) -> None:
    """Open the window on the display and wait, or leave screenshots."""
    import napari

    folder = Path(arguments[0])
    viewer, session = open_window(folder)
    if "--screenshots" in arguments:
        take_screenshots(folder, viewer, session)
        viewer.close()
    else:
        napari.run()


if __name__ == "__main__":
    main(sys.argv[1:])
