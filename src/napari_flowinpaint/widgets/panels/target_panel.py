"""The line that says which layer and which section is meant; it also opens the stack behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel

from ...core.errors import StackGone
from ...viewer import camera, layers
from ...viewer.tasks import loading, stack_repairs
from ...viewer.tasks.find_no_data import Outline, outline
from ..parts.jobs import JobRunner
from ..parts.messages import Messages
from ..parts.wording import access_of

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...viewer.session import Session

#: How long the slider rests before more is found out about a section, milliseconds.
_REST = 150


class TargetLine(QLabel):
    """What is worked on.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self._unusable: WeakSet[Image] = WeakSet()
        self._meant: Callable[[], Image | None] = lambda: None
        self._gone: WeakSet[Image] = WeakSet()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        session.target_changed.connect(self._on_target)
        session.section_changed.connect(self._show)
        session.passed_over.connect(self._show)
        # outlines are found when the slider rests
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self._outline)
        session.section_changed.connect(self._wait)
        self._on_target()

    def _on_target(self) -> None:
        """Open the stack behind a layer that was selected, and its journal, if nobody did yet."""
        image, stack = self.session.image, self.session.stack
        if image is not self._meant():
            self._meant = ref(image) if image is not None else lambda: None
            self.messages.release()
        if image is not None and stack is not None and not self.session.accepted.is_known(image):
            self._read_history(image, stack)
        if image is not None and stack is None:

            def done(opened: Stack) -> None:
                if self.session.image is image and self.session.stack is not None:
                    return  # another dock was faster
                self.session.set_stack(image, opened)
                if opened.messages:
                    self.messages.notify(" ".join(opened.messages))
                else:
                    self.messages.mention("")

            def failed(error: Exception) -> None:
                self._unusable.add(image)
                self._show()
                self.messages.fail(error)

            source = layers.source_of(image)
            self.jobs.start("open", loading.open_layer, source, done=done, failed=failed)
        self._wait()
        self._show()

    def _wait(self) -> None:
        self._rest.start()

    def _outline(self) -> None:
        """Show where the section was imaged, unless another dock does."""
        image, stack, z = self.session.image, self.session.stack, self.session.section
        if image is None or stack is None or z is None or not self.session.no_data.ask(stack, z):
            return

        def done(found: Outline) -> None:
            if self.session.image is image and self.session.section == z:
                self.session.no_data.show(image, z, found)

        failed = partial(self._no_outline, image)
        self.jobs.start("outline", outline, stack, z, done=done, failed=failed)

    def _no_outline(self, image: Image, error: Exception) -> None:
        """Say nothing: whoever needs the section will say that it cannot be read.

        Sections of a stack whose files are gone look black; of that it has to be told, once.
        """
        if isinstance(error, StackGone) and image not in self._gone:
            self._gone.add(image)
            self.messages.fail(error)

    def _read_history(self, image: Image, stack: Stack) -> None:
        """Show what was written to a stack, and where it is synthetic."""

        def done(history: stack_repairs.StackHistory) -> None:
            if not self.session.accepted.is_known(image):  # no other dock was faster
                self.session.accepted.record(image, stack, history)

        self.jobs.start(
            "history", stack_repairs.read_history, stack, done=done, failed=self.messages.fail
        )

    def _show(self) -> None:
        image, stack, z = self.session.image, self.session.stack, self.session.section
        why = layers.why_no_stack(self.session.viewer.layers.selection.active)
        why = f"{why[:1].upper()}{why[1:]}." if why else ""
        if image is None:
            self.setText(why or "Load a stack, or select an image layer with the axes z, y, x.")
            return
        depth = layers.zyx_shape(image)[0]
        where = f"section {z} of 0–{depth - 1}"
        if z is None:
            where = camera.why_no_section(self.session.viewer, image)
        if stack is None:
            access = "cannot be repaired" if image in self._unusable else "opening…"
        else:
            access = access_of(stack)
        self.setText("\n".join(filter(None, (f"{image.name}: {where} ({access})", why))))

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.session.target_changed.disconnect(self._on_target)
        self.session.section_changed.disconnect(self._show)
        self.session.passed_over.disconnect(self._show)
        self.session.section_changed.disconnect(self._wait)
        self._rest.stop()
