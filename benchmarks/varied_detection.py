"""How well damage of many shapes and greys is found, one damaged section at a time.

    python benchmarks/varied_detection.py STACK[@SECTIONS[@EVERY[@Y,X,SIDE]]]... --seed S --cases N

In every stack N sections per sort of damage are damaged, one at a time, and searched; every third
time its neighbours are as well. Printed are, per stack and over all, the share found at all and as
what it is, the mean IoU of what was found, the clean sections that were flagged, and the F1 of
sections: a damaged one that is flagged is a hit, a clean one that is flagged a false alarm, where
clean are the untouched stack and the neighbours. EVERY takes every n-th plane; Y,X,SIDE crops.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.detection.detect_section import DetectionOptions, detect_section
from napari_flowinpaint.core.detection.features.sections import Sections
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.varied import COPIED, SORTS, copy_of, vary


def read(spec):
    path, chosen, every, crop = [*spec.split("@"), "", "", ""][:4]
    stack = open_stack(path)
    volume = np.stack([stack.read(z) for z in range(0, stack.shape[0], int(every or 1))])
    if crop:
        y, x, side = map(int, crop.split(","))
        volume = np.ascontiguousarray(volume[:, y : y + side, x : x + side])
    sections = parse_sections(chosen) if chosen else tuple(range(len(volume)))
    return f"{Path(path).stem}{'/' + crop if crop else ''}", volume, sections


def keep_maps(sections, known, z):
    """Let sections that were not changed keep the maps that were made before."""
    for other, maps in known.items():
        if other != z:
            sections.keep(other, maps)


def copied(volume, z, rng):
    """Put a copy of one of its neighbours in the place of a section."""
    beside = [n for n in (z - 1, z + 1) if 0 <= n < len(volume)]
    return copy_of(volume[int(rng.choice(beside))], rng)


def measure(volume, chosen, arguments, rows, name):
    options = DetectionOptions(sensitivity=arguments.sensitivity)
    clean = Sections(Stack.from_array(volume), options.side, len(volume))
    known = {z: clean.features(z) for z in range(len(volume))}
    alarms = {
        z: {d.kind: d.score for d in found}
        for z in chosen
        if (found := detect_section(clean, z, options))
    }
    if alarms:
        print(f"  {name}: flagged though clean: {alarms}")
    beside = [0, 0]
    for sort in arguments.sorts:
        rng = np.random.default_rng((arguments.seed, zlib.crc32(sort.encode())))
        for n in range(arguments.cases):
            z = int(rng.choice(chosen))
            done = copied(volume, z, rng) if sort == COPIED else vary(sort, volume[z], rng)
            damaged = volume.copy()
            damaged[z] = done.image
            sections = Sections(Stack.from_array(damaged), options.side, len(volume))
            keep_maps(sections, known, z)
            found = detect_section(sections, z, options)
            named = [d for d in found if d.kind in done.kinds]
            right = np.logical_or.reduce([np.zeros_like(done.mask), *(d.mask for d in found)])
            iou = float((right & done.mask).sum() / max((right | done.mask).sum(), 1))
            rows[name, sort].append((bool(found), bool(named), iou if found else np.nan))
            if arguments.report and (not named or iou < 0.5):
                said = {d.kind: (d.score, round(float(d.mask.mean()), 4)) for d in found}
                size = round(float(done.mask.mean()), 4)
                print(f"  {name} {sort} case {n} section {z} area {size} IoU {iou:.2f} -> {said}")
            if n % 3 == 0:
                for other in {z - 1, z + 1} & set(chosen) - set(alarms):
                    beside[1] += 1
                    near = detect_section(sections, other, options)
                    beside[0] += bool(near)
                    if near and arguments.report:
                        said = {d.kind: (d.score, round(float(d.mask.mean()), 4)) for d in near}
                        print(f"  {name} {sort} case {n} section {z}: neighbour {other}: {said}")
    return len(alarms), len(chosen), beside


def line(name, values):
    values = np.array(values, dtype=float)
    found, named = values[:, 0].mean(), values[:, 1].mean()
    iou = np.nanmean(values[:, 2]) if np.isfinite(values[:, 2]).any() else np.nan
    return f"| {name} | {len(values)} | {found:.3f} | {named:.3f} | {iou:.3f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--sorts", type=lambda s: s.split(","), default=[*SORTS, COPIED])
    parser.add_argument("--sensitivity", type=float, default=0.5)
    parser.add_argument("--report", action="store_true", help="list every error")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows, totals = defaultdict(list), defaultdict(list)
    print("| stack | damaged | found | named | IoU | F1 of sections | clean flagged |")
    alarms = clean = 0
    for spec in arguments.stacks:
        name, volume, chosen = read(spec)
        began = time.perf_counter()
        flagged, count, beside = measure(volume, chosen, arguments, rows, name)
        values = [v for (n, _), vs in rows.items() if n == name for v in vs]
        hits, wrong = sum(v[0] for v in values), flagged + beside[0]
        f1 = 2 * hits / max(hits + len(values) + wrong, 1)
        print(
            f"{line(name, values)} {f1:.3f} | {flagged} of {count}, beside damage "
            f"{beside[0]} of {beside[1]} | {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        alarms, clean = alarms + wrong, clean + count + beside[1]
        for (n, sort), vs in rows.items():
            if n == name:
                totals[sort] += vs
    print("\n| sort | damaged | found | named | IoU |\n|---|---|---|---|---|")
    for sort, vs in totals.items():
        print(line(sort, vs))
    every = [v for vs in totals.values() for v in vs]
    hits = sum(v[0] for v in every)
    print(f"{line('all', every)}\nF1 of sections {2 * hits / (hits + len(every) + alarms):.3f}, ")
    print(f"clean flagged {alarms} of {clean} ({alarms / max(clean, 1):.1%})")


if __name__ == "__main__":
    main()
