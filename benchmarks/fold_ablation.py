"""Score what undoes folds, part by part, over whole sections: as table 2 of its paper.

    python benchmarks/fold_ablation.py STACK[@SECTIONS[@SPACING]] ... [--weights WEIGHTS]
                                       [--curved] [--size 512] [--most 4] [--seed 0]

Every third section of each stack is folded by Algorithm 1 of "Learning to restore ssTEM images
from deformation and corruption" (2020), with widths and decay drawn from the paper's ranges and
taken as distances to the line, as the algorithm has them; straight lines, or curved ones. PSNR and
structure PSNR (2 px low-pass) in dB of 255 grey values (or the range of the type), and SSIM, over
the *whole section*, beside copying the previous section, the mean of both, interpolation along DIS
flow, and inpainting the dark line alone (Telea). The rows of the ablation:

* interpolation: the kernel prediction network alone;
* + unfolding: the unfolded section, and the interpolated one where the fold swallowed tissue;
* interpolation + fusion: the section as it is goes into the fusion, its line taken to be all that
  is lost;
* unfolding + fusion: the previous section in place of the interpolated one;
* all three.

The networks are not trained again for a row.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from skimage.metrics import structural_similarity  # noqa: E402

from napari_flowinpaint.core.benchmark.peers import PEERS  # noqa: E402
from napari_flowinpaint.core.filters import blur  # noqa: E402
from napari_flowinpaint.core.metrics import STRUCTURE_SIGMA, data_range  # noqa: E402
from napari_flowinpaint.core.networks.fold.restoration import (  # noqa: E402
    FoldNetwork,
    Restored,
    restore_fold,
)
from napari_flowinpaint.core.networks.released import FOLD, released  # noqa: E402
from napari_flowinpaint.core.networks.weights import load_network  # noqa: E402
from napari_flowinpaint.core.reference.fold_distance import line_distance  # noqa: E402
from napari_flowinpaint.core.simulation.fold import Fold, fold_section  # noqa: E402
from napari_flowinpaint.core.training.data import StackSpec  # noqa: E402
from napari_flowinpaint.core.types import AnyImage, FloatImage  # noqa: E402

#: Painted lines are wider than real ones by this on either side, pixels.
PAINTED = 2


def draw_fold(rng: np.random.Generator, curved: bool) -> Fold:
    """Draw a fold from the paper's ranges."""
    width = float(rng.uniform(5, 30))
    swallowed = float(rng.uniform(width + 5, 80))
    return Fold(
        width,
        2 * swallowed - width,
        float(rng.uniform(0.0001, 0.1)),
        float(rng.uniform(0, 0.1)),
        bend=float(rng.uniform(0.05, 0.15) * rng.choice([-1, 1])) if curved else 0.0,
    )


def scores(image: FloatImage, truth: AnyImage) -> tuple[float, float, float]:
    """Return structure PSNR, PSNR and SSIM over a whole section."""
    span = data_range(truth)
    a, b = (np.asarray(i, dtype=np.float32) for i in (image, truth))
    low = [blur(i, STRUCTURE_SIGMA) for i in (a, b)]

    def decibel(one: FloatImage, other: FloatImage) -> float:
        return float(10 * np.log10(span**2 / max(float(np.mean((one - other) ** 2)), 1e-12)))

    return decibel(*low), decibel(a, b), float(structural_similarity(a, b, data_range=span))


class Rows:
    """The rows of the table for one section."""

    def __init__(self, net: FoldNetwork, triplet: list[AnyImage], fold: Fold, seed: int) -> None:
        import cv2

        self.net, self.truth = net, triplet[0]
        folded = fold_section(triplet[0], fold, seed=seed)
        disc = np.ones((2 * PAINTED + 1, 2 * PAINTED + 1), dtype=np.uint8)
        self.line = cv2.dilate(folded.line.astype(np.uint8), disc) > 0
        self.section, self.previous, self.following = (
            image.astype(np.float32) for image in (folded.image, *triplet[1:])
        )
        self.away = line_distance(self.line)
        self.own = restore_fold(net, self.section, self.away, (self.previous, self.following))

    def all(self) -> dict[str, FloatImage]:
        """Return every row's section."""
        rows = {"folded": self.section}
        for name in ("copy", "mean", "dis"):
            rows[name] = PEERS[name](self.section, self.previous, self.following, self.line)
        telea = PEERS["telea"](self.section, self.previous, self.following, self.line)
        rows["line inpainted (Telea)"] = np.where(self.line, telea, self.section)
        own = self.own
        rows["interpolation"] = own.reference
        rows["interpolation + unfolding"] = np.where(own.lost, own.reference, own.unfolded)
        rows["interpolation + fusion"] = self._fused(_still(own, self.section, self.line))
        rows["unfolding + fusion"] = self._without_interpolation()
        rows["interpolation + unfolding + fusion"] = own.fused
        return rows

    def _without_interpolation(self) -> FloatImage:
        """Unfold against the previous section, and fuse with it."""
        keep = self.net.interpolation.forward
        self.net.interpolation.forward = lambda previous, following: previous  # type: ignore[method-assign]
        try:
            return restore_fold(
                self.net, self.section, self.away, (self.previous, self.following)
            ).fused
        finally:
            self.net.interpolation.forward = keep  # type: ignore[method-assign]

    def _fused(self, parts: Restored) -> FloatImage:
        """Fuse what is given."""
        mean, deviation = self.section[~self.line].mean(), self.section[~self.line].std()
        multiple = self.net.config.multiple
        height, width = self.line.shape

        def ready(image: FloatImage) -> torch.Tensor:
            wider = ((0, -height % multiple), (0, -width % multiple))
            return torch.from_numpy(np.pad(image.astype(np.float32), wider, mode="edge"))[
                None, None
            ]

        images = [ready((i - mean) / deviation) for i in (parts.unfolded, parts.reference)]
        with torch.inference_mode():
            out = self.net.fusion(*images, ready(parts.lost))
        return out[0, 0, :height, :width].numpy() * deviation + mean


def _still(own: Restored, section: FloatImage, line: np.ndarray) -> Restored:
    """Return the parts as if nothing had been unfolded."""
    return Restored(own.reference, section, own.fused, np.zeros_like(own.flow), line)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stacks", nargs="+")
    parser.add_argument("--weights", type=Path, default=released(FOLD))
    parser.add_argument("--curved", action="store_true")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--most", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder for an image of every section")
    options = parser.parse_args()
    net, _ = load_network(options.weights, architecture="fold")
    assert isinstance(net, FoldNetwork)
    for text in options.stacks:
        spec = StackSpec.parse(text)
        pixels, _ = spec.read()
        pixels = pixels[:: spec.spacings[0], : options.size, : options.size]
        print(table(net, pixels, options, Path(spec.path).stem), flush=True)


def table(net: FoldNetwork, pixels: AnyImage, options: argparse.Namespace, name: str) -> str:
    """Return the table of one stack, as Markdown."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    places = list(range(1, len(pixels) - 1, 3))[: options.most]
    for z in places:
        rng = np.random.default_rng((options.seed, z, options.curved))
        fold = draw_fold(rng, options.curved)
        triplet = [pixels[z], pixels[z - 1], pixels[z + 1]]
        rows = Rows(net, triplet, fold, seed=options.seed + z).all()
        for row, image in rows.items():
            found.setdefault(row, []).append(scores(image, pixels[z]))
        if options.pictures is not None:
            draw(options.pictures / f"{name}-{z}.png", rows, pixels[z])
    lines = [
        f"{name}: {len(places)} sections, {'curved' if options.curved else 'straight'} folds",
        "",
        "| | structure PSNR | PSNR | SSIM |",
        "|---|---:|---:|---:|",
    ]
    for row, values in found.items():
        structure, psnr, ssim = np.mean(values, axis=0)
        lines.append(f"| {row} | {structure:.2f} | {psnr:.2f} | {ssim:.3f} |")
    return "\n".join([*lines, ""])


def draw(path: Path, rows: dict[str, FloatImage], truth: AnyImage) -> None:
    """Draw folded, line inpainted, interpolation, unfolded, restored, truth (figure 5)."""
    import cv2

    names = (
        "folded",
        "line inpainted (Telea)",
        "interpolation",
        "interpolation + unfolding",
        "interpolation + unfolding + fusion",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [rows[n] for n in names]
    drawn = [np.clip(np.asarray(i, dtype=np.float32), 0, 255) for i in (*images, truth)]
    cv2.imwrite(str(path), np.hstack(drawn).astype(np.uint8))


if __name__ == "__main__":
    main()
