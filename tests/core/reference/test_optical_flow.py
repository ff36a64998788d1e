"""Optical flow: what a flow means, and that registration finds known deformations."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.reference.optical_flow import (
    IDENTITY,
    align,
    apply_affine,
    compose,
    estimate_flow,
    extrapolate,
    moved_by,
    warp,
    warp_affine,
)


def wave(shape: tuple[int, int], size: float) -> np.ndarray:
    rows, columns = np.indices(shape, dtype=np.float32)
    period = 2 * np.pi / max(shape)
    return np.stack([size * np.sin(columns * period), size * np.cos(rows * period)])


def inner(array: np.ndarray, margin: int = 24) -> np.ndarray:
    return array[..., margin:-margin, margin:-margin]


def test_warp_samples_the_source_at_x_plus_flow():
    source = np.arange(30, dtype=np.float32).reshape(5, 6)
    flow = np.zeros((2, 5, 6), dtype=np.float32)
    flow[0], flow[1] = 1, 2  # dy, dx
    assert warp(source, flow)[1, 1] == source[2, 3]


def test_flow_points_from_target_to_source():
    source = texture()
    truth = wave(source.shape, 5)
    flow = estimate_flow(warp(source, truth), source)
    assert np.abs(inner(flow - truth)).mean() < 0.3


def test_large_images_are_searched_on_a_reduced_one(monkeypatch: pytest.MonkeyPatch):
    from napari_flowinpaint.core.reference import optical_flow

    monkeypatch.setattr(optical_flow, "_MOST_FLOW_PIXELS", 128 * 128)
    source = texture(sigma=6)
    truth = wave(source.shape, 5)
    flow = estimate_flow(warp(source, truth), source)
    assert flow.shape == (2, 256, 256)
    assert np.abs(inner(flow - truth)).mean() < 0.6


def test_compose_interpolates_once():
    source = texture()
    first, second = wave(source.shape, 4), wave(source.shape, -3)
    twice = warp(warp(source, second), first)
    once = warp(source, compose(first, second))
    assert np.abs(inner(once - twice)).mean() < 1.5


def test_extrapolation_keeps_known_flow_and_continues_it_smoothly():
    truth = np.zeros((2, 128, 128), dtype=np.float32)
    truth[0] = np.linspace(0, 8, 128)[:, None]
    truth[1] = -3
    known = np.ones((128, 128), dtype=bool)
    known[40:90, 30:100] = False
    spoilt = np.where(known, truth, 99)
    filled = extrapolate(spoilt, known)
    assert (filled[:, known] == truth[:, known]).all()
    assert np.abs(filled - truth).max() < 1.5


def test_extrapolation_without_any_known_flow_is_zero():
    filled = extrapolate(np.ones((2, 40, 40), dtype=np.float32), np.zeros((40, 40), dtype=bool))
    assert (filled == 0).all()


@pytest.mark.parametrize("shift", [(0, 0), (23, -37), (-41, 5)])
def test_alignment_finds_large_shifts_around_a_hole(shift: tuple[int, int]):
    big = texture((512, 512), sigma=4)
    target = big[100:400, 100:400].copy()
    source = big[100 - shift[0] : 400 - shift[0], 100 - shift[1] : 400 - shift[1]].copy()
    known = np.ones(target.shape, dtype=bool)
    known[100:200, 120:230] = False
    target[~known] = 0
    affine = align(target, source, known)
    aligned = warp_affine(source, affine)
    off = np.abs(inner(aligned - big[100:400, 100:400], 64))
    assert off.mean() < 4
    assert affine[:, 2] == pytest.approx((shift[1], shift[0]), abs=2)


def test_alignment_with_something_else_is_the_identity():
    known = np.ones((200, 200), dtype=bool)
    flat = np.full((200, 200), 7, dtype=np.float32)
    assert (align(texture((200, 200)), flat, known) == IDENTITY).all()


def test_affine_and_flow_sample_like_one_after_the_other():
    source = texture()
    affine = np.array([[1.01, 0.02, 5], [-0.01, 0.99, -7]], dtype=np.float32)
    flow = wave(source.shape, 3)
    direct = warp(source, apply_affine(affine, flow))
    stepwise = warp(warp_affine(source, affine), flow)
    assert np.abs(inner(direct - stepwise, 32)).mean() < 1.5


def test_a_chance_alignment_far_away_is_not_believed_but_a_true_one_is():
    known = np.ones((320, 320), dtype=bool)
    for seed in range(3):
        unrelated = texture((320, 320), seed), texture((320, 320), seed + 50)
        assert moved_by(align(*unrelated, known), known.shape) <= 100
    wide, known = texture((640, 512), 1), np.ones((512, 512), dtype=bool)
    affine = align(wide[:512], np.ascontiguousarray(wide[120:632]), known)
    assert moved_by(affine, known.shape) == pytest.approx(120, abs=1)
