"""A small store, what it should hold, and disks that fail; for the tests of write-back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repaired_stores import Expectation, Layout, make_repair, random_pixels, write_store

from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.section_repair import SectionRepair
from napari_flowinpaint.core.writing.writeback import write_back

SHAPE = (4, 40, 36)


class Scene:
    """A store, the stack opened from it, and what it should hold."""

    def __init__(self, folder: Path, layout: Layout | None = None, dtype: str = "uint8") -> None:
        self.layout = layout or Layout()
        pixels = random_pixels(np.random.default_rng(1), SHAPE, dtype)
        self.path = write_store(folder / "sample.zarr", pixels, self.layout)
        self.expected = Expectation(self.path, self.layout)
        self.stack = open_stack(self.path)

    def repair(self, z: int = 1, box: tuple[int, int, int, int] = (5, 6, 15, 18), **options: Any):
        return make_repair(self.stack, z, mask_of(*box), **options)

    def write(self, *repairs: SectionRepair) -> tuple[int, ...]:
        numbers = write_back(self.stack, repairs)
        for number, repair in zip(numbers, repairs, strict=True):
            self.expected.add(number, repair)
        self.expected.check(self.path)
        return numbers

    def gone(self, *numbers: int) -> None:
        for number in numbers:
            del self.expected.repairs[number]
        self.expected.check(self.path)


def mask_of(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros(SHAPE[1:], bool)
    mask[y0:y1, x0:x1] = True
    return mask


def files(path: Path) -> dict[str, bytes]:
    """Every file of a store, but for the journal's lock."""
    found = (p for p in path.rglob("*") if p.is_file() and p.name != "lock")
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def refused(scene: Scene, repair: Any, error: type[Exception], match: str) -> None:
    """Fail unless writing is refused in one line and nothing changes."""
    before = files(scene.path)
    with pytest.raises(error, match=match) as caught:
        write_back(scene.stack, repair)
    assert "\n" not in str(caught.value)
    after = {k: v for k, v in files(scene.path).items() if "README" not in k}
    assert {k: v for k, v in after.items() if "labels" not in k} == {
        k: v for k, v in before.items() if "README" not in k and "labels" not in k
    }
    scene.expected.check(scene.path)


class FailingOs:
    """The ``os`` module, but for the n-th call that changes the disk, and maybe all after it.

    ``space`` names the calls that need room; a rename or a sync may fail too, but not for long.
    """

    SPACE = ("open", "mkdir", "posix_fallocate")
    ALL = (*SPACE, "replace", "fsync")

    def __init__(
        self, fail_at: int, number: int = errno.ENOSPC, *, names: Any = ALL, forever: bool = False
    ) -> None:
        self.steps = 0
        self._fail_at, self._number = fail_at, number
        self._names, self._forever = names, forever

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in self._names:
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return found(*args, **kwargs)
            self.steps += 1
            due = self.steps >= self._fail_at if self._forever else self.steps == self._fail_at
            if due:
                raise OSError(self._number, os.strerror(self._number))
            return found(*args, **kwargs)

        return counted
