"""What texture costs and how it looks: holes in sections, repaired smooth, with noise and natural.

    python benchmarks/texture.py STACK@SECTIONS[@EVERY]... [--side 128] [--whole]

Of every EVERY-th of the sections named (1 where it is not given), every third gets two square holes
(``--whole``: is taken out as a whole) and is repaired from those around it. Printed are means over
the sections of a stack: structure PSNR (dB) and how much more it is than that of ``smooth``; AUC
and log energies of bands as ``flowinpaint benchmark`` has them; correlation of the fine scales one
pixel on, repaired minus true; dark ridges (Hessian at 1 px), their area over that in the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.benchmark.texture_scores import patch_pairs, texture_scores
from napari_flowinpaint.core.filters import blur, fine_scales
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.reference.texture import TEXTURES
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions


def holes(shape: tuple[int, int], side: int, seed: int) -> np.ndarray:
    """Return a mask of two square holes."""
    rng, mask = np.random.default_rng((seed, side)), np.zeros(shape, dtype=bool)
    for _ in range(2):
        y, x = (int(rng.integers(8, n - side - 8)) for n in shape)
        mask[y : y + side, x : x + side] = True
    return mask


def repaired(pixels: np.ndarray, mask: np.ndarray, texture: str) -> np.ndarray:
    """Return the middle one of some sections with its masked pixels repaired."""
    middle, damaged = len(pixels) // 2, pixels.copy()
    damaged[middle][mask] = pixels.max()
    options = RepairOptions(texture=texture, gate="off")
    repair = repair_section(Stack.from_array(damaged), middle, mask, options=options)
    whole = pixels[middle].copy()
    for patch in repair.patches:
        whole[patch.box.slices][patch.mask] = patch.result[patch.mask]
    return whole


def lag(image: np.ndarray, mask: np.ndarray) -> float:
    """Return the correlation of the fine scales with themselves one pixel on."""
    fine, both = fine_scales(image.astype(np.float32)), mask[:, 1:] & mask[:, :-1]
    return float(np.mean((fine[:, 1:] * fine[:, :-1])[both]) / np.mean(fine[mask] ** 2))


def ridges(image: np.ndarray) -> np.ndarray:
    """Return how dark a ridge every pixel lies on: the larger eigenvalue of the Hessian."""
    smooth = blur(image.astype(np.float32), 1.0)
    dy, dx = np.gradient(smooth)
    (dyy, dyx), (_, dxx) = np.gradient(dy), np.gradient(dx)
    return (dyy + dxx) / 2 + np.sqrt(((dyy - dxx) / 2) ** 2 + dyx**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+", metavar="STACK@SECTIONS[@EVERY]")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args()
    for spec in args.stacks:
        path, chosen, every = [*spec.split("@"), "1"][:3]
        stack, step = open_stack(path), int(every)
        sections = parse_sections(chosen)[::step]
        rows: dict[str, list[tuple[float, ...]]] = {texture: [] for texture in TEXTURES}
        pairs: dict[str, list] = {texture: [] for texture in TEXTURES}
        for z in sections[1:-1:3]:
            around = [n for n in range(z - 2 * step, z + 3 * step, step) if n in sections]
            reach = min(around.index(z), len(around) - 1 - around.index(z))
            pixels = np.stack([stack.read(z + n * step) for n in range(-reach, reach + 1)])
            truth = pixels[reach]
            mask = np.ones(truth.shape, bool) if args.whole else holes(truth.shape, args.side, z)
            threshold = np.quantile(ridges(truth)[mask], 0.9)
            for texture in TEXTURES:
                made = repaired(pixels, mask, texture)
                rows[texture].append(
                    (
                        score(made, truth, mask, 255).structure_psnr,
                        lag(made, mask) - lag(truth, mask),
                        float(np.mean(ridges(made)[mask] > threshold)) / 0.1,
                    )
                )
                pairs[texture].append(patch_pairs(made, truth, mask))
        print(f"{Path(path).stem}: {len(rows['smooth'])} sections of {stack.shape[1:]}")
        smooth = np.mean(rows["smooth"], axis=0)[0]
        for texture in TEXTURES:
            structure, along, lines = np.mean(rows[texture], axis=0)
            looks = texture_scores(pairs[texture])
            assert looks is not None
            print(
                f"  {texture:8s} structure {structure:.2f} dB ({structure - smooth:+.2f}), "
                f"AUC {looks.auc:.3f}, bands {' '.join(f'{band:+.2f}' for band in looks.bands)}, "
                f"lag {along:+.3f}, ridges {lines:.2f}"
            )


if __name__ == "__main__":
    main()
