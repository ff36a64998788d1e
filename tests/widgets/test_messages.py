"""The status line and the notifications are short; what is longer is shown on demand."""

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_flowinpaint.widgets.parts.messages import Messages, toast_of

LONG = (
    "section 3 shows something other than section 4 (it agrees by 0.13, its mirror images by "
    "0.16); no other within 5 sections fits: align the stack there, or repair it anyway. "
) * 3


def shown(line):
    """Return what is written on a label, whatever it tells of itself."""
    return super(Messages, line).text()


def test_a_long_message_is_a_few_lines_until_it_is_clicked(qtbot):
    line = Messages()
    qtbot.addWidget(line)
    line.resize(340, 60)
    line.show()
    line.say(LONG)
    assert line.text().endswith("repair it anyway."), "it is there"
    assert shown(line).endswith("… (more)")
    assert line.sizeHint().height() < 4 * line.fontMetrics().lineSpacing() + 8
    qtbot.mouseClick(line, Qt.MouseButton.LeftButton)
    assert shown(line) == line.text()
    qtbot.mouseClick(line, Qt.MouseButton.LeftButton)
    assert shown(line).endswith("… (more)")
    line.say("short")
    assert shown(line) == "Short."


@pytest.mark.parametrize(
    ("text", "toast"),
    [
        (LONG, "Section 3 shows something other than…"),
        (
            "section 3: wrote 2 components (9 pixels), marked",
            "Section 3: wrote 2 components, marked.",
        ),
        ("saved a copy\nNote: its pyramid was smoothed", "Saved a copy."),
        ("section 3: accepted; Write accepted writes it", "Section 3: accepted."),
    ],
)
def test_a_notification_is_one_short_line(qtbot, text, toast):
    assert toast_of(text) == toast
    line = Messages()
    qtbot.addWidget(line)
    line.notify(text)
    assert notification_manager.records[-1].message == toast


def test_a_warning_is_added_to_what_is_said(qtbot):
    line = Messages()
    qtbot.addWidget(line)
    line.say("repaired")
    line.warn("section 3 is out of focus (50%)", "look twice")
    assert line.text() == "Repaired.\nSection 3 is out of focus (50%)."
    assert notification_manager.records[-1].message == "Look twice."


def test_what_the_user_did_is_not_hidden_by_what_nobody_asked_for(qtbot):
    line = Messages()
    qtbot.addWidget(line)
    line.say("saved a copy")
    line.show_progress("opening the list", aside=True)
    line.mention("3 flagged rows")
    line.mention("")
    line.end_progress()
    assert line.text() == "Saved a copy."
    line.release()
    line.show_progress("opening the list", aside=True)
    assert line.text() == "Opening the list"
    line.mention("3 flagged rows")
    assert line.text() == "3 flagged rows."
    line.mention("2 flagged rows")
    assert line.text() == "2 flagged rows."


def test_progress_gives_way_to_what_came_of_it(qtbot):
    line = Messages()
    qtbot.addWidget(line)
    line.say("saved a copy")
    line.show_progress("repairing section 3")
    assert line.text() == "Repairing section 3", "no full stop"
    line.mention("3 flagged rows")
    assert line.text() == "Repairing section 3"
    line.end_progress()
    assert line.text() == ""
    line.show_progress("repairing section 3")
    line.warn("section 3 is out of focus")
    line.end_progress()
    assert line.text() == "Section 3 is out of focus."


def test_three_lines_are_shown_in_full(qtbot):
    line = Messages()
    qtbot.addWidget(line)
    line.resize(340, 60)
    line.show()
    line.say("one\ntwo\nthree")
    assert shown(line) == "One.\nTwo.\nThree."
    line.say("one\ntwo\nthree\nfour")
    assert shown(line).endswith("… (more)")
    assert "." not in shown(line).splitlines()[-1], "no full stop before the ellipsis"


def test_that_files_are_gone_is_told_once(make_dock, stack_path, wait):
    import shutil

    viewer, dock = make_dock(stack_path)
    shutil.rmtree(stack_path)
    for z in (4, 5):
        viewer.dims.set_point(0, z * 50)
        wait(lambda: not dock.jobs.is_running() and not dock.target._rest.isActive())
        assert ("was moved or removed since it was opened" in dock.messages.text()) == (z == 4)
        dock.messages.say("")
