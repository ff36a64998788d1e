"""Make the picture of the page "Which method when" from the synthetic sample.

    python scripts/make_method_picture.py [FOLDER]

Prints what each repair and its peer score inside the mask, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from make_pictures import ROOT, Picture, save
from PIL import Image, ImageDraw

from napari_flowinpaint import Stack, repair_section
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.metrics import data_range, score
from napari_flowinpaint.core.simulation.sample import damaged_sample

EDGE, TITLE, GAP, SHADES = 208, 20, 6, 48
COLUMNS = ("damaged", "neighbours", "repaired", "truth")
Images = tuple[Picture, Picture, Picture, Picture]


def row(
    stack: Picture, z: int, mask: Picture, truth: Picture, method: str, kinds: Picture | None = None
) -> Images:
    """Return a section damaged, from the mean of its neighbours, repaired, and as it was."""
    repair = repair_section(Stack.from_array(stack), z, mask, method=method, kinds=kinds)
    repaired, mean = stack[z].copy(), stack[z].copy()
    near = [stack[n] for n in (z - 1, z + 1) if 0 <= n < len(stack)]
    mean[mask] = np.mean(near, axis=0)[mask].astype(mean.dtype)
    for patch in repair.patches:
        repaired[patch.box.slices][patch.mask] = patch.result[patch.mask]
    for name, image in (("neighbours", mean), (repair.provenance.method, repaired)):
        told = score(image, truth, mask, data_range(truth))
        print(f"section {z}, {name}: {told.structure_psnr:.1f} dB structure")
    return stack[z], mean, repaired, truth


def rows() -> dict[str, tuple[Images, Picture]]:
    """Return the images of every row, with the mask."""
    sample = damaged_sample()
    truth = sample.truth
    shape = truth.shape[1:]
    y, x = np.mgrid[: shape[0], : shape[1]]
    hole = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < 34
    specks = ((y // 3) % 17 == 0) & ((x // 3) % 23 < 2) & (np.hypot(y - 130, x - 130) < 90)
    found = {}
    for name, method, z, mask in (
        ("two neighbours: flowinpaint", "flowinpaint", 5, hole),
        ("one neighbour: one_neighbour", "one_neighbour", len(truth) - 1, hole),
        ("no neighbour: single_section", "single_section", 5, specks),
    ):
        stack = truth.copy()
        stack[z][mask] = 250
        found[name] = row(stack, z, mask, truth[z], method), mask
    folds = (sample.labels == KINDS["fold"].label).any(axis=(1, 2))
    z = int(np.flatnonzero(folds)[0])
    images = row(sample.stack, z, sample.mask[z], truth[z], "auto", sample.labels[z])
    found["a fold: unfold"] = images, sample.mask[z]
    return found


def picture(found: dict[str, tuple[Images, Picture]]) -> Image.Image:
    """Put the rows together, each cut to where its damage is."""
    width = len(COLUMNS) * (EDGE + GAP) - GAP
    canvas = Image.new("L", (width, len(found) * (EDGE + TITLE + GAP)), 255)
    draw = ImageDraw.Draw(canvas)
    for number, (name, (images, mask)) in enumerate(found.items()):
        top = number * (EDGE + TITLE + GAP)
        middle = np.argwhere(mask).mean(axis=0)
        y, x = np.clip(middle.astype(int) - EDGE // 2, 0, np.subtract(mask.shape, EDGE))
        for column, image in enumerate(images):
            left = column * (EDGE + GAP)
            words = f"{name}, {COLUMNS[column]}" if column == 0 else COLUMNS[column]
            draw.text((left + 2, top + 4), words, fill=0)
            canvas.paste(Image.fromarray(image[y : y + EDGE, x : x + EDGE]), (left, top + TITLE))
    return canvas


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    save(picture(rows()), folder / "which-method.png", SHADES)


if __name__ == "__main__":
    main()
