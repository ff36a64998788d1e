"""What the docks about damage have in common: the flagged sections are opened, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from .. import damage_work
from ..session import session_of
from ..warm_up import bring_back
from ._calm import warm_up_soon
from ._closing import WindowWatch
from ._jobs import JobRunner
from ._keys import Keys
from ._messages import Messages
from ._painting import paint_windows_later
from ._progress import ProgressRow
from ._questions import may_close
from ._scrolling import ScrollColumn
from ._steps import Steps
from ._target import TargetLine

if TYPE_CHECKING:
    from ..flag_store import Kept

#: Milliseconds without a change before the list and the mask are kept.
_CALM = 800


class DamageDock(QWidget):
    """A dock with a target line above, progress and messages below.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    shown
        Kinds of jobs whose progress is shown.
    """

    def __init__(self, napari_viewer: Any, shown: tuple[str, ...]) -> None:
        super().__init__()
        paint_windows_later()
        self.session = session_of(napari_viewer)
        self.jobs = JobRunner(self)
        self.messages = Messages(keeps_room=True)
        self.keys = Keys(self.session.viewer)
        self.target = TargetLine(self.session, self.jobs, self.messages)
        self.progress_row = ProgressRow(self.jobs, self.messages, ("open", "flags", *shown))
        self.cancel_button = self.progress_row.cancel_button
        self._opening = Steps(self.messages.fail, self)
        self._calm = QTimer(self)
        self._calm.setSingleShot(True)
        self._calm.setInterval(_CALM)
        self._calm.timeout.connect(self._save)
        self.setMinimumWidth(376)

    def lay_out(self, *widgets: QWidget, stretch: bool = True) -> None:
        """Put widgets between the target line and the progress; ``stretch``: room below them."""
        self.scroll = ScrollColumn(self.target, *widgets, stretch=stretch)
        box = QVBoxLayout(self)
        box.addWidget(self.scroll, stretch=1)
        box.addWidget(self.progress_row)
        box.addWidget(self.messages)

    def begin(self) -> None:
        """Start to listen; the last step of a constructor."""
        self.session.target_changed.connect(self._open_flags)
        self.session.flags.changed.connect(self._changed)
        self.session.masks.changed.connect(self._changed)
        self._watch = WindowWatch(self, self.close_session, lambda: may_close(self, self.session))
        warm_up_soon()
        self._open_flags()

    # ---- what is kept

    @property
    def is_opening(self) -> bool:
        """Whether what is kept is still being shown."""
        return self._opening.running

    def _open_flags(self) -> None:
        """Open what is kept of the flagged sections of the stack, if nobody did yet."""
        image, stack = self.session.image, self.session.stack
        if image is None or stack is None or self.session.flags.of(image) is not None:
            return

        def done(kept: Kept) -> None:
            self._opening.start(self.session.flags.opening(image, kept))
            rows = len(kept.rows)
            told = f"{rows} flagged rows, kept in {kept.store.folder}" if rows else ""
            if self.session.image is image:
                self.messages.say(told)

        self.jobs.start(
            "flags", damage_work.open_flags, stack, done=done, failed=self.messages.fail, calm=True
        )

    def _changed(self) -> None:
        """Wait until nothing changes any more."""
        self._calm.start()

    def _save(self) -> None:
        """Keep what has changed, in a thread; one dock at a time, one stack after the other."""
        flags = self.session.flags
        found = flags.first_unsaved()
        if found is None:
            return
        if flags.saving is not None:
            self._calm.start()
            return
        image, unsaved = found
        flags.saving = self

        def done(areas: dict[int, dict[str, float]]) -> None:
            flags.saving = None
            flags.note_saved(image, unsaved)
            known = flags.of(image)
            if known is not None and areas:
                known.list.set_areas(areas)
            self._calm.start()  # there may be more

        def failed(error: Exception) -> None:
            flags.saving = None
            self.messages.fail(error)

        self.jobs.start(
            "keep", damage_work.save_flags, unsaved, done=done, failed=failed, lasting=True
        )

    def _save_now(self) -> None:
        """Keep what has changed since; the dock is closing."""
        flags = self.session.flags
        if flags.saving is self:  # it is done, and nobody was told
            flags.saving = None
        while flags.saving is None and (found := flags.first_unsaved()) is not None:
            damage_work.save_flags(found[1])
            flags.note_saved(*found)

    def close_session(self) -> None:
        """Stop and wait for the threads, keep what is left, stop listening."""
        self._calm.stop()
        self._opening.finish()
        self.jobs.stop()
        self.keys.release()
        try:
            self._save_now()
        except Exception as error:
            self.messages.fail(error)
        bring_back()
        self.target.disconnect_session()
        self.session.target_changed.disconnect(self._open_flags)
        self.session.flags.changed.disconnect(self._changed)
        self.session.masks.changed.disconnect(self._changed)
