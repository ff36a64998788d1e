"""What the docks about damage have in common: the flagged sections are opened, and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from ..viewer.tasks import find_damage
from .dock import Dock
from .panels.progress_panel import ProgressRow
from .panels.target_panel import TargetLine
from .parts.scrolling import ScrollColumn
from .parts.wording import counted

if TYPE_CHECKING:
    from ..viewer.tasks.flag_store import StoredFlags

#: Milliseconds without a change before the list and the mask are saved.
_PAUSE = 800


class DamageDock(Dock):
    """A dock with a target line above, progress and messages below.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    shown
        Kinds of jobs whose progress is shown.
    """

    def __init__(self, napari_viewer: Any, shown: tuple[str, ...]) -> None:
        super().__init__(napari_viewer, keeps_room=True)
        self.target = self.with_part(TargetLine(self.session, self.jobs, self.messages))
        self.progress_row = ProgressRow(self.jobs, self.messages, ("open", "flags", *shown))
        self.cancel_button = self.progress_row.cancel_button
        self._save_timer = QTimer(self)
        self._save_timer.setSingleShot(True)
        self._save_timer.setInterval(_PAUSE)
        self._save_timer.timeout.connect(self._save)
        self.setMinimumWidth(376)

    def begin(self, *widgets: QWidget, stretch: bool = True) -> None:
        """Lay widgets out and start to listen; the last step of a constructor.

        Parameters
        ----------
        widgets
            What is put between the target line and the progress.
        stretch
            Whether room that is left is left below them.
        """
        scroll = ScrollColumn(self.target, *widgets, stretch=stretch)
        self.lay_out(scroll, self.progress_row)
        self.listen(self.session.target_changed, self._open_flags)
        self.listen(self.session.flags.changed, self._changed)
        self.listen(self.session.masks.changed, self._changed)
        self._open_flags()

    # ---- what is stored

    def _open_flags(self) -> None:
        """Open what is stored of the flagged sections of the stack, if nobody did yet."""
        image, stack = self.session.image, self.session.stack
        if image is None or stack is None or self.session.flags.of(image) is not None:
            return

        def done(stored: StoredFlags) -> None:
            self.session.flags.open(image, stored)
            rows = len(stored.rows)
            if self.session.image is image:
                where = stored.store.folder
                self.messages.say(f"{counted(rows, 'flagged row')}, kept in {where}" if rows else "")

        self.jobs.start(
            "flags", find_damage.open_flags, stack, done=done, failed=self.messages.fail
        )

    def _changed(self) -> None:
        """Wait until nothing changes any more."""
        self._save_timer.start()

    def _save(self) -> None:
        """Save what has changed, in a thread; one dock at a time, one stack after the other."""
        flags = self.session.flags
        found = flags.first_unsaved()
        if found is None:
            return
        if flags.saving is not None:
            self._save_timer.start()
            return
        image, changes = found
        flags.saving = self

        def done(areas: dict[int, dict[str, float]]) -> None:
            flags.saving = None
            flags.note_saved(image, changes)
            known = flags.of(image)
            if known is not None and areas:
                known.list.set_areas(areas)
            self._save_timer.start()  # there may be more

        def failed(error: Exception) -> None:
            flags.saving = None
            self.messages.fail(error)

        self.jobs.start(
            "save flags", find_damage.save_flags, changes, done=done, failed=failed, lasting=True
        )

    def _save_now(self) -> None:
        """Save what has changed since; the dock is closing."""
        flags = self.session.flags
        if flags.saving is self:  # it is done, and done() was not called
            flags.saving = None
        while flags.saving is None and (found := flags.first_unsaved()) is not None:
            find_damage.save_flags(found[1])
            flags.note_saved(*found)

    def close_session(self) -> None:
        """Stop and wait for the threads, save what is left, stop listening."""
        self._save_timer.stop()
        super().close_session()
        try:
            self._save_now()
        except Exception as error:
            self.messages.fail(error)
