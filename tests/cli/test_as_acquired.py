"""A small stack as long series are: damage is found and repaired, and nothing else is touched."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from make_stacks import write_ngff
from padding import outside

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

SIDE = 160
#: Planes of tissue; those that are left out make thick sections.
ORDER = [0, 1, 2, 3, 5, 6, 7, 8, 9, 11, *range(12, 22)]
HOLE, LOST, COPIED = 3, 6, 9
#: Bad sections in a row: something moves across them.
RUN = range(12, 18)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Sections with contrast jumps and tile seams, (Z, Y, X) uint8."""
    rng = np.random.default_rng(1)
    planes = synthetic_stack(SampleConfig(shape=(22, SIDE, SIDE), seed=5, deformation=2))
    sections = planes[ORDER].astype(np.float32)
    depth = len(sections)
    sections *= rng.uniform(0.85, 1.05, (depth, 1, 1))
    sections += rng.uniform(-10, 10, (depth, 1, 1))
    sections[2] = 0.75 * sections[2] + 20
    sections[5, :, SIDE // 2 :] += 8
    sections[11, SIDE // 3 :] -= 8
    return sections.clip(1, 254).astype(np.uint8)


@pytest.fixture(scope="module")
def padding() -> np.ndarray:
    """Where no section reaches: aligned sections are turned and shifted, (Z, Y, X) bool."""
    rng = np.random.default_rng(2)
    return np.stack(
        [
            outside((SIDE, SIDE), rng.uniform(-1.5, 1.5), tuple(rng.uniform(-4, 4, 2)), 6)
            for _ in ORDER
        ]
    )


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - y, columns - x) < radius


def damages() -> dict[int, np.ndarray]:
    """What was destroyed of each section, (Y, X) bool."""
    found = {HOLE: disc(80, 60, 13), LOST: np.ones((SIDE, SIDE), bool)}
    for number, z in enumerate(RUN):
        angle = 2.2 * number
        found[z] = disc(80 + 42 * np.sin(angle), 80 + 42 * np.cos(angle), 11)
    return found


def error(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Root mean square difference of the structures."""
    a, b = (cv2.GaussianBlur(i.astype(np.float32), (0, 0), 2) for i in (image, truth))
    return float(np.sqrt(np.mean((a - b)[where] ** 2)))


def test_detect_then_repair(tissue: np.ndarray, padding: np.ndarray, tmp_path: Path) -> None:
    damaged = tissue.copy()
    for z, where in damages().items():
        damaged[z][where] = 0 if z == LOST else 250
    damaged[COPIED] = damaged[COPIED - 1]
    damaged[padding] = 0
    path = write_ngff(tmp_path / "s.zarr", damaged, version="0.4", scale=(40, 4, 4), levels=2)
    masks, table = tmp_path / "damage.zarr", tmp_path / "flagged.csv"
    one = ["--workers", "1"]
    assert run(["detect", str(path), "--output", str(masks), "--report", str(table), *one]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    flagged = {int(row["section"]) for row in rows}
    assert [row["section"] for row in rows if row["kind"] == "copied"] == [str(COPIED)]
    bad = {COPIED, *damages()}
    assert bad <= flagged
    assert len(flagged - bad) <= 1, "a fold or so where sections are thick"

    command = ["repair", str(path), "--mask", str(masks), "--in-place", *one]
    command += ["--method", "flow", "--texture", "smooth"]
    assert run(command) == 1, "a rim of the copied section is left, where no neighbour was imaged"
    stack, mask = open_stack(path), open_mask(masks)
    for z, section in enumerate(damaged):
        found, repaired = mask.read(z) > 0, stack.read(z)
        np.testing.assert_array_equal(repaired[~found], section[~found])
        assert z == LOST or (repaired[padding[z]] == 0).all()
        assert z == LOST or not (found & padding[z]).any()
    better = []
    for z, where in damages().items():
        inside = where & ~padding[max(z - 1, 0) : z + 2].any(axis=0)
        assert (mask.read(z)[inside] > 0).mean() > 0.9
        flat = np.full(where.shape, np.median(tissue[z]))
        better.append(error(stack.read(z), tissue[z], inside) / error(flat, tissue[z], inside))
    assert np.median(better) < 0.7, "tissue, and not a guess"
