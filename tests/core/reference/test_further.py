"""Sections beyond the neighbours: how tissue bends between them, and where they do not count."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods.missing_section import replace_missing
from napari_flowinpaint.core.metrics import psnr
from napari_flowinpaint.core.reference.fusion import Bands, FusionWeights, pooled_prior, products
from napari_flowinpaint.core.repair.neighbours import further_sections
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.types import Box, no_progress
from napari_flowinpaint.core.window import Neighbour, Window

SHAPE = (96, 96)


def bent_stack(depth: int = 5) -> np.ndarray:
    """Sections whose grey values are a parabola along the axis, with a little noise."""
    still, bend = texture(SHAPE, 1, 4) - 128, texture(SHAPE, 2, 4) - 128
    axis = np.arange(depth) - depth // 2
    noise = np.random.default_rng(0).normal(0, 1, (depth, *SHAPE))
    pixels = 128 + still + 0.15 * bend * axis[:, None, None] ** 2 + noise
    return pixels.clip(0, 255).astype(np.uint8)


def test_further_sections_count_negatively_where_tissue_bends():
    pixels = bent_stack().astype(np.float32)
    holes = np.zeros(SHAPE, dtype=bool)
    holes[20:70, 20:70] = True
    images = [pixels[z] for z in (1, 3, 0, 4)]
    bands = Bands.of(images, pixels[2], holes)
    near = FusionWeights.learn(bands.only([0, 1]))
    both = near.with_further(bands, 2)
    assert (both.weights[2:4, 2:] < -0.05).all()
    assert bands.error(both) < 0.5 * bands.only([0, 1]).error(near)


def test_further_sections_that_tell_nothing_get_no_weight():
    pixels = bent_stack().astype(np.float32)
    holes = np.zeros(SHAPE, dtype=bool)
    holes[20:70, 20:70] = True
    bands = Bands.of([pixels[1], pixels[3], texture(SHAPE, 8), texture(SHAPE, 9)], pixels[2], holes)
    found = FusionWeights.learn(bands.only([0, 1])).with_further(bands, 2)
    assert not found.weights[:, 2:].any()


def test_a_repair_gains_by_the_sections_beyond_the_neighbours():
    pixels = bent_stack()
    mask = np.zeros(SHAPE, dtype=bool)
    mask[36:60, 36:60] = True
    stack = Stack.from_array(pixels)
    scores = []
    for gap in (1, 5):  # a gap of 1 permits the neighbours alone
        options = RepairOptions(texture="smooth", max_gap=gap)
        (patch,) = repair_section(stack, 2, mask, method="flow", options=options).patches
        scores.append(psnr(patch.result, pixels[2][patch.box.slices], patch.mask, 255))
    assert scores[1] > scores[0] + 1


def test_a_repair_does_without_a_section_that_cannot_be_read(monkeypatch):
    pixels = bent_stack()
    mask = np.zeros(SHAPE, dtype=bool)
    mask[36:60, 36:60] = True
    stack, read = Stack.from_array(pixels), Stack.read

    def broken(self, z, box=None):
        if z == 4:
            raise StoreError("section 4 is damaged")
        return read(self, z, box)

    monkeypatch.setattr(Stack, "read", broken)
    options = RepairOptions(texture="smooth", gate="off")
    assert repair_section(stack, 2, mask, method="flow", options=options).patches


@pytest.mark.parametrize(
    ("z", "neighbours", "gap", "beyond"),
    [
        (5, (4, 6), 5, (3, 7)),
        (5, (4, 6), 1, ()),
        (1, (0, 2), 5, ()),
        (8, (7, 9), 5, ()),
        (5, (None, 6), 5, ()),
        (5, (3, 6), 2, ()),
    ],
)
def test_further_sections_lie_next_beyond_both_neighbours(z, neighbours, gap, beyond):
    assert further_sections(z, neighbours, 10, gap) == beyond


def test_pooled_weights_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (4, *SHAPE)).astype(np.float32)
    truth = 0.7 * images[0] + 0.5 * images[1] - 0.2 * images[3]
    bands = Bands.of(list(images), truth, np.ones(SHAPE, dtype=bool))
    found = pooled_prior(products(bands), 2)
    assert np.allclose(found, [0.7, 0.5, 0, -0.2], atol=0.02)
    drawn = FusionWeights.learn(bands, prior=found)
    assert np.allclose(drawn.weights, found, atol=0.02)


def test_a_missing_section_bends_as_the_sections_beyond_tell():
    pixels = bent_stack().astype(np.float32)
    shown = np.ones(SHAPE, dtype=bool)
    told = [Neighbour(z, pixels[z], shown) for z in (1, 3, 0, 4)]

    def made(further, other=None):
        following = told[1] if other is None else Neighbour(3, other, shown)
        window = Window(
            2,
            Box.whole(SHAPE),
            np.zeros(SHAPE, dtype=np.float32),
            shown,
            ~shown,
            told[0],
            following,
            0.5,
            (0.0, 255.0),
            further=further,
        )
        middle = lambda guides, _: (guides[0].image + guides[1].image) / 2  # noqa: E731
        return replace_missing(window, RepairOptions(texture="smooth"), no_progress, middle).result

    def off(image):
        return float(np.mean((image - pixels[2]) ** 2))

    alone, bent = made(()), made(tuple(told[2:]))
    assert off(bent) < 0.8 * off(alone)
    other = texture(SHAPE, 9)  # neighbours that have nothing in common tell nothing of a bend
    assert np.array_equal(made((), other), made(tuple(told[2:]), other))
