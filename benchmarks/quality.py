"""How well the quality of a repair is predicted, and whether unusable neighbours are refused.

    python benchmarks/quality.py STACK@SECTIONS[@EVERY]... --crop 512 --output quality.csv

Every section of SECTIONS that has both neighbours among the planes is damaged by masks of every
shape and size, repaired, and compared with the truth. Printed are, per stack and overall:

* predicted against true structure PSNR: mean absolute error and bias, dB, from trials on intact
  places (``--quality``) and from the rehearsal alone; the same of the mean of the neighbours, and
  of SSIM;
* Spearman's correlation of the confidence of a pixel with its true error (2 px low-pass, inside
  the mask), within each repair and over all pixels; negative is right;
* how often the gate refuses: with the real neighbours, and with unusable ones planted in their
  place (other tissue: sections far away, and elsewhere in the plane; blurred; shifted by 200 px).

EVERY takes every n-th plane of an isotropic stack. Other planes of the stack are only looked at as
neighbours.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.benchmark.cases import SHAPES, whole
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.metrics import data_range, score
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.refusal import describe_refused
from napari_flowinpaint.core.repair.quality import predict_quality
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions

PLANTED = ("far section", "far place", "blur 2", "blur 4", "blur 8", "shift 200")
#: Planted in place of the following section only; not counted with the others.
ONE = ("one far place",)
#: Pixels of one repair that count for the correlation over all pixels.
SAMPLES = 2_000


@dataclass
class Source:
    name: str
    volume: np.ndarray
    sections: tuple[int, ...]


@dataclass
class Row:
    stack: str
    z: int
    shape: str
    fraction: float
    structure: float
    expected: float
    rehearsed: float
    mean_structure: float
    expected_mean: float
    ssim: float
    expected_ssim: float
    spread: float
    places: int
    spearman: float
    fit: float
    sharpness: float
    shift: float
    flagged: str
    seconds: float
    planted: str = ""


def read(spec: str) -> Source:
    path, _, rest = spec.partition("@")
    chosen, _, every = rest.partition("@")
    stack = open_stack(path)
    planes = range(0, stack.shape[0], int(every or 1))
    volume = np.stack([stack.read(z) for z in planes])
    sections = parse_sections(chosen) if chosen else tuple(range(len(volume)))
    inside = tuple(z for z in sections if 0 < z < len(volume) - 1)
    return Source(Path(path).stem, volume, inside)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic) if len(a) > 2 else float("nan")


def crop_of(source: Source, side: int | None, rng: np.random.Generator) -> tuple[slice, slice]:
    corner = [int(rng.integers(0, max(n - (side or n), 0) + 1)) for n in source.volume.shape[1:]]
    return tuple(
        slice(c, c + (side or n)) for c, n in zip(corner, source.volume.shape[1:], strict=True)
    )


def damaged(volume: np.ndarray, z: int, mask: np.ndarray) -> Stack:
    out = volume.copy()
    out[z][mask] = out[z].max()
    return Stack.from_array(out)


def try_one(volume, z, mask, method, options):
    """Repair; return the scores, the expectations and the errors with their confidence."""
    stack, truth = damaged(volume, z, mask), volume[z]
    started = time.perf_counter()
    repair = repair_section(stack, z, mask, method=method, options=options)
    if repair.refused:  # what is left would be scored as if it were the truth
        raise RepairRefused(describe_refused(repair.refused))
    seconds = time.perf_counter() - started
    filled = whole(repair, "result", truth)
    span = data_range(truth)
    own = score(filled, truth, mask, span)
    mean = (volume[z - 1].astype(np.float32) + volume[z + 1]) / 2
    plain = score(np.where(mask, mean, truth), truth, mask, span)
    rehearsed = predict_quality(stack, z, mask, method=method, repair=repair, places=0)
    error = np.abs(blur(filled.astype(np.float32), 2.0) - blur(truth.astype(np.float32), 2.0))
    confidence = np.ones(truth.shape, np.float32)
    for patch in repair.patches:
        confidence[patch.box.slices][patch.mask] = patch.confidence[patch.mask]
    return repair, own, plain, rehearsed, error[mask], confidence[mask], seconds


def plant(source: Source, z: int, crop, how: str, rng: np.random.Generator) -> np.ndarray:
    """Return the cropped planes with unusable neighbours of section z."""
    import cv2

    volume = source.volume
    out = volume[(slice(None), *crop)].copy()
    far = [n for n in range(len(volume)) if abs(n - z) >= min(5, len(volume) // 4)]
    angle = rng.uniform(0, 2 * np.pi)
    shift = (round(200 * np.sin(angle)), round(200 * np.cos(angle)))
    only = how.startswith("one ")
    how = how.removeprefix("one ")
    for number, neighbour in enumerate((z - 1, z + 1)):
        if only and neighbour < z:
            continue
        plane = volume[neighbour]
        if how == "far section":
            plane = volume[far[int(rng.integers(len(far)))]]
        elif how == "far place":
            turned = np.rot90(volume[far[int(rng.integers(len(far)))]], 1 + number)
            plane = np.roll(turned, [n // 2 for n in turned.shape], (0, 1))
        elif how.startswith("blur"):
            plane = cv2.GaussianBlur(plane, (0, 0), float(how.split()[1]))
        else:  # what comes in from outside is mirrored tissue
            margins = [(max(-by, 0), max(by, 0)) for by in shift]
            wide = np.pad(plane, margins, mode="reflect")
            plane = wide[
                tuple(
                    slice(max(by, 0), max(by, 0) + n)
                    for by, n in zip(shift, plane.shape, strict=True)
                )
            ]
        out[neighbour] = plane[crop]
    return out


def refused(volume, z, mask, method) -> str:
    """Return why a repair is refused, in a few words; "" if it is not."""
    options = RepairOptions(quality=True, max_gap=1)  # farther sections could take their place
    try:
        stack = damaged(volume, z, mask)
        repair = repair_section(stack, z, mask, method=method, options=options)
        if repair.refused:
            raise RepairRefused(describe_refused(repair.refused))
        if repair.flags:  # one was left out
            raise RepairRefused(repair.flags[0])
    except RepairRefused as error:
        words = {
            "something else": "fit",
            "focus": "sharpness",
            "px off": "shift",
            "worse": "worse than mean",
        }
        return next((short for word, short in words.items() if word in str(error)), "other")
    return ""


def measure(source: Source, arguments, pooled: list) -> list[Row]:
    rows = []
    options = RepairOptions(quality=True, gate="flag")
    for z, shape, fraction in product(source.sections, arguments.shapes, arguments.fractions):
        rng = np.random.default_rng((arguments.seed, z, round(100 * fraction), len(shape)))
        crop = crop_of(source, arguments.crop, rng)
        volume = source.volume[(slice(None), *crop)]
        mask = SHAPES[shape](volume.shape[1:], fraction, rng)
        try:
            found = try_one(volume, z, mask, arguments.method, options)
        except RepairRefused as error:
            print(f"{source.name} {z} {shape} {fraction:g}: refused: {error}", flush=True)
            continue
        repair, own, plain, rehearsed, error, confidence, seconds = found
        pooled.append(
            (
                source.name,
                error[:: max(1, error.size // SAMPLES)],
                confidence[:: max(1, error.size // SAMPLES)],
            )
        )
        planted = {
            how: refused(plant(source, z, crop, how, rng), z, mask, arguments.method)
            for how in arguments.planted
        }
        scores = repair.provenance.scores
        row = Row(
            stack=source.name,
            z=z,
            shape=shape,
            fraction=fraction,
            structure=own.structure_psnr,
            expected=scores["expected_structure"],
            rehearsed=rehearsed.structure,
            mean_structure=plain.structure_psnr,
            expected_mean=scores["expected_mean_structure"],
            ssim=own.ssim,
            expected_ssim=scores.get("expected_ssim", float("nan")),
            spread=scores.get("expected_spread", float("nan")),
            places=round(scores["expected_places"]),
            spearman=spearman(error, confidence),
            fit=scores.get("neighbour_fit", float("nan")),
            sharpness=scores.get("neighbour_sharpness", float("nan")),
            shift=scores.get("neighbour_shift", float("nan")),
            flagged="; ".join(repair.flags),
            seconds=seconds,
            planted=";".join(f"{how}={why}" for how, why in planted.items()),
        )
        print(
            f"{row.stack} {z} {shape} {fraction:g}: true {row.structure:.2f}, expected "
            f"{row.expected:.2f} ({row.places} places), rehearsal {row.rehearsed:.2f}; fit "
            f"{row.fit:.2f}; spearman {row.spearman:.2f}; {seconds:.1f} s; {row.planted}"
            + (f"; FLAGGED {row.flagged}" if row.flagged else ""),
            flush=True,
        )
        rows.append(row)
    return rows


def summary(name: str, rows: list[Row], pooled: list) -> list[str]:
    def off(found: str, true: str) -> str:
        errors = np.array([getattr(row, found) - getattr(row, true) for row in rows])
        errors = errors[np.isfinite(errors)]
        if not errors.size:
            return "- | -"
        digits = 3 if "ssim" in true else 2
        return f"{np.abs(errors).mean():.{digits}f} | {errors.mean():+.{digits}f}"

    here = [(e, c) for stack, e, c in pooled if name in ("all", stack)]
    every = spearman(*(np.concatenate(part) for part in zip(*here, strict=True)))
    lines = [
        f"\n{name}: {len(rows)} repairs\n",
        "| predicted | mean absolute error | bias |\n|---|---|---|",
        f"| structure PSNR, from trials | {off('expected', 'structure')} |",
        f"| structure PSNR, from the rehearsal | {off('rehearsed', 'structure')} |",
        f"| structure PSNR of the mean | {off('expected_mean', 'mean_structure')} |",
        f"| SSIM | {off('expected_ssim', 'ssim')} |",
        f"\nSpearman of confidence with error: {np.mean([r.spearman for r in rows]):.2f} within a "
        f"repair, {every:.2f} over all pixels",
        f"intact neighbours flagged: {np.mean([bool(r.flagged) for r in rows]):.1%}",
    ]
    outcomes: dict[str, list[str]] = {}
    for row in rows:
        for part in filter(None, row.planted.split(";")):
            how, _, why = part.partition("=")
            outcomes.setdefault(how, []).append(why)
    for how, whys in outcomes.items():
        reasons = ", ".join(f"{why} {whys.count(why)}" for why in sorted(set(whys) - {""}))
        lines.append(f"{how}: {np.mean([bool(w) for w in whys]):.1%} refused ({reasons})")
    together = [bool(w) for how, whys in outcomes.items() if how not in ONE for w in whys]
    if together:
        lines.append(f"all planted: {np.mean(together):.1%} of {len(together)} refused")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stacks", nargs="+", metavar="STACK@SECTIONS[@EVERY]")
    parser.add_argument("--shapes", default="irregular,rectangular")
    parser.add_argument("--fractions", default="0.1,0.3")
    parser.add_argument("--planted", default=",".join(PLANTED + ONE))
    parser.add_argument("--method", default="auto")
    parser.add_argument("--crop", type=int, help="side of a random part that is used, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, help="at most so many sections of a stack, drawn")
    parser.add_argument("--output", type=Path, metavar="TABLE.csv")
    arguments = parser.parse_args()
    arguments.shapes = arguments.shapes.split(",")
    arguments.fractions = [float(f) for f in arguments.fractions.split(",")]
    arguments.planted = [how for how in arguments.planted.split(",") if how]
    rows: list[Row] = []
    pooled: list = []
    sources = []
    for spec in arguments.stacks:
        source = read(spec)
        if arguments.most and len(source.sections) > arguments.most:
            rng = np.random.default_rng(arguments.seed)
            chosen = rng.choice(source.sections, arguments.most, replace=False)
            source.sections = tuple(sorted(map(int, chosen)))
        sources.append(source.name)
        rows += measure(source, arguments, pooled)
    for name in [*dict.fromkeys(sources), "all"]:
        mine = [row for row in rows if name in ("all", row.stack)]
        if mine:
            print("\n".join(summary(name, mine, pooled)))
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main()
