"""Make the picture of an unfolded section, from the fold of the synthetic sample.

    python scripts/make_fold_picture.py [FOLDER]

Prints what each panel scores over the whole section, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from make_pictures import ROOT, Picture, save, side_by_side
from PIL import Image

from napari_flowinpaint import Stack, repair_section
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.metrics import data_range, score
from napari_flowinpaint.core.simulation.sample import DamagedSample, damaged_sample

#: Edge of what is shown, pixels, and shades of grey.
EDGE, SHADES = 224, 48


def panels(sample: DamagedSample, z: int) -> dict[str, Picture]:
    """Return the section folded, its line filled, interpolated, unfolded, and as it was."""
    stack, mask = Stack.from_array(sample.stack), sample.mask[z]
    filled, unfolded = (
        repair_section(stack, z, mask, kinds=kinds, method="auto")
        for kinds in (None, sample.labels[z])
    )
    images = [sample.stack[z].copy() for _ in range(3)]
    for image, repair, stage in zip(
        images,
        (filled, unfolded, unfolded),
        ("result", "initial_reference", "result"),
        strict=True,
    ):
        for patch in repair.patches:
            image[patch.box.slices][patch.mask] = getattr(patch, stage)[patch.mask]
    names = ("folded", "line filled", "interpolated", "unfolded", "truth")
    return dict(zip(names, (sample.stack[z], *images, sample.truth[z]), strict=True))


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    sample = damaged_sample()
    folds = (sample.labels == KINDS["fold"].label).any(axis=(1, 2))
    z = int(np.flatnonzero(folds)[0])
    found = panels(sample, z)
    truth, whole = sample.truth[z], np.ones(sample.truth.shape[1:], dtype=bool)
    for name, image in found.items():
        if name != "truth":
            told = score(image, truth, whole, data_range(truth))
            print(f"{name}: {told.structure_psnr:.1f} dB structure, SSIM {told.ssim:.2f}")
    lines = np.argwhere(sample.mask[z])
    middle = lines[np.abs(lines - lines.mean(axis=0)).sum(axis=1).argmin()]
    y, x = (
        int(np.clip(m - EDGE // 2, 0, n - EDGE)) for m, n in zip(middle, truth.shape, strict=True)
    )
    crops = {n: Image.fromarray(i[y : y + EDGE, x : x + EDGE]) for n, i in found.items()}
    save(side_by_side(crops), folder / "unfolded.png", SHADES)


if __name__ == "__main__":
    main()
