"""Metrics, peers and the benchmark table."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.benchmark import damaged_sections, run_benchmark
from napari_flowinpaint.core.damage.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.metrics import data_range, psnr, score
from napari_flowinpaint.core.peers import PEERS
from napari_flowinpaint.core.stack import Stack


def test_psnr_counts_the_mask_only():
    a, b = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, :2] = True
    a[0, 0] = 10
    a[3, 3] = 200
    assert psnr(a, b, mask, 255) == pytest.approx(10 * np.log10(255**2 / 50))
    assert psnr(b, b, mask, 255) == float("inf")


def test_blur_keeps_structure_and_loses_detail():
    truth = texture(sigma=1).astype(np.uint8)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[50:150, 50:150] = True
    blurred = np.where(mask, cv2.GaussianBlur(truth, (0, 0), 1.5), truth)
    scores = score(blurred, truth, mask, 255)
    assert scores.structure_psnr > scores.psnr + 3
    assert scores.detail < 0.5
    assert score(truth, truth, mask, 255).detail == pytest.approx(1)
    assert score(truth, truth, mask, 255).ssim == pytest.approx(1)


def test_data_range():
    assert data_range(np.zeros((4, 4), np.uint8)) == 255
    ramp = np.linspace(1000, 3000, 10001, dtype=np.float32).reshape(73, 137)
    assert data_range(ramp) == pytest.approx(2000, rel=0.01)


def test_peers_return_sections_of_the_same_shape_and_move_what_moves():
    base = texture((160, 160), sigma=4)
    previous, following = np.roll(base, -3, axis=1), np.roll(base, 3, axis=1)
    mask = np.zeros(base.shape, dtype=bool)
    mask[60:100, 60:100] = True
    errors = {}
    for name, peer in PEERS.items():
        filled = peer(base, previous, following, mask)
        assert filled.shape == base.shape
        errors[name] = np.abs(filled - base)[mask].mean()
    assert errors["dis"] < 0.3 * errors["mean"]
    assert errors["farneback"] < 0.3 * errors["mean"]
    assert errors["mean"] < errors["copy"]


def test_every_third_section_is_damaged():
    assert damaged_sections(10, 1) == (1, 4, 7)
    assert damaged_sections(30, 4) == (4, 16)
    assert damaged_sections(30, 1, range(16, 20)) == (17,)
    with pytest.raises(InputError, match="at least three"):
        damaged_sections(2, 1)


def test_the_table_compares_all_on_the_same_masks():
    stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 192, 192))), name="synthetic")
    table = run_benchmark(
        stack, fractions=(0.2,), shapes=("irregular",), repeats=2, methods=(*PEERS, "flow")
    )
    rows = {row.method: row for row in table.rows}
    assert set(rows) == {
        *PEERS,
        "flow",
        "flow: initial reference",
        "flow: refined reference",
        "flow: without grain",
    }
    assert all(row.sections == 2 for row in table.rows)
    best = max(rows[peer].scores.structure_psnr for peer in PEERS)
    assert rows["flow"].scores.structure_psnr > best
    assert "| irregular | 20% | flow |" in table.to_markdown()
    assert "synthetic: sections 1 damaged" in table.to_text()
    again = run_benchmark(
        stack, fractions=(0.2,), shapes=("irregular",), repeats=2, methods=("mean",)
    )
    assert again.rows[0].scores == rows["mean"].scores


def test_refusals_are_counted_not_hidden():
    pixels = synthetic_stack(SampleConfig(shape=(3, 192, 192)))
    rng = np.random.default_rng(0)
    pixels[0], pixels[2] = rng.integers(0, 255, (2, 192, 192))
    table = run_benchmark(
        Stack.from_array(pixels), fractions=(0.1,), shapes=("rectangular",), methods=("flow",)
    )
    assert all(row.refused == 1 and row.sections == 0 for row in table.rows)
    assert "(1 refused)" in table.to_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ("magic",)}, "unknown method or peer 'magic'"),
        ({"shapes": ("star",)}, "unknown mask shape 'star'"),
        ({"fractions": (1.5,)}, "between 0 and 1"),
    ],
)
def test_bad_requests(arguments, message):
    stack = Stack.from_array(np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(InputError, match=message):
        run_benchmark(stack, **arguments)
