"""Make and edit the mask of the section that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QGridLayout,
    QGroupBox,
    QPushButton,
    QSizePolicy,
    QSpinBox,
)

from ...core.errors import InputError
from ...viewer.layers import zyx_shape
from ...viewer.tasks import mask_tools
from ..parts.damage_line import DamageLine
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.scrolling import ROW_SPACING
from .load_mask import LoadMask
from .mask_menu import MaskTools

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.masks.sparse_mask import SectionTiles
    from ...viewer.session import Session

#: Of the grid of buttons: some need more room than others.
_COLUMNS = 48
#: The kind that sections with a gap are flagged as.
_GAP_KIND = "missing"


class MaskPanel(QGroupBox):
    """Buttons for the mask, and a line that says what is damaged.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Damage mask")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.new_button = QPushButton("New mask")
        self.loading = LoadMask(session, jobs, messages)
        self.grow_button = QPushButton("Grow")
        self.shrink_button = QPushButton("Shrink")
        self.pixels = QSpinBox()
        self.clear_button = QPushButton("Clear")
        self.invert_button = QPushButton("Invert")
        self.every_button = QPushButton("Spread")
        self.undo_button = QPushButton("Undo")
        self.redo_button = QPushButton("Redo")
        self.missing_button = QPushButton("Missing")
        self.tools = MaskTools(session, jobs, messages)
        self.status = DamageLine(session, jobs)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.new_button.setToolTip("An empty mask to paint on with napari's brush.")
        for button in (self.grow_button, self.shrink_button):
            button.setToolTip("Grow or shrink the mask of the current section.")
        self.every_button.setToolTip(
            "This damage is in every section (a seam, a detector gap, a curtain): mask it in all "
            "of them and flag them as damaged, to fill the gap."
        )
        self.undo_button.setToolTip(
            "Undo the last change of the mask, in whatever section (Ctrl+Z)."
        )
        self.redo_button.setToolTip("Redo the change that was undone (Ctrl+Shift+Z).")
        self.missing_button.setToolTip("The whole section is missing, or too bad to keep: mask it.")
        self.pixels.setRange(1, 200)
        self.pixels.setValue(3)
        self.pixels.setSuffix(" px")
        self.pixels.setToolTip("Distance to grow or shrink, in pixels.")
        grid = QGridLayout(self)
        rows = (
            ((self.new_button, 16), (self.loading, 16), (self.missing_button, 16)),
            (
                (self.grow_button, 8),
                (self.shrink_button, 9),
                (self.pixels, 14),
                (self.invert_button, 9),
                (self.clear_button, 8),
            ),
            (
                (self.undo_button, 8),
                (self.redo_button, 8),
                (self.every_button, 18),
                (self.tools, 14),
            ),
        )
        for row, widgets in enumerate(rows):
            column = 0
            for widget, width in widgets:
                widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
                grid.addWidget(widget, row, column, 1, width)
                column += width
        grid.setHorizontalSpacing(2)
        grid.setVerticalSpacing(ROW_SPACING)
        grid.addWidget(self.status, len(rows), 0, 1, _COLUMNS)
        for column in range(_COLUMNS):
            grid.setColumnStretch(column, 1)

    def _connect(self) -> None:
        self.new_button.clicked.connect(self.new_mask)
        self.grow_button.clicked.connect(self._grow)
        self.shrink_button.clicked.connect(self._shrink)
        self.clear_button.clicked.connect(self._clear)
        self.invert_button.clicked.connect(self._invert)
        self.missing_button.clicked.connect(self.mark_missing)
        self.every_button.clicked.connect(self.spread)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self.session.masks.changed.connect(self.refresh)
        self.session.flags.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)
        self.session.section_changed.connect(self.refresh)
        for chosen in (self.session.settings.events.max_gap, self.session.settings.events.method):
            chosen.connect(self.refresh)

    # ---- making a mask

    @guarded
    def new_mask(self) -> None:
        """Make an empty mask and select the brush; or paint on the mask that there is."""
        image = self.session.require_image()
        self.loading.replace(image, None, self._say_how_to_paint, self._paint)

    @guarded
    def _paint(self) -> None:
        """Paint on the mask that there is."""
        self.session.masks.brush(self.session.require_image())
        self._say_how_to_paint()

    def _say_how_to_paint(self) -> None:
        self.messages.say("paint over the damage; Shift and the wheel change the brush size")

    # ---- editing

    @guarded
    def _grow(self) -> None:
        self.edit("grow")

    @guarded
    def _shrink(self) -> None:
        self.edit("shrink")

    @guarded
    def _clear(self) -> None:
        self.edit("clear")

    @guarded
    def _invert(self) -> None:
        self.edit("invert")

    def edit(self, operation: str) -> None:
        """Grow, shrink, clear or invert the mask of the section that is shown, in a thread."""
        layer = self.session.require_mask()
        image, z = self.session.require_image(), self.session.require_section()
        mask = layer.data
        mask.commit()
        version = mask.version(z)

        def done(tiles: SectionTiles) -> None:
            current = self.session.masks.mask(image)
            if current is None or current is not mask:
                return
            if current.version(z) != version:
                raise InputError(
                    f"the mask changed in the meantime; press {operation.capitalize()} again."
                )
            self.session.masks.edit(image, z, tiles)

        self.jobs.start(
            "edit",
            mask_tools.edit_mask,
            mask.frozen(),
            z,
            operation,
            self.pixels.value(),
            done=done,
            failed=self.messages.fail,
        )

    @guarded
    def mark_missing(self) -> None:
        """Mask the whole section that is shown."""
        image = self.session.require_image()
        self.session.require_section()
        if self.session.masks.layer(image) is None:
            self.session.check_settled(image)
            self.session.masks.new(image, paint=False)
        self.edit("missing")

    @guarded
    def spread(self) -> None:
        """Mask the damage of the section that is shown in every section, and flag them all."""
        layer = self.session.require_mask()
        image, z = self.session.require_image(), self.session.require_section()
        mask = layer.data
        mask.commit()
        frozen = mask.frozen()
        if frozen.damaged_box(z) is None:
            raise InputError(f"section {z} has no mask; paint the gap there first.")

        def done(found: tuple[int, dict[int, SectionTiles]]) -> None:
            same = self.session.masks.mask(image) is mask
            if not same or any(mask.version(n) != frozen.version(n) for n in found[1]):
                raise InputError("the mask changed in the meantime; press Spread again.")
            self.session.masks.edit_all(image, found[1])
            self.messages.say(self._flag_all(image))

        self.jobs.start(
            "edit", mask_tools.spread_mask, frozen, z, done=done, failed=self.messages.fail
        )

    def _flag_all(self, image: Image) -> str:
        """Flag every section as damaged; return what to do next."""
        depth = zyx_shape(image)[0]
        text = f"masked in all {depth:,} sections; Repair fills the gap in this section"
        flags = self.session.flags.of(image)
        if flags is None:
            return text
        flags.list.flag(range(depth), _GAP_KIND)
        return f"{text}, a batch in the dock Flagged sections fills it in all"

    @guarded
    def undo(self) -> None:
        """Take back the last change of the mask."""
        mask = self.session.require_mask()
        if not self.session.masks.can_step(self.session.image, back=True):
            raise InputError("there is no change of the mask to undo.")
        self.session.masks.step(mask, back=True)

    @guarded
    def redo(self) -> None:
        """Do the last undone change of the mask again."""
        self.session.masks.step(self.session.require_mask(), back=False)

    # ---- status

    def refresh(self) -> None:
        """Enable what can be done, and count the damage as soon as nothing changes any more."""
        mask = self.session.mask
        settled = self.session.flags.is_settled(self.session.image)
        for button in (self.new_button, self.loading, self.missing_button, self.tools):
            button.setEnabled(settled)
        for button in (
            self.grow_button,
            self.shrink_button,
            self.clear_button,
            self.invert_button,
            self.every_button,
        ):
            button.setEnabled(mask is not None)
        masks, image = self.session.masks, self.session.image
        self.undo_button.setEnabled(masks.can_step(image, back=True))
        self.redo_button.setEnabled(masks.can_step(image, back=False))
        self.status.refresh()

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.status.stop()
        self.tools.disconnect_session()
        self.loading.stop()
        self.session.masks.changed.disconnect(self.refresh)
        self.session.flags.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
        self.session.section_changed.disconnect(self.refresh)
        for chosen in (self.session.settings.events.max_gap, self.session.settings.events.method):
            chosen.disconnect(self.refresh)
