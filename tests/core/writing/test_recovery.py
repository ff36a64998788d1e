"""Promise 3: a process that is killed at any step leaves every section old or new, as a whole."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from killing import Killer, repairs_of
from repaired_stores import (
    Expectation,
    Layout,
    journal_folder,
    journal_states,
    random_pixels,
    write_store,
)

from napari_flowinpaint.core.io import pyramid
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.recovery import needs_recovery, recover
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

#: A store with several sections per chunk, and one that is sharded and reduced in z too.
LAYOUTS = {
    "v2, four sections per chunk": Layout(2, (4, 16, 16), compressed=True),
    "v3, sharded, reduced in z": Layout(
        3, (1, 8, 8), (4, 16, 16), ((2, 2, 2),), pyramid.DownsamplingRule("nearest")
    ),
    "bare array": Layout(3, (2, 24, 24), None, (), bare=True),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where possible: a kill does not undo what was not synced, unlike a power cut."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as killer:
        yield killer


class Scene:
    """A store with one repair in it already, and what a job is going to do to it."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        pixels = random_pixels(np.random.default_rng(0), (6, 36, 30), "uint8")
        self.folder = folder
        self.path = write_store(folder / "pristine.zarr", pixels, layout)
        self.expected = Expectation(self.path, layout)
        stack = open_stack(self.path)
        (first,) = repairs_of(stack, [2], 77)
        self.expected.add(*write_back(stack, first), first)
        self.before = dict(self.expected.repairs)

    def job(self, sections: list[int], seed: int) -> dict[int, object]:
        """Return the repairs that writing ``sections`` adds, by their numbers."""
        stack = open_stack(self.path)
        expected = Expectation.__new__(Expectation)
        expected.repairs = {}
        for number, repair in enumerate(repairs_of(stack, sections, seed), start=2):
            expected.add(number, repair)
        return expected.repairs

    def copy(self) -> Path:
        """Return a fresh copy of the store."""
        target = self.folder / "copy.zarr"
        if target.exists():
            shutil.rmtree(target)
        root = self.path if self.path.suffix == ".zarr" else self.path.parent
        shutil.copytree(root, target)
        return target if root == self.path else target / self.path.name


def check(store: Path, expected: Expectation, every: dict[int, object]) -> set[int]:
    """Fail unless a store is as a whole old or new after a kill; return the repairs.

    What is shown before recovery is, at every level, what is there after it.
    """
    shown = [np.asarray(level.array[...]) for level in open_stack(store).levels]
    recover(store)
    stack = open_stack(store)
    live = {entry.id for entry in history(stack) if entry.state == "committed"}
    assert live <= set(every)
    expected.repairs = {number: every[number] for number in live}
    for before, after in zip(shown, expected.check(store), strict=True):
        assert before.tobytes() == after.tobytes()
    assert not needs_recovery(store)
    assert not any((journal_folder(store) / "scratch").iterdir())
    assert not list(store.rglob("*.partial"))
    assert open_stack(store).messages == ()
    return live


def steps(total: int, count: int) -> list[int]:
    """Return ``count`` steps spread over ``total``, first and last included."""
    return sorted({int(k) for k in np.linspace(1, total, count)})


@pytest.mark.parametrize("name", LAYOUTS)
def test_killed_while_writing(folder: Path, killer: Killer, name: str) -> None:
    scene = Scene(folder, LAYOUTS[name])
    sections = [0, 1, 2, 5]
    every = {**scene.before, **scene.job(sections, 5)}
    whole = killer.run("write", scene.copy(), sections=sections, seed=5)
    assert whole.error == ""
    assert check(scene.copy(), scene.expected, every) == {1}
    outcomes, found = set(), set()
    for step in steps(whole.steps, 4):
        store = scene.copy()
        assert killer.run("write", store, sections=sections, seed=5, kill_at=step).killed
        found |= set(journal_states(store).values())
        outcomes.add(frozenset(check(store, scene.expected, every)))
    assert frozenset({1}) in outcomes  # killed before the journal was complete: old
    assert frozenset(every) in outcomes  # killed after it: finished
    assert found == {"committed", "prepared"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_killed_while_reverting(folder: Path, killer: Killer, name: str) -> None:
    scene = Scene(folder, LAYOUTS[name])
    more = repairs_of(open_stack(scene.path), [1, 2, 5], 5)
    for number, repair in zip(write_back(open_stack(scene.path), more), more, strict=True):
        scene.expected.add(number, repair)
    every = dict(scene.expected.repairs)
    whole = killer.run("revert", scene.copy())
    assert whole.error == ""
    found, lives = set(), set()
    for step in steps(whole.steps, 4):
        store = scene.copy()
        assert killer.run("revert", store, kill_at=step).killed
        found |= set(journal_states(store).values())
        lives.add(frozenset(check(store, scene.expected, every)))
    assert found >= {"committed", "reverting", "reverted"}
    assert lives >= {frozenset(every), frozenset()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_killed_while_undoing_a_cancelled_job(folder: Path, killer: Killer, name: str) -> None:
    scene = Scene(folder, LAYOUTS[name])
    job = {"sections": [0, 1, 2, 5], "seed": 5, "cancel_at": 5}
    every = {**scene.before, **scene.job([0, 1, 2, 5], 5)}
    store = scene.copy()
    whole = killer.run("write", store, **job)
    assert whole.error.startswith("Cancelled")
    assert check(store, scene.expected, every) == {1}
    found = set()
    for step in steps(whole.steps, 12)[5::2]:
        store = scene.copy()
        assert killer.run("write", store, kill_at=step, **job).killed
        found |= set(journal_states(store).values())
        check(store, scene.expected, every)
    assert "aborting" in found


def test_killed_while_recovering(folder: Path, killer: Killer) -> None:
    """Again and again, until nothing is left to do."""
    scene = Scene(folder, LAYOUTS["v2, four sections per chunk"])
    sections = [0, 1, 2, 5]
    every = {**scene.before, **scene.job(sections, 5)}
    total = killer.run("write", scene.copy(), sections=sections, seed=5).steps
    rng = random.Random(3)
    for _ in range(2):
        store = scene.copy()
        step = rng.randint(total // 3, total)
        killer.run("write", store, sections=sections, seed=5, kill_at=step)
        for _ in range(2):
            killer.run("recover", store, kill_at=rng.randint(1, 60))
        check(store, scene.expected, every)


def test_killed_at_random_times(folder: Path, killer: Killer) -> None:
    scene = Scene(folder, LAYOUTS["v2, four sections per chunk"])
    sections = [0, 3, 4]
    every = {**scene.before, **scene.job(sections, 9)}
    seconds = killer.run("write", scene.copy(), sections=sections, seed=9).seconds
    rng = random.Random(4)
    killed = 0
    for _ in range(6):
        store = scene.copy()
        after = rng.uniform(0, seconds)
        killed += killer.run("write", store, sections=sections, seed=9, kill_after=after).killed
        check(store, scene.expected, every)
    assert killed >= 2


def test_first_write_of_all(folder: Path, killer: Killer) -> None:
    """Killed while journal and label image are created."""
    pixels = random_pixels(np.random.default_rng(0), (3, 20, 20), "uint16")
    pristine = write_store(folder / "a.zarr", pixels, Layout(3, (1, 10, 10)))
    expected = Expectation(pristine, Layout(3, (1, 10, 10)))
    for number, repair in enumerate(repairs_of(open_stack(pristine), [1], 2), start=1):
        expected.add(number, repair)
    every = dict(expected.repairs)
    target = folder / "b.zarr"
    shutil.copytree(pristine, target)
    total = killer.run("write", target, sections=[1], seed=2).steps
    for step in steps(total, 4):
        shutil.rmtree(target)
        shutil.copytree(pristine, target)
        assert killer.run("write", target, sections=[1], seed=2, kill_at=step).killed
        recover(target)
        stack = open_stack(target)
        live = {entry.id for entry in history(stack)}
        expected.repairs = {number: every[number] for number in live}
        expected.check(target)
        # Whatever was left behind, the next write and its revert go through.
        if not live:
            assert write_back(stack, repairs_of(stack, [1], 2)) == (1,)
        expected.repairs = every
        expected.check(target)
        revert(stack)
        expected.repairs = {}
        expected.check(target)
