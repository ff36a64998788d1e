"""Bounds over tiles: no pixel exceeds them, and detectors that are not asked find nothing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_flowinpaint.core.damage.degrade import Blur, ContrastLoss
from napari_flowinpaint.core.damage.detectors import default_detectors
from napari_flowinpaint.core.damage.detectors.lines import LineDetector
from napari_flowinpaint.core.damage.detectors.outliers import excess_over_neighbours
from napari_flowinpaint.core.damage.draw import simulate
from napari_flowinpaint.core.damage.glance import Glance
from napari_flowinpaint.core.damage.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.damage.search import search
from napari_flowinpaint.core.damage.sections import Sections
from napari_flowinpaint.core.damage.simulate import Debris, Hole, Line, Missing, StainingCloud
from napari_flowinpaint.core.damage.tiles import halved, tiled
from napari_flowinpaint.core.stack import Stack

SHAPE = (5, 262, 331)
MIDDLE = 2

DAMAGES = {
    "none": None,
    "missing": Missing(0.3),
    "hole": Hole(0.04),
    "dark": Debris(12, (5, 12), excess=0.1),
    "bright": Debris(3, (3, 6), bright=True, excess=0.05),
    "crack": Line(8, bright=True, wander=6),
    "fold": Line(5),
    "staining": StainingCloud(0.12),
    "contrast": ContrastLoss(loss=0.5),
    "blur": Blur(0.3, sigma=3),
}


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=SHAPE, seed=5))


def view_of(tissue: np.ndarray, name: str, shift: tuple[int, int] = (0, 0)):
    volume = tissue.copy()
    damage = DAMAGES[name]
    if damage is not None:
        volume[MIDDLE] = simulate(volume[MIDDLE], damage, seed=3).image
    volume[MIDDLE + 1] = np.roll(volume[MIDDLE + 1], shift, axis=(0, 1))
    return Sections(Stack.from_array(volume)).view(MIDDLE)


@pytest.mark.parametrize("name", DAMAGES)
def test_detectors_that_are_not_asked_find_nothing(tissue, name, monkeypatch):
    view = view_of(tissue, name)
    left_out = 0
    for detector in default_detectors():
        asked = Glance(view).asked(detector)
        left_out += asked is None
        said = [] if asked is None else asked.look(view)
        expected = detector.look(view)
        assert [(f.kind, f.score) for f in said] == [(f.kind, f.score) for f in expected]
        assert all((a.mask == b.mask).all() for a, b in zip(said, expected, strict=True))
    assert left_out >= (5 if name == "none" else 1)
    found = search(view, default_detectors())
    monkeypatch.setattr(Glance, "asked", lambda self, detector: detector)
    every = search(view, default_detectors())
    assert [(f.kind, f.score) for f in found] == [(f.kind, f.score) for f in every]


@pytest.mark.parametrize("shift", [(0, 0), (8, -12), (9, 13), (-6, 3)])
@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_pixel_exceeds_its_bound(tissue, shift, side, sign):
    view = view_of(tissue, "dark", shift)
    height, width = view.shape
    for radius in (6, 8, 10, 13):
        bound = Glance(view).excess(sign, radius, "smooth", side)
        bound = bound.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
        excess = excess_over_neighbours(view, sign, radius, lambda f: f.smooth)
        inner = (slice(40, -40), slice(40, -40))  # what is moved in from outside is made up
        assert (excess[inner] <= bound[inner] + 1e-4).all()
        # and it is no bound that anything would satisfy
        assert np.median(bound - excess) < 1.5


@pytest.mark.parametrize("what", ["smooth", "wide", "lines"])
def test_bounds_of_some_tiles_are_those_of_all(tissue, what):
    view = view_of(tissue, "dark", (9, 13))
    every = Glance(view).excess(-1, 8, what, 2)
    where = np.random.default_rng(0).random(every.shape) < 0.1
    some = Glance(view).excess(-1, 8, what, 2, where)
    assert (some == np.where(where, every, 0)).all()


@pytest.mark.parametrize("what", ["smooth", "wide", "lines"])
@pytest.mark.parametrize("shift", [(0, 0), (9, 13)])
def test_the_loose_bound_is_between_those_of_small_and_large_tiles(tissue, what, shift):
    glance = Glance(view_of(tissue, "dark", shift))
    fine, coarse = (glance.excess(-1, 8, what, side) for side in (2, 4))
    loose = glance.loose_excess(-1, 8, what, np.arange(fine.size)).reshape(fine.shape)
    coarse = coarse.repeat(2, axis=0).repeat(2, axis=1)
    assert (loose >= fine - 1e-4).all()
    assert (loose <= coarse + 1e-4).all()
    assert np.mean(loose < coarse - 0.01) > 0.25


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("what", ["wide", "lines"])
def test_maps_of_every_second_pixel_do_not_exceed_their_bound(tissue, sign, what):
    view = view_of(tissue, "fold")
    detector = LineDetector()
    excess = detector.excess_of(view, sign, what)
    bound = Glance(view).excess(sign, view.radius(detector.tolerance), what, 2)
    assert (excess <= bound[: excess.shape[0], : excess.shape[1]] + 1e-4).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shape", [(64, 96), (61, 95), (5, 3)])
def test_extremes(shape, sign):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    fine = tiled(image)
    outermost = np.max if sign > 0 else np.min
    for side, found in ((2, fine.at(sign)), (4, halved(fine.at(sign), sign))):
        rows, columns = (np.arange(0, n, side) for n in shape)
        blocks = [[image[y : y + side, x : x + side] for x in columns] for y in rows]
        expected = np.array([[outermost(block) for block in row] for row in blocks])
        assert (found[: len(rows), : len(columns)] == expected).all()
