"""Do what takes long in the GUI thread step by step, so that the viewer goes on in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from ._painting import canvases, is_to_paint, painted_later

#: Milliseconds between two steps, for the event loop to paint and to react.
_PAUSE = 20
#: Milliseconds by which a step comes late after something that took long, and how often it makes
#: way once more then, for what else is due by now.
_LATE, _PATIENCE = 5, 3


class Steps(QObject):
    """Exhausts an iterator, one step at a time; another one replaces it.

    Parameters
    ----------
    failed
        Called with what a step raises.
    parent
        Qt parent, in the window whose canvas the steps change.

    Attributes
    ----------
    ended
        Signal: there is nothing left to do.
    """

    ended = Signal()
    _last = 0.0  # when any of them did a step

    def __init__(self, failed: Callable[[Exception], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._failed, self._widget = failed, parent
        self._steps: Iterator[None] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)
        self._due = 0.0
        self._late = 0  # times on end

    def start(self, steps: Iterator[None]) -> None:
        """Begin, soon."""
        self._steps = steps
        canvases.steps.add(self)
        self._wait(_PAUSE)

    @property
    def running(self) -> bool:
        """Whether there are steps to do."""
        return self._steps is not None

    def stop(self) -> None:
        """Do no more."""
        self._steps = None
        canvases.steps.discard(self)
        self._timer.stop()

    def finish(self) -> None:
        """Do the rest at once."""
        while self.running:
            self._step()

    def _wait(self, milliseconds: int) -> None:
        self._due = time.monotonic() + milliseconds / 1000
        self._timer.start(milliseconds)

    def _next(self) -> None:
        now = time.monotonic()
        late = 1000 * (now - self._due) > _LATE and self._late < _PATIENCE
        self._late = self._late + 1 if late else 0
        if late or is_to_paint() or 1000 * (now - Steps._last) < _PAUSE / 2:
            self._wait(_PAUSE // 4)  # another has just done one, or it is not painted
        else:
            with painted_later(self._widget):
                self._step()

    def _step(self) -> None:
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self.stop()
            self.ended.emit()
        except Exception as error:
            self.stop()
            self._failed(error)
            self.ended.emit()
        else:
            self._wait(_PAUSE)
        Steps._last = time.monotonic()
