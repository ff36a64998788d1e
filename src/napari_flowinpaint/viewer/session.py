"""What one viewer is working on: evented state, no Qt.

Responsible for: one session per viewer, and what would be lost when it closes. The current stack,
section and mask are in :mod:`.targeting`, the course of a repair in :mod:`.repairing`, removed
layers in :mod:`.removal`. Not responsible for threads (``widgets/parts/jobs.py``) or forms.

All methods are called from the GUI thread. One session per viewer, found by :func:`session_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..core.batch.records import ACCEPTED, UNDECIDED
from .removal import Removing
from .state.search_settings import SearchSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from ..core.detection.flag_table import Flagged
    from ..core.masks.sparse_mask import SparseMask

_sessions: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Return the session of a viewer, a new one the first time.

    Parameters
    ----------
    viewer
        The viewer, or the proxy of it that napari hands to plugins.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    session = _sessions.get(viewer)
    if session is None:
        session = _sessions[viewer] = Session(viewer)
    return session


class Session(Removing):
    """All state of one viewer.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    search
        What to search for.
    closing
        Whether the user has agreed just now that what is unsaved is lost.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.search = SearchSettings()
        self.closing = False
        self.follow(viewer)

    def undo(self, *, back: bool) -> None:
        """Take back the last change of the mask, or do it again, whatever layer is selected.

        Another labels layer that is selected has its own.
        """
        other, own = self.other_labels, self.mask_layer
        if other is not None:
            (other.undo if back else other.redo)()
        elif own is not None:
            self.masks.step(own, back=back)

    @property
    def other_labels(self) -> Labels | None:
        """The labels layer that is selected, if it is none of our masks."""
        from napari.layers import Labels

        active = self.viewer.layers.selection.active
        ours = self.masks.image_of(active) is not None
        return active if isinstance(active, Labels) and not ours else None

    def kept(self, image: Image) -> tuple[tuple[Flagged, ...], SparseMask | None]:
        """Return the list and the mask, frozen, that follow a stack into a copy of it."""
        flags, mask = self.flags.of(image), self.masks.mask(image)
        if mask is not None:
            mask.commit()
        return (() if flags is None else flags.list.rows), None if mask is None else mask.frozen()

    def lost_of_batch(self, decision: str) -> int:
        """Return how many repairs of batches would be lost: the stack has no file to stage beside.

        Parameters
        ----------
        decision
            What was decided about them.
        """
        lost = 0
        for image in self.viewer.layers:
            flags = self.flags.of(image)
            if flags is not None and not flags.store.lasting:
                lost += len(self.batch.of(image).not_copied(decision))
        return lost

    def unsaved(self) -> list[str]:
        """Return in words what would be lost if the viewer closed; empty if nothing."""
        accepted = self.accepted.unsaved_count + self.lost_of_batch(ACCEPTED)
        waiting = self.review.count + self.lost_of_batch(UNDECIDED)
        found = (
            (accepted, "accepted repair", "accepted repairs"),
            (waiting, "repair waiting for review", "repairs waiting for review"),
            (
                self.flags.lost_count,
                "mask or list of flagged sections",
                "masks or lists of flagged sections",
            ),
        )
        return [f"{n} {many if n > 1 else one}" for n, one, many in found if n]
