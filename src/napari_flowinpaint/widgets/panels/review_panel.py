"""Look at a repair, stage by stage and component by component; accept or discard it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from ...core.batch import StagedSection
from ...viewer.tasks.many_sections import ACCEPTED, REJECTED
from ...viewer.tasks.refusals import RefusedPlace
from ...viewer.tasks.review import Component, Review
from ..parts.component_window import open_component
from ..parts.components import ComponentTable
from ..parts.deciding import Deciding
from ..parts.jobs import JobRunner
from ..parts.marking import mark_damaged
from ..parts.messages import Messages, guarded
from ..parts.refusal_box import RefusalBox
from ..parts.repair_table import Pending, RepairTable, key_of
from ..parts.scrolling import ROW_SPACING
from ..parts.stage_buttons import StageButtons, share_of
from ..parts.wording import counted

if TYPE_CHECKING:
    from napari.layers import Image

    from ...viewer.session import Session

#: Height of the list of repairs: its header and three rows, pixels.
_LIST_HEIGHT = 96


class ReviewPanel(QGroupBox):
    """Repairs to decide about, stage buttons, components, Accept and Discard, what was refused.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Review")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.waiting = RepairTable()
        self.headline = QLabel()
        self.stage_buttons = StageButtons(session.review)
        self.stages = self.stage_buttons.group
        self.table = ComponentTable()
        self.all_button = QPushButton("All")
        self.none_button = QPushButton("None")
        self.closer_button = QPushButton("Closer")
        self.accept_button = QPushButton("Accept")
        self.discard_button = QPushButton("Discard")
        self.refusal = RefusalBox()
        self.deciding = Deciding(self, session, jobs, messages)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.headline.setWordWrap(True)
        box = QVBoxLayout(self)
        box.setSpacing(ROW_SPACING)
        self.waiting.setFixedHeight(_LIST_HEIGHT)
        box.addWidget(self.waiting)
        box.addWidget(self.headline)
        box.addWidget(self.stage_buttons)
        box.addWidget(self.table)
        row = QHBoxLayout()
        self.all_button.setToolTip("Tick every component.")
        self.none_button.setToolTip("Untick every component.")
        self.accept_button.setToolTip(
            "Write the ticked components into the stack; Revert undoes this."
        )
        self.discard_button.setToolTip("Drop this repair without writing anything.")
        self.closer_button.setToolTip("Each component magnified, its stages side by side.")
        for button in (
            self.all_button,
            self.none_button,
            self.closer_button,
            self.accept_button,
            self.discard_button,
        ):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            row.addWidget(button, stretch=share_of(button))
        box.addLayout(row)
        box.addWidget(self.refusal)  # below: it pushes nothing out of sight

    def _connect(self) -> None:
        self.table.components.ticked.connect(self._on_ticked)
        self.table.picked.connect(self._on_picked)
        self.waiting.picked.connect(self._on_chosen)
        self.refusal.marked.connect(self._mark)
        self.all_button.clicked.connect(self._tick_all)
        self.none_button.clicked.connect(self._tick_none)
        self.closer_button.clicked.connect(self.show_components)
        self.table.doubleClicked.connect(self._on_double_click)
        self.accept_button.clicked.connect(self.accept)
        self.discard_button.clicked.connect(self.discard)
        self.jobs.changed.connect(self.refresh)
        self.session.review.changed.connect(self._on_review)
        self.session.refusals.changed.connect(self.refresh)
        self.session.batch.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    # ---- looking

    def _on_chosen(self, row: Pending) -> None:
        """Go to a repair that is to be decided about."""
        self.messages.release()
        try:
            self.deciding.open(row, self._is_chosen)
        except Exception as error:
            self.messages.fail(error)

    def _is_chosen(self, z: int) -> bool:
        current = self.waiting.current
        return current is not None and current.z == z

    def _show_pending(self) -> None:
        """List the repairs to decide about, where there are others than the one under review."""
        review = self.session.review
        rows = self.session.pending(self.session.image)
        self.waiting.show_rows(rows)
        self.waiting.setVisible(bool(rows) and rows != (review.current,))

    def _on_review(self) -> None:
        """Show what is under review, and point at it in the list."""
        self.refresh()
        review = self.session.review
        if review.current is not None and review.image is self.session.image:
            z = review.current.z
            self.waiting.select(z if review.staged else key_of(review.current), pick=False)
        else:
            self.waiting.clearSelection()

    def _on_picked(self, component: Component | RefusedPlace) -> None:
        if isinstance(component, RefusedPlace):
            self.session.refusals.center_on(component)
            self._show_refusal(component)
        else:
            self.session.review.center_on(component)

    def show_components(self) -> None:
        """Open the components of the repair, magnified."""
        open_component(self, self.session)

    def _on_double_click(self, index: QModelIndex) -> None:
        component = self.table.components.component(index.row())
        if isinstance(component, Component):
            open_component(self, self.session, component.number)

    def _on_ticked(self, number: int, on: bool) -> None:
        self.session.review.set_accepted({number}, on)

    @guarded
    def _tick_all(self) -> None:
        self._tick_every(True)

    @guarded
    def _tick_none(self) -> None:
        self._tick_every(False)

    def _tick_every(self, on: bool) -> None:
        review = self.session.review.current
        if review is not None:
            self.session.review.set_accepted({c.number for c in review.components}, on)

    # ---- deciding

    @guarded
    def discard(self) -> None:
        """Forget the repair under review; that of a batch is rejected."""
        found = self._staged()
        if found is None:
            self.deciding.discard()
        else:
            self.deciding.decide(*found, REJECTED)

    @guarded
    def accept(self) -> None:
        """Write the ticked components; a repair of a batch is accepted, and written with it."""
        found = self._staged()
        if found is None:
            self.deciding.accept()
        else:
            self.deciding.decide(*found, ACCEPTED)
            self.messages.say(f"section {found[1].z}: accepted; Write accepted writes it")

    def _staged(self) -> tuple[Image, StagedSection] | None:
        """Return the repair under review where it is of a batch, and the layer of its stack."""
        review = self.session.review
        if review.current is None or review.image is None or not review.staged:
            return None
        section = self.session.batch.of(review.image).find(review.current.z)
        return None if section is None else (review.image, section)

    @property
    def question(self) -> QMessageBox | None:
        """The question whether the stack may be written to, while it is open."""
        return self.deciding.question

    @property
    def is_showing(self) -> bool:
        """Whether layers of a repair are still being added."""
        return self.deciding.is_showing

    def _mark(self, sections: tuple[int, ...]) -> None:
        try:
            mark_damaged(self.session, self.jobs, self.messages, sections, "press Repair again")
        except Exception as error:
            self.messages.fail(error)

    # ---- state

    def refresh(self) -> None:
        """Show what is under review."""
        self._show_pending()
        review, refusals = self.session.review.current, self.session.refusals
        same = review is None or review.z == refusals.z
        left = refusals.places if same and refusals.image is self.session.image else ()
        if review is None:
            all_left = f"Section {refusals.z}: all of its damage was refused."
            self.headline.setText(all_left if left else "Nothing to review.")
            self.table.components.show((), set(), left)
        else:
            count, image = len(review.components), self.session.review.image
            where = "Section"
            if image is not None and image is not self.session.image:
                where = f"{image.name}, section"
            self.headline.setText(
                f"{where} {review.z}: {len(review.accepted):,} of {counted(count, 'component')} "
                "ticked. Hold H: original; N: next stage; B: a line to drag."
            )
            self.table.components.show(review.components, review.accepted, left)
        self._show_refusal()
        self._enable(review)

    def _show_refusal(self, place: RefusedPlace | None = None) -> None:
        """Say what was refused; of several reasons that of the place that was clicked."""
        refusals = self.session.refusals
        if not refusals.places or refusals.image is not self.session.image:
            self.refusal.show_reason("", "")
            return
        place = place or refusals.places[0]
        count = sum(other.reason == place.reason for other in refusals.places)
        subject = f"{counted(count, 'component')} of section {refusals.z}"
        self.refusal.show_reason(subject, place.reason)

    def _enable(self, review: Review | None) -> None:
        """Enable what can be done."""
        busy = self.jobs.is_running("repair", "accept", "revert", "save")
        self.accept_button.setEnabled(review is not None and not busy)
        writing = self.jobs.is_running("accept")
        self.refusal.set_free(not busy)
        self.discard_button.setEnabled(review is not None and not writing)
        self.discard_button.setText("Reject" if self.session.review.staged else "Discard")
        self.table.setEnabled(self.table.components.rowCount() > 0 and not writing)
        for button in (self.all_button, self.none_button, self.closer_button):
            button.setEnabled(review is not None)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.deciding.stop()
        self.session.review.changed.disconnect(self._on_review)
        self.session.refusals.changed.disconnect(self.refresh)
        self.session.batch.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
        self.stage_buttons.disconnect_session()
