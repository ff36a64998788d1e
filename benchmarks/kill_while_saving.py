"""Kill saving, replacing and staging with SIGKILL, at random moments, and look at what is left.

    python benchmarks/kill_while_saving.py [--kills 100] [--seed 0]

A process saves a stack as a new store, replaces an older store by it, or stages repairs, and is
killed. Then a store must be absent (a new one), or open as a whole old or new, bit by bit; the same
job, run again, must end as if nothing had happened, and leave nothing hidden beside it but a folder
without a store: whoever has made it may have just begun, so it is not removed in the first minute.
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

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from killing import Killer, stage  # noqa: E402

from napari_flowinpaint.core.disk.ownership import MARK  # noqa: E402
from napari_flowinpaint.core.export import save_ome_zarr  # noqa: E402
from napari_flowinpaint.core.io.stack import Stack  # noqa: E402
from napari_flowinpaint.core.open import open_stack  # noqa: E402

SHAPE = (7, 96, 96)
JOBS = {"save": "save", "overwrite": "save", "stage": "stage"}


def pixels_of(path: Path) -> list[bytes]:
    return [np.asarray(level.array[...]).tobytes() for level in open_stack(path).levels]


def staged_in(path: Path) -> dict[str, bytes]:
    """What is staged; times are in the log alone."""
    return {file.name: file.read_bytes() for file in sorted((path / "sections").iterdir())}


class Scene:
    """A stack, an older store, and what every job leads to."""

    def __init__(self, folder: Path) -> None:
        random_pixels = np.random.default_rng(0).integers(0, 255, (2, *SHAPE), np.uint8)
        self.work = folder / "work"
        self.stack, self.older = folder / "stack.zarr", folder / "older.zarr"
        for path, pixels in zip((self.stack, self.older), random_pixels, strict=True):
            save_ome_zarr(Stack.from_array(pixels), path)
        self.old, self.new = pixels_of(self.older), pixels_of(self.stack)
        stage(self.stack, folder / "staged")
        self.staged = staged_in(folder / "staged")

    def target(self, name: str) -> Path:
        """Return an empty place for the outcome of a job."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        target = self.work / "target"
        if name == "overwrite":
            save_ome_zarr(Stack.from_array(np.asarray(open_stack(self.older).array)), target)
        return target

    def check(self, name: str, target: Path) -> str:
        """Compare what a kill has left, and what the next run makes of it."""
        if name == "stage":
            there = len(list((target / "sections").glob("*"))) if target.exists() else 0
            stage(self.stack, target)
            assert staged_in(target) == self.staged
            return f"{there} of {len(self.staged)} sections staged, then the same bytes"
        hidden = any(path.name.startswith(".") for path in self.work.iterdir())
        if name == "save" and not target.exists() and not hidden:
            found = "absent"
        else:
            try:
                pixels = pixels_of(target)
                found = "old" if pixels == self.old else "new"
                assert pixels in (self.old, self.new)
            except Exception:
                assert name == "save", "what was there is gone"
                assert not target.exists()
                found = "absent"
        save_ome_zarr(open_stack(self.stack), target, overwrite=True)
        assert pixels_of(target) == self.new
        left = [path for path in self.work.iterdir() if path != target]
        for path in left:
            names = {inner.name for inner in path.iterdir()}
            assert names <= {MARK, f"{MARK}.part", "lock", "scratch"}, names
        return f"{found}; an empty hidden folder stays" if left else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start, rng = time.perf_counter(), random.Random(args.seed)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Killer() as killer:
        scene = Scene(Path(folder))
        lasts = {}
        for name, action in JOBS.items():
            run = killer.run(action, scene.stack, target=str(scene.target(name)))
            assert not run.error, run.error
            lasts[name] = run.seconds
        while found.total() < args.kills:
            name = rng.choice(list(JOBS))
            target = scene.target(name)
            after = rng.uniform(0, lasts[name])
            if killer.run(JOBS[name], scene.stack, target=str(target), kill_after=after).killed:
                found[f"{name}: {scene.check(name, target)}"] += 1
    print(f"{found.total()} kills; everything was as it should be")
    for name, count in sorted(found.items()):
        print(f"  {count:5d}  {name}")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
