"""Fixtures of the tests of batches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batches import write_scene

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is killed here but processes of their own, so nothing need be synced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_scene(tmp_path)


@pytest.fixture
def stack(store: Path) -> Stack:
    return open_stack(store)
