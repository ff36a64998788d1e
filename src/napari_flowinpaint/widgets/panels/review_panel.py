"""Look at a repair, stage by stage and component by component; accept or discard it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from ...viewer.tasks import one_section
from ...viewer.tasks.review import Component
from ..parts.components import ComponentTable
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_write
from ..parts.stage_buttons import StageButtons
from ..parts.steps import Steps
from ..parts.wording import counted

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...core.types import SectionRepair
    from ...viewer.session import Session


class ReviewPanel(QGroupBox):
    """Stage buttons, the table of components, Accept and Discard.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Review")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.waiting = QComboBox()
        self.headline = QLabel()
        self.stage_buttons = StageButtons(session.review)
        self.stages = self.stage_buttons.group
        self.table = ComponentTable()
        self.all_button = QPushButton("All")
        self.none_button = QPushButton("None")
        self.accept_button = QPushButton("Accept")
        self.discard_button = QPushButton("Discard")
        self.question: QMessageBox | None = None
        self._steps = Steps(messages.fail, self)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.headline.setWordWrap(True)
        box = QVBoxLayout(self)
        self.waiting.setToolTip("Repairs that wait until you accept or discard them")
        self.waiting.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        box.addWidget(self.waiting)
        box.addWidget(self.headline)
        box.addWidget(self.stage_buttons)
        box.addWidget(self.table)
        row = QHBoxLayout()
        self.all_button.setToolTip("Tick every component")
        self.none_button.setToolTip("Untick every component")
        self.accept_button.setToolTip(
            "Write the ticked components into the stack; Revert undoes this"
        )
        self.discard_button.setToolTip("Drop this repair without writing anything")
        for button in (self.all_button, self.none_button, self.accept_button, self.discard_button):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            row.addWidget(button)
        box.addLayout(row)

    def _connect(self) -> None:
        self.table.components.ticked.connect(self._on_ticked)
        self.table.picked.connect(self._on_picked)
        self.waiting.activated.connect(self._on_chosen)
        self.all_button.clicked.connect(self._tick_all)
        self.none_button.clicked.connect(self._tick_none)
        self.accept_button.clicked.connect(self.accept)
        self.discard_button.clicked.connect(self.discard)
        self.jobs.changed.connect(self.refresh)
        self.session.review.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    # ---- looking

    def _on_chosen(self, row: int) -> None:
        """Go to a repair that waits."""
        image, review = self.session.image, self.waiting.itemData(row)
        if image is not None and review is not None:
            self._steps.start(self.session.resume_review(image, review))

    def _show_waiting(self) -> None:
        """List the repairs that wait, where there are others than the one under review."""
        current = self.session.review.current
        found = self.session.review.waiting(self.session.image)
        self.waiting.clear()
        if current not in found:
            self.waiting.addItem(f"{counted(len(found), 'repair')} waiting…", None)
        for review in found:
            size = counted(len(review.components), "component")
            self.waiting.addItem(f"section {review.z} · {size} · waiting", review)
        if current in found:
            self.waiting.setCurrentIndex(found.index(current))
        self.waiting.setVisible(len(found) > (current in found))

    def _on_picked(self, component: Component) -> None:
        self.session.review.center_on(component)

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
        """Forget the repair under review."""
        self.session.close_review()
        self.messages.say("the repair was discarded; nothing was written")

    @guarded
    def accept(self) -> None:
        """Write the ticked components, after asking once per stack; or accept them unsaved."""
        image, stack, repair = self.session.request_accept()
        if not stack.writable:
            self.session.accept_unsaved()
            self.messages.notify(
                f"section {repair.z}: accepted, but not saved yet, because {stack.name} cannot be "
                "repaired in place; press Save as OME-Zarr…"
            )
        elif self.session.accepted.agreed(image):
            self._write(image, stack, repair)
        else:
            self._ask(image, stack, repair)

    def _ask(self, image: Image, stack: Stack, repair: SectionRepair) -> None:
        """Ask whether the stack may be changed, without holding up the viewer."""

        def answered(yes: bool) -> None:
            self.question = None
            if yes:
                self.session.accepted.agree(image)
                self._write(image, stack, repair)
            else:
                self.messages.say("nothing was written")

        self.question = ask_to_write(self, stack, answered)

    def _write(self, image: Image, stack: Stack, repair: SectionRepair) -> None:
        review = self.session.review.current
        total = len(review.components) if review is not None else 0
        count = len(repair.component_ids)

        def done(history: one_section.StackHistory) -> None:
            self.session.finish_accept(image, stack, repair, history)
            rest = f"; {total - count:,} rejected and left in the mask" if count < total else ""
            self.messages.notify(
                f"section {repair.z}: wrote {counted(count, 'component')} "
                f"({counted(repair.provenance.mask_pixels, 'pixel')}), marked as synthetic{rest}",
                history.notes,
            )

        failed = self.messages.fail
        self.jobs.start(
            "accept", one_section.accept, stack, repair, done=done, failed=failed, lasting=True
        )

    # ---- state

    def refresh(self) -> None:
        """Show what is under review."""
        self._show_waiting()
        review = self.session.review.current
        if review is None:
            self.headline.setText("Nothing to review.")
            self.table.components.show((), set())
        else:
            count = len(review.components)
            self.headline.setText(
                f"Section {review.z}: {len(review.accepted):,} of {counted(count, 'component')} "
                "ticked. Hold H for the original, press N for the next stage."
            )
            self.table.components.show(review.components, review.accepted)
        busy = self.jobs.is_running("repair", "accept", "revert", "save")
        self.accept_button.setEnabled(review is not None and not busy)
        writing = self.jobs.is_running("accept")
        self.discard_button.setEnabled(review is not None and not writing)
        self.table.setEnabled(review is not None and not writing)
        for button in (self.all_button, self.none_button):
            button.setEnabled(review is not None)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        if self.question is not None:
            self.question.close()
        self._steps.stop()
        self.session.review.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
        self.stage_buttons.disconnect_session()
