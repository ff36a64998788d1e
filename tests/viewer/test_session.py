"""The session decides what is meant and what an answer is worth; no window, no threads."""

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel
from napari.layers import Labels

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair_options import RepairRequest
from napari_flowinpaint.viewer import camera
from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.viewer.tasks import loading, mask_tools, one_section, stack_repairs

SHAPE = (7, 96, 112)


def quiet(fraction, message):
    """Report to nobody."""


def texture(shape=SHAPE, seed=0):
    """Return smooth texture that drifts from section to section, uint8."""
    import cv2

    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((shape[1] + 40, shape[2] + 40)), (0, 0), 3)
    noise = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    return np.stack([noise[z : z + shape[1], 2 * z : 2 * z + shape[2]] for z in range(shape[0])])


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def session(viewer):
    """Return a session with a stack of which section 3 is shown."""
    session = session_of(viewer)
    stack = Stack.from_array(texture(), voxel_size=(50, 4, 4), name="texture")
    session.add_stack(loading.LoadedStack(stack, (0, 255), "dark membranes"))
    camera.go_to_section(viewer, session.image, 3)
    return session


@pytest.fixture
def written_session(viewer, tmp_path):
    """Return a session with a stack on disk, and the folder."""
    import zarr

    path = tmp_path / "stack.zarr"
    zarr.create_array(path, data=texture(), chunks=(2, 64, 64))
    session = session_of(viewer)
    session.add_stack(loading.load(str(path), progress=quiet))
    camera.go_to_section(viewer, session.image, 3)
    return session, path


def paint(session, z=3, spots=((40, 30), (70, 80))):
    layer = session.mask_layer or session.masks.new(session.image)
    layer.brush_size = 12
    for y, x in spots:
        layer.paint((z, y, x), 1)
    return layer


def repair(session):
    job = session.request_repair()
    review = one_section.repair(job, progress=quiet)
    list(session.open_review(job, review))
    return job, review


# ---- one per viewer


def test_one_session_per_viewer_and_none_outlives_it(viewer):
    from napari.utils._proxies import PublicOnlyProxy

    assert session_of(viewer) is session_of(viewer)
    assert session_of(PublicOnlyProxy(viewer)) is session_of(viewer)
    assert session_of(ViewerModel()) is not session_of(viewer)

    def short_lived():
        short = ViewerModel()
        short.add_image(np.zeros((3, 8, 8)))
        return weakref.ref(session_of(short))

    session = short_lived()
    gc.collect()  # the viewer, and with it the entry of the session
    gc.collect()  # the session
    assert session() is None


# ---- what is meant


def test_follows_the_active_image_and_the_image_of_the_active_mask(session, viewer):
    first = session.image
    mask = session.masks.new(first)
    second = viewer.add_image(np.zeros((4, 30, 30), np.uint8))
    assert session.image is second
    assert session.mask is None, "every stack has a mask of its own"
    viewer.layers.selection.active = mask
    assert session.image is first
    viewer.add_points(np.zeros((1, 3)))
    assert session.image is first, "other layers are not meant"
    viewer.layers.remove(first)
    assert session.image is second


def test_finds_the_stack_that_was_there_before(viewer):
    viewer.add_image(np.zeros((4, 30, 30), np.uint8), name="stack")
    viewer.add_labels(np.zeros((4, 30, 30), np.uint8))
    assert session_of(viewer).image.name == "stack"


def test_tells_when_the_section_changes(session, viewer):
    seen = []
    session.section_changed.connect(lambda: seen.append(session.section))
    viewer.dims.set_point(0, 250)
    assert seen[-1] == 5
    viewer.dims.ndisplay = 3
    assert seen[-1] is None


def test_settings_tell_of_changes_and_become_the_request(session):
    seen = []
    session.settings.events.method.connect(seen.append)
    session.settings.method = "flow"
    session.settings.max_gap = 2
    session.settings.texture = "smooth"
    assert seen == ["flow"]
    paint(session)
    job = session.request_repair()
    session.settings.max_gap = 9
    assert (job.request.method, job.request.z) == ("flow", 3)
    assert (job.request.options.max_gap, job.request.options.texture) == (2, "smooth")


@pytest.mark.parametrize("missing", ["stack", "mask", "section", "opened"])
def test_says_what_is_missing(viewer, missing):
    session = session_of(viewer)
    if missing != "stack":
        image = viewer.add_image(texture())
        if missing != "mask":
            session.masks.new(image)
        if missing == "section":
            viewer.dims.ndisplay = 3
    words = {"stack": "load", "mask": "New mask", "section": "2-D", "opened": "wait"}[missing]
    with pytest.raises(InputError, match=words):
        session.request_repair()


# ---- masks


def test_undo_of_painting_survives_moving_and_goes_back_there(session, viewer):
    layer = paint(session, z=3, spots=((40, 30),))
    camera.go_to_section(viewer, session.image, 5)
    layer.paint((5, 20, 20), 1)
    camera.go_to_section(viewer, session.image, 1)
    session.masks.step(layer, back=True)
    assert session.section == 5
    assert not session.mask.read(5).any()
    camera.go_to_section(viewer, session.image, 0)
    session.masks.step(layer, back=True)
    assert session.section == 3
    assert not session.mask.read(3).any()
    session.masks.step(layer, back=False)
    session.masks.step(layer, back=False)
    assert session.section == 5
    assert session.mask.read(3).any()
    assert session.mask.read(5).any()


@pytest.mark.parametrize(
    ("operation", "change"),
    [("grow", 1), ("shrink", -1), ("clear", -2), ("invert", 2)],
)
def test_edits_of_a_section_are_one_step(session, operation, change):
    layer = paint(session)
    before, other = session.mask.read(3), session.mask.read(2)
    tiles = mask_tools.edit_mask(session.mask.frozen(), 3, operation, 2, progress=quiet)
    session.masks.edit(session.image, 3, tiles)
    after = session.mask.read(3)
    if change == 1:
        assert after[before].all()
        assert after.sum() > before.sum()
    elif change == -1:
        assert before[after].all()
        assert 0 < after.sum() < before.sum()
    elif change == -2:
        assert not after.any()
    else:
        assert np.array_equal(after, ~before)
    assert np.array_equal(session.mask.read(2), other)
    session.masks.step(layer, back=True)
    assert np.array_equal(session.mask.read(3), before)


def test_shrinking_does_not_start_at_the_border(session):
    layer = session.masks.new(session.image)
    layer.data[3, :20] = 1
    tiles = mask_tools.edit_mask(session.mask.frozen(), 3, "shrink", 4, progress=quiet)
    session.masks.edit(session.image, 3, tiles)
    assert session.mask.read(3)[:16].all()
    assert not session.mask.read(3)[16:].any()


def test_a_mask_lies_on_an_existing_one_without_changing_it(session):
    base = np.zeros(SHAPE, np.int32)
    base[3, 10:20, 10:20] = 7
    layer = session.masks.new(session.image, base)
    assert isinstance(layer, Labels)
    assert session.mask.read(3).sum() == 100
    layer.paint((3, 60, 60), 1)
    assert session.mask.read(3).sum() > 100
    assert (base > 0).sum() == 100
    with pytest.raises(InputError, match="shape"):
        session.masks.new(session.image, base[1:])
    assert session.mask_layer is layer, "the mask that was there is kept"


def test_status_of_the_mask(session):
    paint(session)
    mask = session.mask.frozen()
    status = one_section.mask_status(session.stack, mask, RepairRequest(3), progress=quiet)
    assert (status.components, status.neighbours) == (2, ((2, 4),))
    assert status.pixels == session.mask.read(3).sum()
    assert (
        one_section.mask_status(session.stack, mask, RepairRequest(2), progress=quiet).pixels == 0
    )
    untold = one_section.mask_status(None, mask, RepairRequest(3), progress=quiet)
    assert (untold.components, untold.pixels, untold.neighbours) == (2, status.pixels, None)


def test_status_of_parts_far_apart():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 400), np.uint8)
    pixels[0, :, 200:] = pixels[2, :, 200:] = 0
    damage = np.zeros(pixels.shape, bool)
    damage[1, 20:30, 20:30] = damage[1, 20:30, 350:360] = True
    mask = SparseMask(pixels.shape, base=damage)
    status = one_section.mask_status(
        Stack.from_array(pixels), mask, RepairRequest(1), progress=quiet
    )
    assert (status.components, status.pixels) == (2, 200)
    assert status.neighbours == ((0, 2), (None, None))


# ---- repairing and reviewing


def test_a_repair_is_shown_and_its_components_are_rejected_one_by_one(session, viewer):
    layer = paint(session)
    _, review = repair(session)
    assert session.review.shown == "result"
    assert not layer.visible
    shown = np.array(session.review.layers["result"].data[0])
    session.review.set_accepted({1}, False)
    changed = np.asarray(session.review.layers["result"].data[0]) != shown
    inside = np.zeros(shown.shape, bool)
    for patch in review.repair.patches:
        inside[patch.box.within(review.repair.box)] |= patch.components == 1
    assert changed.any()
    assert not changed[~inside].any()
    for stage in ("confidence", None, "initial reference", "refined reference", "result"):
        session.review.show_next()
        assert session.review.shown == stage
    session.close_review()
    assert session.review.current is None
    assert [x.name for x in viewer.layers if x.visible] == ["texture", "damage mask"]
    session.review.show_next()
    assert session.review.shown is None


def test_layers_over_another_stack_are_made_anew(session, viewer):
    paint(session)
    repair(session)
    first = dict(session.review.layers)
    stack = Stack.from_array(texture(seed=1)[:, :90], voxel_size=(50, 4, 4), name="another")
    session.add_stack(loading.LoadedStack(stack, (10, 200), "dark membranes"))
    camera.go_to_section(viewer, session.image, 3)
    paint(session)
    repair(session)
    assert not set(first.values()) & set(viewer.layers)
    shown = session.review.layers["result"]
    assert viewer.layers.index(shown) > viewer.layers.index(session.image)
    assert tuple(shown.contrast_limits) == (10, 200)


def test_the_request_does_not_change_while_the_user_paints_on(session):
    layer = paint(session)
    job = session.request_repair()
    expected = session.mask.read(3)
    layer.paint((3, 10, 10), 1)
    assert np.array_equal(job.mask.read(3), expected)


@pytest.mark.parametrize("what", ["section", "stack"])
def test_an_answer_waits_while_one_looks_elsewhere(session, viewer, what):
    paint(session)
    job = session.request_repair()
    review = one_section.repair(job, progress=quiet)
    if what == "section":
        camera.go_to_section(viewer, session.image, 4)
    else:
        viewer.add_image(np.zeros(SHAPE, np.uint8))
    image = session.masks.image_of(viewer.layers["damage mask"])
    assert not list(session.open_review(job, review))
    assert session.review.current is None
    assert not session.review.layers
    assert session.review.waiting(image) == (review,)
    assert len(list(session.resume_review(image, review))) == 4
    assert (session.image, session.section) == (image, 3)
    session.close_review()
    assert session.review.waiting(image) == ()


def test_an_answer_for_a_stack_that_was_removed_is_dropped(session, viewer):
    paint(session)
    job = session.request_repair()
    review = one_section.repair(job, progress=quiet)
    viewer.layers.remove(session.image)
    with pytest.raises(InputError, match="its stack was removed"):
        session.open_review(job, review)


def test_a_stage_layer_that_the_user_removes_comes_back_with_the_next_repair(session, viewer):
    paint(session)
    repair(session)
    viewer.layers.remove("confidence")
    assert "confidence" not in session.review.layers
    repair(session)
    assert "confidence" in viewer.layers
    session.later = lambda what: what()
    viewer.layers.remove(session.image)
    assert session.review.current is None
    assert not viewer.layers, "nothing is left of what belonged to it"


# ---- accepting


def test_accept_and_revert_on_disk(written_session, viewer):
    session, path = written_session
    before = open_stack(path).read(3)
    layer = paint(session)
    damaged = session.mask.read(3)
    repair(session)
    session.review.set_accepted({2}, False)
    image, stack, selected = session.request_accept()
    written = stack_repairs.accept(stack, selected, progress=quiet)
    session.finish_accept(image, stack, selected, written)
    after = open_stack(path).read(3)
    left = session.mask.read(3)
    assert 0 < left.sum() < damaged.sum(), "what was rejected stays in the mask"
    written = damaged & ~left
    assert np.array_equal(after[~written], before[~written])
    assert (after[written] != before[written]).any()
    assert np.array_equal(np.asarray(image.data[3]), after)
    assert session.review.current is None
    assert layer.visible
    marks = next(x for x in viewer.layers if x.name == "synthetic pixels")
    assert np.array_equal(np.asarray(marks.data[3]) > 0, written)
    (entry,) = session.accepted.written(image)
    reverted = stack_repairs.revert(stack, entry.id, progress=quiet)
    session.finish_revert(image, stack, entry.id, reverted)
    assert np.array_equal(open_stack(path).read(3), before)
    assert np.array_equal(session.mask.read(3), damaged), "the mask is back as well"
    assert session.accepted.written(image) == ()
    assert "synthetic pixels" not in viewer.layers


def test_nothing_is_written_when_every_component_is_rejected(written_session):
    session, _ = written_session
    with pytest.raises(InputError, match="Repair first"):
        session.request_accept()
    paint(session)
    _, review = repair(session)
    session.review.set_accepted({c.number for c in review.components}, False)
    with pytest.raises(InputError, match="rejected"):
        session.request_accept()


def test_repairs_of_a_stack_that_cannot_be_written_are_kept_until_saved(session, viewer, tmp_path):
    paint(session)
    damaged = session.mask.read(3)
    original = session.stack.read(3)
    repair(session)
    session.accept_unsaved()
    assert not session.mask.read(3).any()
    (item,) = session.accepted.unsaved(session.image)
    assert "accepted, section 3 (not saved)" in viewer.layers
    loaded = stack_repairs.save(session.stack, tmp_path / "out.zarr", [item.repair], progress=quiet)
    saved = loaded.stack.read(3)
    assert np.array_equal(saved[~damaged], original[~damaged])
    assert (saved[damaged] != original[damaged]).any()
    session.revert_unsaved(item)
    assert np.array_equal(session.mask.read(3), damaged)
    assert session.accepted.unsaved(session.image) == []
    assert [x.name for x in viewer.layers if x.visible] == ["texture", "damage mask"]
