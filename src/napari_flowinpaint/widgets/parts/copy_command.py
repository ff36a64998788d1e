"""A button that copies the command line which does the same as the button beside it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QPushButton

from ...viewer.tasks.as_command import (
    AcceptedRequest,
    CommandRequest,
    CopiedCommand,
    repair_command,
)
from .jobs import JobRunner
from .messages import Messages, guarded


class CopyCommand(QPushButton):
    """The button.

    Parameters
    ----------
    jobs, messages
        Threads and status line of the dock.
    request
        Returns what the command is to do, or raises ``InputError``.
    """

    def __init__(
        self,
        jobs: JobRunner,
        messages: Messages,
        request: Callable[[], CommandRequest | AcceptedRequest],
    ) -> None:
        super().__init__("Copy command")
        self.jobs, self.messages, self._request = jobs, messages, request
        self.setToolTip(
            "Copy the command line that does the same, for a script or a cluster; the mask is "
            "saved beside the stack."
        )
        self.clicked.connect(self.copy)

    @guarded
    def copy(self) -> None:
        """Save the mask in a thread, then put the command onto the clipboard."""

        def done(copied: CopiedCommand) -> None:
            clipboard = QGuiApplication.clipboard()
            if clipboard is not None:
                clipboard.setText(copied.text)
            self.messages.say(f"copied the command; its mask is {copied.mask}")

        self.jobs.start(
            "command",
            repair_command,
            self._request(),
            done=done,
            failed=self.messages.fail,
            lasting=True,
        )
