"""Every dock ends as it began: nothing of it listens to the session, no key stays bound."""

import pytest

from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.widgets.find_damage_dock import FindDamage
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


def listeners(session):
    """Return how many listen to each signal of a session."""
    signals = (
        session.target_changed,
        session.section_changed,
        session.stack_removed,
        session.masks.changed,
        session.review.changed,
        session.review.stage_changed,
        session.accepted.changed,
        session.flags.changed,
        session.batch.changed,
        session.settings.events.all,
        session.settings.events.max_gap,
        session.search.events.all,
    )
    return [len(signal) for signal in signals]


@pytest.mark.parametrize("kind", [LoadStack, RepairSection, FindDamage, FlaggedSections])
def test_a_closed_dock_listens_no_more(make_napari_viewer, kind):
    viewer = make_napari_viewer()
    session = session_of(viewer)
    before = listeners(session)
    dock = kind(viewer)
    viewer.window.add_dock_widget(dock)
    assert kind is LoadStack or listeners(session) != before
    viewer.window.remove_dock_widget(dock)
    assert listeners(session) == before
    assert not dock.keys.bound
    dock.jobs.start("late", print, done=print, failed=print)
    assert not dock.jobs.is_running(), "its threads have ended"
