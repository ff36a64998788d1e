"""The dock *Load stack*: choose a file, show it lazily, say what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
)

from ..core.errors import ChoiceNeeded, InputError
from ..core.writing.kept import keeps_beside
from ..viewer.tasks import loading
from .dock import Dock
from .parts.messages import guarded
from .parts.no_data_field import NoDataField, described
from .parts.scrolling import ScrollColumn
from .parts.wording import access_of, in_window

_FILES = (
    "Stacks (*.tif *.tiff *.mrc *.rec *.st *.map *.mrcs *.ali *.preali *.h5 *.hdf5 *.hdf *.ims "
    "*.mat *.zip *.ozx);;All files (*)"
)
#: Least height of what is seen, pixels: the path, the buttons and what the stack is.
_LEAST = 130


class LoadStack(Dock):
    """The dock. Choices (dataset, channel, time) appear when a file asks for them.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    tab = "Load"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.path = QLineEdit()
        self.file_button = QPushButton("File…")
        self.folder_button = QPushButton("Folder…")
        self.choices = {name: QComboBox() for name in loading.CHOICES}
        self.no_data = NoDataField()
        self.load_button = QPushButton("Load")
        self.facts = QLabel()
        self._shown: Callable[[], Any] = lambda: None
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self.path.setPlaceholderText(
            "OME-Zarr, zarr, N5, TIFF, MRC, image folder, file.h5:/dataset"
        )
        self.file_button.setToolTip("A multi-page TIFF, an MRC or HDF5 file, a zipped zarr.")
        self.folder_button.setToolTip(
            "An OME-Zarr, zarr, N5 or precomputed folder, or a folder of single images."
        )
        self.facts.setWordWrap(True)
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.form = QFormLayout()
        for name, combo in self.choices.items():
            combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self.form.addRow(name, combo)
        self.form.addRow("no data", self.no_data)
        self._ask_nothing()
        row = QHBoxLayout()
        for button in (self.file_button, self.folder_button, self.load_button):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            row.addWidget(button)
        scroll = ScrollColumn(self.path, stretch=False, least=_LEAST)
        column = scroll.column
        column.addLayout(row)
        column.addLayout(self.form)
        column.addWidget(self.facts)
        scroll.leave_wheel(scroll.widget())
        self.lay_out(scroll)
        self.setMinimumWidth(300)
        # The dock below, Repair section, needs the height more.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def _connect(self) -> None:
        self.file_button.clicked.connect(self._choose_file)
        self.folder_button.clicked.connect(self._choose_folder)
        self.load_button.clicked.connect(self.load)
        self.path.returnPressed.connect(self.load)
        self.no_data.returnPressed.connect(self.declare)
        self.path.textChanged.connect(self._ask_nothing)
        self.jobs.changed.connect(self._show_jobs)
        self.jobs.progressed.connect(self._show_progress)
        self.listen(self.session.stack_removed, self._forget)

    def _forget(self, image: Any) -> None:
        """Tell no more of a stack that was removed."""
        if image is self._shown():
            self.facts.clear()
            self.messages.say("")

    @guarded
    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Stack", self.path.text(), _FILES)
        if path:
            self.path.setText(path)
            self.load()

    @guarded
    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Stack: a zarr or image folder")
        if path:
            self.path.setText(path)
            self.load()

    @guarded
    def load(self) -> None:
        """Open what the path names, in a thread, and show it as an image layer."""
        path = self.path.text().strip().strip('"')
        if not path:
            raise InputError("no path is given; choose a file or a folder.")
        wanted = {
            name: combo.currentText() for name, combo in self.choices.items() if combo.count()
        }
        self.jobs.start(
            "load",
            loading.load,
            path,
            dataset=wanted.get("dataset"),
            channel=int(wanted["channel"]) if "channel" in wanted else None,
            time=int(wanted["time"]) if "time" in wanted else None,
            no_data=self.no_data.value(),
            done=self._show,
            failed=self._on_failed,
            about=None,  # not about the stack that is shown, which may go meanwhile
        )

    @guarded
    def declare(self) -> None:
        """Take the grey value for no data in the stack that is shown."""
        value = self.no_data.value()
        self.session.declare_no_data(value)
        self.messages.say(described(value))

    def _show(self, loaded: loading.LoadedStack) -> None:
        self._shown = ref(self.session.add_stack(loaded))
        self.facts.setText(describe(loaded))
        messages = " ".join(loaded.stack.messages)
        if messages:
            self.messages.notify(messages)
        else:
            self.messages.say(f"loaded {loaded.stack.name}")

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, ChoiceNeeded):
            self.messages.fail(error)
            return
        combo = self.choices[error.option]
        combo.addItems(error.choices)
        self._set_visible(error.option, True)
        several = f"{len(error.choices)} {loading.CHOICES[error.option]}"
        self.messages.say(f"the file contains {several}; choose one and press Load")

    def _ask_nothing(self, *_: object) -> None:
        """Forget the choices that another path has asked for."""
        for name, combo in self.choices.items():
            combo.clear()
            self._set_visible(name, False)

    def _set_visible(self, name: str, visible: bool) -> None:
        combo = self.choices[name]
        combo.setVisible(visible)
        self.form.labelForField(combo).setVisible(visible)

    def _show_jobs(self) -> None:
        self.load_button.setEnabled(not self.jobs.is_running("load"))

    def _show_progress(self, name: str, fraction: float, message: str) -> None:
        self.messages.show_progress(f"{message}…")


def describe(loaded: loading.LoadedStack) -> str:
    """Return what there is to know about a stack, in a few lines."""
    stack = loaded.stack
    depth, height, width = stack.shape
    if stack.voxel_size is None:
        voxel = "voxel size unknown"
    else:
        voxel = "voxel " + " × ".join(f"{size:g}" for size in stack.voxel_size) + " nm (z, y, x)"
    access = "can be repaired in place"
    if keeps_beside(stack):
        access = f"{access_of(stack)}; Save as OME-Zarr… saves a copy"
    elif not stack.writable:
        access = f"read-only: {in_window(stack.why_not_writable)}"
    levels = len(stack.levels)
    pyramid = f", pyramid of {levels} levels" if levels > 1 else ""
    return (
        f"{stack.name}: {depth} sections of {height:,} × {width:,} pixels, {stack.dtype}{pyramid}\n"
        f"{voxel}\n{loaded.polarity}\n{access}"
    )
