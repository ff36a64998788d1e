"""A mask that there is already: from a file, a folder or another layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QInputDialog, QMenu, QMessageBox, QPushButton

from ...core.errors import ChoiceNeeded
from ...core.masks.check_mask import MASK_CLASS
from ...core.masks.mask_choice import NOT_ZERO, MaskChoice
from ...viewer import mask_layers
from ...viewer.tasks import mask_loading
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_replace, ask_which_class

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from ...core.masks.sparse_mask import SparseMask
    from ...viewer.session import Session

_SUFFIXES = "*.tif *.tiff *.png *.jpg *.jpeg *.bmp *.gif *.npy *.h5 *.hdf5 *.roi *.zip"
_FILES = f"Masks ({_SUFFIXES});;All files (*)"


class LoadMask(QPushButton):
    """A button with a menu of what could be a mask of the stack.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Load mask")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.question: QInputDialog | QMessageBox | None = None
        self.setToolTip("From a file, a folder or another layer, including shapes.")
        self.sources = QMenu(self)
        self.setMenu(self.sources)
        self.sources.aboutToShow.connect(self._fill)

    def replace(
        self,
        image: Image,
        base: Any,
        then: Callable[[], None],
        paint: Callable[[], None] | None = None,
    ) -> None:
        """Make a mask, after asking where one with damage would be replaced.

        ``paint`` is offered instead, where there is such a function: to paint on that one.
        """

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

        self.session.check_settled(image)
        mask = self.session.masks.mask(image)
        if mask is None or (mask.base is None and not mask.painted_sections):
            answered(True)
        else:
            self.question = ask_to_replace(self, image.name, answered, paint)

    @guarded
    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Mask", "", _FILES)
        if path:
            self.load(path)

    @guarded
    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Mask: a zarr folder, or one of images")
        if path:
            self.load(path)

    def load(self, path: str) -> None:
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
            self.question.rejected.connect(partial(self.messages.say, "no mask was loaded"))

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
            self.replace(image, mask, then)
        else:
            masks.set_sections(
                image, {z: t for z, t in opened.tiles.items() if old.version(z) == under.version(z)}
            )
            masks.show(image)
            then()

    def _fill(self) -> None:
        self.sources.clear()
        self.sources.addAction("From a file (image, HDF5, ImageJ ROI)…").triggered.connect(
            self._choose_file
        )
        self.sources.addAction("From a folder (zarr, images)…").triggered.connect(
            self._choose_folder
        )
        self.sources.addSeparator()
        names = self.usable_layers()
        for name in names:
            action = self.sources.addAction(f"From layer {name}")
            action.triggered.connect(partial(self.use_layer, name))
        if not names:
            self.sources.addAction("No layer that fits the stack").setEnabled(False)

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

    def stop(self) -> None:
        """Ask nothing any more; the dock is closing."""
        if self.question is not None:
            self.question.close()
