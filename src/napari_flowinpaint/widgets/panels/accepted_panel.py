"""What was accepted: take it back, or save it where the stack cannot be written to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from ...core.errors import InputError
from ...viewer.state.accepted import UnsavedRepair
from ...viewer.tasks import describing, loading, stack_repairs
from ...viewer.tasks.as_command import AcceptedRequest
from ..parts.copy_command import CopyCommand
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_overwrite, ask_where_to_save, folder_beside
from ..parts.scrolling import ROW_SPACING
from ..parts.steps import Steps
from ..parts.wording import counted

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...viewer.session import Session


class AcceptedPanel(QGroupBox):
    """The list of accepted repairs; Revert, Copy command, Save as OME-Zarr, Describe.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Accepted repairs")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.list = QComboBox()
        self.revert_button = QPushButton("Revert")
        self.save_button = QPushButton("Save as OME-Zarr…")
        self.describe_button = QPushButton("Describe…")
        self.copy_button = CopyCommand(jobs, messages, self._command)
        self.question: QMessageBox | None = None
        self._steps = Steps(messages.fail, self)
        self._rows: list[tuple[str, object]] | None = None
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.list.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.list.setToolTip("The newest first.")
        self.revert_button.setToolTip("Bring back the original pixels of the selected repair.")
        self.save_button.setToolTip(
            "Save the whole stack, with the accepted repairs, as a new file."
        )
        self.describe_button.setToolTip(
            "Write what was repaired for the methods section of a publication, with a figure."
        )
        self.copy_button.setToolTip(
            "Copy the command line that repeats the selected repair, for a script or a cluster; "
            "its mask is saved beside the stack."
        )
        box = QVBoxLayout(self)
        box.setSpacing(ROW_SPACING)
        box.addWidget(self.list)
        for buttons in (
            (self.revert_button, self.copy_button),
            (self.save_button, self.describe_button),
        ):
            row = QHBoxLayout()
            for button in buttons:
                button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
                row.addWidget(button)
            box.addLayout(row)

    def _connect(self) -> None:
        self.revert_button.clicked.connect(self.revert)
        self.describe_button.clicked.connect(self.choose_text)
        self.save_button.clicked.connect(self._choose_target)
        self.jobs.changed.connect(self.refresh)
        self._steps.ended.connect(self.refresh)
        self.session.accepted.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    @guarded
    def revert(self) -> None:
        """Take back the repair that is chosen in the list, in a thread."""
        chosen = self.list.currentData()
        if chosen is None:
            raise InputError("there is no repair to revert.")
        if isinstance(chosen, UnsavedRepair):
            self.session.revert_unsaved(chosen)
            self.messages.say(f"section {chosen.repair.z}: repair removed")
            return
        image, stack = self.session.require_image(), self.session.require_stack()

        def done(history: stack_repairs.StackHistory) -> None:
            self.session.finish_revert(image, stack, chosen.id, history)
            self.messages.notify(f"section {chosen.z}: the original pixels are back", history.notes)

        def failed(error: Exception) -> None:
            self.messages.fail(error)
            self._read_again(image, stack)  # another program may have reverted it

        self.jobs.start(
            "revert", stack_repairs.revert, stack, chosen.id, done=done, failed=failed, lasting=True
        )

    def _read_again(self, image: Image, stack: Stack) -> None:
        """Read what is in a stack, in a thread; what keeps it from being read was said."""
        self.jobs.start(
            "history",
            stack_repairs.read_history,
            stack,
            done=partial(self.session.accepted.record, image, stack),
            failed=lambda _: None,
        )

    def _command(self) -> AcceptedRequest:
        """Return the repair that is chosen in the list, for a command."""
        chosen, mask = self.list.currentData(), self.session.mask
        if mask is not None:
            mask.commit()
        return AcceptedRequest(
            self.session.require_stack(),
            None if mask is None else mask.frozen(),
            chosen.repair if isinstance(chosen, UnsavedRepair) else chosen.id,
            self.session.settings.device,
        )

    @guarded
    def choose_text(self) -> None:
        """Ask where to describe the repairs."""
        image, stack = self.session.require_image(), self.session.require_stack()
        if not self.session.accepted.written(image):
            raise InputError("nothing was repaired in this stack yet; accept a repair first.")
        proposed = str(folder_beside(stack) / f"{stack.name} repairs.md")
        filters = "Markdown (*.md);;LaTeX (*.tex)"
        chosen, _ = QFileDialog.getSaveFileName(self, "Describe repairs", proposed, filters)
        if chosen:
            path = Path(chosen)
            files = describing.files_of(path)
            write = partial(self.describe, path, stack)
            self.question = ask_to_overwrite(self, path, files, write)

    def describe(self, path: Path, stack: Stack | None = None) -> None:
        """Write what was repaired in a stack, with a figure, in a thread.

        Parameters
        ----------
        path
            Where.
        stack
            The stack; by default the one that is meant.
        """

        def done(files: tuple[Path, Path]) -> None:
            text, figure = files
            self.messages.notify(f"wrote {text}, and the figure {figure.name} beside it")

        self.jobs.start(
            "describe",
            describing.describe,
            stack or self.session.require_stack(),
            path,
            done=done,
            failed=self.messages.fail,
        )

    @guarded
    def _choose_target(self) -> None:
        image, stack = self.session.require_image(), self.session.require_stack()
        path = ask_where_to_save(self, stack, "Save as OME-Zarr")
        if path is not None:
            self.save(path, image)

    def save(self, path: Path, image: Image | None = None) -> None:
        """Save a stack with the accepted repairs, in a thread, and open what was saved.

        Parameters
        ----------
        path
            Where.
        image
            The layer of the stack; by default the one that is meant.
        """
        shown = image or self.session.require_image()
        stack = self.session.require_stack(shown)
        unsaved = self.session.accepted.unsaved(shown)
        kept, copied = self.session.kept(shown), self.session.flags.for_copy(shown)

        def done(loaded: loading.LoadedStack) -> None:
            self.session.flags.note_copied(shown, copied)
            self._steps.start(self._showing_saved(shown, unsaved, loaded))

        self.jobs.start(
            "save",
            stack_repairs.save,
            stack,
            path,
            [item.repair for item in unsaved],
            *kept,
            done=done,
            failed=self.messages.fail,
            lasting=True,
            about=shown,
        )

    def _showing_saved(
        self, image: Image, unsaved: list[UnsavedRepair], loaded: loading.LoadedStack
    ) -> Iterator[None]:
        """Show the stack that was saved instead of the repairs, one layer per step."""
        for item in unsaved:
            self.session.accepted.remove_unsaved(image, item)
            yield
        self.session.put_review_aside()
        self.session.add_stack(loaded)
        image.visible = False
        new = f" with {counted(len(unsaved), 'new repair')}" if unsaved else ""
        self.messages.notify(
            f"saved {loaded.stack.path}{new}; this copy is now open and can be repaired in place",
            loaded.notes,
        )

    @property
    def is_showing(self) -> bool:
        """Whether what was saved is still being shown."""
        return self._steps.running

    def refresh(self) -> None:
        """Show the accepted repairs, the newest first."""
        image, now = self.session.image, datetime.now().astimezone()
        rows: list[tuple[str, object]] = [
            (
                f"section {item.repair.z} · {item.repair.provenance.mask_pixels:,} px · not saved",
                item,
            )
            for item in reversed(self.session.accepted.unsaved(image))
        ]
        rows += [
            (f"#{e.id} · section {e.z} · {e.mask_pixels:,} px · {_when(e.time, now)}", e)
            for e in reversed(self.session.accepted.written(image))
        ]
        if rows != self._rows:
            self._rows = rows
            self.list.clear()
            for text, data in rows or [("none in this stack yet", None)]:
                self.list.addItem(text, data)
        busy = self.is_showing or self.jobs.is_running("repair", "accept", "revert", "save")
        self.revert_button.setEnabled(bool(rows) and not busy)
        self.copy_button.setEnabled(bool(rows) and self.session.stack is not None)
        self.describe_button.setEnabled(bool(self.session.accepted.written(image)))
        self.save_button.setEnabled(self.session.stack is not None and not busy)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._steps.finish()
        self.session.accepted.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)


def _when(time: str, now: datetime) -> str:
    """Return an ISO time as a clock in the zone of ``now`` has it: of another day, the date."""
    try:
        then = datetime.fromisoformat(time).astimezone(now.tzinfo)
    except (ValueError, OverflowError, OSError):  # another program has written it
        return time[:16]
    return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d")
