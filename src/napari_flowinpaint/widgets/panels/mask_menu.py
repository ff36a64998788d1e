"""More ways to a mask: between painted sections, copied to others, drawn around; and saving it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QMenu,
    QPushButton,
    QSpinBox,
    QWidget,
)

from ...core.errors import InputError
from ...viewer.state.drawing import LASSO, POLYGON
from ...viewer.tasks import mask_tools
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import folder_beside
from ..parts.wording import counted, listed

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.masks.sparse_mask import SectionTiles
    from ...viewer.session import Session


class MaskTools(QPushButton):
    """A button with a menu.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("More")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.dialog: RangeDialog | None = None
        self.setToolTip("Draw around damage, interpolate, copy to other sections, save.")
        menu = QMenu(self)
        for text, slot in (
            ("Lasso", self.lasso),
            ("Polygon", self.polygon),
            ("Lasso, only what stands out by its grey value", self.lasso_by_grey),
            (None, None),
            ("Interpolate between painted sections", self.interpolate),
            ("Same mask on other sections…", self.copy),
            (None, None),
            ("Save mask…", self.choose_target),
        ):
            if text is None or slot is None:
                menu.addSeparator()
            else:
                menu.addAction(text).triggered.connect(slot)
        self.setMenu(menu)
        session.drawing.drawn.connect(self._on_drawn)

    # ---- drawing

    @guarded
    def lasso(self) -> None:
        """Draw around damage in one stroke."""
        self._begin(LASSO, "draw around the damage with the mouse button held down")

    @guarded
    def polygon(self) -> None:
        """Click the corners of an outline."""
        self._begin(POLYGON, "click around the damage; a double click closes the outline")

    @guarded
    def lasso_by_grey(self) -> None:
        """Draw roughly around damage; only what is darker or brighter is taken."""
        self._begin(
            LASSO, "draw roughly around the damage; what stands out inside is taken", by_grey=True
        )

    def _begin(self, tool: str, text: str, *, by_grey: bool = False) -> None:
        session = self.session
        image = session.require_image()
        session.require_section()
        if session.masks.layer(image) is None:
            session.check_settled(image)
        if by_grey:
            session.require_stack()
        session.drawing.begin(image, tool, by_grey=by_grey)
        self.messages.say(f"{text}; it goes into the mask at once")

    def _on_drawn(self, image: Image, z: int, outlines: list[Any], by_grey: bool) -> None:
        QTimer.singleShot(0, self.session.drawing.clear)  # napari has not finished with the shape
        try:
            stack = self.session.require_stack(image) if by_grey else None
            self._edit(
                image,
                partial(mask_tools.draw_region, stack=stack, z=z, outlines=outlines),
                lambda _: f"section {z}: added to the mask; draw more, or pick up the mask's brush",
            )
        except Exception as error:
            self.messages.fail(error)

    # ---- many sections

    @guarded
    def interpolate(self) -> None:
        """Mask the sections between two painted ones."""
        image, z = self.session.require_image(), self.session.require_section()
        self.session.require_mask()
        self._edit(
            image,
            partial(mask_tools.interpolate, z=z),
            lambda tiles: (
                f"section{'s' * (len(tiles) > 1)} {_span(tiles)}: mask interpolated between "
                f"{min(tiles) - 1} and {max(tiles) + 1}"
            ),
        )

    @guarded
    def copy(self) -> None:
        """Ask for sections, and add the mask of this one to theirs."""
        image, z = self.session.require_image(), self.session.require_section()
        mask = self.session.require_mask().data

        def chosen(first: int, last: int) -> None:
            sections = range(first, last + 1)
            self._edit(
                image,
                partial(mask_tools.copy_to, z=z, sections=sections),
                lambda tiles: (
                    f"the mask of section {z} was added to {counted(len(tiles), 'other')}"
                ),
            )

        self.dialog = RangeDialog(self, z, mask.shape[0], chosen)
        self.dialog.finished.connect(self._forget_dialog)
        self.dialog.open()

    def _forget_dialog(self) -> None:
        self.dialog = None

    def _edit(
        self, image: Image, task: Callable[..., Any], words: Callable[[dict[int, Any]], str]
    ) -> None:
        """Change the mask of some sections in a thread, as one step that can be undone."""
        masks = self.session.masks
        if masks.layer(image) is None:
            self.session.check_settled(image)
            masks.new(image, paint=False)
            masks.show(image)
        mask = masks.mask(image)
        assert mask is not None
        mask.commit()
        frozen = mask.frozen()

        def done(tiles: Mapping[int, SectionTiles]) -> None:
            if masks.mask(image) is not mask:
                raise InputError("the mask was replaced in the meantime; do it again.")
            changed = [z for z in tiles if mask.version(z) != frozen.version(z)]
            if changed:
                raise InputError(
                    f"the mask of section {listed(changed)} was painted on in the meantime; do it "
                    "again."
                )
            masks.edit_all(image, tiles)
            self.messages.say(words(dict(tiles)))

        failed = self.messages.fail
        self.jobs.start("edit", task, frozen, done=done, failed=failed, about=image)

    # ---- saving

    @guarded
    def choose_target(self) -> None:
        """Ask where the mask is to be saved."""
        stack = self.session.require_stack()
        self.session.require_mask()
        proposed = str(folder_beside(stack) / f"{stack.name} mask.zarr")
        path, _ = QFileDialog.getSaveFileName(self, "Save mask", proposed, "OME-Zarr (*.zarr)")
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Save the mask of all sections as a label image, in a thread."""
        stack, mask = self.session.require_stack(), self.session.require_mask().data
        mask.commit()

        def done(saved: Path) -> None:
            self.messages.notify(f"saved the mask as {saved}; Load mask takes it")

        self.jobs.start(
            "save mask",
            mask_tools.save_mask,
            stack,
            mask.frozen(),
            path,
            done=done,
            failed=self.messages.fail,
            lasting=True,
        )

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        if self.dialog is not None:
            self.dialog.close()
        self.session.drawing.drawn.disconnect(self._on_drawn)


class RangeDialog(QDialog):
    """Asks for sections, without holding up the viewer.

    Parameters
    ----------
    parent
        The widget that asks.
    z, depth
        The section to copy from, and how many there are.
    chosen
        Called with the first and the last one.
    """

    def __init__(
        self, parent: QWidget, z: int, depth: int, chosen: Callable[[int, int], None]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Mask of section {z} on other sections")
        self.first, self.last = QSpinBox(), QSpinBox()
        for box, value in ((self.first, z), (self.last, min(z + 1, depth - 1))):
            box.setRange(0, depth - 1)
            box.setValue(value)
        form = QFormLayout(self)
        form.addRow("from section", self.first)
        form.addRow("to section", self.last)
        kind = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kind.Ok | kind.Cancel)
        form.addRow(self.buttons)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.accepted.connect(lambda: chosen(*sorted((self.first.value(), self.last.value()))))
        self.finished.connect(self.deleteLater)


def _span(tiles: Mapping[int, Any]) -> str:
    """Return sections in a row as "4" or "4 to 8"."""
    first, last = min(tiles), max(tiles)
    return str(first) if first == last else f"{first} to {last}"
