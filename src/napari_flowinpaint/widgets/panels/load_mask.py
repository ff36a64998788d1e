"""A mask that there is already: from a file, a folder or another layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QInputDialog, QMenu, QMessageBox, QPushButton

from ...core.errors import ChoiceNeeded
from ...core.masks.check_mask import MASK_CLASS
from ...core.masks.mask_choice import NOT_ZERO, MaskChoice
from ...viewer import camera, mask_layers
from ...viewer.tasks import mask_loading
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_replace, ask_which_class, ask_which_dataset

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from ...core.masks.sparse_mask import SparseMask
    from ...viewer.session import Session

_SUFFIXES = "*.tif *.tiff *.png *.jpg *.jpeg *.bmp *.gif *.npy *.h5 *.hdf5 *.roi *.zip"
_FILES = f"Masks ({_SUFFIXES});;All files (*)"


@dataclass(frozen=True, eq=False)
class _Source:
    """Where a mask comes from, and the stack it is for.

    Parameters
    ----------
    name
        What it is called in messages.
    task, what
        What opens it, and from what.
    image
        The layer of the stack.
    hidden
        A layer that is hidden once the mask shows the same.
    """

    name: str
    task: Any
    what: Any
    image: Image
    hidden: Layer | None = None


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
        self._open(_Source(path, mask_loading.from_file, path, self.session.require_image()))

    def _open(
        self, source: _Source, choice: MaskChoice = NOT_ZERO, dataset: str | None = None
    ) -> None:
        """Open a mask in a thread; ask, where it does not say what is the damage."""
        session, image = self.session, source.image
        stack, mask = session.require_stack(image), session.masks.mask(image)
        under = None
        if mask is not None:
            mask.commit()
            under = mask.frozen()
        section = camera.section_of(session.viewer, image)
        request = mask_loading.MaskRequest(stack, section, choice, under, dataset)

        def done(opened: mask_loading.OpenedMask) -> None:
            self._show(image, source.name, under, opened, source.hidden)

        def failed(error: Exception) -> None:
            if isinstance(error, ChoiceNeeded) and error.option == MASK_CLASS:
                self.messages.say("which part of the mask is the damage?")
                self._ask(ask_which_class(self, error, class_chosen))
            elif isinstance(error, ChoiceNeeded) and error.option == "dataset":
                self.messages.say("which of them is the mask?")
                self._ask(ask_which_dataset(self, source.name, error, dataset_chosen))
            else:
                self.messages.fail(error)

        def class_chosen(text: str) -> None:
            self._open(source, MaskChoice.parse(text), dataset)

        def dataset_chosen(text: str) -> None:
            self._open(source, choice, text)

        self.jobs.start(
            "mask", source.task, source.what, request, done=done, failed=failed, about=image
        )

    def _ask(self, question: QInputDialog) -> None:
        """Note a question that was opened."""
        self.question = question
        question.finished.connect(self._forget_question)
        question.rejected.connect(partial(self.messages.say, "no mask was loaded"))

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
            self._open(
                _Source(f"layer {name}", mask_loading.from_layer, source, image, hidden=layer)
            )
        except Exception as error:
            self.messages.fail(error)

    def stop(self) -> None:
        """Ask nothing any more; the dock is closing."""
        if self.question is not None:
            self.question.close()
