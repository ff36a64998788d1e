"""Open what is kept beside a stack, its flagged sections and masks, and save what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from ...viewer.tasks import find_damage
from .jobs import JobRunner
from .messages import Messages
from .wording import counted

if TYPE_CHECKING:
    from ...viewer.session import Session
    from ...viewer.tasks.find_damage import SavedFlags
    from ...viewer.tasks.flag_store import StoredFlags

#: Milliseconds without a change before the list and the mask are saved.
_PAUSE = 800


class Keeper(QObject):
    """Keeps the list and the mask of the stack; every dock where one can paint has one.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__(jobs)
        self.session, self.jobs, self.messages = session, jobs, messages
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._save)
        session.target_changed.connect(self.open)
        session.flags.changed.connect(self._changed)
        session.masks.changed.connect(self._changed)
        session.viewer.layers.events.removing.connect(self._on_removing)
        self.open()

    def open(self) -> None:
        """Open what is stored of the stack, if nobody did yet."""
        image, stack = self.session.image, self.session.stack
        if image is None or stack is None or self.session.flags.of(image) is not None:
            return

        def done(stored: StoredFlags) -> None:
            if image not in self.session.viewer.layers:
                return
            self.session.flags.open(image, stored)
            rows = len(stored.rows)
            if self.session.image is image:
                where = stored.store.folder
                self.messages.mention(
                    f"{counted(rows, 'flagged row')}, kept in {where}" if rows else ""
                )

        def failed(error: Exception) -> None:
            self.session.flags.give_up(image)
            self.messages.fail(error)

        self.jobs.start("flags", find_damage.open_flags, stack, done=done, failed=failed)

    def _changed(self) -> None:
        """Wait until nothing changes any more."""
        self._timer.start()

    def _on_removing(self, event: Any) -> None:
        """Save what is left of a stack at once: its layer, or its mask, is about to go."""
        layer = self.session.viewer.layers[event.index]
        flags = self.session.flags
        flags.hold(self.session.masks.image_of(layer) or layer)
        self._save_now()

    def _save(self) -> None:
        """Save what has changed, in a thread; one dock at a time, one stack after the other."""
        flags = self.session.flags
        found = flags.first_unsaved()
        if found is None:
            return
        if flags.saving is not None:
            self._timer.start()
            return
        image, changes = found
        flags.saving = self

        def done(saved: SavedFlags) -> None:
            flags.saving = None
            before = flags.has_failed(image)
            others = flags.note_saved(image, changes, saved)
            known = flags.of(image)
            if known is not None and saved.areas:
                known.list.set_areas(saved.areas)
            if others:
                self.messages.notify(
                    f"another window works on {image.name} too: what it has saved of the list and "
                    "the mask is shown here as well"
                )
            elif before:
                self.messages.say("the list and the mask could be saved now")
            self._timer.start()  # there may be more

        def failed(error: Exception) -> None:
            flags.saving = None
            flags.note_failed(image, changes)
            self.messages.fail(error)

        self.jobs.start(
            "save flags",
            find_damage.save_flags,
            changes,
            done=done,
            failed=failed,
            lasting=True,
            about=image,
        )

    def _save_now(self) -> None:
        """Save what has changed since, and tell what could not be saved."""
        error = self.session.flags.save_now()
        if error is not None:
            self.messages.fail(error)

    def disconnect_session(self) -> None:
        """Save what is left and stop listening; the threads of the dock have ended."""
        self._timer.stop()
        self.session.target_changed.disconnect(self.open)
        self.session.flags.changed.disconnect(self._changed)
        self.session.masks.changed.disconnect(self._changed)
        self.session.viewer.layers.events.removing.disconnect(self._on_removing)
        if self.session.flags.saving is self:  # it is done, and done() was not called
            self.session.flags.saving = None
        self._save_now()
