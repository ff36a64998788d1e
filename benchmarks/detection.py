"""How well damage is found: simulated damage of every kind, on given sections of given stacks.

    python benchmarks/detection.py STACK@SECTIONS[@EVERY]... --seed 1000 --passes 10

In every pass some of the sections, four or more apart, are damaged: kind, size and strength are
drawn at random. The whole stack is then searched as ``flowinpaint detect`` does it. Printed are,
per kind and overall, precision, recall and F1 of the rows (section, kind), the mean IoU of masks
of rows that were found, and the share of sections flagged though nothing was done to them: in
the stack as it is, and as neighbours of damaged ones. EVERY takes every n-th plane of an isotropic
stack. Sections outside SECTIONS are context: never damaged, never counted.

Real stacks have real damage. Name what was seen by eye as ``--real STEM:SECTION:KIND`` (for example
``vnc:20:dark``): such sections are not damaged further and not counted.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.detection.detect_section import DetectionOptions, detect_section
from napari_flowinpaint.core.detection.features.sections import Sections
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.draw import DRAWN, draw_damage, simulate

APART = 4


@dataclass
class Count:
    hits: int = 0
    false: int = 0
    missed: int = 0
    ious: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        precision = self.hits / max(self.hits + self.false, 1)
        recall = self.hits / max(self.hits + self.missed, 1)
        f1 = 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)
        iou = np.mean(self.ious) if self.ious else float("nan")
        total = self.hits + self.missed
        return f"| {name} | {total} | {precision:.3f} | {recall:.3f} | {f1:.3f} | {iou:.3f} |"


@dataclass
class Source:
    name: str
    volume: np.ndarray
    voxel_size: tuple[float, float, float] | None
    sections: tuple[int, ...]


def read(spec: str) -> Source:
    path, _, rest = spec.partition("@")
    chosen, _, every = rest.partition("@")
    stack = open_stack(path)
    step = int(every or 1)
    volume = np.stack([stack.read(z) for z in range(0, stack.shape[0], step)])
    sections = parse_sections(chosen) if chosen else tuple(range(len(volume)))
    return Source(Path(path).stem, volume, stack.voxel_size, sections)


def search_all(volume, source, options, counted):
    sections = Sections(Stack.from_array(volume, voxel_size=source.voxel_size), options.side)
    return {z: detect_section(sections, z, options) for z in counted}


def iou(a, b):
    return float((a & b).sum() / max((a | b).sum(), 1))


def one_pass(source, options, real, seed, counts, report):
    """Damage some sections, search all, count."""
    rng = np.random.default_rng((seed, len(source.volume)))
    free = [z for z in source.sections if z not in real]
    start, chosen = int(rng.integers(min(APART, len(free)))), []
    for z in free[start:]:
        if not chosen or z - chosen[-1] >= APART:
            chosen.append(z)
    kinds = [str(k) for k in rng.permutation(DRAWN)]
    volume, truth = source.volume.copy(), {}
    for n, z in enumerate(chosen):
        kind = kinds[n % len(kinds)]
        damage = draw_damage(kind, rng, volume.shape[1:])
        done = simulate(volume[z], damage, seed=1000 * seed + z)
        volume[z] = done.image
        truth[z] = (kind, done.mask, damage)
    counted = [z for z in source.sections if z not in real]
    found = search_all(volume, source, options, counted)
    flagged = 0
    for z in counted:
        kind, mask, damage = truth.get(z, (None, None, None))
        names = {d.kind: d for d in found[z]}
        if kind in names:
            counts[kind].hits += 1
            counts[kind].ious.append(iou(names[kind].mask, mask))
        elif kind is not None:
            counts[kind].missed += 1
        for name in names:
            counts[name].false += name != kind
        flagged += kind is None and bool(names)
        wrong = set(names) ^ ({kind} - {None})
        if report and (wrong or (kind in names and counts[kind].ious[-1] < 0.6)):
            said = {n: (d.score, round(float(d.mask.mean()), 4)) for n, d in names.items()}
            overlap = f"{counts[kind].ious[-1]:.2f}" if kind in names else "-"
            print(f"  {source.name} seed {seed} section {z}: {damage} IoU {overlap} -> {said}")
    return flagged, len(counted) - len(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+", metavar="STACK[@SECTIONS[@EVERY]]")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--sensitivity", type=float, default=0.5)
    parser.add_argument("--real", action="append", default=[], metavar="STEM:SECTION:KIND")
    parser.add_argument("--report", action="store_true", help="list every error")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    options = DetectionOptions(sensitivity=arguments.sensitivity)
    counts: dict[str, Count] = defaultdict(Count)
    flagged = untouched = 0
    for spec in arguments.stacks:
        source = read(spec)
        real = {
            int(section)
            for stem, section, _ in (item.split(":") for item in arguments.real)
            if source.name.startswith(stem) or stem in source.name
        }
        began = time.perf_counter()
        clean = search_all(source.volume, source, options, source.sections)
        seconds = (time.perf_counter() - began) / len(source.sections)
        said = {z: {d.kind: d.score for d in f} for z, f in clean.items() if f}
        wrong = sorted(set(said) - real)
        print(
            f"{source.name}: {len(wrong)} of {len(source.sections) - len(real)} untouched sections "
            f"flagged ({seconds:.3f} s per section): { {z: said[z] for z in wrong} }; "
            f"real damage: { {z: said.get(z, 'not found') for z in sorted(real)} }"
        )
        for number in range(arguments.passes):
            seed = arguments.seed + number
            a, b = one_pass(source, options, real, seed, counts, arguments.report)
            flagged, untouched = flagged + a, untouched + b
    print("\n| kind | damaged | precision | recall | F1 | IoU |\n|---|---|---|---|---|---|")
    total = Count()
    for kind in KINDS:
        count = counts[kind]
        print(count.row(kind))
        total.hits, total.false = total.hits + count.hits, total.false + count.false
        total.missed, total.ious = total.missed + count.missed, total.ious + count.ious
    print(total.row("all"))
    share = flagged / max(untouched, 1)
    print(
        f"\nuntouched sections beside damaged ones flagged: {flagged} of {untouched} ({share:.1%})"
    )


if __name__ == "__main__":
    main()
