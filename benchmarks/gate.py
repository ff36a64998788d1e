"""How often the gate leaves out real neighbours, and lets through unusable ones.

    python benchmarks/gate.py STACK@SECTIONS[@EVERY]... --cases 60 --output gate.csv

Every case is one section with a hole in a window: discs of 20 and 60 pixels with the context that
a repair has, irregular masks over 10 and 30 % of larger windows and of windows of 250 pixels, a
disc in a corner, and windows of which about half is padding without image. Its neighbours are
judged one by one: the two real ones, and in the place of one of them

* unrelated ones: a section of another of the stacks, a place far away in the same stack, the
  neighbour turned by 180°, a far section mirrored, smoothed noise;
* the neighbour blurred by a Gaussian of 2 to 4 pixels;
* the neighbour shifted by 110 to 220 pixels.

A window is refused where neither of its neighbours is let through, so its rates are lower. EVERY
takes every n-th plane of an isotropic stack.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.parallel import alone
from napari_flowinpaint.core.repair.gate import measure_fit
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.window import Neighbour, Window

REAL = ("previous", "following")
UNRELATED = ("other stack", "far place", "turned", "mirrored", "noise")
#: Kind of case and side of its window, pixels.
KINDS = {
    "disc 20": 212,
    "disc 60": 252,
    "irregular 10 %": 384,
    "irregular 30 %": 512,
    "small": 250,
    "padded": 320,
    "corner": 212,
}


@dataclass
class Source:
    name: str
    volume: np.ndarray


@dataclass
class Row:
    stack: str
    case: int
    kind: str
    z: int
    neighbour: str
    fault: str
    agreement: float = float("nan")
    chance: float | None = float("nan")
    sharpness: float = float("nan")
    shift: float = float("nan")


@dataclass
class Case:
    z: int
    crop: tuple[slice, slice]
    mask: np.ndarray
    imaged: np.ndarray


def read(spec: str) -> Source:
    path, _, rest = spec.partition("@")
    chosen, _, every = rest.partition("@")
    stack = open_stack(path)
    sections = parse_sections(chosen) if chosen else range(stack.shape[0])
    volume = np.stack([stack.read(z) for z in list(sections)[:: int(every or 1)]])
    return Source(Path(path).stem, volume)


def irregular(shape, fraction: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(8, 24))
    return noise > np.quantile(noise, 1 - fraction)


def disc(shape, diameter: float, y: float, x: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - y, columns - x) <= diameter / 2


def make_case(source: Source, kind: str, rng: np.random.Generator) -> Case:
    volume = source.volume
    shape = tuple(min(KINDS[kind], n) for n in volume.shape[1:])
    corner = [int(rng.integers(0, n - s + 1)) for n, s in zip(volume.shape[1:], shape, strict=True)]
    crop = tuple(slice(c, c + s) for c, s in zip(corner, shape, strict=True))
    imaged = np.ones(shape, dtype=bool)
    if kind.startswith("disc"):
        mask = disc(shape, float(kind.split()[1]), shape[0] / 2, shape[1] / 2)
    elif kind == "corner":
        mask = disc(shape, 20, 10, 10)
    else:
        share = {"irregular 10 %": 0.1, "irregular 30 %": 0.3}.get(kind, rng.uniform(0.1, 0.3))
        mask = irregular(shape, share, rng)
    if kind == "padded":
        imaged[:, : int(rng.uniform(0.4, 0.6) * shape[1])] = False
    return Case(int(rng.integers(1, len(volume) - 1)), crop, mask & imaged, imaged)


def wide(plane: np.ndarray, shape) -> np.ndarray:
    """Mirror a plane at its borders until it is large enough."""
    while plane.shape[0] < shape[0] or plane.shape[1] < shape[1]:
        pads = [(n // 2, n // 2) for n in plane.shape]
        plane = np.pad(plane, pads, mode="reflect")
    return plane


def middle(plane: np.ndarray, shape) -> np.ndarray:
    y, x = ((n - s) // 2 for n, s in zip(plane.shape, shape, strict=True))
    return plane[y : y + shape[0], x : x + shape[1]]


def shifted(plane: np.ndarray, crop, rng: np.random.Generator) -> np.ndarray:
    """Return a part of a plane that lies 110 to 220 pixels off; mirrored beyond its borders."""
    length, angle = rng.uniform(110, 220), rng.uniform(0, 2 * np.pi)
    by = (round(length * np.sin(angle)), round(length * np.cos(angle)))
    around = np.pad(plane, 220, mode="reflect")
    y, x = (slice(c.start + 220 + b, c.stop + 220 + b) for c, b in zip(crop, by, strict=True))
    return around[y, x]


def neighbours(
    source: Source, others: list[Source], case: Case, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield real and unusable neighbours of a case."""
    volume, crop, shape = source.volume, case.crop, case.mask.shape
    yield "previous", volume[case.z - 1][crop]
    yield "following", volume[case.z + 1][crop]
    plane = volume[case.z + int(rng.choice([-1, 1]))]
    if others:
        other = others[int(rng.integers(len(others)))].volume
        yield "other stack", middle(wide(other[int(rng.integers(len(other)))], shape), shape)
    far = [n for n in range(len(volume)) if abs(n - case.z) >= min(10, len(volume) // 2)]
    away = volume[int(rng.choice(far or [0]))]
    moved = np.roll(away, [n // 2 for n in away.shape], (0, 1))
    yield "far place", (moved if rng.random() < 0.5 else moved[::-1, ::-1])[crop]
    yield "turned", plane[crop][::-1, ::-1]
    yield "mirrored", away[crop][:, ::-1]
    yield "blurred", cv2.GaussianBlur(plane, (0, 0), float(rng.uniform(2, 4)))[crop]
    if min(plane.shape) >= 256:  # what comes into smaller ones from outside is what was in them
        yield "shifted", shifted(plane, crop, rng)
    noise = cv2.GaussianBlur(
        rng.standard_normal(shape).astype(np.float32), (0, 0), float(rng.uniform(0.3, 3))
    )
    yield "noise", np.clip(128 + 50 * noise / noise.std(), 0, 255)


def window_of(source: Source, case: Case, image: np.ndarray, rng: np.random.Generator) -> Window:
    valid = np.ones(case.mask.shape, dtype=bool)
    if not case.imaged.all():  # the border of another section lies elsewhere
        border = int(np.argmax(case.imaged[0])) + int(rng.integers(-10, 10))
        valid[:, : max(border, 0)] = False
    image = np.where(valid, image, image[valid].mean()).astype(np.float32)
    section = source.volume[case.z][case.crop].astype(np.float32)
    intact = case.imaged & ~case.mask
    section[~intact] = section[intact].mean()
    box = Box.whole(case.mask.shape)
    neighbour = Neighbour(case.z - 1, image, valid)
    return Window(case.z, box, section, case.mask, intact, neighbour, None, 0.5, (0, 255))


def measure(source: Source, others: list[Source], cases: int, seed: int) -> Iterator[Row]:
    for number in range(cases):
        kind = list(KINDS)[number % len(KINDS)]
        rng = np.random.default_rng((seed, number))
        case = make_case(source, kind, rng)
        for how, image in neighbours(source, others, case, rng):
            fits = measure_fit(window_of(source, case, image, rng))
            row = Row(source.name, number, kind, case.z, how, "not judged")
            if fits:
                (fit,) = fits
                row.agreement, row.chance = fit.agreement, fit.chance
                row.sharpness, row.shift, row.fault = fit.sharpness, fit.shift, fit.fault
            yield row


def summary(name: str, rows: list[Row]) -> str:
    def refused(*kinds: str) -> str:
        some = [row for row in rows if row.neighbour in kinds]
        if not some:
            return "-"
        count = sum(row.fault not in ("", "not judged") for row in some)
        return f"{count} of {len(some)} ({count / len(some):.1%})"

    cells = [refused(*REAL), refused(*UNRELATED), refused("blurred"), refused("shifted")]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stacks", nargs="+", metavar="STACK@SECTIONS[@EVERY]")
    parser.add_argument("--cases", type=int, default=42, help="of every stack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="judge only this stack, the first is 0")
    parser.add_argument("--output", type=Path, metavar="TABLE.csv")
    arguments = parser.parse_args()
    sources = [read(spec) for spec in arguments.stacks]
    rows: list[Row] = []
    print("| stack | real ones left out | unrelated ones | blurred ones | shifted ones |")
    print("|---|---|---|---|---|")
    cv2.setNumThreads(1)
    with alone():
        for source in sources if arguments.only is None else [sources[arguments.only]]:
            others = [other for other in sources if other is not source]
            found = list(measure(source, others, arguments.cases, arguments.seed))
            print(summary(source.name, found), flush=True)
            rows += found
    print(summary("all", rows))
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main()
