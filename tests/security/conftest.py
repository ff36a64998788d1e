"""The scenes that are attacked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from attacks import CHUNKS, Scene, damage, entry, snapshot, truth, write_home
from make_stacks import write_ngff

from napari_flowinpaint.cli import run


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scenes are copied from."""
    path = tmp_path_factory.mktemp("pristine")
    write_ngff(path / "stack.zarr", truth(), scale=(40, 4, 4), levels=2, chunks=CHUNKS)
    tifffile.imwrite(path / "mask.tif", damage(), photometric="minisblack")
    write_home(path / "home")
    return path


@pytest.fixture(scope="session")
def repaired_once(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repaired") / "scene"
    shutil.copytree(pristine, path)
    scene = Scene(path, None)
    assert run([str(a) for a in scene.to_repair("--in-place")]) == 0
    return path


@pytest.fixture(scope="session")
def staged_once(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("staged") / "scene"
    shutil.copytree(pristine, path)
    scene = Scene(path, None)
    assert run([str(a) for a in scene.to_repair("--staging", scene.staging)]) == 0
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is killed in this process, so nothing need be synced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def _copied(source: Path, tmp_path: Path, capsys: Any) -> Scene:
    shutil.copytree(source, tmp_path / "scene", symlinks=True)
    return Scene(tmp_path / "scene", capsys)


@pytest.fixture
def scene(pristine: Path, tmp_path: Path, capsys: Any) -> Scene:
    return _copied(pristine, tmp_path, capsys)


@pytest.fixture
def repaired(repaired_once: Path, tmp_path: Path, capsys: Any) -> Scene:
    """A scene whose stack has the repairs 1 (section 2) and 2 (section 3)."""
    return _copied(repaired_once, tmp_path, capsys)


@pytest.fixture
def staged(staged_once: Path, tmp_path: Path, capsys: Any) -> Scene:
    """A scene whose repairs wait in ``stack.zarr.staging``, which somebody has copied."""
    keep = tmp_path / "scene"
    shutil.copytree(staged_once, keep)
    return Scene(keep, capsys)


@pytest.fixture
def interrupted(repaired: Scene, pristine: Path) -> Scene:
    """A scene whose stack has an interrupted write: repair 1 is in the journal, pixels are old."""
    name = entry(repaired.stack)
    name.rename(name.with_name(name.name.replace("committed", "prepared")))
    for level in ("0", "1"):
        chunks = repaired.stack / level / "c" / "2"
        shutil.rmtree(chunks)
        shutil.copytree(pristine / "stack.zarr" / level / "c" / "2", chunks)
    return repaired


@pytest.fixture
def unchanged() -> Callable[[Path], Callable[[], None]]:
    """Return what remembers a folder, and what fails unless it is as it was."""

    def remember(path: Path) -> Callable[[], None]:
        before = snapshot(path)

        def check() -> None:
            after = snapshot(path)
            changed = sorted(
                k for k in before.keys() | after.keys() if before.get(k) != after.get(k)
            )
            assert not changed, f"changed in {path}: {changed[:6]}"

        return check

    return remember
