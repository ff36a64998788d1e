"""Make and edit the mask of the section that is shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QInputDialog,
    QLabel,
    QMenu,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QSpinBox,
)

from ...core.errors import ChoiceNeeded, InputError
from ...core.masks.check_mask import MASK_CLASS
from ...core.masks.mask_choice import NOT_ZERO, MaskChoice
from ...viewer import mask_layers
from ...viewer.tasks import mask_loading, one_section
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_replace, ask_which_class
from ..parts.wording import counted, listed

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from ...core.masks.sparse_mask import SectionTiles, SparseMask
    from ...viewer.session import Session

#: Milliseconds without a change before the damage is counted.
_PAUSE = 200
_SUFFIXES = "*.tif *.tiff *.png *.jpg *.jpeg *.bmp *.gif *.npy *.h5 *.hdf5 *.roi *.zip"
_FILES = f"Masks ({_SUFFIXES});;All files (*)"


class MaskPanel(QGroupBox):
    """Buttons for the mask, and a line that says what is damaged.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Damage mask")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.new_button = QPushButton("New mask")
        self.load_button = QPushButton("Load mask")
        self.load_menu = QMenu(self)
        self.load_button.setMenu(self.load_menu)
        self.grow_button = QPushButton("Grow")
        self.shrink_button = QPushButton("Shrink")
        self.pixels = QSpinBox()
        self.clear_button = QPushButton("Clear")
        self.invert_button = QPushButton("Invert")
        self.undo_button = QPushButton("Undo")
        self.redo_button = QPushButton("Redo")
        self.status = QLabel()
        self.question: QInputDialog | QMessageBox | None = None
        self._count_timer = QTimer(self)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.new_button.setToolTip("An empty mask to paint on with napari's brush")
        self.load_button.setToolTip("From a file, a folder or another layer, including shapes")
        for button in (self.grow_button, self.shrink_button):
            button.setToolTip("Grow or shrink the mask of the current section")
        self.undo_button.setToolTip(
            "Undo the last change of the mask, in whatever section (Ctrl+Z)"
        )
        self.redo_button.setToolTip("Redo the change that was undone (Ctrl+Shift+Z)")
        self.pixels.setRange(1, 200)
        self.pixels.setValue(3)
        self.pixels.setSuffix(" px")
        self.pixels.setToolTip("Distance to grow or shrink, in pixels")
        self.status.setWordWrap(True)
        self._count_timer.setSingleShot(True)
        self._count_timer.setInterval(_PAUSE)
        grid = QGridLayout(self)
        grid.addWidget(self.new_button, 0, 0, 1, 2)
        grid.addWidget(self.load_button, 0, 2, 1, 2)
        rows = (
            (self.grow_button, self.shrink_button, self.pixels, self.invert_button),
            (self.undo_button, self.redo_button, self.clear_button),
        )
        for row, widgets in enumerate(rows, start=1):
            for column, widget in enumerate(widgets):
                widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
                grid.addWidget(widget, row, column)
        grid.addWidget(self.status, len(rows) + 1, 0, 1, 4)
        for column in range(4):
            grid.setColumnStretch(column, 1)

    def _connect(self) -> None:
        self.new_button.clicked.connect(self.new_mask)
        self.load_menu.aboutToShow.connect(self._fill_load_menu)
        self.grow_button.clicked.connect(self._grow)
        self.shrink_button.clicked.connect(self._shrink)
        self.clear_button.clicked.connect(self._clear)
        self.invert_button.clicked.connect(self._invert)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self._count_timer.timeout.connect(self._count)
        self.session.masks.changed.connect(self.refresh)
        self.session.flags.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)
        self.session.section_changed.connect(self.refresh)
        self.session.settings.events.max_gap.connect(self.refresh)

    # ---- making a mask

    @guarded
    def new_mask(self) -> None:
        """Make an empty mask and select the brush."""

        def then() -> None:
            self.messages.say("paint over the damage; [ and ] change the brush size")

        self._replace(self.session.require_image(), None, then)

    def _replace(self, image: Image, base: Any, then: Callable[[], None]) -> None:
        """Make a mask, after asking where one with damage would be replaced."""

        def answered(yes: bool) -> None:
            self.question = None
            if not yes or image not in self.session.viewer.layers:
                self.messages.say("the mask was kept")
                return
            try:
                self.session.masks.new(image, base)
                then()
            except Exception as error:
                self.messages.fail(error)

        mask = self.session.masks.mask(image)
        if mask is None or (mask.base is None and not mask.painted_sections):
            answered(True)
        else:
            self.question = ask_to_replace(self, image.name, answered)

    @guarded
    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Mask", "", _FILES)
        if path:
            self.load_mask(path)

    @guarded
    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Mask: a zarr folder, or one of images")
        if path:
            self.load_mask(path)

    def load_mask(self, path: str) -> None:
        """Open a mask from a file, in a thread; it is shown when it is open."""
        self._open(path, mask_loading.from_file, path)

    def _open(
        self,
        name: str,
        task: Any,
        source: Any,
        choice: MaskChoice = NOT_ZERO,
        hidden: Layer | None = None,
    ) -> None:
        """Open a mask in a thread; ask, where it does not say what is the damage."""
        session = self.session
        image, stack, mask = session.require_image(), session.require_stack(), session.mask
        under = None
        if mask is not None:
            mask.commit()
            under = mask.frozen()
        request = mask_loading.MaskRequest(stack, session.section, choice, under)

        def done(opened: mask_loading.OpenedMask) -> None:
            self._show(image, name, under, opened, hidden)

        def failed(error: Exception) -> None:
            if not isinstance(error, ChoiceNeeded) or error.option != MASK_CLASS:
                self.messages.fail(error)
                return
            self.messages.say("which part of the mask is the damage?")
            self.question = ask_which_class(self, error, chosen)
            self.question.finished.connect(self._forget_question)

        def chosen(text: str) -> None:
            self._open(name, task, source, MaskChoice.parse(text), hidden)

        self.jobs.start("mask", task, source, request, done=done, failed=failed)

    @guarded
    def _forget_question(self) -> None:
        self.question = None

    def _show(
        self,
        image: Image,
        name: str,
        under: SparseMask | None,
        opened: mask_loading.OpenedMask,
        hidden: Layer | None,
    ) -> None:
        """Show a mask that was opened: as a new one, or in some sections of the one there is."""
        mask, masks = opened.mask, self.session.masks
        old = masks.mask(image)
        where = ""
        if mask.sections is not None:
            count = len(mask.sections)
            numbers = ", ".join(map(str, mask.sections[:8])) + (", …" if count > 8 else "")
            where = f" of section{'s' * (count != 1)} {numbers}"

        def then() -> None:
            text = f"took the mask{where} from {name}; you can paint on it"
            if hidden is not None:
                hidden.visible = False
            if mask.notes:
                self.messages.notify(text, mask.notes)
            else:
                self.messages.say(text)

        if opened.tiles is None or old is None or under is None:
            self._replace(image, mask, then)
        else:
            masks.set_sections(
                image, {z: t for z, t in opened.tiles.items() if old.version(z) == under.version(z)}
            )
            masks.show(image)
            then()

    def _fill_load_menu(self) -> None:
        self.load_menu.clear()
        self.load_menu.addAction("From a file (image, HDF5, ImageJ ROI)…").triggered.connect(
            self._choose_file
        )
        self.load_menu.addAction("From a folder (zarr, images)…").triggered.connect(
            self._choose_folder
        )
        self.load_menu.addSeparator()
        names = self.usable_layers()
        for name in names:
            action = self.load_menu.addAction(f"From layer {name}")
            action.triggered.connect(partial(self.use_layer, name))
        if not names:
            self.load_menu.addAction("No layer that fits the stack").setEnabled(False)

    def usable_layers(self) -> list[str]:
        """Return the names of the layers that could be a mask of the stack."""
        image = self.session.image
        if image is None:
            return []
        return [
            layer.name for layer in self.session.viewer.layers if mask_layers.fits(layer, image)
        ]

    def use_layer(self, name: str, *_: object) -> None:
        """Make a mask of what another layer shows, in a thread; that layer is hidden."""
        try:
            image, layer = self.session.require_image(), self.session.viewer.layers[name]
            source = mask_layers.mask_of(self.session.viewer, layer, image, self.session.section)
            self._open(f"layer {name}", mask_loading.from_layer, source, hidden=layer)
        except Exception as error:
            self.messages.fail(error)

    # ---- editing

    @guarded
    def _grow(self) -> None:
        self.edit("grow")

    @guarded
    def _shrink(self) -> None:
        self.edit("shrink")

    @guarded
    def _clear(self) -> None:
        self.edit("clear")

    @guarded
    def _invert(self) -> None:
        self.edit("invert")

    def edit(self, operation: str) -> None:
        """Grow, shrink, clear or invert the mask of the section that is shown, in a thread."""
        layer = self.session.require_mask()
        image, z = self.session.require_image(), self.session.require_section()
        mask = layer.data
        mask.commit()
        version = mask.version(z)

        def done(tiles: SectionTiles) -> None:
            current = self.session.masks.mask(image)
            if current is None or current is not mask:
                return
            if current.version(z) != version:
                raise InputError(
                    f"the mask changed in the meantime; press {operation.capitalize()} again"
                )
            self.session.masks.edit(image, z, tiles)

        self.jobs.start(
            "edit",
            one_section.edit_mask,
            mask.frozen(),
            z,
            operation,
            self.pixels.value(),
            done=done,
            failed=self.messages.fail,
        )

    @guarded
    def mark_missing(self) -> None:
        """Mask the whole section that is shown."""
        image = self.session.require_image()
        self.session.require_section()
        if self.session.masks.layer(image) is None:
            self.session.masks.new(image, paint=False)
        self.edit("missing")

    @guarded
    def undo(self) -> None:
        """Take back the last change of the mask."""
        self.session.masks.step(self.session.require_mask(), back=True)

    @guarded
    def redo(self) -> None:
        """Do the last undone change of the mask again."""
        self.session.masks.step(self.session.require_mask(), back=False)

    # ---- status

    def refresh(self) -> None:
        """Enable what can be done, and count the damage as soon as nothing changes any more."""
        mask = self.session.mask
        settled = self.session.flags.is_settled(self.session.image)
        self.new_button.setEnabled(settled)
        self.load_button.setEnabled(settled)
        for button in (self.grow_button, self.shrink_button, self.clear_button, self.invert_button):
            button.setEnabled(mask is not None)
        masks, image = self.session.masks, self.session.image
        self.undo_button.setEnabled(masks.can_step(image, back=True))
        self.redo_button.setEnabled(masks.can_step(image, back=False))
        if mask is None:
            self.status.setText("No mask yet.")
        self._count_timer.start()

    def _count(self) -> None:
        mask, z = self.session.mask, self.session.section
        if mask is None or z is None:
            return
        self.jobs.start(
            "count",
            one_section.mask_status,
            self.session.stack,
            mask.frozen(),
            z,
            self.session.settings.max_gap,
            done=self._show_status,
            failed=self._no_status,
        )

    def _show_status(self, status: one_section.MaskStatus) -> None:
        if not status.pixels:
            self.status.setText(f"Section {status.z}: nothing is masked.")
            return
        text = (
            f"Section {status.z}: {counted(status.components, 'damaged component')}, "
            f"{counted(status.pixels, 'pixel')}"
        )
        if status.neighbours is not None:
            usable = sorted({z for pair in status.neighbours for z in pair if z is not None})
            lost = status.neighbours.count((None, None))
            if usable:
                noun = "neighbour" if len(usable) == 1 else "neighbours"
                text += f"; {noun} {listed(usable)}"
            if lost:
                text += "; no usable neighbour"
                text += f" for {lost} of {len(status.neighbours)} parts" if usable else ""
        self.status.setText(text + ".")

    def _no_status(self, error: Exception) -> None:
        """Say nothing: Repair meets the same error and tells it."""

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._count_timer.stop()
        if self.question is not None:
            self.question.close()
        self.session.masks.changed.disconnect(self.refresh)
        self.session.flags.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
        self.session.section_changed.disconnect(self.refresh)
        self.session.settings.events.max_gap.disconnect(self.refresh)
