"""Kill write-back 200 times with SIGKILL, at random moments, and look at what is left.

    python benchmarks/kill_during_write.py [--kills 200] [--seed 0] [--every-step N]

Each time a fresh copy of a small store is given to a process that writes repairs, reverts them,
undoes a cancelled job, or recovers from an earlier kill, and that process is killed. Then the
stack is recovered, and every pixel of every level and of the label image is compared with
what it should be, bit by bit, given the repairs the journal calls committed. With
``--every-step N`` the process is killed before every N-th call that changes the disk instead.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from killing import Killer, repairs_of  # noqa: E402
from repaired_stores import (  # noqa: E402
    Expectation,
    Layout,
    journal_folder,
    journal_states,
    random_pixels,
    write_store,
)

from napari_flowinpaint.core.io.pyramid import DownsamplingRule  # noqa: E402
from napari_flowinpaint.core.open import open_stack  # noqa: E402
from napari_flowinpaint.core.writing.recovery import needs_recovery, recover  # noqa: E402
from napari_flowinpaint.core.writing.writeback import history, write_back  # noqa: E402

SHAPE = (8, 200, 220)
LAYOUTS = {
    "v2, one section per chunk": (Layout(2, (1, 64, 64)), "uint8"),
    "v2, four sections per chunk": (Layout(2, (4, 64, 64)), "uint16"),
    "v3, reduced in z, nearest": (
        Layout(3, (4, 50, 50), None, ((2, 2, 2),), DownsamplingRule("nearest")),
        "uint8",
    ),
    "v3, sharded": (Layout(3, (1, 32, 32), (8, 128, 128)), "int16"),
    "v3, sharded, reduced in z": (Layout(3, (2, 32, 32), (4, 64, 64), ((2, 2, 2),) * 2), "float32"),
    "v3, bare array": (Layout(3, (4, 100, 110), None, (), bare=True), "uint8"),
}
#: Sections that are repaired already, and those that a job writes.
EARLIER, WRITTEN = [2, 3], [0, 2, 3, 4, 7]
JOBS: dict[str, dict[str, Any]] = {
    "write one": {"action": "write", "sections": [3], "seed": 5},
    "write five": {"action": "write", "sections": WRITTEN, "seed": 5},
    "revert all": {"action": "revert"},
    "write, cancelled": {"action": "write", "sections": WRITTEN, "seed": 5, "cancel_at": 12},
}


class Scene:
    """One kind of store with two repairs in it, never changed; jobs are given copies."""

    def __init__(self, folder: Path, layout: Layout, dtype: str) -> None:
        pixels = random_pixels(np.random.default_rng(0), SHAPE, dtype)
        self.path = write_store(folder / "pristine.zarr", pixels, layout)
        self.expected = Expectation(self.path, layout)
        stack = open_stack(self.path)
        earlier = repairs_of(stack, EARLIER, 77)
        for number, repair in zip(write_back(stack, earlier), earlier, strict=True):
            self.expected.add(number, repair)
        self.before = dict(self.expected.repairs)

    def after(self, job: dict[str, Any]) -> dict[int, Any]:
        """All repairs that may be in the store once ``job`` has begun, by their numbers."""
        self.expected.repairs = dict(self.before)
        if job["action"] == "write":
            repairs = repairs_of(open_stack(self.path), job["sections"], job["seed"])
            for number, repair in enumerate(repairs, start=len(self.before) + 1):
                self.expected.add(number, repair)
        return dict(self.expected.repairs)

    def copy(self, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        bare = self.path.suffix != ".zarr"
        shutil.copytree(self.path.parent if bare else self.path, target)
        return target / self.path.name if bare else target

    def check(self, store: Path, every: dict[int, Any]) -> set[int]:
        """Recover the store and compare all of it; returns the numbers of the repairs in it."""
        recover(store)
        stack = open_stack(store)
        live = {entry.id for entry in history(stack) if entry.state == "committed"}
        self.expected.repairs = {number: every[number] for number in live}
        self.expected.check(store)
        assert not needs_recovery(store)
        assert not any((journal_folder(store) / "scratch").iterdir())
        return live


def moment(store: Path) -> str:
    """What the process was doing when it was killed, as far as its files tell."""
    states = set(journal_states(store).values())
    for state, words in {
        "aborting": "undoing a cancelled job",
        "reverting": "putting originals back",
        "prepared": "writing pixels, levels, marks",
    }.items():
        if state in states:
            return words
    scratch = journal_folder(store) / "scratch"
    names = [path.name for path in scratch.iterdir()] if scratch.exists() else []
    if any(name.startswith("entry-") for name in names):
        return "writing the journal entry"
    if names:
        return "checking, or between two groups of sections"
    return "reading, before it wrote anything, or after it was done"


def outcome(live: set[int], before: set[int], every: set[int], reverting: bool) -> str:
    if live == before:
        return "old"
    if live == (set() if reverting else every):
        return "new"
    return "some repairs new, the others old, each as a whole"


def trial(
    killer: Killer, scene: Scene, target: Path, name: str, rng: random.Random, seconds: float
) -> tuple[str, str, int]:
    """Kill one job at a random moment; returns the moment, the outcome and the number of kills."""
    job, store = JOBS[name], scene.copy(target)
    every = scene.after(job)
    kills = int(killer.run(**job, store=store, kill_after=rng.uniform(0, seconds)).killed)
    found = moment(store)
    if kills and needs_recovery(store) and rng.random() < 0.5:
        # The process that would put it right is killed too.
        again = killer.run("recover", store, kill_after=rng.uniform(0, seconds / 2)).killed
        kills += again
        found += ", then recovering" if again else ""
    live = scene.check(store, every)
    done = outcome(live, set(scene.before), set(every), job["action"] == "revert")
    return found, done, kills


def random_moments(killer: Killer, scenes: dict[str, Scene], target: Path, args: Any) -> None:
    rng = random.Random(args.seed)
    lasts = {}
    for layout, scene in scenes.items():
        for name, job in JOBS.items():
            runs = [killer.run(**job, store=scene.copy(target)).seconds for _ in range(2)]
            lasts[layout, name] = min(runs)
    moments: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    kills = trials = 0
    while kills < args.kills:
        layout, name = rng.choice(list(scenes)), rng.choice(list(JOBS))
        trials += 1
        found, done, more = trial(killer, scenes[layout], target, name, rng, lasts[layout, name])
        kills += more
        if more:
            moments[found] += 1
            outcomes[done] += 1
    print(f"{kills} kills in {trials} jobs; every store opened and was as it should be")
    show("killed while", moments)
    show("found after recovery", outcomes)


def every_step(killer: Killer, scenes: dict[str, Scene], target: Path, stride: int) -> None:
    moments: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for layout, scene in scenes.items():
        for name, job in JOBS.items():
            every = scene.after(job)
            total = killer.run(**job, store=scene.copy(target)).steps
            for step in range(1, total + 1, stride):
                store = scene.copy(target)
                assert killer.run(**job, store=store, kill_at=step).killed
                moments[moment(store)] += 1
                live = scene.check(store, every)
                reverting = job["action"] == "revert"
                outcomes[outcome(live, set(scene.before), set(every), reverting)] += 1
            print(f"{layout}; {name}: {total} steps", flush=True)
    print(f"{moments.total()} kills; every store opened and was as it should be")
    show("killed while", moments)
    show("found after recovery", outcomes)


def show(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}:")
    for name, count in counts.most_common():
        print(f"  {count:5d}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-step", type=int, default=0, metavar="N")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    args = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=args.folder) as name, Killer() as killer:
        scenes = {}
        for number, (layout, made) in enumerate(LAYOUTS.items()):
            folder = Path(name) / str(number)
            folder.mkdir()
            scenes[layout] = Scene(folder, *made)
        target = Path(name) / "copy.zarr"
        if args.every_step:
            every_step(killer, scenes, target, args.every_step)
        else:
            random_moments(killer, scenes, target, args)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
