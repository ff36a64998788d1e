"""Show several layers one by one, one per iteration of the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qtpy.QtCore import QObject, QTimer, Signal


class Steps(QObject):
    """Exhausts an iterator, one step per iteration of the event loop; another one replaces it.

    Parameters
    ----------
    failed
        Called with what a step raises.
    parent
        Qt parent.

    Attributes
    ----------
    ended
        Signal: there is nothing left to do.
    """

    ended = Signal()

    def __init__(self, failed: Callable[[Exception], None], parent: QObject) -> None:
        super().__init__(parent)
        self._failed = failed
        self._steps: Iterator[object] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._step)

    def start(self, steps: Iterator[object]) -> None:
        """Begin, in the next iteration."""
        self._steps = steps
        self._timer.start(0)

    @property
    def running(self) -> bool:
        """Whether there are steps to do."""
        return self._steps is not None

    def stop(self) -> None:
        """Do no more."""
        self._steps = None
        self._timer.stop()

    def finish(self) -> None:
        """Do the rest at once."""
        while self.running:
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
            self._timer.start(0)
